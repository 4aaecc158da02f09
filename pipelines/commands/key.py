"""Create, list and revoke the API keys of machines."""

from typing import Annotated

import typer

app = typer.Typer(
    help="Create, list and revoke the API keys of machines.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", help="What the key is for.")],
    role: Annotated[
        list[str] | None, typer.Option("--role", help="A role, such as support:agent; repeat it.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="A group whose documents may be read.")
    ] = None,
    json: _Json = False,
) -> None:
    """Create a key and show it this one time; send it as `Authorization: Bearer KEY`."""
    from pipelines.commands._people import accounts, checked_roles
    from pipelines.flow import emit

    roles = checked_roles(role or [])
    with accounts() as people:
        id_, secret = people.create_key(name, roles, group or [])
    emit({"id": id_, "key": secret}, json)


@app.command("revoke")
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The key's id, k_…")], json: _Json = False
) -> None:
    """Refuse a key from its next request on."""
    from pipelines.commands._people import accounts
    from pipelines.flow import emit

    with accounts() as people:
        people.revoke_key(id_)
    emit({"id": id_, "revoked": True}, json)


@app.command("list")
def list_(json: _Json = False) -> None:
    """List the keys, revoked ones too; the keys themselves are kept nowhere."""
    from pipelines.commands._people import accounts
    from pipelines.flow import emit

    with accounts() as people:
        found = people.list_keys()
    if json:
        emit({"keys": found}, True)
        return
    if not found:
        print("no keys yet; `trillium key create --name N --role ROLE` makes one")
    for one in found:
        off = f"  (revoked {one['revoked']})" if one["revoked"] else ""
        print(f"{one['id']:<16} {one['name']:<24} {', '.join(one['roles'])}{off}")
