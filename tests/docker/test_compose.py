"""The container files, read as the engine would: a closed schema, and names that exist."""

import re
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from shared.settings import find_apps, load_settings

DOCKER = Path(__file__).parents[2] / "docker"


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Build(Closed):
    context: str
    dockerfile: str
    args: dict[str, str]


class Health(Closed):
    test: list[str]
    interval: str
    timeout: str
    retries: int


class Dependency(Closed):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Service(Closed):
    image: str | None = None
    build: Build | None = None
    command: list[str] | None = None
    restart: Literal["no", "always", "unless-stopped", "on-failure"]
    environment: dict[str, str] = {}
    secrets: list[str] = []
    volumes: list[str] = []
    ports: list[str] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Health | None = None
    profiles: list[str] = []


class Secret(Closed):
    file: str


class Compose(Closed):
    name: str
    services: dict[str, Service]
    secrets: dict[str, Secret]
    volumes: dict[str, None]


@pytest.fixture(scope="module")
def compose() -> Compose:
    raw: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
    return Compose.model_validate({k: v for k, v in raw.items() if not k.startswith("x-")})


def test_every_application_has_a_service_on_its_port(compose: Compose) -> None:
    for name in find_apps():
        port = str(load_settings(env={}).app(name).port)
        assert compose.services[name].command is not None
        assert compose.services[name].command[:2] == ["serve", name]
        assert port in compose.services[name].command


def test_names_refer_to_what_is_there(compose: Compose) -> None:
    for name, service in compose.services.items():
        assert (service.image is None) != (service.build is None), name
        assert set(service.secrets) <= set(compose.secrets)
        assert set(service.depends_on) <= set(compose.services)
        assert {v.split(":")[0] for v in service.volumes} <= set(compose.volumes)
        for needed, how in service.depends_on.items():
            if how.condition == "service_healthy":
                assert compose.services[needed].healthcheck, f"{name} waits for the health of {needed}"


def test_settings_in_the_environment_are_known(compose: Compose, tmp_path: Path) -> None:
    for service in compose.services.values():
        env = {k: v for k, v in service.environment.items() if k.startswith("TRILLIUM_")}
        for name, value in env.items():
            if name.endswith("_FILE"):
                (tmp_path / "secret").write_text("x\n")
                env[name] = str(tmp_path / "secret")
            assert value
        load_settings(env=env)  # raises on an unknown name


def test_no_secret_is_written_down(compose: Compose) -> None:
    for service in compose.services.values():
        for name, value in service.environment.items():
            assert not re.search(r"PASSWORD$|SECRET$|_URL$", name) or value.startswith("http://"), name


def test_dockerfile_copies_all_packages_and_builds_as_a_user() -> None:
    text = (DOCKER / "Dockerfile").read_text("utf-8")
    for package in ("shared", "services", "pipelines", "dashboards"):
        assert f"COPY {package} {package}" in text
    assert text.index("USER trillium") < text.index("ENTRYPOINT")
