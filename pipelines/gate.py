"""Whether a candidate may replace what is live: a decision with its reason."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadInput
from shared.index.vector import FloatArray, VectorIndex

LIVE, PLAIN = "live", "plain"
# A slice with fewer rows says little: one changed answer would move its figure by 5 points or more.
SMALLEST_SLICE = 20
RESAMPLES = 1000
SAMPLED = 200  # chunks that must find themselves
_AT_ONCE = 20_000_000  # bootstrap weights held in memory, as float32

# One label per row, or any number of them.
Labels: TypeAlias = Sequence[str] | Sequence[Collection[str]]
Flags: TypeAlias = NDArray[np.bool_]
Reals: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What the gate decided: against what, why not (None when passed), and the figures."""

    passed: bool
    compared_with: str
    reason: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)


def compare_classifiers(
    candidate: Labels,
    live: Labels | None,
    plain: Labels,
    truth: Labels,
    slices: Mapping[str, Sequence[bool]] | None = None,
    *,
    live_name: str = LIVE,
    plain_name: str = "TF-IDF + linear SVM",
    seed: int = 0,
) -> Verdict:
    """Judge predictions on the candidate's held-out rows by macro F1; all sequences are row by row.

    A row has one label (text) or several (any collection of text). With `live` (same labels, same
    rows) neither the whole nor a slice of 20 rows or more may be worse by more than its noise: the
    whole paired 95 % bootstrap interval of candidate minus live lies below 0. Without it (none, or
    other labels) the candidate must score above `plain`; both at 1 passes, as nothing lies above.
    `slices` maps a name to one flag per row. Raises BadInput for no rows or unequal lengths.
    """
    _same_length(len(truth), candidate=candidate, plain=plain, **({} if live is None else {"live": live}))
    names = sorted({label for row in map(_labels_of, truth) for label in row})
    flags = _flags(truth, names)
    whole = _ClassifierScore(_flags(candidate, names), flags)
    against_plain = _ClassifierScore(_flags(plain, names), flags)
    metrics: dict[str, Any] = {
        "macro_f1": _figure(whole.point()),
        "rows": len(truth),
        "plain": {"name": plain_name, "macro_f1": _figure(against_plain.point())},
    }
    if live is None:
        return _beats_plain(whole.point(), against_plain.point(), "macro F1", plain_name, metrics)
    old = _ClassifierScore(_flags(live, names), flags)
    metrics["live"] = {"name": live_name, "macro_f1": _figure(old.point())}
    return _not_worse(whole, old, len(truth), slices or {}, "macro F1", live_name, metrics, seed)


def compare_rankings(
    candidate: Sequence[float],
    live: Sequence[float] | None,
    plain: Sequence[float],
    slices: Mapping[str, Sequence[bool]] | None = None,
    *,
    live_name: str = LIVE,
    plain_name: str = "the best of popularity and item-kNN",
    metric: str = "nDCG@20",
    seed: int = 0,
) -> Verdict:
    """Judge rankings by their figure per user, row i of each sequence the same user's (0 to 1).

    The rule is that of `compare_classifiers`, with the mean over users. Raises BadInput for no
    users or unequal lengths.
    """
    _same_length(len(candidate), plain=plain, **({} if live is None else {"live": live}))
    whole, against_plain = _MeanScore(candidate), _MeanScore(plain)
    metrics: dict[str, Any] = {
        "ndcg_at_20" if metric == "nDCG@20" else metric: _figure(whole.point()),
        "users": len(candidate),
        "plain": {"name": plain_name, "value": _figure(against_plain.point())},
    }
    if live is None:
        return _beats_plain(whole.point(), against_plain.point(), metric, plain_name, metrics)
    old = _MeanScore(live)
    metrics["live"] = {"name": live_name, "value": _figure(old.point())}
    return _not_worse(whole, old, len(candidate), slices or {}, metric, live_name, metrics, seed)


def check_index(
    index: VectorIndex,
    expected: Collection[str],
    *,
    encoder: str,
    built_with: str,
    encode: Callable[[Sequence[str]], FloatArray],
    seed: int = 0,
) -> Verdict:
    """Judge an index by its structure.

    It holds exactly the ids `expected`; `built_with`, the fingerprint of the encoder that made its
    vectors, is that of `encoder`; and each of up to 200 sampled ids finds itself when its text is
    encoded again (`encode(ids)` gives (n, dim)): no row is nearer than its own. Nothing expected
    and nothing there passes.
    """
    there, wanted = set(index.ids()), set(expected)
    metrics: dict[str, Any] = {"rows": len(there), "expected": len(wanted)}

    def verdict(reason: str | None) -> Verdict:
        return Verdict(reason is None, "structure", reason, metrics)

    if built_with != encoder:
        return verdict(f"the vectors were made by encoder {built_with}, the bundle's is {encoder}")
    if there != wanted:
        missing, more = sorted(wanted - there), sorted(there - wanted)
        one = (missing or more)[0]
        return verdict(
            f"{len(missing)} of {len(wanted)} rows are missing, {len(more)} are too many, such as {one!r}"
        )
    order = np.random.default_rng(seed).permutation(len(wanted))[:SAMPLED]
    every = sorted(wanted)
    sample = [every[i] for i in sorted(order.tolist())]
    lost = _not_finding_themselves(index, sample, encode) if sample else []
    metrics |= {"sampled": len(sample), "found_themselves": len(sample) - len(lost)}
    return verdict(
        f"{len(lost)} of {len(sample)} sampled rows do not find themselves, such as {lost[0]!r}"
        if lost
        else None
    )


def _not_finding_themselves(
    index: VectorIndex, ids: Sequence[str], encode: Callable[[Sequence[str]], FloatArray]
) -> list[str]:
    vectors = encode(ids)
    best = index.search(vectors, 1)
    own = (vectors * index.vectors_of(ids)).sum(axis=1) / np.linalg.norm(vectors, axis=1)
    # Rows of equal text are equally near; batches of another size round differently in the encoder.
    return [name for name, hits, score in zip(ids, best, own, strict=True) if hits[0].score > score + 1e-4]


def _labels_of(row: str | Collection[str]) -> Collection[str]:
    return (row,) if isinstance(row, str) else row


def _flags(rows: Labels, names: Sequence[str]) -> Flags:
    """Return (rows, labels), True where a row has the label. A label outside `names` is a miss."""
    at = {name: i for i, name in enumerate(names)}
    flags = np.zeros((len(rows), len(names)), dtype=bool)
    for i, row in enumerate(rows):
        flags[i, [at[label] for label in _labels_of(row) if label in at]] = True
    return flags


class _ClassifierScore:
    """Macro F1 over the labels that the truth has, of the whole or under row weights."""

    def __init__(self, said: Flags, true: Flags) -> None:
        self.hits = (said & true).astype(np.float32)  # (rows, labels)
        self.both = said.astype(np.float32) + true  # said + true: F1 = 2 hits / both
        self.true = true.astype(np.float32)

    def weighted(self, weights: FloatArray) -> Reals:
        """Return one figure per row of `weights` (n, rows); labels that a resample lacks don't count."""
        hits, both, true = weights @ self.hits, weights @ self.both, weights @ self.true  # (n, labels)
        f1 = np.where(true > 0, 2 * hits / np.maximum(both, 1), 0.0)
        scores: Reals = f1.sum(axis=1) / np.maximum((true > 0).sum(axis=1), 1)
        return scores

    def point(self) -> float:
        """Return the figure of all rows."""
        return float(self.weighted(np.ones((1, len(self.hits)), dtype=np.float32))[0])


class _MeanScore:
    """The mean of a figure per row."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = np.asarray(values, dtype=np.float64)

    def weighted(self, weights: FloatArray) -> Reals:
        """Return one weighted mean per row of `weights` (n, rows)."""
        means: Reals = (weights @ self.values) / np.maximum(weights.sum(axis=1), 1)
        return means

    def point(self) -> float:
        """Return the mean of all rows."""
        return float(self.values.mean())


_Score: TypeAlias = _ClassifierScore | _MeanScore


def _not_worse(
    new: _Score,
    old: _Score,
    rows: int,
    slices: Mapping[str, Sequence[bool]],
    metric: str,
    live_name: str,
    metrics: dict[str, Any],
    seed: int,
) -> Verdict:
    parts = {"all": np.ones(rows, dtype=bool)}
    for name, flags in slices.items():
        _same_length(rows, **{f"slice {name}": flags})
        parts[name] = np.asarray(flags, dtype=bool)
    metrics["slices"], worse = {}, []
    for name, part in parts.items():
        if name != "all" and part.sum() < SMALLEST_SLICE:
            metrics["slices"][name] = {"rows": int(part.sum()), "judged": False}
            continue
        one = part.astype(np.float32)[None]
        change = float(new.weighted(one)[0] - old.weighted(one)[0])
        low, high = _interval(new, old, part, seed)
        figures = {"change": _figure(change), "interval": [_figure(low), _figure(high)]}
        if name == "all":
            metrics |= figures
        else:
            metrics["slices"][name] = {"rows": int(part.sum()), "judged": True, **figures}
        if high < 0:
            where = "on the whole" if name == "all" else f"in slice {name!r}"
            worse.append(f"{where} by {-change:.4f} (95 % interval {low:.4f} to {high:.4f})")
    reason = f"{metric} is worse than {live_name} {'; '.join(worse)}" if worse else None
    return Verdict(not worse, live_name, reason, metrics)


def _interval(new: _Score, old: _Score, part: Flags, seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of new minus old over the rows of `part`, paired, seeded."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(part)
    changes: list[Reals] = []
    step = max(1, _AT_ONCE // len(part))
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        weights = np.zeros((count, len(part)), dtype=np.float32)
        weights[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=count)
        changes.append(new.weighted(weights) - old.weighted(weights))
    low, high = np.quantile(np.concatenate(changes), [0.025, 0.975])
    return float(low), float(high)


def _beats_plain(new: float, plain: float, metric: str, plain_name: str, metrics: dict[str, Any]) -> Verdict:
    if new > plain or (new == plain and new >= 1.0):
        return Verdict(True, plain_name, None, metrics)
    return Verdict(
        False,
        plain_name,
        f"{metric} {new:.4f} does not beat the {plain:.4f} of the plain method ({plain_name})",
        metrics,
    )


def _same_length(rows: int, **others: Sequence[Any]) -> None:
    if not rows:
        raise BadInput("there are no held-out rows to compare on; give more data")
    for name, values in others.items():
        if len(values) != rows:
            raise BadInput(f"{name} has {len(values)} rows, the held-out part has {rows}")


def _figure(value: float) -> float:
    return round(value, 4) + 0.0
