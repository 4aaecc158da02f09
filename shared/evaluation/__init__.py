"""Metrics of held-out data, with intervals."""
