"""Texts that come again are not computed again: answers by content hash, up to a size in bytes."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from shared.errors import Conflict
from shared.models.card import SlotName
from shared.models.heads import FloatArray, HeadSpec
from shared.models.spans import Offsets
from shared.models.text_model import Outputs, TextModel

OFFSET_BYTES = 120  # of a pair of numbers as Python keeps it


class _Answer(NamedTuple):
    """Of one text: its row of every part of `Outputs`."""

    vector: FloatArray | None
    probabilities: dict[str, FloatArray]
    values: dict[str, FloatArray]
    tokens: dict[str, FloatArray]
    offsets: Offsets | None

    def size(self) -> int:
        """Return about how many bytes this takes."""
        groups = (self.probabilities, self.values, self.tokens)
        arrays = [array for group in groups for array in group.values()]
        arrays += [self.vector] if self.vector is not None else []
        return sum(array.nbytes + 100 for array in arrays) + OFFSET_BYTES * len(self.offsets or ()) + 200


class Memo:
    """Answers of any number of models, the one used longest ago goes first; safe between threads.

    `limit` is in bytes. A key names the model's fingerprint, its slot, its calibration and the text: another
    engine's numbers or another version's temperature are another answer.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes, self.hits, self.misses = limit, 0, 0, 0
        self._kept: OrderedDict[bytes, tuple[_Answer, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._kept)

    def get(self, key: bytes) -> _Answer | None:
        """Return what is kept under `key`, which then counts as just used."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                self.misses += 1
                return None
            self._kept.move_to_end(key)
            self.hits += 1
            return found[0]

    def put(self, key: bytes, answer: _Answer) -> None:
        """Keep an answer; one that is larger than the whole limit is not kept."""
        size = answer.size()
        with self._lock:
            self.bytes -= self._kept.pop(key, (answer, 0))[1]
            if size > self.limit:
                return
            self._kept[key] = answer, size
            self.bytes += size
            while self.bytes > self.limit:
                self.bytes -= self._kept.popitem(last=False)[1][1]


class Run(Protocol):
    """A pass of a model, as `TextModel.run` makes it."""

    def __call__(
        self, texts: Sequence[str], *, pairs: Sequence[str] | None = None, query: bool = False
    ) -> Outputs:
        """Answer all heads; row i belongs to text i."""


class RememberingModel:
    """A text model that asks `memo` first; the same interface and, to 1e-5, the same answers.

    Repeats within one call are computed once. Answers are read-only for whoever gets them. `run` makes the
    passes, by default the model's own.
    """

    def __init__(
        self, model: TextModel, memo: Memo, *, slot: SlotName = "interactive", run: Run | None = None
    ) -> None:
        self.model, self.memo = model, memo
        self._run: Run = run or model.run
        self.fingerprint, self.dim = model.fingerprint, model.dim
        self.heads: dict[str, HeadSpec] = model.heads
        calibration = "".join(head.model_dump_json() for head in model.heads.values())
        self._prefix = f"{model.fingerprint}\0{slot}\0{model.served_by}\0{calibration}"

    def run(
        self, texts: Sequence[str], *, pairs: Sequence[str] | None = None, query: bool = False
    ) -> Outputs:
        """Answer all heads as `TextModel.run` does."""
        sides: list[str | None] = [*pairs] if pairs is not None else [None] * len(texts)
        keys = [self._key(text, pair, query) for text, pair in zip(texts, sides, strict=True)]
        found = {key: self.memo.get(key) for key in dict.fromkeys(keys)}
        missing = {key: i for i, key in reversed(list(enumerate(keys))) if found[key] is None}
        if missing or not keys:
            at = sorted(missing.values())
            chosen = [pairs[i] for i in at] if pairs is not None else None
            fresh = self._run([texts[i] for i in at], pairs=chosen, query=query)
            if not keys:
                return fresh
            for row, i in enumerate(at):
                made = _row(fresh, row)
                found[keys[i]] = made
                self.memo.put(keys[i], made)
        return _joined([answer for key in keys if (answer := found[key]) is not None])

    def embed(self, texts: Sequence[str], *, query: bool = False) -> FloatArray:
        """Return unit-length vectors (n, dim); raises Conflict when the model has no embed head."""
        vectors = self.run(texts, query=query).vectors
        if vectors is None:
            raise Conflict(f"this model has no embed head, only {', '.join(self.heads)}")
        return vectors

    def _key(self, text: str, pair: str | None, query: bool) -> bytes:
        parts = (self._prefix, str(query), text, *(() if pair is None else (pair,)))
        whole = hashlib.blake2b(digest_size=16)
        for part in parts:
            raw = part.encode("utf-8", "surrogatepass")
            whole.update(len(raw).to_bytes(8) + raw)
        return whole.digest()


def _row(outputs: Outputs, row: int) -> _Answer:
    offsets = outputs.offsets[row] if outputs.offsets else None
    count = len(offsets) if offsets is not None else 0
    # Copies: a view would keep the whole batch alive.
    return _Answer(
        None if outputs.vectors is None else _own(outputs.vectors[row]),
        {name: _own(rows[row]) for name, rows in outputs.probabilities.items()},
        {name: _own(rows[row]) for name, rows in outputs.values.items()},
        {name: _own(rows[row, :count]) for name, rows in outputs.tokens.items()},
        offsets,
    )


def _own(rows: FloatArray) -> FloatArray:
    copy = np.array(rows, np.float32)
    copy.flags.writeable = False
    return copy


def _joined(answers: Sequence[_Answer]) -> Outputs:
    first = answers[0]
    offsets = [one.offsets for one in answers if one.offsets is not None]
    longest = max((len(one) for one in offsets), default=0)
    return Outputs(
        None if first.vector is None else np.stack([one.vector for one in answers if one.vector is not None]),
        {name: np.stack([one.probabilities[name] for one in answers]) for name in first.probabilities},
        {name: np.stack([one.values[name] for one in answers]) for name in first.values},
        {name: _padded([one.tokens[name] for one in answers], longest) for name in first.tokens},
        offsets,
    )


def _padded(rows: Sequence[FloatArray], longest: int) -> FloatArray:
    table = np.zeros((len(rows), longest, rows[0].shape[1]), np.float32)
    for i, one in enumerate(rows):
        table[i, : len(one)] = one
    return table
