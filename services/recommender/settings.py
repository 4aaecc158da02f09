"""Settings of the recommender application."""

from shared.settings import AppSection

ROLES: tuple[str, ...] = ("recommender:viewer", "recommender:editor", "recommender:admin")  # lowest first: each may what those before it may


class AppSettings(AppSection):
    """Address and limits of the recommender service."""

    port: int = 8103
