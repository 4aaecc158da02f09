"""Fill a model's two slots with the fastest engine and precision that lose no more than a limit."""

import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from shared.artifacts.manifest import MANIFEST
from shared.errors import BadInput, Conflict, TrilliumError
from shared.finetuning import calibrate, drift, speed
from shared.finetuning.drift import Raw, Sample
from shared.finetuning.sample_texts import sample_texts
from shared.finetuning.variants import Variant, variants
from shared.models import selftest
from shared.models.batching import pad
from shared.models.card import CARD, GRAPH, TOKENIZER, ModelCard, Slot, SlotName
from shared.models.engines import Engine, usable_cores
from shared.models.heads import PAIRED, FloatArray, HeadSpec
from shared.models.text_model import TextModel, load_tokenizer
from shared.telemetry import logger

TABLE, SLOTS = "compress.json", "slots"
ROWS = 32  # texts in a measured batch
MOST_TEXTS = 2000  # neighbours are compared all with all
SECONDS = 20.0
FINALISTS = 2  # of each slot are measured on every number of threads
_LOG = logger(__name__)


@dataclass(frozen=True)
class Compressed:
    """The slots as they stand in the card, and one row of the table for each variant: `{name, engine,
    precision, path, threads, latency_ms, batch_ms, heads: {NAME: {metric, loss, …}}, alone, within,
    megabytes}`, or `{name, engine, precision, path, why}` where it can't be made here. Times are medians in
    ms a text, of one text and of a batch of 32; `alone` is how far a text's numbers move with what stands
    beside it."""

    slots: dict[SlotName, Slot]
    table: list[dict[str, Any]]
    smaller: dict[str, Any] = field(default_factory=dict)  # what `shrink` measured, where it was asked


@dataclass(frozen=True)
class _Tried:
    variant: Variant
    engine: Engine
    heads: list[HeadSpec]
    row: dict[str, Any]


@dataclass(frozen=True)
class _Bench:
    """The model folder that is being made, its exported graph, and what it is measured on."""

    out: Path
    card: ModelCard
    reference: TextModel
    sample: Sample
    encodings: list[tokenizers.Encoding]
    raw: Raw
    limit: float | None

    def model(self, engine: Engine, heads: list[HeadSpec]) -> TextModel:
        """Return the model as `engine` with these heads serves it."""
        card = self.card.model_copy(update={"heads": heads})
        return TextModel(card, load_tokenizer(self.out / TOKENIZER, card.max_tokens), engine)

    def fed(self, at: Sequence[int]) -> speed.Batch:
        """Return the texts at these positions as an engine is fed."""
        chosen = [self.encodings[i] for i in at]
        ids, mask = pad([one.ids for one in chosen], self.card.pad_id)
        types = pad([one.type_ids for one in chosen], 0)[0] if self.reference.paired else None
        return ids, mask, types

    def typical(self) -> list[int]:
        """Return the positions of up to 32 texts whose length is nearest to the median."""
        lengths = np.array([len(one.ids) for one in self.encodings])
        order = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")
        return [int(i) for i in order[:ROWS]]


def compress(
    folder: Path,
    out: Path,
    sample: Sample | None = None,
    *,
    limit: float | None = None,
    seconds: float | None = None,
) -> Compressed:
    """Write the model `folder` with both slots filled into `out`, new or empty; `folder` stays as it is.

    Every variant is judged against the exported graph (see `drift.judge`) on `sample`, else on texts that
    are made up; `limit` is the largest loss of any head, by default .05 of an embed head's neighbours and
    .003 of any other's metric. Of those within it the interactive slot takes the lowest latency of one
    text, the bulk slot the lowest time in a batch. Calibration is fitted anew for each slot where the
    sample has true labels, else carried over. `seconds` (by default 20) go into measuring speed.

    Raises NotFound for no model, BadInput for one without a fast tokenizer or a sample that does not fit,
    Conflict when `out` has files or the written result loses more than the limit.
    """
    seconds = SECONDS if seconds is None else seconds
    card = _readable(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Conflict(f"{out} has files; give a folder that is new or empty")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
    try:
        shutil.copytree(folder, aside, ignore=shutil.ignore_patterns(MANIFEST, SLOTS, TABLE))
        made = _measured(_bench(aside, card, sample, limit), seconds)
        aside.rename(out)  # takes the place of an empty folder too
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return made


def _measured(bench: _Bench, seconds: float) -> Compressed:
    tried, table = _try_all(bench)
    typical = bench.typical()
    singles, whole = [bench.fed([at]) for at in typical], bench.fed(typical)
    quick = speed.measure({t.variant.name: t.engine for t in tried}, singles, whole, seconds=seconds / 2)
    for one in tried:
        one.row.update({name: round(value, 4) for name, value in quick[one.variant.name]._asdict().items()})
    slots = _choose(bench, [t for t in tried if t.row["within"]], singles, whole, seconds / 2)
    _finish(bench, slots, table)
    _verify(bench)
    return Compressed(slots, table)


def _readable(folder: Path) -> ModelCard:
    card = ModelCard.read(folder)
    for file in (TOKENIZER, GRAPH):
        if not (folder / file).is_file():
            raise BadInput(
                f"{folder} has no {file}, so it can't be served without torch; serve it with "
                "TRILLIUM_RUNTIME__ENGINE=torch, or train from a base with a fast tokenizer"
            )
    return card


def _bench(out: Path, card: ModelCard, sample: Sample | None, limit: float | None) -> _Bench:
    paired = any(head.kind in PAIRED for head in card.heads)
    if sample is None:
        texts = sample_texts()
        sample = Sample(texts, texts[::-1] if paired else None)
    if paired != (sample.pairs is not None):
        raise BadInput("this model reads pairs of texts" if paired else "this model reads single texts")
    if len(sample.texts) <= drift.NEIGHBOURS:
        raise BadInput(f"{len(sample.texts)} texts are too few to measure on; give at least 11, better 200")
    sample = sample.cut(MOST_TEXTS)
    engine = variants()[0].open(out, usable_cores())
    reference = TextModel(card, load_tokenizer(out / TOKENIZER, card.max_tokens), engine)
    selftest.check(out, reference.probe)
    encodings = sample.encode(reference)
    return _Bench(out, card, reference, sample, encodings, reference.raw(encodings), limit)


def _try_all(bench: _Bench) -> tuple[list[_Tried], list[dict[str, Any]]]:
    samples = [bench.fed([at]) for at in range(min(len(bench.encodings), 300))]
    tried, table = [], []
    for variant in variants():
        row: dict[str, Any] = {
            "name": variant.name, "engine": variant.engine, "precision": variant.precision,
            "path": variant.path,
        }  # fmt: skip
        table.append(row)
        try:
            variant.build(bench.out, samples)
            engine = variant.open(bench.out, usable_cores())
        except (TrilliumError, RuntimeError, ValueError) as error:  # of the quantisers: the next one may work
            row["why"] = str(error)
            _LOG.warning("a variant can't be made here", variant=variant.name, why=str(error))
            continue
        tried.append(_judged(bench, variant, engine, row))
        _LOG.info("measured drift", variant=variant.name, within=row["within"])
    return tried, table


def _judged(bench: _Bench, variant: Variant, engine: Engine, row: dict[str, Any]) -> _Tried:
    plain = bench.model(engine, bench.card.heads)
    got = plain.raw(bench.encodings)
    heads = [_calibrated(head, bench.sample, got.get(name)) for name, head in plain.heads.items()]
    model = bench.model(engine, heads)
    judged = drift.judge(bench.reference, model, bench.sample, bench.raw, got)
    alone = model.raw(bench.encodings[:1])
    row.update(
        threads=usable_cores(),
        heads={name: _rounded(one) for name, one in judged.items()},
        within=drift.passes(judged, bench.reference.heads, bench.limit),
        alone=round(max(_apart(alone[name][0], got[name][0]) for name in alone), 5),
        megabytes=round(sum(file.stat().st_size for file in _files(bench.out, variant.path)) / 1e6, 1),
    )
    return _Tried(variant, engine, heads, row)


def _apart(alone: FloatArray, together: FloatArray) -> float:
    return selftest.deviation(alone, together[: len(alone)])


def _rounded(judged: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 5) if isinstance(value, float) else value for name, value in judged.items()}


def _calibrated(head: HeadSpec, sample: Sample, logits: FloatArray | None) -> HeadSpec:
    """Return the head with its calibration fitted on these numbers where the truth is known."""
    truth = sample.truth.get(head.name)
    if not truth or logits is None or len(truth) < calibrate.MIN_ROWS:
        return head
    table, own = drift.marked(head, truth).astype(np.float64), logits[: len(truth)]
    targets = table.argmax(1).astype(np.float64) if head.kind == "classify" else table
    head = head.model_copy(update={"temperature": calibrate.temperature(head, own, targets)})
    if head.kind == "multilabel":
        return head.model_copy(update={"thresholds": calibrate.thresholds(head.decode(own), targets)})
    return head.model_copy(update={"set_cut": calibrate.set_cut(head.decode(own), targets)})


def _choose(
    bench: _Bench,
    within: Sequence[_Tried],
    singles: Sequence[speed.Batch],
    whole: speed.Batch,
    seconds: float,
) -> dict[SlotName, Slot]:
    """Return the slots: the finalists of each, on the number of threads they are quickest with."""
    orders: dict[SlotName, str] = {"interactive": "latency_ms", "bulk": "batch_ms"}
    finalists = {
        one.variant.name: one
        for order in orders.values()
        for one in sorted(within, key=lambda t: t.row[order])[:FINALISTS]
    }
    counts = speed.thread_counts(usable_cores())
    engines = {(name, n): t.variant.open(bench.out, n) for name, t in finalists.items() for n in counts}
    labels = {f"{name} x {n}": (name, n) for name, n in engines}
    quick = speed.measure(
        {label: engines[key] for label, key in labels.items()}, singles, whole, seconds=seconds
    )
    slots: dict[SlotName, Slot] = {}
    for slot, order in orders.items():
        best = min(labels, key=lambda label: getattr(quick[label], order))
        name, threads = labels[best]
        slots[slot] = _slot(bench, finalists[name], slot, threads, engines[name, threads])
    return slots


def _slot(bench: _Bench, one: _Tried, name: SlotName, threads: int, engine: Engine) -> Slot:
    """Return the slot and write its self-test. Outputs on another processor may be as far from the stored
    ones as these are from the exported graph's: that much is rounding, more is another model."""
    model = bench.model(engine, one.heads)
    file = f"{SLOTS}/{name}.selftest.json"
    (bench.out / SLOTS).mkdir(exist_ok=True)
    selftest.write(bench.out, model.probe, file)
    exported, own = bench.reference.probe(selftest.TEXTS), model.probe(selftest.TEXTS)
    off = max(selftest.deviation(own[head], exported[head]) for head in exported)
    labelled = [head for head in one.heads if head.labels]
    return Slot(
        engine=one.variant.engine,
        precision=one.variant.precision,
        path=one.variant.path,
        threads=threads,
        self_test=file,
        tolerance=max(selftest.TOLERANCE, 2 * off),
        temperatures={head.name: head.temperature for head in labelled},
        thresholds={head.name: head.thresholds for head in labelled if head.thresholds is not None},
        set_cuts={head.name: head.set_cut for head in labelled if head.set_cut is not None},
    )


def _finish(bench: _Bench, slots: dict[SlotName, Slot], table: list[dict[str, Any]]) -> None:
    """Write card and table, and remove the graphs that no slot serves."""
    used = {slot.path for slot in slots.values()}
    for folder in (bench.out / SLOTS).iterdir():
        if folder.is_dir() and not any(path.startswith(f"{SLOTS}/{folder.name}/") for path in used):
            shutil.rmtree(folder)
    card = bench.card.model_copy(update={"slots": slots})
    (bench.out / CARD).write_text(card.model_dump_json(indent=1), "utf-8")
    chosen = {name: slot.model_dump(mode="json") for name, slot in slots.items()}
    (bench.out / TABLE).write_text(json.dumps({"slots": chosen, "table": table}, indent=1), "utf-8")


def _verify(bench: _Bench) -> None:
    """Load both slots as serving does and judge them once more; raises Conflict over the limit."""
    names: tuple[SlotName, ...] = ("interactive", "bulk")
    for name in names:
        model = TextModel.load(bench.out, slot=name)
        judged = drift.judge(bench.reference, model, bench.sample, bench.raw, model.raw(bench.encodings))
        if not drift.passes(judged, bench.reference.heads, bench.limit):
            lost = ", ".join(f"{head} {one['loss']:.4f} of {one['metric']}" for head, one in judged.items())
            raise Conflict(f"the {name} slot loses more than the limit: {lost}; nothing is published")


def _files(out: Path, path: str) -> list[Path]:
    graph = out / path
    return [one for one in graph.parent.iterdir() if one.stem.split(".")[0] == graph.stem and one.is_file()]
