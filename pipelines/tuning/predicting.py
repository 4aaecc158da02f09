"""What a model says of the rows of a file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.tuning.tasks import TASKS, Task, named, read_task
from shared.models.card import ModelCard
from shared.models.heads import GRADED, FloatArray, HeadSpec
from shared.models.out_of_scope import Places
from shared.models.reading import answers, span_probabilities, word_tags
from shared.models.spans import Offsets
from shared.models.text_model import TextModel
from shared.text.words import words

ROWS, WRITTEN = 256, 16  # answered at a time
Row = Mapping[str, Any]


def predictions(folder: Path, file: Path, home: Path) -> Iterator[dict[str, Any]]:
    """Give one answer a row, in the file's order: with its `id` where it has one, and what the model's one
    head says, or `heads` by name where it has several. A classify head also says the `set` of labels that
    holds the truth with the chance its model card promises, most probable first.

    The file has the columns of training without what was learnt. Raises what reading the file does.
    """
    if (folder / "generator.json").is_file():
        yield from _replies(folder, file, home)
        return
    model, told = TextModel.load(folder), _recipe(folder)
    heads = _answering(model, told)
    task = _task(heads, told)
    rows = read_task(task, file, home, learn=False).rows
    refusal = _Refusal.of(folder)
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        said = _said(model, heads, task, part, refusal)
        for i, row in enumerate(part):
            found = {name: answer[i] for name, answer in said.items()}
            own = next(iter(found.values())) if len(found) == 1 else {"heads": found}
            yield {**({"id": row["id"]} if row.get("id") is not None else {}), **own}


def texts_of(folder: Path, model: TextModel, file: Path, home: Path) -> list[str]:
    """Return the texts of a file as this model of single texts reads them; raises what reading does."""
    told = _recipe(folder)
    task = _task(_answering(model, told), told)
    return _texts(task, read_task(task, file, home, learn=False).rows)[0]


def _recipe(folder: Path) -> dict[str, Any]:
    path = folder / "recipe.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _answering(model: TextModel, told: Mapping[str, Any]) -> list[HeadSpec]:
    """Return the heads that were learnt; a vector that merely comes along answers where nothing else does."""
    learnt = told.get("heads", {})
    found = [h for h in model.heads.values() if h.kind != "embed" or learnt.get(h.name, {}).get("data")]
    return found or list(model.heads.values())


def _task(heads: Sequence[HeadSpec], told: Mapping[str, Any]) -> Task:
    kinds = {head.kind for head in heads}
    if "similarity" in kinds:
        return TASKS["score"]
    for kind in ("span", "score"):
        if kind in kinds:
            return TASKS[kind]
    if "entity" in kinds:
        return named(TASKS["entity"], *_columns(next(h for h in heads if h.kind == "entity"), told))
    if kinds == {"tag"}:  # beside other heads, which read the text, the words are taken from it
        return TASKS["tag"]
    return named(TASKS["mlm"], _columns(heads[0], told)[0], None)


def _columns(spec: HeadSpec, told: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the names of a head's columns of texts and of labels, each where training had another one."""
    head = told.get("heads", {}).get(spec.name, {})
    text = told.get("data", {}).get(head.get("data"), {}).get("text", "text")
    return text if text != "text" else None, head.get("label") or None


class _Refusal:
    """The model's own refusal of texts that belong to no label."""

    def __init__(self, rule: Any, places: Places) -> None:
        self.rule, self.places = rule, places

    @classmethod
    def of(cls, folder: Path) -> "_Refusal | None":
        rule = ModelCard.read(folder).out_of_scope
        return cls(rule, Places.load(folder)) if rule is not None else None


def _said(
    model: TextModel, heads: Sequence[HeadSpec], task: Task, rows: Sequence[Row], refusal: _Refusal | None
) -> dict[str, list[dict[str, Any]]]:
    if task.name == "span":
        return {heads[0].name: _answers(model, rows)}
    texts, pairs = _texts(task, rows)
    encodings = model.encode(texts, pairs=None if model.compares else pairs)
    raw = model.raw(encodings)
    if model.compares and pairs is not None:
        raw = model.with_similarity(raw, pairs)
    found = {}
    for head in heads:
        if head.kind == "tag":
            offsets = [encoding.offsets for encoding in encodings]
            found[head.name] = _tags(head, raw[head.name], offsets, texts, rows)
        elif head.kind == "entity":
            read = zip(raw[head.name], encodings, strict=True)
            found[head.name] = [
                _spans(model, head, text, row.get(task.target[0]) or [], (values, encoding.offsets))
                for text, row, (values, encoding) in zip(texts, rows, read, strict=True)
            ]
        else:
            found[head.name] = _plain(head, raw[head.name])
        if refusal is not None and refusal.rule.head == head.name:
            vectors = next(raw[h.name] for h in model.heads.values() if h.kind == "embed")
            refused = refusal.rule.reject(refusal.places, vectors, raw[head.name])
            for answer in (one for one, foreign in zip(found[head.name], refused, strict=True) if foreign):
                answer["label"] = refusal.rule.label
    return found


def _texts(task: Task, rows: Sequence[Row]) -> tuple[list[str], list[str] | None]:
    if task.name == "tag":
        return [" ".join(row["tokens"]) for row in rows], None
    texts = [str(row[task.texts[0]]) for row in rows]
    return texts, [str(row[task.texts[1]]) for row in rows] if len(task.texts) > 1 else None


def _plain(head: HeadSpec, raw: Any) -> list[dict[str, Any]]:
    values = head.decode(raw)
    if head.kind == "embed":
        return [{"vector": [round(float(x), 6) for x in row]} for row in values]
    if head.kind in ("regress", *GRADED):
        return [{"score": round(float(value), 6)} for value in values]
    cuts = np.asarray(head.thresholds or [0.5] * len(head.labels))
    found = []
    for row in values:
        shares = {label: round(float(p), 6) for label, p in zip(head.labels, row, strict=True)}
        said: dict[str, Any] = {"label": head.labels[int(row.argmax())]}
        sets = {"set": head.label_set(row)} if head.kind == "classify" and head.set_cut is not None else {}
        if head.kind == "multilabel":
            said = {
                "labels": [label for label, p, cut in zip(head.labels, row, cuts, strict=True) if p >= cut]
            }
        found.append({**said, "probabilities": shares, **sets})
    return found


def _tags(
    head: HeadSpec, raw: Any, offsets: Sequence[Offsets], texts: Sequence[str], rows: Sequence[Row]
) -> list[dict[str, Any]]:
    found = []
    for values, own, text, row in zip(raw, offsets, texts, rows, strict=True):
        given = row.get("tokens")
        places = _places(given) if given else [(word.start, word.end) for word in words(text)]
        tags = word_tags(head, values, own, places)
        found.append({**({} if given else {"tokens": [text[a:b] for a, b in places]}), "tags": tags})
    return found


def _places(tokens: Sequence[str]) -> list[tuple[int, int]]:
    found, at = [], 0
    for token in tokens:
        found.append((at, at + len(token)))
        at += len(token) + 1
    return found


def _spans(
    model: TextModel,
    head: HeadSpec,
    text: str,
    given: Sequence[Mapping[str, Any]],
    read: tuple[FloatArray, Offsets],
) -> dict[str, Any]:
    places = [(span["start"], span["end"]) for span in given]
    shares = span_probabilities(model, head.name, text, places, read)
    return {
        "spans": [
            {
                "start": span["start"],
                "end": span["end"],
                "label": head.labels[int(own.argmax())],
                "probabilities": {name: round(float(p), 6) for name, p in zip(head.labels, own, strict=True)},
            }
            for span, own in zip(given, shares, strict=True)
        ]
    }


def _answers(model: TextModel, rows: Sequence[Row]) -> list[dict[str, Any]]:
    contexts = [str(row["context"]) for row in rows]
    found = answers(model, [str(row["question"]) for row in rows], contexts, no_answer=True)
    return [
        {
            "answer": text[one.start : one.end],
            "start": one.start,
            "end": one.end,
            "score": round(one.score, 6),
        }
        for one, text in zip(found, contexts, strict=True)
    ]


def _replies(folder: Path, file: Path, home: Path) -> Iterator[dict[str, Any]]:
    from shared.finetuning.generating.examples import passages
    from shared.finetuning.generator import Generator

    writer = Generator.load(folder, home=home)
    rows = read_task(TASKS["generate"], file, home, learn=False).rows
    for start in range(0, len(rows), WRITTEN):
        part = rows[start : start + WRITTEN]
        said = writer.replies([(str(row["question"]), passages(row)) for row in part])
        for row, reply in zip(part, said, strict=True):
            yield {**({"id": row["id"]} if row.get("id") is not None else {}), "reply": reply}
