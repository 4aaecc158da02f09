"""Training runs as the models API tells them, and what sets several of them apart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from shared.clock import parse_time

# Figures of which less is better; of all others more is.
FALLING = frozenset({"ece", "mse", "perplexity", "loss"})
_ASIDE = frozenset({"base_sha256"})  # follows from the base, and no person reads it
_SHORT = 12  # characters of a hash


class Figure(NamedTuple):
    """A value and its 95 % interval, None where no interval was taken."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Run:
    """One training run; `figures` by (measured on test or validation, head, name)."""

    ref: str
    created: datetime
    kind: str
    seconds: float | None
    recipe: Mapping[str, Any]
    data_hash: str | None
    curves: Mapping[str, Any]
    bundles: Sequence[str]
    figures: Mapping[tuple[str, str, str], Figure] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The method's kind, such as full or lora; empty where the recipe is not known."""
        method = self.recipe.get("method", "")
        return str(method.get("kind", "full") if isinstance(method, Mapping) else method)


def runs(answer: Mapping[str, Any]) -> list[Run]:
    """Return the runs in an answer of GET /v1/runs, in its order (the newest first)."""
    return [
        Run(
            ref=entry["ref"],
            created=parse_time(entry["created"])[0],
            kind=entry["kind"],
            seconds=entry.get("seconds"),
            recipe=entry["recipe"] if isinstance(entry.get("recipe"), Mapping) else {},
            data_hash=entry.get("data_hash"),
            curves=entry["curves"] if isinstance(entry.get("curves"), Mapping) else {},
            bundles=entry.get("bundles") or (),
            figures=dict(_figures(entry)),
        )
        for entry in answer["runs"]
    ]


def _figures(entry: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str, str], Figure]]:
    test, kept = entry.get("test"), entry.get("evaluation")
    if isinstance(test, Mapping):
        by_head = test if test and all(isinstance(one, Mapping) for one in test.values()) else {"": test}
        for head, own in by_head.items():
            yield from _named("test", head, own)
    found = False
    for head, own in kept.items() if isinstance(kept, Mapping) else ():
        if isinstance(own, Mapping):
            plain = {name: own[name] for name in ("micro_f1", "mrr", "score") if name in own}
            for item in _named("validation", head, own.get("intervals") or plain):
                found = True
                yield item
    if not found and not isinstance(test, Mapping):
        metrics = entry.get("metrics") or {}
        yield from _named("validation", "", metrics)
        for head, own in metrics.items():
            if isinstance(own, Mapping):
                yield from _named("validation", head, own)


def _named(
    where: str, head: str, figures: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, str, str], Figure]]:
    for name, value in figures.items():
        numbers = value if isinstance(value, list) else [value]
        if 1 <= len(numbers) <= 3 and all(_number(one) for one in numbers):
            yield (where, head, name), Figure(*(float(one) for one in numbers))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def shared_figures(chosen: Sequence[Run]) -> list[tuple[str, str, str]]:
    """Return the figures that any of the runs has, those of test rows first, else in order of first sight."""
    seen = dict.fromkeys(key for run in chosen for key in run.figures)
    return sorted(seen, key=lambda key: key[0] != "test")


def best(name: str, values: Sequence[Figure | None]) -> int | None:
    """Return the position of the best of several values, None for fewer than two or when all are equal."""
    there = [(figure.value, i) for i, figure in enumerate(values) if figure is not None]
    if len({value for value, _ in there}) < 2:
        return None
    return (min if name in FALLING else max)(there, key=lambda one: one[0])[1]


def fields(recipe: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Return every field of a recipe by its dotted name, as text; fields that are not set are left out."""
    found: dict[str, str] = {}
    for name, value in recipe.items():
        if isinstance(value, Mapping):
            found |= fields(value, f"{above}{name}.")
        elif value is not None and value not in ([], {}, "") and name not in _ASIDE:
            found[f"{above}{name}"] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found


def differences(chosen: Sequence[Run]) -> tuple[list[tuple[str, list[str]]], int]:
    """Return the recipe fields that are not the same in all runs, each with its values ("" where it is not
    set), and how many are the same. The data counts as a field, by the beginning of its hash."""
    told = [fields(run.recipe) | {"data": (run.data_hash or "")[:_SHORT]} for run in chosen]
    names = list(dict.fromkeys(name for one in told for name in one))
    rows = [(name, [one.get(name, "") for one in told]) for name in names]
    apart = [row for row in rows if len(set(row[1])) > 1]
    return apart, len(rows) - len(apart)


def progress(chosen: Sequence[Run]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rows `{step, series, value}` of training losses and of validation scores, a series a run."""
    losses, scores = [], []
    for run in chosen:
        losses += [
            {"step": each["step"], "series": run.ref, "value": each["loss"]}
            for each in run.curves.get("losses", ())
        ]
        scores += [
            {"step": each["step"], "series": run.ref, "value": each["score"]}
            for each in run.curves.get("epochs", ())
            if _number(each.get("score"))
        ]
    return losses, scores
