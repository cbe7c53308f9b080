"""Policy -> Measurement: recipes, fast evaluation, child processes, confirmation."""
