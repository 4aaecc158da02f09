"""Fakes, contract test classes and small worlds with known answers."""
