"""The models API of a service: what was made, what is live, and moving it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.artifacts.live import BUNDLE, Pointer
from shared.artifacts.manifest import ASKED
from shared.artifacts.store import Artifact, ArtifactStore, Ref
from shared.errors import BadInput, NotFound
from shared.web.model_files import about, shown
from shared.web.principal import Principal, require

RUN_KINDS = frozenset({"model", "ranker"})

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(alias="next", max_length=100)]
_REF = r"^[a-z0-9][a-z0-9_-]{0,63}@[1-9][0-9]{0,8}$"
Named = Annotated[str, Path(pattern=_REF)]


class Gate(BaseModel):
    """What the gate said of a bundle."""

    passed: bool
    compared_with: str | None = None
    reason: str | None = None


class Version(BaseModel):
    """One artifact. `curves` and `evaluation` are those files of the artifact or of its model, if any."""

    ref: str
    kind: str
    created: AwareDatetime
    live: bool
    gate: Gate | None
    metrics: dict[str, Any]
    parents: dict[str, str]
    recipe_hash: str | None
    data_hash: str | None
    curves: Any = None
    evaluation: Any = None


class Detail(Version):
    """One artifact with all that its folder tells.

    The files are those of artifact `of`: the artifact itself, for a bundle its model. `recipe` is the
    resolved one; `test` the figures of a test file, `{METRIC: [value, low, high]}` with 95 % intervals, by
    head where there are several; `card` the model card as Markdown; `compressed` what `trillium compress`
    measured: `{slots, table}`, a row of the table for each engine and precision with the loss of every head.
    """

    of: str
    recipe: Any = None
    test: Any = None
    compressed: Any = None
    card: str | None = None


class Move(BaseModel):
    """One move of `live`."""

    ref: str
    moved: AwareDatetime
    by: str


class ModelsPage(BaseModel):
    """Versions, newest first; `rollback_to` is the bundle that a rollback would make live."""

    models: list[Version]
    live: str | None
    rollback_to: str | None
    history: list[Move]
    next: str | None


class Run(BaseModel):
    """One training run that ended with an artifact. `bundles` are those that pin it.

    `test` and `evaluation` are what was measured on test and on validation rows, as in `Detail`.
    """

    ref: str
    kind: str
    created: AwareDatetime
    recipe: Any = None
    recipe_hash: str | None
    data_hash: str | None
    metrics: dict[str, Any]
    curves: Any = None
    evaluation: Any = None
    test: Any = None
    seconds: float | None = None
    bundles: list[str]


class RunsPage(BaseModel):
    """Runs of the application, newest first; who may move `live` also sees those of `trillium finetune`,
    whatever they were for."""

    runs: list[Run]
    next: str | None


class Promotion(BaseModel):
    """Which bundle shall be live."""

    model_config = ConfigDict(extra="forbid")

    ref: Annotated[str, Field(pattern=_REF)]


class Moved(BaseModel):
    """What is live now, and what was before."""

    live: str
    before: str | None


def models_router(app: str, store: ArtifactStore, reader: str, admin: str) -> APIRouter:
    """Return the routes of application `app`: `reader` is the role that may look, `admin` may move live."""
    router = APIRouter(prefix="/v1", tags=["models"])
    pointer = Pointer(store, app)
    looks, moves = require(reader), require(admin)

    @router.get("/models", dependencies=[Depends(looks)])
    def models(limit: Limit = 50, cursor: Cursor = None) -> ModelsPage:
        found, following = _page(_newest_first(store, app), limit, cursor)
        state = store.pointers.read(app)
        return ModelsPage(
            models=[_version(one, state.current if state else None) for one in found],
            live=state.current if state else None,
            rollback_to=state.before[-1] if state and state.before else None,
            history=[Move.model_validate(move) for move in state.history] if state else [],
            next=following,
        )

    @router.get("/models/{ref}", dependencies=[Depends(looks)])
    def model(ref: Named) -> Detail:
        mine = {str(one.ref): one for one in _newest_first(store, app)}
        if ref not in mine:
            raise NotFound(f"{app} has no artifact {ref}; GET /v1/models lists what there is")
        state = store.pointers.read(app)
        one = mine[ref]
        source = one
        if one.manifest.kind == BUNDLE:
            source = mine.get(one.manifest.parents.get("model", ""), one)
        said = _version(one, state.current if state else None).model_dump()
        return Detail.model_validate({**said, "of": str(source.ref), **about(source)})

    @router.get("/runs")
    def runs(
        request: Request,
        caller: Annotated[Principal, Depends(looks)],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> RunsPage:
        # What was tuned for no application names files: only who answers for models may know of it.
        every = _newest_first(store, app, tuned=caller.may(admin, request.app.state.ladder))
        found, following = _page([one for one in every if one.manifest.kind in RUN_KINDS], limit, cursor)
        bundles = [one for one in every if one.manifest.kind == BUNDLE]
        return RunsPage(runs=[_run(one, bundles) for one in found], next=following)

    @router.post("/models/promote")
    def promote(wanted: Promotion, caller: Annotated[Principal, Depends(moves)]) -> Moved:
        before, ref = pointer.current(), Ref.parse(wanted.ref)
        pointer.move(ref, by=caller.name)
        return Moved(live=str(ref), before=str(before) if before else None)

    @router.post("/models/rollback")
    def rollback(caller: Annotated[Principal, Depends(moves)]) -> Moved:
        before = pointer.current()
        return Moved(live=str(pointer.rollback(by=caller.name)), before=str(before) if before else None)

    return router


def _newest_first(store: ArtifactStore, app: str, *, tuned: bool = False) -> list[Artifact]:
    """Return the artifacts of an application, with `tuned` also what `trillium finetune` made."""
    mine = [
        one
        for one in store.list()
        if one.ref.name == app
        or one.ref.name.startswith(f"{app}-")
        or (tuned and ASKED in one.manifest.extra)
    ]
    return sorted(mine, key=lambda one: (one.manifest.created, one.ref.name, one.ref.version), reverse=True)


def _page(found: list[Artifact], limit: int, cursor: str | None) -> tuple[list[Artifact], str | None]:
    refs = [str(one.ref) for one in found]
    if cursor is not None and cursor not in refs:
        raise BadInput(f"next={cursor!r} is no cursor of this list; begin again without it")
    start = refs.index(cursor) + 1 if cursor else 0
    part = found[start : start + limit]
    return part, str(part[-1].ref) if start + limit < len(found) else None


def _version(one: Artifact, live: str | None) -> Version:
    said = one.manifest.extra.get("gate")
    return Version(
        ref=str(one.ref),
        kind=one.manifest.kind,
        created=one.manifest.created,
        live=str(one.ref) == live,
        gate=Gate.model_validate(said) if isinstance(said, dict) else None,
        metrics=one.manifest.metrics,
        parents=one.manifest.parents,
        recipe_hash=one.manifest.recipe_hash,
        data_hash=one.manifest.data_hash,
        curves=shown(one, "curves.json"),
        evaluation=shown(one, "evaluation.json"),
    )


def _run(one: Artifact, bundles: list[Artifact]) -> Run:
    seconds = one.manifest.extra.get("seconds")
    return Run(
        ref=str(one.ref),
        kind=one.manifest.kind,
        created=one.manifest.created,
        recipe=one.manifest.extra.get("recipe") or shown(one, "recipe.json"),
        recipe_hash=one.manifest.recipe_hash,
        data_hash=one.manifest.data_hash,
        metrics=one.manifest.metrics,
        curves=shown(one, "curves.json"),
        evaluation=shown(one, "evaluation.json"),
        test=shown(one, "test.json"),
        seconds=seconds if isinstance(seconds, int | float) else None,
        bundles=[str(each.ref) for each in bundles if str(one.ref) in each.manifest.parents.values()],
    )
