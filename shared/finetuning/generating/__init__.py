"""Supervised tuning of generators: what turns questions and replies into a tuned model folder."""
