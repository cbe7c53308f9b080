"""The default searcher: profile, knapsack, surrogate."""
