"""The files that engines run."""
