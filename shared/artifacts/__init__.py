"""Immutable, checksummed, versioned folders, and the pointer to the live one."""
