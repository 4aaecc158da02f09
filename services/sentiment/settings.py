"""Settings of the sentiment application."""

from shared.settings import AppSection

# Lowest first: each may do what those before it may.
ROLES: tuple[str, ...] = ("sentiment:viewer", "sentiment:analyst", "sentiment:admin")


class AppSettings(AppSection):
    """Address and limits of the sentiment service."""

    port: int = 8102
