"""The README names what there is: every command, setting, route of an application, and make target."""

import re
from pathlib import Path

import pytest

from pipelines.cli import VERBS
from shared.settings import find_apps

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def _commands() -> list[str]:
    modules = (ROOT / "pipelines" / "commands").glob("*.py")
    return [m.stem.replace("_", "-") for m in modules if not m.name.startswith("_")]


@pytest.mark.parametrize("command", sorted(_commands()))
def test_every_command_is_in_the_readme(command: str) -> None:
    assert re.search(rf"[`\s]{command}\b", README), command


@pytest.mark.parametrize("verb", ["train", "index", "feed", "work"])
def test_every_verb_is_in_the_readme(verb: str) -> None:
    assert verb in VERBS
    assert f"trillium {verb} " in README


def test_every_setting_is_in_the_readme() -> None:
    from pydantic import BaseModel

    from shared.settings import Settings

    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if name == "apps":
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for inner in kind.model_fields:
                assert f"TRILLIUM_{name}__{inner}".upper() in README, f"{name}.{inner}"
        else:
            assert f"TRILLIUM_{name}".upper() in README, name


def test_every_application_has_a_row_and_pictures_exist() -> None:
    for app in find_apps():
        assert f"**{app}**" in README
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).is_file(), picture


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"`?make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
