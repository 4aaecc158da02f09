"""Settings of the support application."""

from shared.settings import AppSection

ROLES: tuple[str, ...] = ("support:agent", "support:editor", "support:admin")  # lowest first: each may what those before it may


class AppSettings(AppSection):
    """Address and limits of the support service."""

    port: int = 8101
