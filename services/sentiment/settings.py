"""Settings of the sentiment application."""

from shared.settings import AppSection

ROLES: tuple[str, ...] = ("sentiment:viewer", "sentiment:analyst", "sentiment:admin")  # lowest first: each may what those before it may


class AppSettings(AppSection):
    """Address and limits of the sentiment service."""

    port: int = 8102
