"""From training rows to checked copies of them."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from shared.finetuning.augmenting.check import Mask, keeps_label, near
from shared.finetuning.augmenting.mined import Substitutions
from shared.finetuning.augmenting.template import Templates
from shared.finetuning.augmenting.translate import there_and_back
from shared.finetuning.augmenting.words import changed
from shared.finetuning.beside import COPIED, Augment
from shared.finetuning.examples import Example
from shared.models.heads import FloatArray, HeadSpec

Encode = Callable[[Sequence[str]], FloatArray]
COUNTED = ("made", "known", "unlike", "other_label", "kept")


class Copy(NamedTuple):
    """A changed text, the row it was made from, and how it was made."""

    text: str
    origin: int
    kind: str


def augmented(
    rows: Sequence[Example],
    specs: Sequence[HeadSpec],
    options: Augment,
    encode: Encode,
    seed: int,
    held: Sequence[str] = (),
) -> tuple[list[Example], dict[str, Any]]:
    """Return new rows, in the order of those they were made from, and what became of all by kind.

    `encode` gives the frozen base's unit vectors of texts. Of each kind in `options.kinds` counted are those
    `made`, those that are a row, a copy or one of the `held` texts already (`known`), that are `unlike` their
    row, that got an `other_label`, and those `kept`.
    """
    kinds = {spec.name: spec.kind for spec in specs}
    rows = [r for r in rows if r.pair is None and r.targets and all(kinds[n] in COPIED for n in r.targets)]
    texts, groups = [row.text for row in rows], [_group(row) for row in rows]
    told: dict[str, dict[str, int]] = {kind: dict.fromkeys(COUNTED, 0) for kind in options.kinds}
    if not rows:
        return [], told
    vectors = encode(texts)
    copies: list[Copy] = []
    seen = {*texts, *held}
    for copy in _made(texts, groups, vectors, options, seed):
        told[copy.kind]["made"] += 1
        told[copy.kind]["known"] += copy.text in seen
        if copy.text not in seen:
            seen.add(copy.text)
            copies.append(copy)
    if not copies:
        return [], told
    origin = np.asarray([copy.origin for copy in copies])
    new = encode([copy.text for copy in copies])
    like = near(vectors, new, origin, options.likeness)
    same = _same_labels(rows, specs, vectors, new, origin, seed)
    found = []
    for copy, close, right in zip(copies, like, same, strict=True):
        fate = "unlike" if not close else "kept" if right else "other_label"
        told[copy.kind][fate] += 1
        if fate == "kept":
            found.append((copy.origin, replace(rows[copy.origin], text=copy.text)))
    return [row for _, row in sorted(found, key=lambda one: one[0])], told


def _group(row: Example) -> Hashable:
    """Return what a row teaches, numbers apart: words and values come from rows that teach the same."""
    return tuple((name, str(v)) for name, v in sorted(row.targets.items()) if not isinstance(v, float))


def _made(
    texts: Sequence[str], groups: Sequence[Hashable], vectors: FloatArray, options: Augment, seed: int
) -> list[Copy]:
    ways: dict[str, Callable[[str, Hashable, str], str | None]] = {}
    if "words" in options.kinds:
        ways["words"] = lambda text, _, by: changed(text, options.probability, by)
    if "template" in options.kinds:
        ways["template"] = Templates(texts, groups).copy
    if "mined" in options.kinds:
        ways["mined"] = Substitutions(texts, groups, vectors).copy
    found = []
    for kind, way in ways.items():
        for i, (text, group) in enumerate(zip(texts, groups, strict=True)):
            made = (way(text, group, f"{seed} {n}") for n in range(options.copies))
            found += [Copy(text, i, kind) for text in made if text is not None]
    if "translate" in options.kinds:
        written = there_and_back(
            texts, str(options.there), str(options.back), copies=options.copies, seed=seed
        )
        found += [Copy(text, i, "translate") for i, own in enumerate(written) for text in own if text]
    return found


def _same_labels(
    rows: Sequence[Example],
    specs: Sequence[HeadSpec],
    vectors: FloatArray,
    copies: FloatArray,
    origin: Any,
    seed: int,
) -> Mask:
    """Return (m,) whether each label of a copy's row is kept; numbers are kept by a near vector alone."""
    found = np.ones(len(copies), bool)
    for spec in specs:
        own = np.asarray([spec.name in row.targets for row in rows])
        mine = own[origin]
        if spec.kind not in ("classify", "multilabel") or not mine.any():
            continue
        place = np.cumsum(own) - 1  # of a row among those that have this target
        chosen = [row for row in rows if spec.name in row.targets]
        targets = np.asarray([row.targets[spec.name] for row in chosen]).astype(np.int64)
        columns = [targets] if spec.kind == "classify" else list(targets.T)
        texts = [row.text for row in chosen]
        for labels in columns:
            if len(np.unique(labels)) > 1:
                found[mine] &= keeps_label(
                    vectors[own], labels, texts, copies[mine], place[origin[mine]], seed=seed
                )
    return found
