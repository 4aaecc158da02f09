"""Bars for the long parts of a training beside its steps: reading many texts, timing steps, measuring."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

DELAY = 3.0  # seconds: what ends sooner needs no bar

_SHOWN: ContextVar[bool] = ContextVar("shown", default=False)


@contextmanager
def bars(shown: bool) -> Iterator[None]:
    """Show bars within, or none; where nobody says, there are none."""
    token = _SHOWN.set(shown)
    try:
        yield
    finally:
        _SHOWN.reset(token)


@contextmanager
def bar(doing: str, total: int, unit: str = "text") -> Iterator[Callable[[int], None]]:
    """Give a function that counts what was done, onto a bar on stderr with rate and time left: it comes after
    DELAY seconds and goes at the end."""
    with tqdm(
        total=total, desc=doing, unit=unit, delay=DELAY, leave=False, disable=not _SHOWN.get()
    ) as shown:

        def done(count: int) -> None:
            shown.update(count)

        yield done
