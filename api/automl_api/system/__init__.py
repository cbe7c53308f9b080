"""The service itself: its health, and what it can do."""
