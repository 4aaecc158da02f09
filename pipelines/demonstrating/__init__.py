"""The pieces of `trillium demo`: preparing, starting, checking, and the table of figures."""
