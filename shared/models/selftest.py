"""A model proves itself when it is loaded: stored texts must give their stored outputs."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from shared.errors import Damaged
from shared.models.card import RESTORE, SELF_TEST
from shared.models.heads import FloatArray

TEXTS = (
    "Where is my card?",
    "Profits fell by 3.5 % in the last quarter, the company said on Monday.",
    "我的卡什么时候到？",
    "",
    "A longer text, so that a batch has rows of unequal length and padding is seen: " + "one two three " * 20,
)
# fp32 on another CPU differs by 1e-5; broken weights or another tokenizer differ by far more.
TOLERANCE = 2e-3

Run = Callable[[Sequence[str]], Mapping[str, FloatArray]]


def write(folder: Path, run: Run) -> None:
    """Store the outputs that `run` gives for the fixed texts."""
    outputs = {
        name: np.round(np.asarray(rows, dtype=np.float64), 6).tolist() for name, rows in run(TEXTS).items()
    }
    (folder / SELF_TEST).write_text(json.dumps({"texts": TEXTS, "outputs": outputs}), "utf-8")


def check(folder: Path, run: Run) -> None:
    """Raise Damaged unless `run` gives the stored outputs, each within 2e-3 of its own size (at least 1)."""
    path = folder / SELF_TEST
    try:
        stored = json.loads(path.read_text("utf-8"))
        texts, expected = stored["texts"], stored["outputs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} can't be read: {error}; {RESTORE}") from error
    got = run(texts)
    for name, rows in expected.items():
        wanted = np.asarray(rows, dtype=np.float64)
        if name not in got or got[name].shape != wanted.shape:
            raise Damaged(f"{folder}: the graph has no output {name!r} of shape {wanted.shape}; train again")
        off = float((np.abs(got[name] - wanted) / np.maximum(1.0, np.abs(wanted))).max())
        if not off <= TOLERANCE:
            raise Damaged(
                f"{folder}: output {name!r} is off by {off:.3g} in the self-test (allowed {TOLERANCE}); "
                f"weights, graph and tokenizer don't belong together: {RESTORE}"
            )
