"""The live bundle: moving the pointer, and following it without a failed request."""

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from shared.artifacts.pointers import State
from shared.artifacts.store import Artifact, ArtifactStore, Ref
from shared.clock import Clock, SystemClock
from shared.errors import BadInput, Conflict, Unavailable
from shared.telemetry import logger

BUNDLE = "bundle"
_LOG = logger(__name__)
T = TypeVar("T")


class Pointer:
    """Which bundle of `app` is live: exactly one, or none yet."""

    def __init__(self, store: ArtifactStore, app: str, clock: Clock | None = None) -> None:
        self.store = store
        self.app = app
        self._clock: Clock = clock or SystemClock()

    def current(self) -> Ref | None:
        """Return the live bundle, or None where nothing went live yet."""
        return self.store.pointers.current(self.app)

    def history(self) -> list[dict[str, str]]:
        """Return the moves, oldest first, each `{"ref", "moved", "by"}`; the newest 200 are kept."""
        state = self.store.pointers.read(self.app)
        return state.history if state else []

    def stamp(self) -> tuple[Any, ...] | None:
        """Return a token that differs after each move, for the price of one stat call."""
        return self.store.pointers.stamp(self.app)

    def move(self, ref: Ref, by: str) -> None:
        """Make `ref` live; `by` says who or what did it. Moving to the live one changes nothing.

        Raises BadInput for an artifact that is no bundle of this application, NotFound, and Damaged
        when it or a part of it is not what was written (the old one then stays live).
        """
        self._check(ref)
        now = self._clock.now()

        def decide(state: State | None) -> State:
            if state is None:
                return State(current=str(ref)).moved(ref, [], by, now)
            if state.current == str(ref):
                return state
            return state.moved(ref, [*state.before, state.current], by, now)

        self.store.pointers.change(self.app, decide)

    def rollback(self, by: str) -> Ref:
        """Go back to the bundle that was live before and return it; again goes further back, up to 5.

        Raises Conflict when there is none, Damaged when it is not what was written.
        """
        now = self._clock.now()

        def decide(state: State | None) -> State:
            if state is None or not state.before:
                raise Conflict(
                    f"{self.app} has no earlier bundle to go back to; `trillium artifacts list {self.app}` "
                    f"shows what there is, `trillium promote {self.app} NAME@N` takes one"
                )
            *rest, last = state.before
            ref = Ref.parse(last)
            self._check(ref)
            return state.moved(ref, rest, by, now)

        return Ref.parse(self.store.pointers.change(self.app, decide).current)

    def _check(self, ref: Ref) -> None:
        if ref.name != self.app:
            raise BadInput(f"{ref} is no bundle of {self.app}; its bundles are named {self.app}@N")
        bundle = self.store.open(str(ref))
        if bundle.manifest.kind != BUNDLE:
            raise BadInput(f"{ref} is a {bundle.manifest.kind}, not a {BUNDLE}; only a bundle can go live")
        for role in bundle.manifest.parents:
            bundle.parent(role)


class Live(Generic[T]):
    """What `load` makes of the live bundle, kept current as the pointer moves.

    The first call loads and waits. After a move, requests go on with the old value while one
    background thread loads the new bundle; then one reference is swapped. A bundle that can't be
    loaded leaves the old one serving and sets `problem`; it is tried again every `retry_every_s`.
    `load` must raise when what it loaded does not work (a self-test), and may run in any thread.
    """

    def __init__(
        self,
        pointer: Pointer,
        load: Callable[[Artifact], T],
        check_every_s: float = 0.5,
        *,
        retry_every_s: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.problem: str | None = None
        self._pointer = pointer
        self._load = load
        self._check_every_s = check_every_s
        self._retry_every_s = retry_every_s
        self._monotonic = monotonic
        self._value: tuple[Ref, T] | None = None
        self._stamp: object = None
        self._next_check = 0.0
        self._error: Exception | None = None
        self._retry_at = 0.0
        self._first = threading.Lock()
        self._turn = threading.Lock()
        self._loader: threading.Thread | None = None

    def current(self) -> tuple[Ref, T]:
        """Return the live bundle's reference and what was loaded from it; never waits after the first load.

        Raises Unavailable when there is no bundle yet, and what `load` raised when the very first fails.
        """
        value = self._value
        if value is None:
            return self._load_first()
        now = self._monotonic()
        if now >= self._next_check and self._turn.acquire(blocking=False):
            try:
                self._next_check = now + self._check_every_s
                self._look(now)
            finally:
                self._turn.release()
        return value

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until a load in the background, if any, has ended."""
        loader = self._loader
        if loader is not None:
            loader.join(timeout_s)

    def _load_first(self) -> tuple[Ref, T]:
        with self._first:
            if self._value is not None:
                return self._value
            stamp, now = self._pointer.stamp(), self._monotonic()
            if self._error is not None and stamp == self._stamp and now < self._retry_at:
                raise self._error  # a load may take seconds: not once per request
            ref = self._pointer.current()
            if ref is None:
                raise Unavailable(self._nothing_yet())
            self._stamp, self._error = stamp, None
            try:
                self._value = ref, self._load(self._pointer.store.open(str(ref)))
            except Exception as error:
                self._error, self._retry_at = error, now + self._retry_every_s
                self.problem = f"{ref} can't be loaded: {error}"
                raise
            self.problem = None
            self._next_check = now + self._check_every_s
            return self._value

    def _nothing_yet(self) -> str:
        app = self._pointer.app
        return (
            f"{app} has no live bundle yet; run `trillium train {app}` or `trillium index {app} PATH`, "
            f"or `trillium promote {app}` where one is there"
        )

    def _look(self, now: float) -> None:
        if self._loader is not None and self._loader.is_alive():
            return
        retry = self._error is not None and now >= self._retry_at
        stamp = self._pointer.stamp()
        if stamp is None or (stamp == self._stamp and not retry):
            return
        self._loader = threading.Thread(target=self._reload, args=(stamp,), name="live", daemon=True)
        self._loader.start()

    def _reload(self, stamp: object) -> None:
        name = self._pointer.app
        try:
            ref = self._pointer.current()
            if ref is None:
                return
            name = str(ref)
            if self._value is None or ref != self._value[0]:
                self._value = ref, self._load(self._pointer.store.open(name))
                _LOG.info("a new bundle serves", bundle=name)
            self._error, self.problem = None, None
        except Exception as error:  # whatever is wrong with the new bundle, the old one goes on serving
            self._error, self._retry_at = error, self._monotonic() + self._retry_every_s
            self.problem = f"{name} can't be loaded, {self._value and self._value[0]} still serves: {error}"
            _LOG.error("the new bundle can't be loaded", bundle=name, why=str(error))
        finally:
            self._stamp = stamp
