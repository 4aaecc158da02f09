"""Publish what a flow made, and decide, in one place, which steps of it are done already."""

import getpass
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.gate import Verdict
from shared.artifacts.files import full_disk_named, locked, sha256_of, write_aside
from shared.artifacts.live import BUNDLE, Pointer
from shared.artifacts.manifest import check_name
from shared.artifacts.store import Artifact, ArtifactStore, Ref
from shared.clock import Clock, SystemClock
from shared.errors import Conflict, NotFound
from shared.settings import Settings
from shared.telemetry import logger

_LOG = logger(__name__)


@dataclass
class Workplace:
    """Where the flows of one application work.

    `seen` is the live bundle that the flow started from, once it asked for it with `live()`.
    """

    settings: Settings
    store: ArtifactStore
    pointer: Pointer
    app: str
    seen: Ref | None = None
    asked: bool = field(default=False, repr=False)

    def live(self) -> Artifact | None:
        """Return the live bundle, or None; what is built from it is refused if `live` moves meanwhile."""
        self.seen, self.asked = self.pointer.current(), True
        return self.store.open(str(self.seen)) if self.seen else None

    @property
    def work(self) -> Path:
        """The folder of unfinished runs."""
        return self.settings.home / "work" / self.app

    @property
    def model_name(self) -> str:
        """The name of this application's model artifacts."""
        return f"{self.app}-model"

    @property
    def index_name(self) -> str:
        """The name of this application's index artifacts."""
        return f"{self.app}-index"


def workplace(settings: Settings, app: str, clock: Clock | None = None) -> Workplace:
    """Return the workplace of `app` under `settings.home`; raises UsageError for an unknown one."""
    settings.app(app)
    clock = clock or SystemClock()
    store = ArtifactStore(settings.home / "artifacts", clock)
    return Workplace(settings, store, Pointer(store, app, clock), app)


def person() -> str:
    """Return who runs this command, for the history of moves."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user need not have a name
        return "unknown"


def publish(
    place: Workplace,
    *,
    parts: Mapping[str, Ref],
    files: Mapping[str, bytes | Path] | None = None,
    verdict: Verdict | None = None,
    promote: bool = True,
    by: str | None = None,
) -> dict[str, Any]:
    """Make a bundle of the live one with `parts` (role -> artifact) and `files` replaced; maybe move live.

    Live moves when the gate passed (no verdict counts as passed) and `promote` is set. Returns
    `{artifact, promoted, compared_with, metrics}` and, when live did not move, `reason`. Raises
    Conflict when `place.live()` gave another bundle than is live now: parts that were built to fit
    the one need not fit the other.
    """
    verdict = verdict or Verdict(True, "nothing")
    with locked(place.settings.home / "work" / f".{check_name(place.app)}.publish"):
        now = place.pointer.current()
        if place.asked and now != place.seen:
            raise Conflict(
                f"live moved from {place.seen or 'nothing'} to {now or 'nothing'} while this ran; run the "
                "same command again, its finished steps are kept"
            )
        bundle = _new_bundle(place, now, parts, files or {}, verdict)
        moved = promote and verdict.passed
        if moved:
            place.pointer.move(bundle.ref, by or person())
            place.seen = bundle.ref
    _LOG.info("published", bundle=str(bundle.ref), promoted=moved)
    result = _result(bundle, moved)
    if not moved:
        result["reason"] = verdict.reason or "asked not to promote"
    return result


def _new_bundle(
    place: Workplace,
    live: Ref | None,
    parts: Mapping[str, Ref],
    files: Mapping[str, bytes | Path],
    verdict: Verdict,
) -> Artifact:
    old = place.store.open(str(live)) if live else None
    pinned = {role: Ref.parse(text) for role, text in old.manifest.parents.items()} if old else {}
    with place.store.create(place.app, BUNDLE, parents={**pinned, **parts}) as draft:
        for name in old.manifest.files if old else ():
            _put(draft.path, name, old.path / name if old else b"")
        for name, content in files.items():
            _put(draft.path, name, content)
        draft.metrics = verdict.metrics
        draft.extra["gate"] = {
            "passed": verdict.passed,
            "compared_with": verdict.compared_with,
            "reason": verdict.reason,
        }
    return draft.artifact


def _put(folder: Path, name: str, content: bytes | Path) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.read_bytes() if isinstance(content, Path) else content)


def _result(bundle: Artifact, promoted: bool) -> dict[str, Any]:
    return {
        "artifact": str(bundle.ref),
        "promoted": promoted,
        "compared_with": gate_of(bundle).get("compared_with"),
        "metrics": bundle.manifest.metrics,
    }


def gate_of(bundle: Artifact) -> dict[str, Any]:
    """Return what the gate said of a bundle: `{passed, compared_with, reason}`, empty for none."""
    said = bundle.manifest.extra.get("gate")
    return said if isinstance(said, dict) else {}


def promote(place: Workplace, name: str | None = None, by: str | None = None) -> dict[str, Any]:
    """Make `name` (`app@n`) live, or without a name the newest bundle whose gate passed.

    Raises NotFound where there is none, BadInput for what is no bundle of this application.
    """
    bundle = _newest_passed(place) if name is None else place.store.open(str(Ref.parse(name)))
    before = place.pointer.current()
    if before == bundle.ref:
        return {**_result(bundle, True), "reason": "it was live already"}
    place.pointer.move(bundle.ref, by or person())
    return _result(bundle, True)


def _newest_passed(place: Workplace) -> Artifact:
    passed = [one for one in place.store.list(place.app, BUNDLE) if gate_of(one).get("passed")]
    if not passed:
        raise NotFound(
            f"{place.app} has no bundle whose gate passed; `trillium artifacts list {place.app}` shows "
            f"what there is, `trillium promote {place.app} NAME@N` overrides the gate"
        )
    return place.store.open(str(passed[-1].ref))


def rollback(place: Workplace, by: str | None = None) -> dict[str, Any]:
    """Go back to the bundle that was live before; raises Conflict when there is none."""
    ref = place.pointer.rollback(by or person())
    return _result(place.store.open(str(ref)), True)


def emit(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a result on stdout: one JSON line, or one `name: value` line each."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False, default=str), flush=True)
        return
    for name, value in _flat(result):
        print(f"{name}: {value}", flush=True)


def _flat(result: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for name, value in result.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        elif isinstance(value, bool) or value is None:
            yield f"{above}{name}", {True: "yes", False: "no", None: "-"}[value]
        elif isinstance(value, Mapping | list | tuple):
            yield f"{above}{name}", json.dumps(value, ensure_ascii=False, default=str) if value else "-"
        else:
            yield f"{above}{name}", str(value)


def data_hash(*inputs: Path | str) -> str:
    """Return one SHA-256 over files (by content) and texts, in that order."""
    whole = hashlib.sha256()
    for one in inputs:
        part = sha256_of(one) if isinstance(one, Path) else hashlib.sha256(one.encode()).hexdigest()
        whole.update(part.encode())
    return whole.hexdigest()


@dataclass(frozen=True)
class Step:
    """A finished step: its folder, what `make` returned, and whether it was done by an earlier run."""

    folder: Path
    result: Any
    skipped: bool


def step(workdir: Path, name: str, key: Mapping[str, Any], make: Callable[[Path], Any]) -> Step:
    """Return the step `name`, made now unless an earlier run finished it with the same `key`.

    `key` is whatever the result depends on, as JSON: hashes of data and recipe, the parents, a seed.
    `make(folder)` fills the folder and returns JSON. A killed run's folder is given to `make` again
    when the key is the same, so that it can go on from its checkpoints; with another key it is
    emptied first.
    """
    folder, mark = workdir / check_name(name), workdir / f"{check_name(name)}.json"
    wanted = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
    with locked(workdir / f".{name}.lock"):
        known = _read_mark(mark)
        if known.get("key") == wanted and known.get("done") and folder.is_dir():
            _LOG.info("step skipped, an earlier run finished it", step=name)
            return Step(folder, known.get("result"), skipped=True)
        if known.get("key") != wanted and folder.exists():
            shutil.rmtree(folder)
        write_aside(mark, json.dumps({"key": wanted, "done": False}).encode())
        with full_disk_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
            result = make(folder)
        write_aside(mark, json.dumps({"key": wanted, "done": True, "result": result}).encode())
    return Step(folder, json.loads(json.dumps(result)), skipped=False)


def _read_mark(mark: Path) -> dict[str, Any]:
    try:
        known = json.loads(mark.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
