"""The accounts database through its releases."""
