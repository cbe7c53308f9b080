"""Agents that walk through a network and learn from whole episodes."""
