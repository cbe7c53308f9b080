"""Searchers that evolve policies."""
