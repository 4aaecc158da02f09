"""Search over vectors, with exact scores."""
