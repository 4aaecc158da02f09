"""A model proves itself when it is loaded: stored texts must give their stored outputs."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

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


def write(folder: Path, run: Run, file: str = SELF_TEST) -> None:
    """Store the outputs that `run` gives for the fixed texts in `file` of the folder."""
    outputs = {
        name: np.round(np.asarray(rows, dtype=np.float64), 6).tolist() for name, rows in run(TEXTS).items()
    }
    (folder / file).write_text(json.dumps({"texts": TEXTS, "outputs": outputs}), "utf-8")


def check(folder: Path, run: Run, file: str = SELF_TEST, tolerance: float = TOLERANCE) -> None:
    """Raise Damaged unless `run` gives the stored outputs, each within `tolerance` of its own size (at
    least 1)."""
    path = folder / file
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
        off = deviation(got[name], wanted)
        if not off <= tolerance:
            raise Damaged(
                f"{folder}: output {name!r} is off by {off:.3g} in the self-test {file} (allowed "
                f"{tolerance:.3g}); weights, graph and tokenizer don't belong together, or this processor "
                f"computes another way (`trillium compress` measures it): {RESTORE}"
            )


def deviation(got: npt.ArrayLike, wanted: npt.ArrayLike) -> float:
    """Return the largest difference of two arrays of one shape, relative to wanted values above 1."""
    expected = np.asarray(wanted, np.float64)
    return float((np.abs(np.asarray(got) - expected) / np.maximum(1.0, np.abs(expected))).max())
