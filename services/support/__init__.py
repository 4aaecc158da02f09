"""Support: questions answered from the help centre, with citations, or handed over."""
