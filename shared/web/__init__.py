"""What every HTTP service has: accounts, errors, limits, health, metrics, and the client's base."""
