"""Add, list and change the people who sign in."""

import sys
from typing import Annotated

import typer

app = typer.Typer(
    help="Add, list and change the people who sign in.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Roles = Annotated[list[str] | None, typer.Option("--role", help="A role, such as support:agent; repeat it.")]
_Groups = Annotated[list[str] | None, typer.Option("--group", help="A group whose documents may be read.")]
_Name = Annotated[str, typer.Argument(help="The name to sign in with.")]


@app.command("add")
def add(name: _Name, role: _Roles = None, group: _Groups = None, json: _Json = False) -> None:
    """Add a person. The password is asked for, or is the first line of stdin; at least 10 characters."""
    from pipelines.commands._people import accounts, checked_roles
    from pipelines.flow import emit

    roles = checked_roles(role or [])
    with accounts() as people:
        people.add_user(name, _password(), roles, group or [])
    emit({"person": name, "roles": sorted(set(roles)), "groups": sorted(set(group or []))}, json)


@app.command("change")
def change(
    name: _Name,
    role: _Roles = None,
    group: _Groups = None,
    disable: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Refuse the person, or let them in again.")
    ] = None,
    json: _Json = False,
) -> None:
    """Replace a person's roles or groups, or refuse them; open sessions follow at their next request."""
    from pipelines.commands._people import accounts, checked_roles
    from pipelines.flow import emit

    roles = checked_roles(role) if role else None
    with accounts() as people:
        emit(people.change_user(name, roles=roles, groups=group, disabled=disable), json)


@app.command("list")
def list_(json: _Json = False) -> None:
    """List the people with their roles and groups."""
    from pipelines.commands._people import accounts
    from pipelines.flow import emit

    with accounts() as people:
        found = people.list_users()
    if json:
        emit({"people": found}, True)
        return
    if not found:
        print("nobody yet; `trillium user add NAME --role ROLE` adds somebody")
    for one in found:
        off = "  (disabled)" if one["disabled"] else ""
        groups = f"  groups: {', '.join(one['groups'])}" if one["groups"] else ""
        print(f"{one['person']:<24} {', '.join(one['roles'])}{groups}{off}")


def _password() -> str:
    from shared.errors import BadInput

    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise BadInput("no password came on stdin; pipe it in, or run this in a terminal to be asked")
    return password
