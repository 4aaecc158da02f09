"""Long parts beside the steps of a training say how far they are, where somebody looks."""

import pytest

from shared.finetuning import progress
from shared.finetuning.train import finetune

INTENT = {"intent": {"kind": "classify", "data": "rows"}, "vector": {"kind": "embed"}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0.0)


def count_to_four():
    with progress.bar("reading texts", 4) as read:
        for _ in range(2):
            read(2)


def test_there_are_no_bars_unless_somebody_asks(capsys):
    count_to_four()
    with progress.bars(True), progress.bars(False):
        count_to_four()
    assert capsys.readouterr().err == ""


def test_bars_come_back_behind_a_hidden_part(capsys):
    with progress.bars(True):
        with progress.bars(False):
            count_to_four()
        count_to_four()
    assert capsys.readouterr().err.count("reading texts") == 1


def test_a_training_tells_of_all_that_takes_long(recipe, rows, tmp_path, capsys):
    made = recipe(heads=INTENT, train={"minutes": 60.0, "epochs": 20})
    finetune(made, {"rows": rows}, tmp_path / "out", home=tmp_path, progress=True)
    said = capsys.readouterr().err
    for doing in ("timing steps", "reading texts", "measuring rows", "fine-tuning"):
        assert doing in said
    finetune(made, {"rows": rows}, tmp_path / "quiet", home=tmp_path, progress=False)
    assert not [doing for doing in ("timing", "reading", "measuring") if doing in capsys.readouterr().err]
