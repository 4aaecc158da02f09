"""Check the images without a container engine: a clean environment each, every entry point run in it.

Each image's environment holds only what its extras bring, so a forgotten dependency shows. It proves what
the packages bring, not the base image, the network between containers or the file rights.
Run: python docker/check.py [IMAGE ...]
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# image -> (extras, modules that must import, modules that must be absent, commands that must end well)
IMAGES: dict[str, tuple[str, list[str], list[str], list[list[str]]]] = {
    "serving": (
        "serve,cpu",
        [
            "services.support.api",
            "services.sentiment.api",
            "services.sentiment.worker",
            "services.recommender.api",
            "pipelines.commands.serve",
        ],
        ["torch", "transformers", "streamlit"],
        [["--help"], ["doctor"], ["migrate"], ["work", "sentiment", "--help"], ["serve", "--help"]],
    ),
    "train": (
        "train,cpu",
        ["shared.finetuning.train", "pipelines.support", "pipelines.sentiment", "pipelines.recommender"],
        ["streamlit"],
        [["bases", "list"], ["train", "support", "--help"], ["train", "recommender", "--help"]],
    ),
    "dashboards": (
        "dashboards",
        ["services.support.client", "services.sentiment.client", "services.recommender.client", "streamlit"],
        ["torch", "onnxruntime", "sqlalchemy", "faiss", "kafka"],
        [["--help"], ["dashboard", "--help"]],
    ),
}


def _uv() -> str:
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if found is None:
        raise SystemExit("error: uv is needed: python -m pip install uv")
    return found


def _run(command: list[str], **environment: str) -> str:
    outer = {n: v for n, v in os.environ.items() if not n.startswith(("TRILLIUM_", "VIRTUAL_ENV", "PYTHON"))}
    done = subprocess.run(
        command,
        env={**outer, **environment},
        capture_output=True,
        text=True,
        cwd=environment.get("TRILLIUM_HOME"),
    )
    if done.returncode:
        raise SystemExit(
            f"error: {' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def check(image: str, folder: Path) -> None:
    """Install the image's extras into a clean environment below `folder` and run its entry points."""
    extras, wanted, absent, commands = IMAGES[image]
    python = folder / "bin" / "python"
    _run([_uv(), "venv", "--quiet", "--python", sys.executable, str(folder)])
    constraints = str(ROOT / "constraints.txt")
    _run(
        [_uv(), "pip", "install", "--quiet", "--python", str(python), "-c", constraints, f"{ROOT}[{extras}]"]
    )
    home = folder / "home"
    home.mkdir()
    here = {"TRILLIUM_HOME": str(home)}
    _run([str(python), "-W", "ignore", "-c", f"import {', '.join(wanted)}"], **here)
    probe = f"import importlib.util as u; print([m for m in {absent!r} if u.find_spec(m)])"
    present = _run([str(python), "-c", probe], **here).strip()
    if present != "[]":
        raise SystemExit(f"error: image {image} carries {present}, which belong to another layer")
    for arguments in commands:
        _run([str(folder / "bin" / "trillium"), *arguments], **here)
    print(f"image {image}: {extras}; {len(wanted)} modules, {len(commands)} commands", flush=True)


def main() -> None:
    """Check the images named on the command line, by default all that the Dockerfile names."""
    named = set(re.findall(r"EXTRAS=([a-z,]+)", (ROOT / "docker" / "Dockerfile").read_text("utf-8")))
    for image in sys.argv[1:] or IMAGES:
        if IMAGES[image][0] not in named:
            raise SystemExit(f"error: the Dockerfile does not name EXTRAS={IMAGES[image][0]}")
        with tempfile.TemporaryDirectory(prefix="trillium-image-") as folder:
            check(image, Path(folder) / image)


if __name__ == "__main__":
    main()
