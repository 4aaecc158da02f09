"""Example data, written for this project."""
