"""The three applications; they never import each other."""
