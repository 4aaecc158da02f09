"""The small files that say which bundle is live: one per application, replaced in one step."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.artifacts.files import locked, write_aside
from shared.artifacts.manifest import FORMAT, Ref, check_name
from shared.clock import to_text
from shared.errors import Conflict, Damaged

ROLLBACKS = 5  # so many earlier bundles can a rollback reach; prune keeps them
_MOVES = 200  # of the moves kept for people to read


class State(BaseModel):
    """What a pointer file holds: `current`, the bundles live before it (oldest first), and all moves."""

    format: int = FORMAT
    current: str
    before: list[str] = []
    history: list[dict[str, str]] = []

    def moved(self, to: Ref, before: list[str], by: str, at: datetime) -> "State":
        """Return the state after one more move."""
        move = {"ref": str(to), "moved": to_text(at), "by": by}
        return State(current=str(to), before=before[-ROLLBACKS:], history=[*self.history, move][-_MOVES:])


class Pointers:
    """The pointer files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, app: str) -> Path:
        """Return the pointer file of `app`; it need not exist."""
        return self._folder / f"{check_name(app)}.json"

    def apps(self) -> list[str]:
        """Return the applications that have a pointer, sorted."""
        return sorted(path.stem for path in self._folder.glob("[a-z0-9]*.json"))

    def read(self, app: str) -> State | None:
        """Return the pointer of `app`, None where nothing went live yet; Damaged, or Conflict if newer."""
        path = self.path(app)
        try:
            state = State.model_validate_json(path.read_bytes())
            for text in (state.current, *state.before):
                Ref.parse(text)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, TypeError) as error:
            raise Damaged(
                f"the live pointer {path} can't be read; remove it and run `trillium promote {app}`"
            ) from error
        if state.format > FORMAT:
            raise Conflict(f"{path} has format {state.format}; this release reads {FORMAT}: upgrade trillium")
        return state

    def current(self, app: str) -> Ref | None:
        """Return the live bundle of `app`, or None."""
        state = self.read(app)
        return Ref.parse(state.current) if state else None

    def reachable(self, app: str) -> list[Ref]:
        """Return the live bundle and those that a rollback can reach, oldest first."""
        state = self.read(app)
        return [Ref.parse(text) for text in (*state.before, state.current)] if state else []

    def change(self, app: str, decide: Callable[[State | None], State]) -> State:
        """Replace the pointer of `app` by what `decide` makes of it, alone among all processes."""
        with locked(self._folder / f".{check_name(app)}.lock"):
            state = decide(self.read(app))
            write_aside(self.path(app), state.model_dump_json(indent=1).encode())
        return state

    def stamp(self, app: str) -> tuple[Any, ...] | None:
        """Return a token that differs after each change, for the price of one stat call."""
        try:
            stat = self.path(app).stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
