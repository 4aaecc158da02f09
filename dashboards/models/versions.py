"""The versions of an application's bundle as the models API tells them, live one first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.clock import parse_time

BUNDLE = "bundle"
# Figures of a gate that are shown as one row of three, in the order they are looked for.
MOST_LABELS = 20  # of a confusion matrix; more can not be read
HEADLINES = ("macro_f1", "ndcg_at_20", "accuracy", "recall_at_5")


@dataclass(frozen=True)
class Version:
    """One bundle: what the gate said of it, its figures, its parts, and what was kept of its training."""

    ref: str
    created: datetime
    live: bool
    gate: Mapping[str, Any]
    metrics: Mapping[str, Any]
    parents: Mapping[str, str]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool | None:
        """Whether the gate passed; None when none was asked."""
        said = self.gate.get("passed")
        return said if isinstance(said, bool) else None


def _details(entry: Mapping[str, Any], by_ref: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the bundle or one of its parts kept: `curves`, and of its heads `evaluation`."""
    found: dict[str, Any] = {}
    for one in (entry, *(by_ref[ref] for ref in entry["parents"].values() if ref in by_ref)):
        for name in ("curves", "evaluation"):
            if isinstance(one.get(name), Mapping) and one[name]:
                found.setdefault(name, one[name])
    return found


def heads_with(details: Mapping[str, Any], kept: str) -> dict[str, Mapping[str, Any]]:
    """Return the heads (name -> evaluation) that kept `kept`, confusion or reliability."""
    heads = details.get("evaluation", {})
    return {name: head for name, head in heads.items() if isinstance(head, Mapping) and head.get(kept)}


def versions(answer: Mapping[str, Any]) -> list[Version]:
    """Return the bundles in an answer of GET /v1/models: the live one first, then the newest first."""
    entries: list[Mapping[str, Any]] = answer["models"]
    by_ref = {entry["ref"]: entry for entry in entries}
    found = [
        Version(
            ref=entry["ref"],
            created=parse_time(entry["created"])[0],
            live=entry["live"],
            gate=entry.get("gate") or {},
            metrics=entry.get("metrics") or {},
            parents=entry["parents"],
            details=_details(entry, by_ref),
        )
        for entry in entries
        if entry["kind"] == BUNDLE
    ]
    return sorted(found, key=lambda version: (not version.live, -int(version.ref.rpartition("@")[2])))


def slices(metrics: Mapping[str, Any]) -> list[tuple[str, int, float | None]]:
    """Return what the gate saw of each slice: name, rows, and the candidate's figure where it was judged."""
    kept = metrics.get("slices")
    rows = []
    for name, part in (kept if isinstance(kept, Mapping) else {}).items():
        figure = next((part[n] for n in HEADLINES if isinstance(part.get(n), int | float)), None)
        rows.append((str(name), int(part.get("rows", part.get("users", 0))), figure))
    return rows


def compared(metrics: Mapping[str, Any]) -> tuple[str, float, list[tuple[str, float]]] | None:
    """Return the gate's figure: its name, the candidate's value, and the others' (name, value)."""
    name = next((n for n in HEADLINES if isinstance(metrics.get(n), int | float)), None)
    if name is None:
        return None
    others = []
    for side in ("live", "plain"):
        other = metrics.get(side)
        if not isinstance(other, Mapping):
            continue
        value = other.get(name, other.get("value"))
        if isinstance(value, int | float):
            others.append((str(other.get("name", side)), float(value)))
    return name, float(metrics[name]), others


def figures(metrics: Mapping[str, Any], above: str = "") -> list[tuple[str, float]]:
    """Return every number of nested figures as (dotted name, value); lists and texts are left out."""
    found: list[tuple[str, float]] = []
    for name, value in metrics.items():
        if isinstance(value, Mapping) and name != "slices":
            found += figures(value, f"{above}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((f"{above}{name}", float(value)))
    return found


def curves(kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return training curves `{losses: [{step, loss}], epochs: [{step, epoch, loss, HEAD}]}` as rows.

    A row is `{step, series, value}`; the losses of training and validation are two series.
    """
    rows = [
        {"step": each["step"], "series": "training_loss", "value": each["loss"]}
        for each in kept.get("losses", ())
    ]
    for each in kept.get("epochs", ()):
        for name, value in each.items():
            if name not in ("step", "epoch") and isinstance(value, int | float):
                series = "validation_loss" if name == "loss" else name
                rows.append({"step": each["step"], "series": series, "value": value})
    return rows


def confusion(head: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return labels and cells `{truth, predicted, count, share}`; a share is of its truth's row.

    Of more than MOST_LABELS those with the most mistakes are shown, in their own order.
    """
    labels, matrix = [str(label) for label in head["labels"]], head["confusion"]
    wrong = [sum(row) - row[i] + sum(line[i] for line in matrix) - row[i] for i, row in enumerate(matrix)]
    shown = sorted(sorted(range(len(labels)), key=lambda i: -wrong[i])[:MOST_LABELS])
    cells = [
        {
            "truth": labels[i],
            "predicted": labels[j],
            "count": matrix[i][j],
            "share": matrix[i][j] / (sum(matrix[i]) or 1),
        }
        for i in shown
        for j in shown
    ]
    return [labels[i] for i in shown], cells
