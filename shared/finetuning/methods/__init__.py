"""The methods that a recipe can name, each a small part around the one training loop."""
