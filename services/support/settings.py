"""Settings of the support application."""

from shared.settings import AppSection


class AppSettings(AppSection):
    """Address and limits of the support service."""

    port: int = 8101
