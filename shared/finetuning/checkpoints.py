"""Where a killed training goes on."""

import json
import shutil
from pathlib import Path


def checkpoint(work: Path) -> str | None:
    """Return the newest whole checkpoint in `work`; those that a kill cut short are removed."""
    whole = []
    for folder in work.glob("checkpoint-*"):
        if _whole(folder):
            whole.append(folder)
        else:
            shutil.rmtree(folder)
    newest = max(whole, key=lambda folder: int(folder.name.split("-")[1]), default=None)
    return str(newest) if newest else None


def _whole(folder: Path) -> bool:
    try:
        json.loads((folder / "trainer_state.json").read_text("utf-8"))  # the last file that is written
    except (OSError, ValueError):  # not there yet, or a kill came while it was written
        return False
    return True
