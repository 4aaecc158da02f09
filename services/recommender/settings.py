"""Settings of the recommender application."""

from pydantic import Field

from shared.settings import AppSection

# Lowest first: each may do what those before it may.
ROLES: tuple[str, ...] = ("recommender:viewer", "recommender:editor", "recommender:admin")


class AppSettings(AppSection):
    """Address and limits of the recommender service.

    `diversity`, 0 to 1, is how much a slate gives up of the score for items unlike those above them.
    """

    port: int = 8103
    diversity: float = Field(0.1, ge=0, le=1)
