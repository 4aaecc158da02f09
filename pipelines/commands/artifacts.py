"""List, show and prune the stored models, indexes and bundles."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from shared.artifacts.store import Artifact, ArtifactStore

app = typer.Typer(
    help="List, show and prune the stored models, indexes and bundles.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only artifacts of this name.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only artifacts of this kind.")] = None,
    json: _Json = False,
) -> None:
    """List the artifacts by name and version; * marks what is live."""
    from pipelines.flow import emit

    store = _store()
    found = [_line(store, one) for one in store.list(name, kind)]
    if json:
        emit({"artifacts": found}, True)
        return
    if not found:
        print("no artifacts yet; `trillium train APP` or `trillium index APP PATH` makes some")
    for one in found:
        parents = " ".join(f"{role}={ref}" for role, ref in one["parents"].items())
        mark = "*" if one["live"] else " "
        print(f"{mark} {one['artifact']:<28} {one['kind']:<8} {one['created']:<20} {parents}".rstrip())


@app.command("show")
def show(
    artifact: Annotated[str, typer.Argument(help="NAME@N, a name (its newest), or an application.")],
    json: _Json = False,
) -> None:
    """Show one artifact after comparing all its files with their checksums."""
    from pipelines.flow import emit

    store = _store()
    one = store.open(artifact)
    manifest = one.manifest.model_dump(mode="json")
    size = sum((one.path / file).stat().st_size for file in one.manifest.files)
    emit({**_line(store, one), **manifest, "path": str(one.path), "bytes": size}, json)


@app.command("prune")
def prune(
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest versions of each name stay.")],
    json: _Json = False,
) -> None:
    """Remove old versions; whatever is live, can be rolled back to, or is part of these, stays."""
    from pipelines.flow import emit

    removed = [str(ref) for ref in _store().prune(keep)]
    emit({"removed": removed, "kept_newest": keep}, json)


def _store() -> "ArtifactStore":
    from shared.artifacts.store import ArtifactStore
    from shared.settings import load_settings

    return ArtifactStore(load_settings().home / "artifacts")


def _line(store: "ArtifactStore", one: "Artifact") -> dict[str, Any]:
    from shared.clock import to_text

    return {
        "artifact": str(one.ref),
        "kind": one.manifest.kind,
        "created": to_text(one.manifest.created.replace(microsecond=0)),
        "live": store.pointers.current(one.ref.name) == one.ref,
        "parents": one.manifest.parents,
    }
