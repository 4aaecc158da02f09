"""Pages of the models section."""
