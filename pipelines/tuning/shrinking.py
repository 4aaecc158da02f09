"""A model made smaller, then given the fastest engines, then stored without its zeros."""

import secrets
import shutil
from dataclasses import replace
from pathlib import Path

from shared.artifacts.files import write_json
from shared.errors import UsageError
from shared.finetuning.compress import Compressed, compress
from shared.finetuning.drift import Sample
from shared.finetuning.shrink.smaller import FILE, Plan, shrink
from shared.models import sparse


def plan_of(layers: str | None, vocabulary: bool, zeros: float | None, rows: Sample | None) -> Plan:
    """Return the plan that options say; raises UsageError for layers that are no numbers or texts missing."""
    if layers is not None and not all(part.strip().isdecimal() for part in layers.split(",")):
        raise UsageError(f"--layers {layers!r} is no list of numbers such as 0,2,4,5")
    if (layers is not None or vocabulary) and rows is None:
        raise UsageError("--layers and --vocabulary look at training texts; give --texts FILE")
    return Plan(
        layers=tuple(int(part) for part in layers.split(",")) if layers is not None else (),
        vocabulary=vocabulary,
        zeros=zeros or 0.0,
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
