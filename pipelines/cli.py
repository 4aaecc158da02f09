"""`trillium …`: finds commands and applications by name, and loads a flow only when its command runs."""

import ast
import errno
import importlib
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

# What an application's flow may offer: a function of that name in pipelines/<app>.py.
VERBS = {
    "train": "Fine-tune an application's model on your data and publish it.",
    "evaluate": "Score the live model of an application on your data.",
    "index": "Import an application's documents or items and build its index.",
    "feed": "Put a dated stream into Kafka.",
    "work": "Run an application's worker.",
    "backtest": "Try alert rules on history.",
}
_HERE = Path(__file__).parent


def _apps() -> list[str]:
    folders = (_HERE.parent / "services").glob("*/__init__.py")
    return sorted(f.parent.name for f in folders if (_HERE / f"{f.parent.name}.py").is_file())


def _parse(module: Path) -> ast.Module:
    return ast.parse(module.read_text("utf-8"))


def _offers(app: str, verb: str) -> bool:
    return any(
        isinstance(node, ast.FunctionDef) and node.name == verb for node in _parse(_HERE / f"{app}.py").body
    )


def _command_of(function: Any, name: str) -> Any:
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name=name)(function)
    return typer.main.get_command(single)


def _group_of(app: typer.Typer, name: str) -> Any:
    group = typer.main.get_group(app)
    group.name = name
    return group


class _Lazy(TyperGroup):
    """A group whose members are loaded only when they run; help texts are read from the source."""

    def summaries(self) -> dict[str, str]:
        """Return the help line of each member."""
        raise TypeError("a lazy group names its members")

    def load(self, name: str) -> Any:
        """Import and return one member."""
        raise TypeError("a lazy group names its members")

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.summaries())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        summary = self.summaries().get(cmd_name)
        if summary is None:
            return None
        stand_in = typer.Typer(add_completion=False, rich_markup_mode=None)
        stand_in.command(name=cmd_name, help=summary)(lambda: None)
        return typer.main.get_command(stand_in)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in self.summaries():
            return args[0], self.load(args[0]), args[1:]
        return super().resolve_command(ctx, args)


class _Verb(_Lazy):
    """`trillium VERB APP`: one member for each application that offers the verb."""

    def summaries(self) -> dict[str, str]:
        assert self.name is not None  # noqa: S101 - set where the group is made
        return {app: VERBS[self.name] for app in _apps() if _offers(app, self.name)}

    def load(self, name: str) -> Any:
        function = getattr(importlib.import_module(f"pipelines.{name}"), str(self.name))
        return _command_of(function, name)


class _Root(_Lazy):
    """The modules of pipelines/commands and the verbs that any application offers."""

    def summaries(self) -> dict[str, str]:
        found = {}
        for module in sorted((_HERE / "commands").glob("*.py")):
            if not module.name.startswith("_"):
                name = module.stem.replace("_", "-")
                found[name] = (ast.get_docstring(_parse(module)) or "").split("\n")[0]
        verbs = {v: text for v, text in VERBS.items() if any(_offers(app, v) for app in _apps())}
        return dict(sorted({**found, **verbs}.items()))

    def load(self, name: str) -> Any:
        if name in VERBS:
            return typer.main.get_group(_verb_app(name))
        module = importlib.import_module(f"pipelines.commands.{name.replace('-', '_')}")
        group = getattr(module, "app", None)
        return _group_of(group, name) if group is not None else _command_of(module.command, name)


def _verb_app(verb: str) -> typer.Typer:
    made = typer.Typer(cls=_Verb, name=verb, help=VERBS[verb], no_args_is_help=True, rich_markup_mode=None)
    made.callback()(lambda: None)
    return made


root = typer.Typer(
    cls=_Root,
    name="trillium",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Fine-tuned language models at work: support, sentiment and recommendations.",
)


@root.callback()
def _prepare() -> None:
    from shared.settings import load_settings
    from shared.telemetry import configure_logs

    logs = load_settings().logs
    configure_logs(logs.level, as_json=logs.json_lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error prints one line and exits with its class's code."""
    from shared.errors import StorageFull, TrilliumError

    try:
        root(args=arguments, prog_name="trillium")
    except KeyboardInterrupt:
        sys.exit(130)
    except TrilliumError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        print(f"error: the disk is full ({error}); nothing that was there is changed", file=sys.stderr)
        sys.exit(StorageFull.exit_code)


if __name__ == "__main__":
    main()
