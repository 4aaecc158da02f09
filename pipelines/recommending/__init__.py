"""The steps of the recommender flow: read, learn, choose, measure."""
