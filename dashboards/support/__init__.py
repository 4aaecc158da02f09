"""Pages of the support section."""
