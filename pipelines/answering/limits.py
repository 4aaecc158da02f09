"""How near is near enough: cuts between questions that belong here and questions that don't."""

import tomllib
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]
FOREIGN = Path(__file__).with_name("foreign.toml")
FALSE_ALARMS = 0.03  # share of foreign questions that may pass where no own question is known


@lru_cache(maxsize=1)
def foreign_questions() -> tuple[str, ...]:
    """Return questions that hardly any help centre answers: small talk, trivia, other trades."""
    found = tomllib.loads(FOREIGN.read_text("utf-8"))
    return tuple(text for language in found.values() for text in language)


def cut(own: Scores, foreign: Scores) -> float:
    """Return the threshold that tells `own` scores (n,) from `foreign` ones (m,) best.

    The largest share of own kept plus share of foreign refused (Youden's J); the middle of the best
    range. Without own scores: what 3 % of the foreign reach.
    """
    if not len(own):
        return round(float(np.quantile(foreign, 1 - FALSE_ALARMS)), 4)
    edges = np.unique(np.concatenate([own, foreign]))
    gain = np.array([np.mean(own >= e) + np.mean(foreign < e) for e in edges])
    best = np.flatnonzero(gain >= gain.max() - 1e-9)
    low = edges[best[0] - 1] if best[0] else edges[best[0]]
    return round(float((low + edges[best[-1]]) / 2), 4)
