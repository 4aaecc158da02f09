"""Which rows of an unlabelled file a person should label next."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipelines.data import read_rows
from pipelines.tuning.artifact import Model
from pipelines.tuning.trained_on import training_rows
from shared.errors import BadInput, Conflict, NotFound, TrilliumError
from shared.finetuning import active
from shared.models.heads import FloatArray, HeadSpec
from shared.models.text_model import TextModel
from shared.telemetry import logger

Method = Literal["uncertainty", "diversity", "committee"]
_LOG = logger(__name__)


def suggest(
    model: Model,
    file: Path,
    *,
    count: int,
    method: Method,
    home: Path,
    head: str | None = None,
    members: Sequence[Model] = (),
    train: Path | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return up to `count` rows of `file`, the one to label first first: `{id?, line, text, label,
    probability, score}`.

    `label` and `probability` are what the model says now, `score` why the row is here: its doubt
    (uncertainty), its doubt times its distance from all labelled rows and those before it (diversity), or
    the quarrel of the committee in nats. The committee are the model and `members`, else heads fitted on
    resamples of the training file (classify only). Equal texts are suggested once, equal scores go by line.
    Raises BadInput or NotFound for a head that can't be asked, Conflict for members of other labels, and
    what reading a file raises.
    """
    served = TextModel.load(model.path)
    spec = _head(served, head)
    column = _column(model, spec)
    rows = _distinct(read_rows(file, required=[column], optional=["id"]).rows, column)
    texts = [str(row[column]) for row in rows]
    told = spec.decode(served.logits(texts)[spec.name])
    kind: active.Kind = "multilabel" if spec.kind == "multilabel" else "classify"
    if method == "committee":
        scores = active.disagreement(
            _members(model, served, spec, texts, told, members, home, train, seed), kind
        )
        order = np.argsort(-scores, kind="stable")[:count]
    elif method == "uncertainty":
        scores = active.uncertainty(told, kind)
        order = np.argsort(-scores, kind="stable")[:count]
    else:
        scores = active.uncertainty(told, kind)
        known = _known(model, served, spec, column, home, train)
        order = active.k_centre(served.embed(texts), count, weights=scores + 1e-6, known=known)
    return [_line(rows[i], column, spec, told[i], float(scores[i])) for i in order]


def _line(
    row: Mapping[str, Any], column: str, spec: HeadSpec, told: FloatArray, score: float
) -> dict[str, Any]:
    best = int(told.argmax())
    named = {"id": row["id"]} if row.get("id") is not None else {}
    return {
        **named,
        "line": row.get("_line"),
        "text": row[column],
        "label": spec.labels[best],
        "probability": round(float(told[best]), 4),
        "score": round(score, 4),
    }


def _head(served: TextModel, name: str | None) -> HeadSpec:
    if name is not None and name not in served.heads:
        raise NotFound(f"this model has no head {name!r}; it has {', '.join(served.heads)}")
    fitting = [h for h in served.heads.values() if h.kind in ("classify", "multilabel")]
    chosen = served.heads[name] if name is not None else next(iter(fitting), None)
    if chosen is None or chosen.kind not in ("classify", "multilabel"):
        raise BadInput("labels are suggested for classify and multilabel heads; this is none or has none")
    return chosen


def _column(model: Model, spec: HeadSpec) -> str:
    if not (model.path / "recipe.json").is_file():
        return "text"
    recipe = model.recipe()
    return recipe.data[str(recipe.heads[spec.name].data)].text


def _distinct(rows: Sequence[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(str(row[column]), row)
    return list(first.values())


def _members(
    model: Model,
    served: TextModel,
    spec: HeadSpec,
    texts: list[str],
    told: FloatArray,
    members: Sequence[Model],
    home: Path,
    train: Path | None,
    seed: int,
) -> list[FloatArray]:
    if members:
        return [told, *(_of_member(one, spec, texts) for one in members)]
    if spec.kind != "classify":
        raise BadInput("a multilabel head has no committee of its own; give --member ARTIFACT, once or more")
    recipe = model.recipe()
    head = recipe.heads[spec.name]
    _, rows = training_rows(model, str(head.data), home, train)
    column = recipe.data[str(head.data)].text
    named = [(str(row[column]), recipe.rename(spec.name, str(row.get(head.target)))) for row in rows]
    usable = [(text, spec.labels.index(label)) for text, label in named if label in spec.labels]
    vectors, unseen = served.embed([text for text, _ in usable]), served.embed(texts)
    return active.committee(vectors, [label for _, label in usable], unseen, len(spec.labels), seed=seed)


def _of_member(member: Model, spec: HeadSpec, texts: list[str]) -> FloatArray:
    other = TextModel.load(member.path)
    own = other.heads.get(spec.name)
    if own is None or own.labels != spec.labels:
        raise Conflict(
            f"{member.name} has no head {spec.name!r} of the same labels; members must know the same labels"
        )
    return own.decode(other.logits(texts)[spec.name])


def _known(
    model: Model, served: TextModel, spec: HeadSpec, column: str, home: Path, train: Path | None
) -> FloatArray | None:
    try:
        recipe = model.recipe()
        _, rows = training_rows(model, str(recipe.heads[spec.name].data), home, train)
    except TrilliumError as error:
        if train is not None:
            raise
        _LOG.warning("labelled rows are not compared with", why=error.detail)
        return None
    return served.embed([str(row[column]) for row in rows if str(row.get(column) or "").strip()])
