"""Append-only: a revision is never edited after it landed."""
