"""One module a command of trillium; loaded when the command runs."""
