"""Typed settings: file < environment (`TRILLIUM_KAFKA__BOOTSTRAP`) < arguments."""

import difflib
import importlib
import importlib.util
import os
import pkgutil
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from shared.errors import UsageError

PREFIX = "TRILLIUM_"
# Read by clients, by the process that starts things and by the tests, not by the settings object.
OUTSIDE = frozenset({"TRILLIUM_API_KEY", "TRILLIUM_SETTINGS", "TRILLIUM_TEST_KAFKA"})


class Section(BaseModel):
    """Base of every group of settings: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AppSection(Section):
    """What every application has; `services.<app>.settings.AppSettings` derives from it."""

    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    url: str | None = None  # where clients reach the service; by default http://host:port


class Kafka(Section):
    """Where the event log is. Without `bootstrap` there is none, and a stream command says so."""

    bootstrap: str | None = None
    partitions: int = Field(4, ge=1)
    session_timeout_ms: int = Field(45_000, ge=1_000)


class Database(Section):
    """`url` of a PostgreSQL server (a schema per application), else SQLite files under `home`."""

    url: str | None = None


class Auth(Section):
    """Sessions: the signing secret (else made once and kept under `home`) and their length."""

    secret: SecretStr | None = None
    session_hours: float = Field(12, gt=0)


class Limits(Section):
    """Per service: the largest body in bytes, and requests a minute for one caller."""

    body_bytes: int = Field(1_000_000, ge=1_000)
    requests_per_minute: int = Field(600, ge=1)


class Runtime(Section):
    """How models are served."""

    # "auto" is what `trillium compress` chose for the model, "onnx" its exported graph as it is
    engine: Literal["auto", "onnx", "torch"] = "auto"
    threads: int | None = Field(None, ge=1)  # by default what was measured best, or the usable cores
    memo_bytes: int = Field(64_000_000, ge=0)  # answers to questions that are kept for when they come again
    queue_texts: int = Field(256, ge=1)  # questions that may wait for the model; more get 503
    timeout_s: float = Field(30.0, gt=0)  # after which a question that waits is given up
    # Questions that come while the model is busy share its next pass anyway: waiting for more costs time.
    wait_ms: float = Field(0.0, ge=0)


class Logs(Section):
    """Level and form of the logs on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: bool | None = None  # by default JSON unless stderr is a terminal


class Dashboard(Section):
    """Address of the Streamlit application."""

    host: str = "127.0.0.1"
    port: int = Field(8501, ge=0, le=65535)


class Settings(Section):
    """All settings; `app(name)` gives an application's own."""

    home: Path = Path("var")
    kafka: Kafka = Kafka()
    database: Database = Database()
    auth: Auth = Auth()
    limits: Limits = Limits()
    runtime: Runtime = Runtime()
    logs: Logs = Logs()
    dashboard: Dashboard = Dashboard()
    apps: dict[str, AppSection] = {}

    def app(self, name: str) -> AppSection:
        """Return the section of application `name`; raises UsageError with the known names."""
        if name not in self.apps:
            raise UsageError(f"there is no application {name!r}; there are {', '.join(self.apps)}")
        return self.apps[name]

    def url(self, name: str) -> str:
        """Return the base address of application `name`, without a trailing slash."""
        section = self.app(name)
        return (section.url or f"http://{section.host}:{section.port}").rstrip("/")


def find_apps() -> list[str]:
    """Return the names of the packages `services.<app>`, sorted; nothing of them is imported."""
    spec = importlib.util.find_spec("services")
    paths = list(spec.submodule_search_locations or []) if spec else []
    return sorted(module.name for module in pkgutil.iter_modules(paths) if module.ispkg)


def _sections() -> dict[str, type[AppSection]]:
    return {
        app: cast(type[AppSection], importlib.import_module(f"services.{app}.settings").AppSettings)
        for app in find_apps()
    }


def _set(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise UsageError(f"setting {'__'.join(path)} is set twice, as a value and as a group")
    tree[path[-1]] = value


def _known(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _known(kind, f"{prefix}{name}__")
        elif name != "apps":
            yield f"{prefix}{name}"


def _read_secret(variable: str, path: str) -> str:
    # Container engines hand secrets over as files: TRILLIUM_AUTH__SECRET_FILE=/run/secrets/x.
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{variable} names a file that can't be read: {error}") from error


def _from_environment(env: Mapping[str, str], known: set[str]) -> dict[str, Any]:
    # pydantic-settings ignores a mistyped variable even with extra="forbid": hence this check.
    tree: dict[str, Any] = {}
    for variable, value in env.items():
        if not variable.startswith(PREFIX) or variable in OUTSIDE:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in known and name.removesuffix("_file") in known:
            name, value = name.removesuffix("_file"), _read_secret(variable, value)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise UsageError(
                f"unknown setting {variable}; the nearest known name is {PREFIX}{near[0].upper()}"
            )
        _set(tree, name.split("__"), value)
    return tree


def _merge(low: dict[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for name, value in high.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(value, Mapping):
            merged[name] = _merge(old, value)
        else:
            merged[name] = value
    return merged


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"settings file {path} can't be read: {error}") from error


def load_settings(
    arguments: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of this process.

    `arguments` is a nested mapping and wins over the environment, which wins over the TOML file
    named by TRILLIUM_SETTINGS. Raises UsageError that names an unknown setting and the nearest
    known one, or a value that does not fit.
    """
    env = os.environ if env is None else env
    sections = _sections()
    known = {*_known(Settings), *(n for a, s in sections.items() for n in _known(s, f"{a}__"))}
    file = env.get("TRILLIUM_SETTINGS")
    tree = _merge(_read_file(Path(file)) if file else {}, _from_environment(env, known))
    tree = _merge(tree, arguments or {})
    own = {app: tree.pop(app, {}) for app in sections}
    try:
        apps = {app: sections[app].model_validate(own[app]) for app in sections}
        return Settings.model_validate({**tree, "apps": apps})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        near = difflib.get_close_matches(where.replace(".", "__"), known, n=1, cutoff=0.0)
        raise UsageError(
            f"setting {where}: {first['msg']}; got {first.get('input')!r}"
            + (f"; the nearest known name is {near[0]}" if first["type"] == "extra_forbidden" else "")
        ) from error
