"""Criteria, surgery, reconstruction, quantisers, and applying a policy."""
