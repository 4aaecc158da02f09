"""Pages of the sentiment section."""
