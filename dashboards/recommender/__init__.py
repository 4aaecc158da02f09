"""Pages of the recommender section."""
