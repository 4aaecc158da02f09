"""Sentiment: a stream of items scored, counted in event time, and alerts on negative surges."""
