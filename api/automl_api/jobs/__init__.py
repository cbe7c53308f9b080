"""Searches in the queue."""
