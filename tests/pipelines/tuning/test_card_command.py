import csv
import json
import shutil
from pathlib import Path

import pytest

from pipelines.commands.card import command
from pipelines.tuning.artifact import find_model
from shared.errors import BadInput, Damaged, UsageError
from shared.finetuning import cards
from shared.models.card import ModelCard
from shared.models.out_of_scope import OutOfScope
from shared.settings import Settings
from shared.testing.tiny_models import tiny_rows


@pytest.fixture(autouse=True)
def at_home(tuned, monkeypatch):
    monkeypatch.setenv("TRILLIUM_HOME", str(tuned.home))


@pytest.fixture
def folder(tuned, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(find_model(tuned.artifact, Settings(home=tuned.home)).path, copy)
    return copy


def shown(capsys, *args, **options):
    command(*args, **{"data": None, "head": None, "group": None, "wanted": None, "out": None, **options})
    return capsys.readouterr().out


def test_a_card_says_what_was_measured(tuned, capsys):
    said = shown(capsys, tuned.artifact)
    manifest = find_model(tuned.artifact, Settings(home=tuned.home)).manifest
    assert said.startswith(f"# {tuned.artifact}\n")
    for piece in (
        "gives one of 3 labels with a probability: card, money, rate",
        str(manifest.recipe_hash),
        str(manifest.data_hash),
        "| rows | 48 | 12 | 60 | questions.csv (",
        "| accuracy | 1 | 1 to 1 |",
        "before temperature scaling",
        "## Limits",
        f"trillium predict {tuned.artifact} FILE",
    ):
        assert piece in said, piece
    assert str(tuned.home) not in said  # where a file lay is nobody's business


def test_confusions_are_named_worst_first(folder):
    path = folder / "evaluation.json"
    told = json.loads(path.read_text("utf-8"))
    told["classify"]["confusion"] = [[12, 3, 0], [0, 4, 1], [0, 0, 9]]
    path.write_text(json.dumps(told), "utf-8")
    said = cards.render(folder, "x")
    assert said.index("| card | 15 | 0.8 |") < said.index("| rate | 9 | 1 |")
    assert said.index("| card | money | 3 |") < said.index("| money | rate | 1 |")
    assert "2 of 3 labels have under 10 validation rows" in said


def test_what_is_not_there_is_left_out(folder):
    for name in ("manifest", "data", "evaluation", "test", "recipe"):
        (folder / f"{name}.json").unlink()
    said = cards.render(folder, "bare")
    assert "No test file was given" in said
    assert "## Data" not in said
    assert "## Training" not in said
    (folder / "test.json").write_text("{", "utf-8")
    with pytest.raises(Damaged, match=r"test\.json can't be read"):
        cards.render(folder, "bare")


def test_several_heads_and_the_refusal_are_told(folder):
    test = {
        "intent": {"accuracy": [0.9, 0.8, 0.95]},
        "tone": {"macro_f1": [0.5, 0.4, 0.6], "curve": [[0, 1, 0]]},
    }
    (folder / "test.json").write_text(json.dumps(test), "utf-8")
    rule = OutOfScope(
        head="classify", threshold=1, temperature=1, means=[0] * 5, spreads=[1] * 5, weights=[1] * 5,
        keep=0.94, kept=0.941, label="oos",
    )  # fmt: skip
    card = ModelCard.read(folder).model_copy(update={"out_of_scope": rule})
    (folder / "model.json").write_text(card.model_dump_json(), "utf-8")
    said = cards.render(folder, "x")
    assert "| intent | accuracy | 0.9 | 0.8 to 0.95 |" in said
    assert "calls them `oos`" in said
    assert "0.941 was reached" in said


def test_it_is_stored_beside_the_model(folder):
    cards.write(folder, "kept")
    assert (folder / "card.md").read_text("utf-8").startswith("# kept\n")


def labelled(path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "label", "region", "source", "paraphrase"])
        writer.writeheader()
        for i, row in enumerate(tiny_rows()):
            writer.writerow({
                "text": row["text"], "label": row["label"], "region": "north" if i % 2 else "south",
                "source": "mail", "paraphrase": row["text"].upper(),
            })  # fmt: skip
    return path


def test_rows_add_slices_groups_and_robustness(tuned, tmp_path, capsys):
    out = tmp_path / "card.md"
    shown(
        capsys, tuned.artifact, data=labelled(tmp_path / "rows.csv"), group=["region"], wanted="card", out=out
    )
    said = out.read_text("utf-8")
    for piece in ("| length | 0-5 words |", "| label | card | 20 |", "| source | mail | 60 |"):
        assert piece in said, piece
    for piece in ("| region | equal_opportunity |", "| typos |", "| lower_case |", "| paraphrase |"):
        assert piece in said, piece


def test_wrong_questions_are_refused(tuned, tmp_path, capsys):
    with pytest.raises(UsageError, match="--data FILE"):
        shown(capsys, tuned.artifact, group=["region"])
    rows = labelled(tmp_path / "rows.csv")
    with pytest.raises(BadInput, match="no label 'loan'"):
        shown(capsys, tuned.artifact, data=rows, wanted="loan")
    with pytest.raises(BadInput, match="two groups"):
        shown(capsys, tuned.artifact, data=rows, group=["source"])
