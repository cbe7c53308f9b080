"""Engines on processors, and what layers take there."""
