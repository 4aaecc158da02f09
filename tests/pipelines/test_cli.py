"""The command line as a user meets it: help, unknown words, exit codes, and what it loads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "ignore", **(env or {})},
    )


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    probe = (
        "import sys\nfrom pipelines import cli\n"
        "try:\n cli.root(['--help'], prog_name='trillium')\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'fastapi', 'streamlit', 'sqlalchemy', 'numpy', 'kafka'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT)
    assert "HEAVY []" in shown.stdout, shown.stdout + shown.stderr
    for command in (
        "artifacts backup bases broker dashboard demo doctor feed index key migrate promote restore rollback "
        "serve train user work"
    ).split():
        assert f"\n  {command} " in shown.stdout, command


@pytest.mark.parametrize("verb", ["train", "index", "work"])
def test_a_verb_lists_the_applications_that_offer_it(verb: str) -> None:
    shown = run(verb, "--help").stdout
    assert "recommender" in shown
    assert ("sentiment" in shown) == (verb != "index")


def test_commands_of_later_work_are_absent() -> None:
    shown = run("--help").stdout
    for command in ("evaluate", "backtest", "labels"):
        assert f"\n  {command} " not in shown


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["nope"], 2),
        (["train", "nope"], 2),
        (["train", "support", "--nope"], 2),
        (["artifacts", "show", "nope@1"], 4),
    ],
)
def test_exit_codes(arguments: list[str], code: int, tmp_path: Path) -> None:
    done = run(*arguments, env={"TRILLIUM_HOME": str(tmp_path)})
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_setting_is_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    done = run("doctor", env={"TRILLIUM_HOME": str(tmp_path), "TRILLIUM_KAFKA__BOOTSTRAPP": "x"})
    assert done.returncode == 2
    assert "TRILLIUM_KAFKA__BOOTSTRAP" in done.stderr


def test_doctor_says_what_to_do(tmp_path: Path) -> None:
    done = run("doctor", "--json", env={"TRILLIUM_HOME": str(tmp_path)})
    findings = {f["part"]: f for f in json.loads(done.stdout.splitlines()[-1])["findings"]}
    assert findings["live support"]["todo"].startswith("run trillium")
    assert findings["home"]["state"] in ("ok", "note")
