"""Optuna's samplers behind ask and tell."""
