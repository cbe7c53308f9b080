"""Images and labels: loaders, and the three disjoint splits that every figure names."""
