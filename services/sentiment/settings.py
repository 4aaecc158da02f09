"""Settings of the sentiment application."""

from shared.settings import AppSection


class AppSettings(AppSection):
    """Address and limits of the sentiment service."""

    port: int = 8102
