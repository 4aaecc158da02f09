"""Find the fastest engine and precision for a model here, within a limit of what it may lose."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from shared.artifacts.manifest import Manifest
    from shared.artifacts.store import ArtifactStore
    from shared.finetuning.compress import Compressed
    from shared.finetuning.drift import Sample
    from shared.models.card import ModelCard

SIDES = {"question": "query", "context": "text"}  # names of the two texts in files of span heads


def command(
    artifact: Annotated[str, typer.Argument(help="NAME@N, a name (its newest), or a model folder.")],
    limit: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Largest loss of a head; by default the recipe's, else .05 of neighbours, .003 of others.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write a folder instead of a new artifact.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Validation rows to measure on, with a column text and, if known, the labels."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Layers to keep, such as 0,2,4,5; the rest learns the original's outputs on --texts."
        ),
    ] = None,
    vocabulary: Annotated[
        bool, typer.Option("--vocabulary", help="Leave out tokens that --texts never use.")
    ] = False,
    zeros: Annotated[
        float | None, typer.Option(help="Share of the weights that become 0 and take no room on disk.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Training texts, for --layers and --vocabulary; labels are not read.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the fastest engine and precision for a model here, within a limit of what it may lose."""
    from pipelines.flow import emit
    from pipelines.tuning.artifact import find_model
    from pipelines.tuning.shrinking import compressed, plan_of, wanted
    from shared.artifacts.store import ArtifactStore
    from shared.errors import UsageError
    from shared.models.card import ModelCard
    from shared.settings import load_settings

    settings = load_settings()
    given = find_model(artifact, settings)
    card = ModelCard.read(given.path)
    sample = _sample(data, card) if data else None
    rows = _sample(texts, card) if texts else None
    asked = wanted(given.path, limit, layers, vocabulary, zeros)
    plan = plan_of(asked, rows)

    def make(to: Path) -> "Compressed":
        work = settings.home / "work" / "shrink"
        return compressed(given.path, to, plan, sample, limit=asked.limit, work=work)

    if out is not None:
        name, made = str(out), make(out)
    elif given.manifest is None:
        raise UsageError(f"{given.path} is a folder, not an artifact; say with --out where the result goes")
    else:
        store = ArtifactStore(settings.home / "artifacts")
        name, made = _stored(store, given.manifest, make)
    slots = {key: slot.model_dump(mode="json") for key, slot in made.slots.items()}
    if json:
        smaller = {"smaller": made.smaller} if made.smaller else {}
        emit({"artifact": name, "slots": slots, "table": made.table, **smaller}, True)
        return
    _show(name, made)


def _stored(store: "ArtifactStore", old: "Manifest", make: Any) -> tuple[str, "Compressed"]:
    """Make the next version of the model, with the one it came from as a parent."""
    with store.create(
        old.name,
        old.kind,
        parents={"original": old.ref},
        recipe_hash=old.recipe_hash,
        data_hash=old.data_hash,
    ) as draft:
        made: Compressed = make(draft.path)
        smaller = {"shrink": made.smaller} if made.smaller else {}
        draft.metrics = {**old.metrics, "compress": made.table, **smaller}
        draft.extra = {**old.extra, "slots": {name: slot.path for name, slot in made.slots.items()}}
    return str(draft.artifact.ref), made


def _sample(path: Path, card: "ModelCard") -> "Sample":
    """Read texts and true labels: a column named after a head, else `label` (or `labels`)."""
    from pipelines.data import read_rows
    from shared.finetuning.drift import Sample
    from shared.models.heads import PAIRED

    paired = any(head.kind in PAIRED for head in card.heads)
    first = "query" if paired else "text"
    table = read_rows(
        path, required=["query", "text"] if paired else ["text"], aliases=SIDES if paired else {}
    )
    truth = {}
    for head in card.heads:
        column = next((n for n in (head.name, "label", "labels") if n in table.columns), None)
        if column and head.kind in ("classify", "multilabel"):
            truth[head.name] = [_labels(row, column, head.kind) for row in table.rows]
    texts = [str(row[first]) for row in table.rows]
    return Sample(texts, [str(row["text"]) for row in table.rows] if paired else None, truth)


def _labels(row: Mapping[str, Any], column: str, kind: str) -> Any:
    from json import loads

    given = row.get(column)
    if kind == "classify":
        return str(given)
    if isinstance(given, str):
        given = loads(given) if given.startswith("[") else given.split("|")
    return [str(one).strip() for one in given or [] if str(one).strip()]


def _show(name: str, made: "Compressed") -> None:
    print(f"artifact: {name}")
    if made.smaller:
        before, after = made.smaller["parameters"]
        print(f"parameters: {before:,} -> {after:,}, loses {_losses(made.smaller['heads'])}")
    print(f"{'variant':<20} {'one text, ms':>12} {'in a batch':>11}  {'loses':<40} within")
    for row in made.table:
        if "why" in row:
            print(f"{row['name']:<20} {row['why']}")
            continue
        lost = _losses(row["heads"])
        print(
            f"{row['name']:<20} {row['latency_ms']:>12.2f} {row['batch_ms']:>11.3f}  {lost:<40} "
            f"{'yes' if row['within'] else 'no'}"
        )
    for key, slot in made.slots.items():
        print(f"{key}: {slot.engine} {slot.precision}, threads {slot.threads}")


def _losses(heads: Mapping[str, Mapping[str, Any]]) -> str:
    parts: Sequence[str] = [f"{name} {one['loss']:.4f}" for name, one in heads.items()]
    return ", ".join(parts)
