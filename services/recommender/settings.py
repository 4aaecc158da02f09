"""Settings of the recommender application."""

from shared.settings import AppSection


class AppSettings(AppSection):
    """Address and limits of the recommender service."""

    port: int = 8103
