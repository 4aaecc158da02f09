"""The revisions of this application's tables."""
