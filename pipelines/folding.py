"""The worker of an application without a stream: it folds what the API changed into a new index."""

import signal
import threading
from collections.abc import Callable
from typing import Any

from pipelines.flow import Workplace


def fold(
    place: Workplace, compact: Callable[[Workplace], dict[str, Any] | None], *, until_idle: bool, every: float
) -> dict[str, Any]:
    """Call `compact` every `every` seconds until SIGTERM or SIGINT, or once with `until_idle`.

    Returns what the last call that had something to do returned, else that there was nothing.
    """
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    done: dict[str, Any] | None = None
    while True:
        done = compact(place) or done
        if until_idle or stop.wait(every):
            break
    idle = {"artifact": str(place.pointer.current()), "promoted": False, "reason": "nothing to do"}
    return done or idle
