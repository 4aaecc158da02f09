"""The versions of an application's bundle as the models API tells them, live one first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.clock import parse_time

BUNDLE = "bundle"
# Figures of a gate that are shown as one row of three, in the order they are looked for.
MOST_LABELS = 20  # of a confusion matrix; more can not be read
MOST_WRONG = 40  # confusions that are listed
_SETS = (("promised", ".0%"), ("coverage", ".1%"), ("size", ".2f"))
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

    A row is `{step, series, value}`; the losses of training and validation are two series. `score`, the mean
    of the heads' figures, is left out where one head alone was scored.
    """
    single = all(len(_scores(each)) < 3 for each in kept.get("epochs", ()))
    rows = [
        {"step": each["step"], "series": "training_loss", "value": each["loss"]}
        for each in kept.get("losses", ())
    ]
    for each in kept.get("epochs", ()):
        for name, value in each.items():
            if name not in ("step", "epoch") and isinstance(value, int | float):
                if name == "score" and single and len(_scores(each)) > 1:
                    continue
                series = "validation_loss" if name == "loss" else name
                rows.append({"step": each["step"], "series": series, "value": value})
    return rows


def _scores(epoch: Mapping[str, Any]) -> list[str]:
    return [name for name in epoch if name not in ("step", "epoch", "loss")]


def calibration(head: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is told beside a reliability plot, (name, text): gaps, temperature, label sets."""
    sets = head.get("sets")
    told = [
        *((name, head.get(name), ".3f") for name in ("ece", "ece_before")),
        ("temperature", head.get("temperature"), ".3g"),
        *((f"sets_{n}", sets.get(n), f) for n, f in _SETS if isinstance(sets, Mapping)),
    ]
    return [(name, f"{value:{form}}") for name, value, form in told if isinstance(value, int | float)]


def mistakes(head: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the confusions `{truth, predicted, count, share}` with the most rows first, at most MOST_WRONG;
    a share is of the rows of its truth. Of equal counts the larger share comes first."""
    labels = [str(label) for label in head["labels"]]
    found = [
        {"truth": labels[i], "predicted": labels[j], "count": count, "share": count / sum(row)}
        for i, row in enumerate(head["confusion"])
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(found, key=lambda one: (-one["count"], -one["share"]))[:MOST_WRONG]


@dataclass(frozen=True)
class Measured:
    """One engine and precision: times in ms, by head what it loses on which metric, and the slots it serves;
    `why` says what kept it from being made."""

    name: str
    latency_ms: float = 0.0
    batch_ms: float = 0.0
    losses: Sequence[tuple[str, str, float]] = ()
    within: bool = False
    slots: Sequence[str] = ()
    why: str = ""


def compressed(told: Any) -> list[Measured]:
    """Return the rows of `{slots, table}`, those that serve first; none where nothing was measured."""
    if not isinstance(told, Mapping):
        return []
    slots = told.get("slots") or {}
    rows = []
    for one in told.get("table") or ():
        if "why" in one:
            rows.append(Measured(one["name"], why=str(one["why"])))
            continue
        losses = [(head, str(own["metric"]), float(own["loss"])) for head, own in one["heads"].items()]
        serves = [name for name, slot in slots.items() if _serves(slot, one)]
        times = (float(one.get("latency_ms", 0)), float(one.get("batch_ms", 0)))
        rows.append(Measured(one["name"], *times, losses, bool(one.get("within")), serves))
    return sorted(rows, key=lambda row: (bool(row.why), not row.slots))


def _serves(slot: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    same = (slot["engine"], slot["precision"]) == (row["engine"], row["precision"])
    return same and slot["path"] == row.get("path", slot["path"])


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
