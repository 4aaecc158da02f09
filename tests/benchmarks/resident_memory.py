"""One MiniLM with three heads, served without torch: seconds until a process answers, seconds until the API
is ready, and its resident MB, for the exported graph and for both slots.

The API is `trillium serve support` over that model, in a home of its own; it is ready when /readyz says so.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from pipelines.flow import publish, workplace
from pipelines.serving import listen
from services.support.bundle import LIMITS, MODEL
from services.support.decide import Limits
from shared.finetuning.compress import compress
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.models.card import CARD, ModelCard
from shared.settings import load_settings
from shared.testing.tiny_models import tiny_rows

AIMS = "aims: 2 s, 4 s, under 400 MB"
WAIT_S = 120

CHILD = """
import json, sys, time
start = time.perf_counter()
from pathlib import Path
from shared.models.text_model import TextModel
model = TextModel.load(Path(sys.argv[1]), slot=sys.argv[2])
model.run(["Where is my card?"])
print(json.dumps({"served_by": model.served_by, "seconds": time.perf_counter() - start}))
"""


def three_heads(home: Path, folder: Path, base: str) -> None:
    rows = tiny_rows()
    heads = {
        "intent": {"kind": "classify", "data": "rows"},
        "tags": {"kind": "multilabel", "data": "rows", "label": "tags"},
        "embed": {"kind": "embed"},
    }
    recipe = Recipe.parse({"base": base, "heads": heads, "method": {"kind": "frozen"}})
    finetune(recipe, {"rows": Rows(rows[::2], rows[1::2])}, folder, home=home, progress=False)


def runtime(folder: Path, slot: str) -> tuple[str, float]:
    """What serves, and seconds from the first import to the first answer."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, str(folder), slot],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout.splitlines()[-1])
    return said["served_by"], said["seconds"]


def api(folder: Path, home: Path) -> tuple[float, float, bool]:
    """Seconds from the start of the process to ready, resident MB, and whether torch is in it."""
    place = workplace(load_settings({"home": str(home)}), "support")
    with place.store.create(place.model_name, MODEL) as draft:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                target = draft.path / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    limits = Limits(passage=1.0, how="no documents").model_dump_json().encode()
    publish(place, parts={MODEL: draft.artifact.ref}, files={LIMITS: limits})
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "pipelines.cli", "serve", "support", "--port", str(port)]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, "TRILLIUM_HOME": str(home)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not ready(f"http://127.0.0.1:{port}/readyz"):
            if process.poll() is not None or time.perf_counter() - start > WAIT_S:
                sys.exit("the service did not get ready")
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return seconds, resident / 1024, "libtorch" in Path(f"/proc/{process.pid}/maps").read_text("utf-8")
    finally:
        process.terminate()
        process.wait()


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def only(folder: Path, slot: str, target: Path) -> Path:
    """A copy of the model whose online slot is `slot`."""
    shutil.copytree(folder, target)
    card = ModelCard.read(folder)
    alone = card.model_copy(update={"slots": {"interactive": card.slots[slot]}})
    (target / CARD).write_text(alone.model_dump_json(), "utf-8")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description="Start time and memory of serving without torch.")
    parser.add_argument("--base", default="all-MiniLM-L6-v2")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        aside = Path(name)
        three_heads(load_settings().home, aside / "exported graph", given.base)
        compress(aside / "exported graph", aside / "made", limit=1.0, seconds=5)
        folders = [aside / "exported graph"]
        folders += [only(aside / "made", slot, aside / f"{slot} slot") for slot in ("interactive", "bulk")]
        print(f"{'what':<18} {'served by':<16} {'runtime, s':>10} {'API, s':>7} {'MB':>6}  torch   ({AIMS})")
        for folder in folders:
            served_by, seconds = runtime(folder, "interactive")
            started, resident, torch = api(folder, aside / f"home of {folder.name}")
            print(
                f"{folder.name:<18} {served_by:<16} {seconds:>10.2f} {started:>7.2f} {resident:>6.0f}  "
                f"{'loaded' if torch else 'absent'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
