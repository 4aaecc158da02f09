"""The training rows that lie nearest to a text: what a model's answer rests on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.tuning.artifact import Model
from pipelines.tuning.trained_on import training_rows
from shared.artifacts.files import full_disk_named
from shared.errors import BadInput
from shared.finetuning.recipe import Head
from shared.models.heads import GRADED, FloatArray
from shared.models.text_model import TextModel


def neighbours(
    model: Model,
    served: TextModel,
    text: str,
    head: str,
    count: int,
    *,
    home: Path,
    train: Path | None = None,
) -> list[dict[str, Any]]:
    """Return the `count` nearest training rows of the head, nearest first: `{text, label, similarity, line}`.

    `similarity` is a cosine, -1 to 1; equal ones go by their place in the file. `label` is as the file has
    it. Vectors are kept in `home/cache/neighbours` by the hash of the texts and the model's fingerprint.
    Raises what `training_rows` does, Conflict for a model without vectors, BadInput for a head without texts.
    """
    source, column, target = _place(model, head)
    _, rows = training_rows(model, source, home, train)
    rows = [row for row in rows if str(row.get(column) or "").strip()]
    if not rows:
        raise BadInput(f"the training rows of {model.name} have nothing in the column {column!r}")
    vectors = _vectors(served, [str(row[column]) for row in rows], home)
    near = vectors @ served.embed([text])[0]  # cosine: both are unit length
    order = np.argsort(-near, kind="stable")[:count]
    return [
        {
            "text": str(rows[i][column]),
            "label": rows[i].get(target),
            "similarity": round(float(near[i]), 4),
            "line": rows[i].get("_line"),
        }
        for i in order
    ]


def _place(model: Model, name: str) -> tuple[str, str, str]:
    recipe = model.recipe()
    head = recipe.heads.get(name, Head(kind="embed"))
    if head.data is None:  # a bare vector: it stands beside another head
        head = next((one for one in recipe.heads.values() if one.data is not None), head)
    if head.data is None:
        raise BadInput(f"{model.name} was not trained on rows; it has no nearest ones")
    if head.kind == "embed":
        return head.data, head.anchor, head.positive
    if head.kind in ("tag", "span", *GRADED):
        raise BadInput(f"nearest rows are those of a text; the rows of a {head.kind} head are none")
    return head.data, recipe.data[head.data].text, head.target


def _vectors(served: TextModel, texts: Sequence[str], home: Path) -> FloatArray:
    digest = hashlib.sha256(
        "\0".join([served.fingerprint, *texts]).encode("utf-8", "surrogatepass")
    ).hexdigest()
    path = home / "cache" / "neighbours" / f"{digest[:32]}.npy"
    try:
        kept: FloatArray = np.load(path, allow_pickle=False).astype(np.float32)
        if kept.shape == (len(texts), served.dim):
            return kept
    except (OSError, ValueError):  # not there yet, or half of it
        pass
    vectors = served.embed(texts)
    with full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{digest[32:40]}.aside")
        with aside.open("wb") as file:
            np.save(file, vectors.astype(np.float16))
        aside.replace(path)
    return vectors
