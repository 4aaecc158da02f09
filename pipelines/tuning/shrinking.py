"""A model made smaller, then given the fastest engines, then stored without its zeros."""

import json
import secrets
import shutil
from dataclasses import replace
from pathlib import Path

from shared.artifacts.files import write_json
from shared.errors import Damaged, UsageError
from shared.finetuning.compress import Compressed, compress
from shared.finetuning.drift import Sample
from shared.finetuning.shrink.options import Compress
from shared.finetuning.shrink.smaller import FILE, Plan, shrink
from shared.models import sparse


def wanted(
    folder: Path, limit: float | None, layers: str | None, vocabulary: bool, zeros: float | None
) -> Compress:
    """Return what the options say, and where they say nothing what the model's own recipe does.

    Raises UsageError for layers that are no numbers.
    """
    if layers is not None and not all(part.strip().isdecimal() for part in layers.split(",")):
        raise UsageError(f"--layers {layers!r} is no list of numbers such as 0,2,4,5")
    own = _own(folder)
    return Compress(
        limit=own.limit if limit is None else limit,
        layers=own.layers if layers is None else [int(part) for part in layers.split(",")],
        vocabulary=own.vocabulary or vocabulary,
        zeros=own.zeros if zeros is None else zeros,
    )


def _own(folder: Path) -> Compress:
    try:
        tree = json.loads((folder / "recipe.json").read_text("utf-8"))
        return Compress.model_validate(tree.get("compress") or {})
    except FileNotFoundError:
        return Compress()
    except (OSError, ValueError, AttributeError) as error:
        raise Damaged(f"{folder / 'recipe.json'} can't be read: {error}; train the model again") from error


def plan_of(asked: Compress, rows: Sample | None) -> Plan:
    """Return the plan for what is asked; raises UsageError for texts that are missing."""
    if (asked.layers or asked.vocabulary) and rows is None:
        raise UsageError("--layers and --vocabulary look at training texts; give --texts FILE")
    return Plan(
        layers=tuple(asked.layers),
        vocabulary=asked.vocabulary,
        zeros=asked.zeros or 0.0,
        texts=tuple(rows.texts) if rows else (),
        pairs=tuple(rows.pairs) if rows and rows.pairs is not None else None,
    )


def compressed(
    folder: Path,
    out: Path,
    plan: Plan,
    sample: Sample | None,
    *,
    limit: float | None,
    work: Path,
    seconds: float | None = None,
) -> Compressed:
    """Write what `compress` makes of the model, of a smaller one where the plan asks; `work` holds what comes
    between and is left empty, `seconds` go into measuring speed. Raises as `shrink` and `compress` do."""
    with sparse.dense(folder) as whole:
        if plan.empty:
            return compress(whole, out, sample, limit=limit, seconds=seconds)
        aside = work / secrets.token_hex(6)
        try:
            told = shrink(whole, aside / "model", plan, sample, limit=limit, work=aside)
            made = compress(aside / "model", out, sample, limit=limit, seconds=seconds)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    if plan.zeros:
        told["files"] = {name: list(sizes) for name, sizes in sparse.pack(out).items()}
    write_json(out / FILE, told, indent=1)
    return replace(made, smaller=told)
