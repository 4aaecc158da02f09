"""Search a recipe's fields on validation rows: the best, the spread, and which fields matter."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.tuning.searching import Searched
    from shared.finetuning.tried import Tried


def command(
    trials: Annotated[int, typer.Option(min=1, help="How many recipes to try, those of earlier calls too.")],
    out: Annotated[Path, typer.Option(help="The best recipe (TOML); a search goes on from what lies there.")],
    recipe: Annotated[
        Path | None, typer.Option(help="A recipe (TOML); its [search] says which fields, and their values.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="As for finetune, where the recipe names no files.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Training rows, as for finetune.")] = None,
    valid: Annotated[
        Path | None, typer.Option(help="Validation rows; else a part of --train is held out.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Named in the best recipe; never read here.")] = None,
    base: Annotated[str | None, typer.Option(help="Short name, folder, Hugging Face name, or auto.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the text, by default text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the label, by default label.")] = None,
    out_of_scope: Annotated[
        str | None, typer.Option(help="Label of rows that belong to no class; they are left out.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="No trial begins after so many minutes.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the training.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of search and training, 0 by default.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Search a recipe's fields on validation rows: the best, the spread, and which fields matter."""
    from pipelines.flow import emit
    from pipelines.tuning.asking import Asked
    from pipelines.tuning.searching import carry_out

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
        threads=threads,
        seed=seed,
    )
    made = carry_out(asked, out, trials, minutes)
    if json:
        emit(made.told(), True)
    else:
        _show(made)


def _show(made: "Searched") -> None:
    found = made.found
    print(f"{'trial':>5} {'state':<9} {'score':>7} {'loss':>8} {'epochs':>6} {'seconds':>8}  fields")
    for one in found.trials:
        mark = "*" if one.number == found.best.number else " "
        print(
            f"{one.number:>4}{mark} {one.state:<9} {_number(one.score, 4):>7} {_number(one.loss, 4):>8} "
            f"{one.epochs:>6} {one.seconds:>8.1f}  {_fields(one)}"
        )
    spread = ", ".join(f"{name} {value:.4f}" for name, value in found.spread.items())
    print(f"spread of validation scores: {spread}")
    shares = ", ".join(f"{name} {share:.2f}" for name, share in found.importance.items())
    print(f"importance: {shares or 'unknown, too few scores differ'}")
    print(f"best: trial {found.best.number}, validation score {_number(found.best.score, 4)}")
    print(f"recipe: {made.recipe}")
    print(f"report: {made.report}")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _fields(one: "Tried") -> str:
    told = ", ".join(f"{path} {value}" for path, value in one.fields.items())
    twin = "" if one.same_as is None else f" (as trial {one.same_as})"
    return f"{told}{twin}{': ' + one.why if one.why else ''}"
