"""Rows of a labelled file whose label is probably wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data import keep_rejected, read_rows
from shared.finetuning import bases, label_noise, probe
from shared.finetuning.feeding import Feed
from shared.finetuning.hardware import best_precision
from shared.finetuning.recipe import Recipe
from shared.finetuning.train import load
from shared.models.heads import HeadSpec


@dataclass(frozen=True)
class Noise:
    """The suspect rows `{line, text, label, suggested, probability, suggested_probability}`, most likely
    wrong first, how many there are in all, of how many rows, and how many could not be judged."""

    rows: list[dict[str, Any]]
    suspect: int
    judged: int
    unjudged: int


def find_noise(
    file: Path,
    *,
    base: str,
    home: Path,
    count: int,
    text_column: str = "text",
    label_column: str = "label",
    seed: int = 0,
) -> Noise:
    """Return the `count` rows of a classify file that are most likely mislabelled.

    Texts are encoded by the frozen `base`. Raises what reading the file, `bases.resolve` and
    `label_noise.suspects` raise.
    """
    table = read_rows(file, required=[text_column, label_column])
    keep_rejected(table, home)
    texts = [str(row[text_column]) for row in table.rows]
    labels = [str(row[label_column]) for row in table.rows]
    vectors = _encoded(texts, base, home)
    report = label_noise.suspects(vectors, labels, texts, seed=seed)
    found = [
        {
            "line": table.rows[one.row]["_line"],
            "text": texts[one.row],
            "label": one.given,
            "suggested": one.suggested,
            "probability": one.believed,
            "suggested_probability": one.instead,
        }
        for one in report.suspects[:count]
    ]
    return Noise(found, len(report.suspects), len(texts) - len(report.unjudged), len(report.unjudged))


def _encoded(texts: list[str], base: str, home: Path) -> Any:
    found = bases.resolve(base, home=home, fetch=True)
    recipe = Recipe.parse({"base": base, "heads": {"embed": {"kind": "embed"}}})
    model, tokenizer, longest = load(found, recipe, [HeadSpec(name="embed", kind="embed")])
    return probe.encode(model, Feed(tokenizer, longest), texts, precision=best_precision())
