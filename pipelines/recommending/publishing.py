"""Import, learn, judge, publish: what `train`, `index` and `work` of the recommender do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.flow import Workplace, data_hash, publish
from pipelines.gate import Verdict, check_index, compare_rankings
from pipelines.recommending.cases import before, cuts_by_share
from pipelines.recommending.encoders import Candidate, frozen, store_model, tuned, whitened
from pipelines.recommending.learning import VARIANTS, Data, Plan, judge, plan, with_weights, world_of
from pipelines.recommending.measuring import Measured, measure, product
from pipelines.recommending.pairs import pairs
from pipelines.recommending.reading import Events, read_events, read_items
from services.recommender.bundle import (
    INDEX,
    MATRIX,
    MODEL,
    RANKER,
    RANKING,
    Ranking,
    load_model,
    load_ranker,
)
from services.recommender.domain import FloatArray
from services.recommender.events import Like
from services.recommender.store import ItemRow, add_events, catalogue_rows, ledger, open_database, to_document
from shared.artifacts.store import Artifact, Ref
from shared.clock import SystemClock
from shared.errors import BadInput, NotFound
from shared.finetuning.recipe import Recipe
from shared.index import flat
from shared.index.flat import FlatIndex
from shared.models.encoder import Encoder
from shared.storage.engine import Database
from shared.storage.migrate import open_checked
from shared.telemetry import logger

_LOG = logger(__name__)
_BATCH = 5_000  # events per transaction: a kill loses little, and the write lock is never held for long


@dataclass(frozen=True)
class Inputs:
    """What a training is given."""

    items: Path
    events: Path
    like: Like | None
    recipe: Recipe


def run(place: Workplace, inputs: Inputs, *, promote: bool, progress: bool = True) -> dict[str, Any]:
    """Train on `inputs` and publish a bundle; returns what `publish` does."""
    live = place.live()
    with open_checked(open_database(place.settings)) as db:
        items, _ = read_items(inputs.items, place.settings.home)
        events = read_events(inputs.events, place.settings.home, SystemClock().now())
        store_items(db, inputs.items, [to_document(item) for item in items])
        store_events(db, events)
        rows, head = catalogue_of(db)
        data = Data([row.id for row in rows], events.acts, cuts_by_share(events.acts), inputs.like)
        chosen = choose_encoder(place, db, rows, data, inputs, events, progress=progress)
        judged = judge(data, chosen.ranking, chosen.candidate.vectors)
        old = _live_figures(live, db, rows, data, chosen.ranking.repeats)
        verdict = verdict_of(judged, old, str(live.ref) if live else "live", chosen)
        parts = _store_parts(place, chosen, data, head, inputs, verdict)
    return publish(place, parts=parts, verdict=verdict, promote=promote)


@dataclass(frozen=True)
class Chosen:
    """The encoder that won on validation, its ranking, and what all candidates reached there."""

    candidate: Candidate
    ranking: Ranking
    made: Plan
    valid: dict[str, float]
    report: dict[str, Any]


def choose_encoder(
    place: Workplace,
    db: Database,
    rows: Sequence[ItemRow],
    data: Data,
    inputs: Inputs,
    events: Events,
    *,
    progress: bool,
) -> Chosen:
    """Return the better of the frozen and the tuned encoder, both whitened, by validation nDCG@20.

    The frozen one stays unless the tuned one is better: tuning must earn its place.
    """
    texts, titles = {row.id: row.text for row in rows}, {row.id: row.title for row in rows}
    seed = inputs.recipe.train.seed
    past = before(data.acts, data.cuts.valid)
    train, valid = pairs(past, texts, titles, like=data.like, ordered=events.ordered, seed=seed)
    key = data_hash(inputs.items, inputs.events, str(data.like))
    fixed = inputs.recipe.method.kind == "frozen"
    done = None if fixed else tuned(place, inputs.recipe, train, valid, key, progress=progress)
    folders = {"frozen": frozen(place, inputs.recipe.base)} | ({"tuned": done[0]} if done else {})
    made = plan(data)
    best: tuple[float, Candidate, Ranking] | None = None
    reached = {}
    for name, folder in folders.items():
        candidate = whitened(name, folder, db, rows)
        ranking, value = with_weights(data, made, candidate.vectors)
        reached[name] = round(value, 4)
        _LOG.info("encoder measured", encoder=name, ndcg_at_20=reached[name])
        if best is None or value > best[0]:
            best = value, candidate, ranking
    assert best is not None  # noqa: S101 - the frozen one is always there
    return Chosen(best[1], best[2], made, reached, {"pairs": len(train), **(done[1] if done else {})})


def verdict_of(judged: dict[str, Measured], old: Measured | None, live_name: str, chosen: Chosen) -> Verdict:
    """Judge on the test part: against live, or against the best of popularity and item-kNN."""
    plain = max(("popularity", "item-kNN", "item-kNN, recency"), key=lambda n: judged[n].ndcg.mean())
    verdict = compare_rankings(
        judged["product"].ndcg.tolist(),
        old.ndcg.tolist() if old else None,
        judged[plain].ndcg.tolist(),
        live_name=live_name,
        plain_name=plain,
    )
    shown = {
        name: {
            "ndcg_at_20": round(float(m.ndcg.mean()), 4),
            "recall_at_20": round(float(m.recall.mean()), 4),
            "coverage": round(m.coverage, 4),
        }
        for name, m in judged.items()
    }
    # "test" holds the product beside the plain methods, "variants" what is no method of its own.
    verdict.metrics["test"] = {name: one for name, one in shown.items() if name not in VARIANTS}
    verdict.metrics["variants"] = {name: shown[name] for name in VARIANTS}
    verdict.metrics["validation"] = {"encoders": chosen.valid, "matrices": chosen.made.tried}
    verdict.metrics["encoder"] = chosen.candidate.name
    verdict.metrics["seen_items"] = "kept" if chosen.ranking.repeats else "left out"
    return verdict


def _live_figures(
    live: Artifact | None, db: Database, rows: Sequence[ItemRow], data: Data, repeats: bool
) -> Measured | None:
    """Return what live's encoder and settings reach on the same users, with the matrix learned anew.

    Learned from the same events as the candidate's: a live matrix that has seen the test part would
    win every comparison.
    """
    from services.recommender.catalogue import encode_rows

    if live is None or RANKER not in live.manifest.parents:
        return None
    ranking, _ = load_ranker(live)
    vectors = encode_rows(db, load_model(live.parent(MODEL).path), rows)
    cut = data.cuts.test
    world = world_of(data, vectors, data.matrix(ranking.matrix, cut), data.popularity(ranking.window, cut))
    return measure(product(world, ranking.weights), data.test, data.ids, repeats=repeats)


def _store_parts(
    place: Workplace, chosen: Chosen, data: Data, head: int, inputs: Inputs, verdict: Verdict
) -> dict[str, Ref]:
    digest = data_hash(inputs.items, inputs.events)
    recipe_hash = chosen.report.get("recipe_hash") or inputs.recipe.hash()
    model = store_model(
        place,
        chosen.candidate,
        recipe_hash=recipe_hash,
        data_hash=digest,
        metrics={"validation": chosen.valid},
        base=inputs.recipe.base,
        tuning=chosen.report,
        ledger=identity_of(place),
        sequence=head,
    )
    vectors = chosen.candidate.vectors
    index = store_index(place, model, chosen.candidate.encoder, data.ids, vectors, head)
    matrix = data.matrix(chosen.ranking.matrix, None)  # what serves has learned from all events
    with place.store.create(
        "recommender-ranker", "ranker", recipe_hash=recipe_hash, data_hash=digest
    ) as draft:
        matrix.save(draft.path / MATRIX)
        (draft.path / RANKING).write_text(chosen.ranking.model_dump_json(indent=1), "utf-8")
        draft.metrics = {"ndcg_at_20": verdict.metrics.get("ndcg_at_20")}
    return {MODEL: model, INDEX: index, RANKER: draft.artifact.ref}


def store_index(
    place: Workplace, model: Ref, encoder: Encoder, ids: Sequence[str], vectors: FloatArray, sequence: int
) -> Ref:
    """Store the index of `vectors` (one row per id) as of `sequence`."""
    index = FlatIndex(encoder.dim)
    if ids:
        index.add(ids, vectors)
    with place.store.create(place.index_name, "index", parents={MODEL: model}) as draft:
        index.save(draft.path, encoder.fingerprint, sequence)
        draft.metrics = {"items": len(ids)}
        draft.extra = {"ledger": identity_of(place)}
    return draft.artifact.ref


def identity_of(place: Workplace) -> str:
    """Return which items table this is: the sequence numbers of another one mean nothing here."""
    with open_checked(open_database(place.settings)) as db, db.read() as session:
        return ledger().identity(session)


def index_items(
    place: Workplace, path: Path, remove: Sequence[str], *, base: str | None, promote: bool
) -> dict[str, Any]:
    """Import the items of `path`, remove those named, and publish their index."""
    items, table = read_items(path, place.settings.home)
    with open_checked(open_database(place.settings)) as db:
        store_items(db, path, [to_document(item) for item in items], remove)
        result = _reindex(place, db, base or "all-MiniLM-L6-v2", promote=promote)
    result["metrics"] = {**result["metrics"], "rejected": len(table.rejected)}
    return result


def compact(place: Workplace) -> dict[str, Any] | None:
    """Fold what changed since the live index into a new one; None when there is nothing to do."""
    live = place.live()
    if live is None:
        raise NotFound("recommender has no live bundle; run `trillium index recommender PATH` first")
    with open_checked(open_database(place.settings)) as db:
        with db.read() as session:
            head = ledger().head(session)
        encoder = load_model(live.parent(MODEL).path)
        known = live.parent(INDEX)
        same = known.manifest.extra.get("ledger") == identity_of(place)
        if same and head == flat.load(known.path, encoder.fingerprint)[1].sequence:
            return None
        return _reindex(place, db, "", promote=True)


def _reindex(place: Workplace, db: Database, base: str, *, promote: bool) -> dict[str, Any]:
    """Publish the index of all items, by live's model, or by the frozen `base` when there is none."""
    from services.recommender.catalogue import encode_rows

    live, (rows, head) = place.live(), catalogue_of(db)
    if live is not None:
        model = Ref.parse(live.manifest.parents[MODEL])
        encoder: Encoder = load_model(live.parent(MODEL).path)
        vectors = encode_rows(db, encoder, rows)
        parts: dict[str, Ref] = {}
    else:
        made = whitened("frozen", frozen(place, base), db, rows)
        model = store_model(place, made, base=base, ledger=identity_of(place), sequence=head)
        encoder, vectors, parts = made.encoder, made.vectors, {MODEL: model}
    ids = [row.id for row in rows]
    parts[INDEX] = store_index(place, model, encoder, ids, vectors, head)
    index, meta = flat.load(place.store.open(str(parts[INDEX])).path, encoder.fingerprint)
    texts = {row.id: row.text for row in rows}
    verdict = check_index(
        index,
        ids,
        encoder=encoder.fingerprint,
        built_with=meta.encoder,
        encode=lambda some: encoder.embed([texts[item_id] for item_id in some]),
    )
    return publish(place, parts=parts, verdict=verdict, promote=promote)


def store_items(db: Database, path: Path, documents: Sequence[Any], remove: Sequence[str] = ()) -> None:
    """Make `documents` what there is of `path`, and remove the items named; NotFound for an unknown one."""
    with db.write() as session:
        ledger().sync_path(session, str(path.resolve()), documents)
        if remove and ledger().delete(session, remove) < len(set(remove)):
            raise NotFound(f"not all of {', '.join(remove)} are items; nothing was changed")


def store_events(db: Database, events: Events) -> int:
    """Store the events that are not there yet; returns how many."""
    added, now = 0, SystemClock().now()
    for start in range(0, len(events.acts), _BATCH):
        piece = slice(start, start + _BATCH)
        with db.write() as session:
            added += add_events(session, events.acts[piece], now, events.event_ids[piece])
    return added


def catalogue_of(db: Database) -> tuple[list[ItemRow], int]:
    """Return all items by id, and the sequence number that they are at; raises BadInput for none."""
    rows, head = catalogue_rows(db)
    if not rows:
        raise BadInput("no item is left; import some with `trillium index recommender PATH`")
    return rows, head
