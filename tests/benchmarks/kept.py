"""Finished runs of a benchmark, a JSON line each, so that a stopped one goes on where it was."""

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def rows(path: Path) -> list[dict[str, Any]]:
    """Return what was kept, oldest first; nothing where the file is not there yet."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def add(path: Path, row: dict[str, Any]) -> None:
    """Keep one more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def commit() -> str:
    """Return the commit that is measured, marked where the tree differs from it in more than kept runs."""
    head = _git("describe", "--always", "--exclude=*").stdout.strip()
    changed = _git("diff", "--quiet", "HEAD", "--", ".", ":(exclude)tests/benchmarks/*.jsonl").returncode
    return (head + ("-dirty" if changed else "")) if head else "unknown"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
