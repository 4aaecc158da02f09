"""Keep what a finished model said of its validation rows, so that what it is given later can be compared."""

from collections.abc import Sequence
from pathlib import Path

from shared.finetuning.examples import Example
from shared.finetuning.outputs import Said, stacked
from shared.models.heads import HeadSpec
from shared.models.reference import Profile, sample
from shared.models.text_model import TextModel


def keep(
    served: TextModel,
    heads: Sequence[HeadSpec],
    valid: Sequence[Example],
    said: Sequence[Said],
    out: Path,
    *,
    vectors: bool,
) -> None:
    """Write `reference.npy` into folder `out`, for models of single texts; with `vectors` those too,
    which must be the served model's own."""
    if not valid or served.paired or served.compares:
        return
    rows = sample(list(zip((row.text for row in valid), said, strict=True)))
    texts, chosen = [text for text, _ in rows], [one for _, one in rows]
    kept = [
        spec for spec in heads if spec.kind in ("classify", "regress") or (vectors and spec.kind == "embed")
    ]
    Profile.of(kept, texts, {spec.name: stacked(chosen, spec.name) for spec in kept}).save(out)
