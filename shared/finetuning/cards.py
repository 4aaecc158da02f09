"""The model card, written from a model's files: what it is, what it learnt from, how good it is."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.artifacts.files import write_aside
from shared.errors import Damaged
from shared.finetuning.bases import KNOWN
from shared.models.card import CARD as MODEL
from shared.models.card import ModelCard
from shared.models.generator_card import CARD as GENERATOR
from shared.models.generator_card import GeneratorCard
from shared.models.heads import HeadSpec

FILE = "card.md"
WORST = 8  # labels and confusions that are shown
FEW = 10  # rows: a figure of fewer says little
_TOLD = ("manifest", "recipe", "data", "evaluation", "test", "shrink")
_USES = {
    "classify": "gives one of {n} labels with a probability: {labels}",
    "multilabel": "gives each of {n} labels a probability of its own: {labels}",
    "regress": "gives a number",
    "tag": "marks words as {n} BIO tags: {labels}",
    "entity": "gives a marked span one of {n} labels: {labels}",
    "embed": "gives a vector of length 1",
    "score": "says in 0 to 1 how well two texts belong together",
    "similarity": "says in 0 to 1 how well two texts belong together, from their vectors",
    "span": "finds the answer to a question in a passage",
}


def write(folder: Path, name: str) -> None:
    """Write `card.md` into a model folder."""
    write_aside(folder / FILE, render(folder, name).encode("utf-8", "replace"))


def render(folder: Path, name: str, *, checks: Mapping[str, Any] | None = None) -> str:
    """Return the card as Markdown.

    It reads `model.json` (or `generator.json`), and, where they are, `manifest.json`, `recipe.json`,
    `data.json`, `evaluation.json`, `test.json` and `shrink.json`; what a model does not know is left out.
    `checks` are further tables by title, measured afterwards: `{TITLE: [{COLUMN: value}]}`. Raises NotFound
    for a folder that holds no model, Damaged for a broken file.
    """
    told = {file: _read(folder / f"{file}.json") for file in _TOLD}
    lines = [f"# {name}", ""]
    if (folder / GENERATOR).is_file() and not (folder / MODEL).is_file():
        lines += _generator(GeneratorCard.read(folder))
        heads: list[HeadSpec] = []
    else:
        card = ModelCard.read(folder)
        heads = card.heads
        lines += _model(card)
    lines += _data(told) + _training(told) + _smaller(told["shrink"]) + _figures(told["test"], heads)
    for head in heads:
        lines += _validation(head, told["evaluation"].get(head.name, {}))
    if heads and card.out_of_scope is not None:
        lines += _refusal(card)
    for title, rows in (checks or {}).items():
        lines += [f"## {title}", "", *_table(rows), ""]
    lines += _limits(told, heads) + _use(name, heads)
    return "\n".join(lines).rstrip() + "\n"


def _model(card: ModelCard) -> list[str]:
    licence = KNOWN[card.base].licence if card.base in KNOWN else "that of the base, see its source"
    slots = [f"{name}: {slot.engine} {slot.precision}" for name, slot in card.slots.items()]
    lines = [f"A text encoder tuned from **{card.base}** (licence of the weights: {licence}).", ""]
    lines += [f"- `{head.name}` {_what(head)}" for head in card.heads]
    lines += [
        "",
        f"{card.dim} numbers a vector ({_taken(card)}); texts are cut at {card.max_tokens} tokens. "
        f"Fingerprint `{card.fingerprint}`. Served by {', '.join(slots) or 'the exported graph, float32'}.",
        "",
    ]
    return lines


def _taken(card: ModelCard) -> str:
    return f"{card.pooling} pooling" if card.gap is None else "from the hidden word beside each text"


def _generator(card: GeneratorCard) -> list[str]:
    part = "A LoRA adapter on" if card.adapter else "A generator of replies tuned from"
    return [
        f"{part} **{card.base}** (licence of the weights: {card.licence}); {card.kind}, {card.dtype}.",
        "",
        f"It reads up to {card.max_tokens} tokens and writes at most {card.max_reply_tokens}. "
        f"Fingerprint `{card.fingerprint}`.",
        "",
    ]


def _what(head: HeadSpec) -> str:
    shown = ", ".join(head.labels[:12]) + (", …" if len(head.labels) > 12 else "")
    return f"({head.kind}) " + _USES.get(head.kind, "").format(n=len(head.labels), labels=shown)


def _data(told: Mapping[str, Any]) -> list[str]:
    data, manifest = told["data"], told["manifest"]
    known = data.get("hash") or manifest.get("data_hash")
    if not known:
        return []
    rows = [
        {
            "source": name,
            "training rows": one["train"],
            "validation rows": one["valid"],
            "test rows": one["test"],
            # The name alone: where a file lay on somebody's disk is nobody else's business.
            "files": ", ".join(f"{Path(file).name} ({digest[:12]})" for file, digest in one["files"].items()),
        }
        for name, one in data.get("sources", {}).items()
    ]
    return ["## Data", "", f"SHA-256 of the rows: `{known}`", "", *_table(rows), ""]


def _training(told: Mapping[str, Any]) -> list[str]:
    recipe, manifest = told["recipe"], told["manifest"]
    if not recipe:
        return []
    method = recipe.get("method", {})
    kind = method if isinstance(method, str) else method.get("kind")
    train = recipe.get("train", recipe)  # a generator's recipe is flat
    shown: tuple[str, ...] = (
        "epochs",
        "steps",
        "rate",
        "head_rate",
        "batch",
        "precision",
        "max_tokens",
        "seed",
    )
    if kind == "frozen":  # nothing was trained step by step
        shown = ("max_tokens", "seed")
    parts = [f"{name} {train[name]}" for name in shown if train.get(name) is not None]
    seconds = manifest.get("extra", {}).get("seconds")
    lines = ["## Training", "", f"Method {kind}; {', '.join(parts)}.", ""]
    if manifest.get("recipe_hash"):
        made = str(manifest.get("created", ""))[:19]
        took = f", took {seconds:.0f} s" if isinstance(seconds, int | float) else ""
        lines += [f"Recipe `{manifest['recipe_hash']}`, made {made} UTC{took}; `recipe.json` holds it.", ""]
    return lines


def _smaller(told: Mapping[str, Any]) -> list[str]:
    if not told:
        return []
    before, after = told["parameters"]
    done = [
        f"layers {', '.join(map(str, told['layers']))} kept and taught by the original"
        if "layers" in told
        else "",
        f"{told['tokens'][0]:,} tokens cut to {told['tokens'][1]:,}" if "tokens" in told else "",
        f"{_number(told['zeros'])} of the body's weights are 0" if "zeros" in told else "",
    ]
    rows = [
        {"head": name, "metric": one["metric"], "loss": one["loss"]} for name, one in told["heads"].items()
    ]
    return [
        "## Made smaller",
        "",
        f"{'; '.join(part for part in done if part)}: {before:,} parameters became {after:,}. What is lost "
        "against the original, each head on its own metric:",
        "",
        *_table(rows),
        "",
    ]


def _figures(test: Mapping[str, Any], heads: Sequence[HeadSpec]) -> list[str]:
    if not test:
        return ["## Test figures", "", "No test file was given: only the validation figures are known.", ""]
    by_head = test if all(isinstance(one, Mapping) for one in test.values()) else {"": test}
    rows = [
        {"head": head, "metric": metric, "value": _number(value[0]), "95 % interval": _interval(value)}
        for head, own in by_head.items()
        for metric, value in own.items()
        if metric != "curve" and isinstance(value, list)
    ]
    kept = rows if len(by_head) > 1 else [{k: v for k, v in row.items() if k != "head"} for row in rows]
    return ["## Test figures", "", "Measured on the rows of the test file, once.", "", *_table(kept), ""]


def _validation(head: HeadSpec, told: Mapping[str, Any]) -> list[str]:
    figures = {k: v for k, v in told.items() if isinstance(v, int | float)}
    if not figures:
        return []
    said = ", ".join(f"{name} {_number(value)}" for name, value in figures.items())
    lines = [f"## Validation of `{head.name}`", "", f"{said}.", ""]
    if "ece_before" in told:
        lines += [
            f"Calibration: the expected gap between confidence and accuracy is {_number(told['ece'])}; it "
            f"was {_number(told['ece_before'])} before temperature scaling (temperature "
            f"{_number(told['temperature'])}). Both are measured on the rows that set the temperature.",
            "",
        ]
    if told.get("sets"):
        sets = told["sets"]
        lines += [
            f"Label sets: `predict` gives the set of labels that shall hold the true one in "
            f"{_number(sets['promised'])} of texts like these; on validation rows that did not set the "
            f"cut it did in {_number(sets['coverage'])}, with {_number(sets['size'])} labels on average.",
            "",
        ]
    if told.get("confusion"):
        lines += _confusions(told["labels"], told["confusion"])
    return lines


def _confusions(labels: Sequence[str], table: Sequence[Sequence[int]]) -> list[str]:
    parts: list[dict[str, Any]] = [
        {"label": label, "rows": sum(row), "right": _number(row[i] / sum(row))}
        for i, (label, row) in enumerate(zip(labels, table, strict=True))
        if sum(row)
    ]
    parts.sort(key=lambda one: (float(one["right"]), str(one["label"])))
    wrong: list[dict[str, Any]] = [
        {"truth": labels[i], "said": labels[j], "rows": count}
        for i, row in enumerate(table)
        for j, count in enumerate(row)
        if i != j and count
    ]
    wrong.sort(key=lambda one: (-int(one["rows"]), str(one["truth"]), str(one["said"])))
    few = [one for one in parts if int(one["rows"]) < FEW]
    lines = ["Weakest labels (share of their validation rows that is right):", "", *_table(parts[:WORST]), ""]
    if few:
        lines += [f"{len(few)} of {len(parts)} labels have under {FEW} validation rows.", ""]
    if wrong:
        lines += ["Most frequent confusions:", "", *_table(wrong[:WORST]), ""]
    return lines


def _refusal(card: ModelCard) -> list[str]:
    rule = card.out_of_scope
    assert rule is not None  # noqa: S101 - the caller looked
    return [
        "## Out of scope",
        "",
        f"Head `{rule.head}` refuses texts that seem to belong to none of its labels and calls them "
        f"`{rule.label}`. The threshold was set on validation rows to keep an in-scope accuracy of "
        f"{_number(rule.keep)}; {_number(rule.kept)} was reached there.",
        "",
    ]


def _limits(told: Mapping[str, Any], heads: Sequence[HeadSpec]) -> list[str]:
    limits = ["It knows labels, languages and kinds of text of its training rows; nothing else was measured."]
    if told["test"]:
        limits.append("The figures hold for rows like the test rows; they fall as texts move away from them.")
    if any(head.kind in ("classify", "multilabel") for head in heads):
        limits.append(
            "A probability is calibrated on average, not for every label and not for foreign texts."
        )
    limits.append("Whether it treats groups of people alike was not measured unless a table above says so.")
    return ["## Limits", "", *(f"- {limit}" for limit in limits), ""]


def _use(name: str, heads: Sequence[HeadSpec]) -> list[str]:
    lines = ["## Use", "", "```bash", f"trillium predict {name} FILE"]
    if any(head.kind in ("classify", "multilabel", "regress") for head in heads):
        lines.append(f'trillium explain {name} "TEXT" --neighbours 3')
    return [*lines, "```", ""]


def _table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = list(rows)
    if not rows:
        return []
    names = list(rows[0])
    body = ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names), *body]


def _cell(value: Any) -> str:
    text = _number(value) if isinstance(value, float) else str(value if value is not None else "")
    return text.replace("|", "\\|").replace("\n", " ")


def _number(value: Any) -> str:
    if not isinstance(value, int | float):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _interval(value: Sequence[Any]) -> str:
    return f"{_number(value[1])} to {_number(value[2])}" if len(value) == 3 else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} can't be read: {error}; train again") from error
    return found if isinstance(found, dict) else {}
