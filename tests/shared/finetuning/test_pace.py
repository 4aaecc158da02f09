"""Minutes become steps: how long the rehearsal may take, and when there is none."""

import pytest
from transformers import set_seed

from shared.finetuning.bases import resolve
from shared.finetuning.collate import Collator
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.pace import FEWEST, FILE, LEAST, READING, REHEARSAL, SHORT, fitting
from shared.finetuning.train import load

INTENT = {"intent": {"kind": "classify", "data": "rows"}}


@pytest.fixture
def rehearse(recipe, rows, tmp_path):
    """Return how many steps fit and how many batches were read to tell."""

    def run(whole, valid=0, heads=INTENT, times=1, **train):
        set_seed(0)
        made, data = recipe(heads=heads, train=train), {"rows": rows}
        specs = head_specs(made, data)
        model, tokenizer, length = load(resolve(made.base, home=tmp_path), made, specs)
        collate, read = Collator(specs, Feed(tokenizer, length)), []

        def counted(batch):
            read.append(len(batch))
            return collate(batch)

        learnt = times * examples(made, specs, data, "train")
        found = fitting(made, model, counted, learnt, valid, whole, tmp_path)
        fits.append(found["start_rows"])
        return found["steps"], len(read)

    fits = run.start_rows = []
    return run


def test_a_training_of_few_steps_needs_no_rehearsal(rehearse, tmp_path):
    assert rehearse(REHEARSAL, minutes=1e-6) == (None, 0)
    assert not (tmp_path / FILE).exists()


def test_a_rehearsal_is_short_beside_the_minutes(rehearse):
    assert rehearse(200, minutes=1e-6) == (REHEARSAL, 2 + SHORT)


def test_a_rehearsal_goes_on_where_there_is_time_and_is_not_repeated(rehearse):
    assert rehearse(200, minutes=60.0) == (None, 2 + REHEARSAL)
    assert rehearse(200, minutes=60.0) == (None, 0)


def test_a_rehearsal_is_short_beside_the_training(rehearse):
    assert rehearse(50, minutes=60.0) == (None, 2 + 10)


@pytest.mark.parametrize(
    ("train", "valid", "steps"),
    [
        ({"start": "random"}, 0, 30),
        ({"start": "random"}, 1, 22),  # a third of a step for each step's rows: 30 / (4 / 3)
        ({}, 0, 29),  # the rows that the heads are fitted on: 30 - 1 / 3
        ({"blend": "auto"}, 1, 20),  # six times more at the end: (30 - 1 / 3 - 6 / 3) / (4 / 3)
    ],
)
def test_rows_that_are_only_read_take_their_part_of_the_minutes(
    rehearse, rows, monkeypatch, train, valid, steps
):
    count = len(rows.train)
    monkeypatch.setattr("shared.finetuning.pace._seconds", lambda *_: 1.0)  # of a row
    found, _ = rehearse(1000, valid=valid * count, minutes=30 * count / 60, batch=count, **train)
    assert found == steps


def test_heads_that_nothing_is_fitted_for_take_nothing(rehearse, rows, monkeypatch):
    monkeypatch.setattr("shared.finetuning.pace._seconds", lambda *_: 1.0)
    count = len(rows.train)
    hidden = {"words": {"kind": "mlm", "data": "rows"}}
    assert rehearse(1000, heads=hidden, minutes=30 * count / 60, batch=count)[0] == 30


def test_half_of_the_minutes_stays_for_steps(rehearse, rows, monkeypatch):
    monkeypatch.setattr("shared.finetuning.pace._seconds", lambda *_: 1.0)
    found, _ = rehearse(1000, valid=100 * len(rows.train), minutes=50, batch=1, blend="auto")
    assert found == 3000 * LEAST // (1 + 100 / 3)
    assert rehearse.start_rows == [None]  # so few rows are all read


def test_of_very_many_rows_fewer_are_read_where_the_time_is_short(rehearse, rows, monkeypatch, tmp_path):
    monkeypatch.setattr("shared.finetuning.pace._seconds", lambda *_: 1.0)
    times = 10_000 // len(rows.train) + 1
    long, short, shortest = 60 * 60, 3 * 60, 10
    for minutes in (long, short, shortest):
        (tmp_path / FILE).unlink(missing_ok=True)
        rehearse(10**6, times=times, minutes=minutes)
    (tmp_path / FILE).unlink()
    assert rehearse(10**6, times=times, minutes=shortest, start="random")[0] == shortest * 60 // 8
    assert rehearse.start_rows == [None, round(READING * short * 60 * 3), FEWEST, None]
