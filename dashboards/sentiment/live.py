"""x"""
def page() -> None:
    pass
