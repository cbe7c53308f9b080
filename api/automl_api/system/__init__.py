"""The service itself: health, what it can do, and a page that shows its jobs."""
