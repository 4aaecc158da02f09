"""Train, index, judge, publish: what the commands of support do."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from pipelines.answering.documents import Found, read_documents
from pipelines.answering.learning import learnt
from pipelines.answering.limits import cut, foreign_questions
from pipelines.answering.tickets import Tickets, read_tickets
from pipelines.flow import Workplace, publish, step
from pipelines.gate import Verdict, check_index, compare_classifiers
from pipelines.serving_slots import with_slots
from services.support.bundle import INDEX, LIMITS, MODEL, Model, load_model
from services.support.decide import Limits
from services.support.domain import FloatArray
from services.support.intents import HEAD
from services.support.knowledge import Knowledge, Snapshot, encode_chunks
from services.support.store import ledger, open_database
from shared.artifacts.store import Artifact, Ref
from shared.errors import NotFound, UsageError
from shared.evaluation.baselines import tfidf_svm
from shared.evaluation.classification import accuracy
from shared.finetuning import cards
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.index import flat
from shared.index.flat import FlatIndex
from shared.models.text_model import TextModel
from shared.storage.engine import Database
from shared.storage.migrate import open_checked
from shared.telemetry import logger

SURE = 0.25  # share of validation questions whose nearest passage is no nearer than an unknown one needs
OWN = "questions.npy"  # vectors of validation questions: they set the limits, their texts stay out
_LOG = logger(__name__)


def train(
    place: Workplace, tickets: Path, recipe: Recipe, *, promote: bool, progress: bool = True
) -> dict[str, Any]:
    """Fine-tune on tickets, judge against live or the plain method, index anew, publish."""
    _check(recipe)
    live = place.live()
    rows = read_tickets(tickets, place.settings.home, seed=recipe.train.seed)
    tuned, report = _tuned(place, recipe, rows, progress=progress)
    # Before limits and verdict: they hold for the engine that answers.
    folder = with_slots(place, recipe, tuned, rows.sha256, "question", rows.valid, rows.train)
    model = TextModel.load(folder)
    verdict = judge(model, rows, live)
    verdict.metrics["validation"] = report["metrics"]
    with place.store.create(
        place.model_name, MODEL, recipe_hash=report["recipe_hash"], data_hash=rows.sha256
    ) as draft:
        shutil.copytree(folder, draft.path, dirs_exist_ok=True)
        intents, own = learnt(model, rows)
        intents.save(draft.path)
        np.save(draft.path / OWN, own)
        draft.metrics = report["metrics"]
        draft.extra = {"base": recipe.base, "seconds": report["seconds"], "rows": len(rows.train)}
        cards.write(draft.path, place.model_name)
    return _publish(place, draft.artifact, verdict, promote=promote)


def _check(recipe: Recipe) -> None:
    kinds = [head.kind for head in recipe.heads.values()]
    if HEAD not in recipe.heads or recipe.heads[HEAD].kind != "classify" or "embed" not in kinds:
        raise UsageError(
            f"the recipe has the heads {', '.join(recipe.heads) or 'none'}; support needs one named {HEAD!r} "
            "of kind classify and one of kind embed"
        )


def index(
    place: Workplace, path: Path | None, remove: list[str], *, base: str | None, promote: bool
) -> dict[str, Any]:
    """Import documents, build the index with live's model or the frozen base, publish."""
    live = place.live()
    found = read_documents(path, place.settings.home) if path else Found()
    with open_checked(open_database(place.settings)) as db:
        changed, deleted = _import(db, path, found, remove)
    model = live.parent(MODEL) if live and base is None else _frozen(place, base)
    result = _publish(place, model, None, promote=promote)
    told: dict[str, Any] = {"changed": changed, "deleted": deleted}
    if found.rejected:
        told["rejected"] = [{"file": name, "why": why} for name, why in found.rejected]
        told["note"] = "nothing was deleted, since not every file could be read"
    return {**result, "documents": told}


def compact(place: Workplace) -> dict[str, Any] | None:
    """Fold changes made since live's index into a new one; None when there are none, or no index yet."""
    live = place.live()
    if live is None or INDEX not in live.manifest.parents:
        return None
    with open_checked(open_database(place.settings)) as db, db.read() as session:
        head, same = ledger().head(session), ledger().identity(session)
    extra = live.parent(INDEX).manifest.extra
    if extra.get("sequence") == head and extra.get("ledger") == same:
        return None
    return _publish(place, live.parent(MODEL), None, promote=True)


def _import(db: Database, path: Path | None, found: Found, remove: list[str]) -> tuple[int, int]:
    deleted = 0
    changed = 0
    with db.write() as session:
        if path is not None:
            changed, deleted = _synced(session, str(path.resolve()), found)
        if remove:
            gone = ledger().delete(session, remove)
            if not gone and path is None:
                raise NotFound(f"there is no document {remove[0]!r}; GET /v1/documents lists them")
            deleted += gone
    return changed, deleted


def _synced(session: Session, source: str, found: Found) -> tuple[int, int]:
    """Write what was read; what is gone is deleted only where every file could be read.

    Which documents a broken file held can't be known: none of them may be lost for it.
    """
    if found.rejected:
        given = [replace(document, source_path=source) for document in found.documents]
        return ledger().upsert(session, given), 0
    done = ledger().sync_path(session, source, found.documents)
    return done.changed, done.deleted


def _tuned(place: Workplace, recipe: Recipe, rows: Tickets, *, progress: bool) -> tuple[Path, dict[str, Any]]:
    from shared.finetuning.train import finetune

    sources = {head.data for head in recipe.heads.values() if head.data}

    def make(folder: Path) -> dict[str, Any]:
        given = {name: Rows(rows.train, rows.valid) for name in sorted(sources)}
        work = place.work / "checkpoints"
        report = finetune(recipe, given, folder, home=place.settings.home, work=work, progress=progress)
        return {"seconds": report.seconds, "metrics": report.metrics, "recipe_hash": report.recipe_hash}

    done = step(place.work, "tuned", {"recipe": recipe.hash(), "data": rows.sha256}, make)
    return done.folder, dict(done.result)


def _frozen(place: Workplace, base: str | None) -> Artifact:
    from shared.finetuning.recipe import DEFAULT_BASE
    from shared.finetuning.train import export_frozen

    with place.store.create(place.model_name, MODEL) as draft:
        export_frozen(base or DEFAULT_BASE, draft.path, home=place.settings.home)
        draft.extra = {"base": base or DEFAULT_BASE, "frozen": True}
    return draft.artifact


def judge(model: TextModel, rows: Tickets, live: Artifact | None) -> Verdict:
    """Judge the intents on the test part."""
    texts, truth = [row["question"] for row in rows.test], [row["intent"] for row in rows.test]
    said = _intents(model, texts)
    old = TextModel.load(live.parent(MODEL).path) if live else None
    same = old is not None and HEAD in old.heads and old.heads[HEAD].labels == model.heads[HEAD].labels
    plain = tfidf_svm([row["question"] for row in rows.train], [row["intent"] for row in rows.train], texts)
    verdict = compare_classifiers(
        said,
        _intents(old, texts) if same and old is not None else None,
        plain,
        truth,
        live_name=str(live.ref) if live else "live",
    )
    verdict.metrics["accuracy"] = round(accuracy(truth, said), 4)
    verdict.metrics["plain"]["accuracy"] = round(accuracy(truth, plain), 4)
    return verdict


def _intents(model: TextModel, texts: list[str]) -> list[str]:
    labels = model.heads[HEAD].labels
    return [labels[int(i)] for i in model.run(texts, query=True).probabilities[HEAD].argmax(1)]


@dataclass(frozen=True)
class _Indexed:
    ref: Ref | None
    index: FlatIndex
    verdict: Verdict


def _publish(place: Workplace, model: Artifact, verdict: Verdict | None, *, promote: bool) -> dict[str, Any]:
    """Index the documents with `model` and publish both; the model's verdict decides, then the index's."""
    threads = place.settings.runtime.threads
    with open_checked(open_database(place.settings)) as db:
        made = _index(place, db, load_model(model.path, threads, slot="bulk"), model.ref)
    # The limits are for questions, which the interactive slot encodes.
    limits = _limits(model, load_model(model.path, threads), made.index)
    if verdict is None:
        verdict = replace(made.verdict, metrics={})
    elif verdict.passed and not made.verdict.passed:
        verdict = replace(made.verdict, metrics=verdict.metrics)
    verdict = replace(verdict, metrics={**verdict.metrics, "index": made.verdict.metrics})
    parts = {MODEL: model.ref} | ({INDEX: made.ref} if made.ref else {})
    files = {LIMITS: limits.model_dump_json(indent=1).encode()}
    return publish(place, parts=parts, files=files, verdict=verdict, promote=promote)


def _index(place: Workplace, db: Database, encoder: Model, model: Ref) -> _Indexed:
    knowledge = Knowledge(FlatIndex(encoder.dim), Snapshot(0, ""), encoder)
    knowledge.catch_up(db)
    with db.read() as session:
        head, identity = ledger().head(session), ledger().identity(session)
    chunks = {name: piece for name, (_, piece) in knowledge.chunks.items()}
    assert isinstance(knowledge.index, FlatIndex)  # noqa: S101 - made above
    if not identity:
        return _Indexed(None, knowledge.index, Verdict(True, "nothing", metrics={"rows": 0}))
    with place.store.create(place.index_name, INDEX, parents={MODEL: model}) as draft:
        knowledge.index.save(draft.path, encoder.fingerprint, head)
        draft.extra = {
            "sequence": head,
            "ledger": identity,
            "documents": len(knowledge.documents),
            "chunks": len(chunks),
            "encoder": encoder.fingerprint,
        }
    saved, meta = flat.load(draft.artifact.path, encoder.fingerprint)
    verdict = check_index(
        saved,
        list(chunks),
        encoder=encoder.fingerprint,
        built_with=meta.encoder,
        encode=lambda ids: encode_chunks(db, encoder, [chunks[name] for name in ids]),
    )
    return _Indexed(draft.artifact.ref, saved, verdict)


def _limits(model: Artifact, encoder: Model, index: FlatIndex) -> Limits:
    """Return the cut between passages that may answer and those that may not."""
    if not len(index):
        return Limits(passage=1.0, how="no documents yet")
    foreign = _best(index, encoder.embed(list(foreign_questions()), query=True))
    file = model.path / OWN
    own = _best(index, np.load(file, allow_pickle=False)) if file.is_file() else np.zeros(0, np.float32)
    how = f"{len(own)} validation questions against {len(foreign)} foreign ones"
    sure = round(float(np.quantile(own, SURE)), 4) if len(own) else None
    return Limits(passage=cut(own, foreign), sure=sure, how=how)


def _best(index: FlatIndex, vectors: FloatArray) -> FloatArray:
    return np.array([hits[0].score for hits in index.search(vectors, 1)], np.float32)
