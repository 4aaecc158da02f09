"""Recommender: items ranked for a person, an item or a sentence, with reasons."""
