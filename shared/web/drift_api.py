"""Whether what arrives now is like what the live model was measured on."""

import threading
from collections.abc import Callable

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from shared.artifacts.live import Pointer
from shared.artifacts.store import Artifact, ArtifactStore
from shared.errors import NotFound, Unavailable
from shared.models.reference import FEWEST, ROWS, Finding, Profile, compare, profile
from shared.web.principal import require

Recent = Callable[[int], list[str]]  # the newest texts as the model reads them, at most so many


class Drift(BaseModel):
    """The newest texts beside the validation rows of the live bundle's model.

    `reference` and `current` are the texts on both sides, at most 500; with fewer than `fewest` on a side, or
    for a `model` that kept no reference (then it is 0), there is no figure. `moved` says that any has.
    """

    live: str
    model: str
    reference: int
    current: int
    fewest: int
    moved: bool
    figures: list[Finding]


def drift_router(app: str, store: ArtifactStore, reader: str, recent: Recent) -> APIRouter:
    """Return the route of application `app`: `reader` is the role that may look."""
    router = APIRouter(prefix="/v1", tags=["models"])
    pointer, told = Pointer(store, app), _Told()

    @router.get("/drift", dependencies=[Depends(require(reader))])
    def drift() -> Drift:
        live = pointer.current()
        if live is None:
            raise Unavailable(f"{app} has no live bundle; `trillium train {app}` makes one")
        model = store.open(str(live)).parent("model")
        reference, current, figures = told.of(model, recent(ROWS))
        return Drift(
            live=str(live),
            model=str(model.ref),
            reference=reference,
            current=current,
            fewest=FEWEST,
            moved=any(one.moved for one in figures),
            figures=figures,
        )

    return router


class _Told:
    """The last comparison: the model runs again only when a text or the live bundle is another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: tuple[str, tuple[str, ...]] | None = None
        self._found: tuple[int, int, list[Finding]] = (0, 0, [])

    def of(self, model: Artifact, texts: list[str]) -> tuple[int, int, list[Finding]]:
        """Return the texts on both sides and what was found of them."""
        with self._lock:
            asked = (str(model.ref), tuple(texts))
            if asked != self._asked:
                self._found, self._asked = _compared(model, texts), asked
            return self._found


def _compared(model: Artifact, texts: list[str]) -> tuple[int, int, list[Finding]]:
    try:
        before = Profile.load(model.path)
    except NotFound:
        return 0, len(texts), []
    if min(len(texts), len(before.lengths)) < FEWEST:
        return len(before.lengths), len(texts), []
    # A model of its own, loaded now and let go afterwards: no question waits for five hundred texts, and a
    # service that runs no model carries none.
    from shared.models.text_model import TextModel

    # The exported graph, which said what was kept: another engine's vectors and chances differ by more than
    # chance, and that is no drift of the texts.
    served = TextModel.load(model.path, threads=1, engine="onnx")
    now = profile(served, texts)
    return len(before.lengths), len(now.lengths), compare(before, now)
