"""Settings of the support application."""

from shared.settings import AppSection

# Lowest first: each may do what those before it may.
ROLES: tuple[str, ...] = ("support:agent", "support:editor", "support:admin")


class AppSettings(AppSection):
    """Address and limits of the support service."""

    port: int = 8101
