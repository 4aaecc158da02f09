"""Fine-tune a model on your own files for one of ten tasks, and measure it."""

from pathlib import Path
from typing import Annotated, Any

import typer

_TASKS = "classify, multilabel, regress, tag, entity, span, embed, score, mlm or generate"


def command(
    task: Annotated[str | None, typer.Option(help=f"{_TASKS}.")] = None,
    train: Annotated[
        Path | None, typer.Option(help="Training rows: CSV, TSV, JSONL, Parquet, CoNLL.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Rows to measure on, once, at the end.")] = None,
    valid: Annotated[
        Path | None, typer.Option(help="Validation rows; else a part of --train is held out.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="A recipe (TOML); with data.NAME.files it replaces --task and files.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Short name, folder, Hugging Face name, or auto.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the text, by default text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the label, by default label.")] = None,
    out_of_scope: Annotated[
        str | None, typer.Option(help="Label of rows that belong to no class: they are refused.")
    ] = None,
    keep: Annotated[
        float, typer.Option(min=0.01, max=1, help="In-scope accuracy to keep on validation rows.")
    ] = 0.94,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Bound of the training and what is read for it; 30 without a recipe."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the training.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the training, 0 by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write a folder instead of an artifact.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fine-tune a model on your own files for one of ten tasks, and measure it."""
    from pipelines.flow import emit
    from pipelines.tuning.asking import Asked, carry_out

    asked = Asked(
        task=task,
        train=train,
        test=test,
        valid=valid,
        recipe=recipe,
        base=base,
        text_column=text_column,
        label_column=label_column,
        out_of_scope=out_of_scope,
        keep=keep,
        minutes=minutes,
        threads=threads,
        seed=seed,
        out=out,
    )
    made = carry_out(asked)
    result: dict[str, Any] = {
        "task": made.task,
        "base": made.base,
        "artifact": made.artifact,
        "seconds": made.seconds,
        "metrics": made.metrics,
    }
    emit(result, json)
