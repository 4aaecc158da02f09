"""The versions of an application's bundle as the models API tells them, live one first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.clock import parse_time

BUNDLE = "bundle"
# Figures of a gate that are shown as one row of three, in the order they are looked for.
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


def _find(kept: Any, name: str, depth: int = 3) -> Any:
    """Return the first value of `name` in nested mappings: an evaluation may hold one part a head."""
    if not isinstance(kept, Mapping):
        return None
    if kept.get(name):
        return kept[name]
    inner = (_find(value, name, depth - 1) for value in kept.values()) if depth > 1 else ()
    return next((found for found in inner if found), None)


def _details(entry: Mapping[str, Any], by_ref: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in (entry, *(by_ref[ref] for ref in entry["parents"].values() if ref in by_ref)):
        kept = {"curves": one.get("curves")}
        kept |= {name: _find(one.get("evaluation"), name) for name in ("confusion", "calibration")}
        found |= {name: value for name, value in kept.items() if value and name not in found}
    return found


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


def curves(kept: Any) -> list[dict[str, Any]]:
    """Return training curves as rows `{step, series, value}` from a list of records or columns by name."""
    if isinstance(kept, Mapping):
        rows: Iterable[tuple[int, Mapping[str, Any]]] = enumerate(
            dict(zip(kept, values, strict=False)) for values in zip(*kept.values(), strict=False)
        )
    else:
        rows = enumerate(row for row in kept if isinstance(row, Mapping))
    made = []
    for place, row in rows:
        step = next((row[k] for k in ("epoch", "step") if isinstance(row.get(k), int | float)), place + 1)
        made += [
            {"step": step, "series": name, "value": value}
            for name, value in row.items()
            if isinstance(value, int | float)
            and name not in ("epoch", "step", "seconds", "rate", "learning_rate")
        ]
    return made


def reliability(kept: Any) -> list[dict[str, float]]:
    """Return calibration bins as rows `{said, right, count}`, shares 0 to 1."""
    names = {"said": ("said", "confidence"), "right": ("right", "accuracy"), "count": ("count", "n")}
    rows = []
    for row in kept.get("bins", ()) if isinstance(kept, Mapping) else kept:
        values = {
            to: next((row[k] for k in keys if row.get(k) is not None), None) for to, keys in names.items()
        }
        if values["said"] is not None and values["right"] is not None:
            rows.append({to: float(value or 0) for to, value in values.items()})
    return rows


def confusion(kept: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """Return labels and cells `{truth, predicted, count, share}`; a share is of its truth's row."""
    labels = [str(label) for label in kept.get("labels", ())]
    cells = []
    for truth, row in zip(labels, kept.get("matrix", ()), strict=False):
        whole = sum(row) or 1
        for predicted, count in zip(labels, row, strict=False):
            cells.append({"truth": truth, "predicted": predicted, "count": count, "share": count / whole})
    return labels, cells
