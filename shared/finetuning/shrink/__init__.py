"""Smaller models out of a tuned one: fewer layers, fewer words, fewer weights."""
