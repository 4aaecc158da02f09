"""Say whether the texts of a file are still like those that a model was measured on."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    artifact: Annotated[str, typer.Argument(help="NAME, NAME@N, a model folder, or an application (live).")],
    file: Annotated[Path, typer.Argument(help="Recent texts, with the text column of training.")],
    reference: Annotated[
        Path | None, typer.Option(help="Compare with this file instead of the validation rows of training.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say whether recent texts are like those that a model was measured on: labels, confidence, vectors."""
    from dataclasses import asdict
    from json import dumps

    from rich.console import Console
    from rich.table import Table

    from pipelines.tuning.artifact import find_model
    from pipelines.tuning.drifting import drifted
    from shared.settings import load_settings

    settings = load_settings()
    model = find_model(artifact, settings)
    found = drifted(model, file, home=settings.home, reference=reference)
    if as_json:
        rows = {"reference": found.reference, "current": found.current}
        figures = [asdict(one) for one in found.figures]
        print(dumps({"artifact": model.name, "rows": rows, "moved": found.moved, "figures": figures}))
        return
    table = Table(title=f"{found.current} texts beside {found.reference} of {model.name}")
    for name in ("what", "head", "figure", "value", "p value", ""):
        table.add_column(name, justify="right" if name in ("value", "p value") else "left")
    for one in found.figures:
        verdict = "moved" if one.moved else "steady"
        table.add_row(one.what, one.head or "", one.figure, f"{one.value:.4f}", f"{one.p_value:.3f}", verdict)
    Console().print(table)
