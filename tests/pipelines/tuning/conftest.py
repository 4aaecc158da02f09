import csv
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.tuning.asking import Asked, carry_out
from shared.settings import Settings
from shared.testing.tiny_models import tiny_bert, tiny_rows


@dataclass(frozen=True)
class Tuned:
    """A home with one artifact of a tiny model, and the file that it was trained on."""

    home: Path
    artifact: str
    train: Path


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    home = tmp_path_factory.mktemp("tuned")
    base = tiny_bert(home / "base", [row["text"] for row in tiny_rows()])
    train = home / "questions.csv"
    with train.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(tiny_rows())
    recipe = home / "recipe.toml"
    recipe.write_text('method = { kind = "frozen" }\n', "utf-8")
    asked = Asked(task="classify", train=train, test=train, recipe=recipe, base=str(base))
    made = carry_out(asked, Settings(home=home))
    return Tuned(home, made.artifact, train)
