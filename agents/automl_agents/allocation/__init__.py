"""Allocation without search: the sensitivity profile, the knapsack, and what uses them."""
