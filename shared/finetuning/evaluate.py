"""A served model on labelled rows: calibration on validation rows, and figures with intervals on any."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.evaluation import answers, classification, detection, entities, ranking, regression
from shared.evaluation.classification import Interval
from shared.evaluation.resampling import as_codes, interval
from shared.finetuning import calibrate, export, profiling
from shared.finetuning.examples import Example
from shared.finetuning.outputs import (
    Said,
    answer,
    entities_of,
    grades,
    said_by,
    span_logits,
    stacked,
    tag_spans,
)
from shared.finetuning.validate import measure, ranked_positives
from shared.models import selftest
from shared.models.heads import GRADED, FloatArray, HeadSpec
from shared.models.text_model import TextModel

Figures = dict[str, Interval]
FEW_DRAWS = 300  # of figures on validation rows, where the third digit of a bound says nothing
MOST_PAIRS = 5000  # of an embed head: every anchor is compared with every positive


def calibrate_served(
    served: TextModel, out: Path, valid: Sequence[Example], held: Sequence[Said] | None = None
) -> dict[str, dict[str, Any]]:
    """Fit temperatures and thresholds on the served outputs, write them into the model folder `out`, and
    return the evaluation on the same rows, by head.

    `held` is what another model said of the rows, where the served one has learnt from them. What was said
    is also kept in `reference.npy` (see `shared.models.reference`).

    classify has `rows`, `labels`, `accuracy`, `macro_f1`, `ece` (and `ece_before` the calibration),
    `temperature`, `confusion` counts (true, predicted), `reliability` bins and, from 20 rows on, `sets`: the
    share `promised` and the `coverage` and mean `size` of label sets on rows that did not set their cut;
    multilabel `rows` and `micro_f1`; score and similarity `rows`, `score`, `ece`, `ece_before`, `temperature`
    and `reliability`, of "they belong together" from .5 on; embed `rows` and `mrr`; the others `rows` and
    `score` as while training, tag also a `report` of precision, recall, f1 and support by kind of entity. All
    but embed have `intervals`, `figures` of these rows as {METRIC: [value, low, high]}.
    """
    said = said_by(served, valid) if held is None else held
    heads, evaluation = [], {}
    for spec in served.heads.values():
        chosen = [i for i, row in enumerate(valid) if spec.name in row.targets]
        if chosen:
            own, told = [valid[i] for i in chosen], [said[i] for i in chosen]
            spec, evaluation[spec.name] = _evaluated(spec, own, told, served)
            if spec.kind != "embed":
                evaluation[spec.name]["intervals"] = _intervals(spec, own, told, served)
        heads.append(spec)
    export.with_heads(out, heads)
    profiling.keep(served, heads, valid, said, out, vectors=held is None)
    selftest.check(out, TextModel.open(out).probe)
    return evaluation


def _evaluated(
    spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said], served: TextModel
) -> tuple[HeadSpec, dict[str, Any]]:
    if spec.kind == "embed":
        ranked, right = ranked_positives(
            stacked(said, spec.name), [row.targets[spec.name] for row in rows], served.embed
        )
        return spec, {"rows": len(rows), "mrr": ranking.mrr(ranked, right)}
    if spec.kind in GRADED:
        return _graded(spec, rows, said)
    if spec.kind not in ("classify", "multilabel"):
        found: dict[str, Any] = {"rows": len(rows), "score": measure(spec, rows, said)[0]}
        if spec.kind == "tag":
            report = entities.entity_report(*_entities_by_row(spec, rows, said))
            found["report"] = {label: one._asdict() for label, one in report.items()}
        return spec, found
    logits, targets = (
        stacked(said, spec.name),
        np.asarray([row.targets[spec.name] for row in rows], np.float64),
    )
    before = spec
    spec = spec.model_copy(update={"temperature": calibrate.temperature(spec, logits, targets)})
    if spec.kind == "multilabel":
        spec = spec.model_copy(update={"thresholds": calibrate.thresholds(spec.decode(logits), targets)})
        decided = spec.decode(logits) >= np.asarray(spec.thresholds)
        return spec, {"rows": len(rows), "micro_f1": classification.micro_f1(targets > 0, decided)}
    probabilities = spec.decode(logits)
    spec = spec.model_copy(update={"set_cut": calibrate.set_cut(probabilities, targets)})
    found = _classified(spec, logits, targets)
    found["ece_before"] = _classified(before, logits, targets)["ece"]
    if spec.set_cut is not None:
        held = calibrate.set_coverage(probabilities, targets)
        found["sets"] = {"promised": 1 - calibrate.MISS, **held._asdict()}
    return spec, found


def _graded(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> tuple[HeadSpec, dict[str, Any]]:
    logits, wanted = stacked(said, spec.name), grades(spec, rows)
    fitted = calibrate.temperature(spec, logits, wanted[:, None].astype(np.float64))
    right = (spec.decode(logits) >= 0.5) == (wanted > 0.5)  # the same at any temperature
    after = spec.model_copy(update={"temperature": fitted})
    before, sure = (
        np.maximum(p, 1 - p) for p in (one.decode(logits).astype(np.float64) for one in (spec, after))
    )
    return after, {
        "rows": len(rows),
        "score": measure(spec, rows, said)[0],
        "ece": classification.expected_calibration_error(sure, right),
        "ece_before": classification.expected_calibration_error(before, right),
        "temperature": fitted,
        "reliability": classification.reliability(sure, right),
    }


def _intervals(
    spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said], served: TextModel
) -> dict[str, list[float]]:
    measured = _FIGURES[spec.kind](spec, rows, said, served)
    found = {
        title: interval(metric, *columns, draws=FEW_DRAWS) for title, (metric, *columns) in measured.items()
    }
    return {title: list(values) for title, values in found.items() if np.isfinite(values).all()}


def _classified(spec: HeadSpec, logits: FloatArray, targets: Any) -> dict[str, Any]:
    probabilities = spec.decode(logits)
    truth = [spec.labels[int(t)] for t in targets]
    said = [spec.labels[int(p)] for p in probabilities.argmax(1)]
    right = np.asarray([t == s for t, s in zip(truth, said, strict=True)])
    confidence = probabilities.max(1).astype(np.float64)
    return {
        "rows": len(truth),
        "labels": spec.labels,
        "accuracy": classification.accuracy(truth, said),
        "macro_f1": classification.macro_f1(truth, said),
        "ece": classification.expected_calibration_error(confidence, right),
        "temperature": spec.temperature,
        "confusion": classification.confusion(truth, said, spec.labels),
        "reliability": classification.reliability(confidence, right),
    }


def figures(served: TextModel, rows: Sequence[Example], *, draws: int = 1000) -> dict[str, Figures]:
    """Return by head the figures of its kind on labelled rows, each (value, low, high) with a 95 % bootstrap
    interval over rows; heads without a labelled row are left out.

    classify: accuracy, macro_f1, weighted_f1, mcc, ece; multilabel: micro_f1, macro_f1; regress: mse, r2,
    spearman; tag and entity: entity_f1 (exact spans), accuracy (of words, of spans); embed: recall@1,
    recall@10, mrr; score and similarity: auroc, map (over queries); span: exact, f1.
    """
    said = said_by(served, rows)
    found = {}
    for name, spec in served.heads.items():
        chosen = [i for i, row in enumerate(rows) if name in row.targets]
        if chosen:
            measured = _FIGURES[spec.kind](spec, [rows[i] for i in chosen], [said[i] for i in chosen], served)
            found[name] = {
                title: interval(metric, *columns, draws=draws)
                for title, (metric, *columns) in measured.items()
            }
    return found


Measured = dict[str, tuple[Any, ...]]  # a metric and the columns, one value a row, that it takes


def _classify(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said], _: TextModel) -> Measured:
    probabilities = spec.decode(stacked(said, spec.name))
    truth, guess = as_codes([row.targets[spec.name] for row in rows], probabilities.argmax(1).tolist())
    sure = probabilities.max(1).astype(np.float64)
    labels: list[tuple[str, Callable[..., float]]] = [
        ("accuracy", classification.accuracy),
        ("macro_f1", classification.macro_f1),
        ("weighted_f1", classification.weighted_f1),
        ("mcc", classification.mcc),
    ]
    found: Measured = {title: (metric, truth, guess) for title, metric in labels}
    return {**found, "ece": (classification.expected_calibration_error, sure, truth == guess)}


def _multilabel(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said], _: TextModel) -> Measured:
    probabilities = spec.decode(stacked(said, spec.name))
    cuts = np.asarray(spec.thresholds or [0.5] * len(spec.labels))
    truth = np.asarray([row.targets[spec.name] for row in rows]) > 0
    return {
        "micro_f1": (classification.micro_f1, truth, probabilities >= cuts),
        "macro_f1": (_macro_by_label, truth, probabilities >= cuts),
    }


def _macro_by_label(truth: Any, said: Any) -> float:
    there = truth.sum(0)
    hits, sides = (truth & said).sum(0), there + said.sum(0)
    seen = there > 0
    return float(np.mean(2 * hits[seen] / sides[seen])) if seen.any() else float("nan")


def _regress(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said], _: TextModel) -> Measured:
    truth = np.asarray([row.targets[spec.name] for row in rows]) * spec.spread + spec.centre
    values = spec.decode(stacked(said, spec.name))
    return {
        "mse": (regression.mse, truth, values),
        "r2": (regression.r2, truth, values),
        "spearman": (regression.spearman, truth, values),
    }


def _score(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said], _: TextModel) -> Measured:
    truth = grades(spec, rows) > 0.5
    values = spec.decode(stacked(said, spec.name))
    by_query = detection.average_precision_each([row.text for row in rows], truth, values)
    return {"auroc": (detection.auroc, truth, values), "map": (ranking.mean, by_query)}


def _tag(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said], _: TextModel) -> Measured:
    truth, guess = tag_spans(spec, rows, said)
    spans = _entities_by_row(spec, rows, said)
    right = [
        (sum(a == b for a, b in zip(t, g, strict=True)), len(t)) for t, g in zip(truth, guess, strict=True)
    ]
    return {
        "entity_f1": (entities.f1_of, entities.span_counts(*spans)),
        "accuracy": (_share, np.asarray(right)),
    }


def _entities_by_row(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> list[list[Any]]:
    """Return the true entities and the predicted ones, by row."""
    return [
        [entities_of(row, spec.name, tags) for row, tags in zip(rows, side, strict=True)]
        for side in tag_spans(spec, rows, said)
    ]


def _share(counts: Any) -> float:
    right, total = counts.sum(0)
    return float(right / total) if total else float("nan")


def _entity(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said], served: TextModel) -> Measured:
    counted = []
    for row, one in zip(rows, said, strict=True):
        logits = span_logits(spec, row, one)
        labels = [label for _, _, label in row.targets[spec.name]]
        guess = [int(values.argmax()) if values is not None else -1 for values in logits]
        counted.append((sum(a == b for a, b in zip(labels, guess, strict=True)), len(labels)))
    # The spans are given, so every one is answered: precision, recall and F1 are the share of right ones.
    return {"entity_f1": (_share, np.asarray(counted)), "accuracy": (_share, np.asarray(counted))}


def _embed(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said], served: TextModel) -> Measured:
    rows, said = rows[:MOST_PAIRS], said[:MOST_PAIRS]
    ranked, right = ranked_positives(
        stacked(said, spec.name), [row.targets[spec.name] for row in rows], served.embed
    )
    return {
        "recall@1": (np.mean, ranking.recall_each(ranked, right, 1)),
        "recall@10": (np.mean, ranking.recall_each(ranked, right, 10)),
        "mrr": (np.mean, ranking.reciprocal_each(ranked, right)),
    }


def _span(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said], _: TextModel) -> Measured:
    none = any(row.targets[spec.name] == (0, 0) for row in rows)
    truths = [str(row.pair)[slice(*row.targets[spec.name])] for row in rows]
    guess = [answer(row, one, no_answer=none)[0] for row, one in zip(rows, said, strict=True)]
    return {
        "exact": (np.mean, answers.each(answers.exact, truths, guess)),
        "f1": (np.mean, answers.each(answers.token_f1, truths, guess)),
    }


_FIGURES: dict[str, Callable[..., Measured]] = {
    "classify": _classify,
    "multilabel": _multilabel,
    "regress": _regress,
    "score": _score,
    "similarity": _score,
    "tag": _tag,
    "entity": _entity,
    "embed": _embed,
    "span": _span,
}
