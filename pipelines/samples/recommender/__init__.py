"""An invented hobby shop: items, people with simulated taste, and their events."""
