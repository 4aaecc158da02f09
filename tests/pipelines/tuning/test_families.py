import random

import pytest

from pipelines.tuning.families import MOST, families
from pipelines.tuning.sides import hold_out
from pipelines.tuning.tasks import TASKS

NAMES = ("anna", "boris van dam", "carla", "dimitri", "emma lou", "farid", "gaia", "hugo")
FRAMES = (
    "please call {} before noon today",
    "the account of {} was closed last week",
    "why did {} not get the parcel 7 ?",
    "{} wants to add a second card",
    "a letter to {} came back unopened",
    "send {} the form for the loan",
    "has {} signed the contract of may ?",
    "we met {} at the branch in town",
)


def row(frame, name):
    tokens, tags = [], []
    for word in frame.split():
        if word == "{}":
            own = name.split()
            tokens += own
            tags += ["B-PER", *["I-PER"] * (len(own) - 1)]
        else:
            tokens.append(word)
            tags.append("O")
    return {"tokens": tokens, "tags": tags}


def templates():
    rows = [(frame, row(frame, name)) for frame in FRAMES for name in NAMES]
    random.Random(1).shuffle(rows)
    return rows


def test_one_sentence_with_other_names_is_one_family():
    rows = templates()
    found = families([one for _, one in rows], "tags")
    pairs = {(frame, int(family)) for (frame, _), family in zip(rows, found, strict=True)}
    assert len(pairs) == len(FRAMES) == len(set(found.tolist()))


def test_other_numbers_and_a_word_more_leave_a_family_together():
    words = [
        "The price of 12 shares fell by 3 % on Monday",
        "the price of 40 shares fell by 90 % on Monday again",
    ]
    rows = [{"tokens": text.split(), "tags": ["O"] * len(text.split())} for text in words]
    rows.append({"tokens": ["Rates", "rose"], "tags": ["O", "O"]})
    assert families(rows, "tags").tolist() == [0, 0, 1]


def test_rows_without_words_are_a_family_of_their_own():
    assert families(
        [{"tokens": [], "tags": []}, *[{"tokens": ["a"], "tags": ["O"]}] * 2], "tags"
    ).tolist() == [0, 1, 1]
    assert families([], "tags").tolist() == []


def test_more_rows_than_can_be_compared_are_strangers():
    rows = [{"tokens": ["a"], "tags": ["O"]}] * (MOST + 1)
    assert families(rows, "tags").tolist() == list(range(MOST + 1))


def test_tagged_rows_are_held_out_by_family():
    rows = templates()
    train, valid = hold_out(TASKS["tag"], [one for _, one in rows], 0.25)
    assert len(train) + len(valid) == len(rows)
    frames = [{frame for frame, one in rows if one in side} for side in (train, valid)]
    assert not frames[0] & frames[1]
    assert len(frames[1]) == 2
    again, _ = hold_out(TASKS["tag"], [one for _, one in reversed(rows)], 0.25)
    assert sorted(map(str, again)) == sorted(map(str, train))


def test_rows_of_a_single_family_are_held_out_by_text():
    rows = [row(FRAMES[0], name) for name in NAMES]
    train, valid = hold_out(TASKS["tag"], rows, 0.25)
    assert (len(train), len(valid)) == (6, 2)


@pytest.mark.parametrize(("count", "held"), [(0, 0), (2, 0), (3, 1), (4, 1), (8, 2)])
def test_few_tagged_rows_give_one_as_soon_as_they_are_three(count, held):
    rows = [row(frame, "anna") for frame in FRAMES[:count]]
    train, valid = hold_out(TASKS["tag"], rows)
    assert (len(train), len(valid)) == (count - held, held)


def test_tagged_rows_of_one_text_stay_together_whatever_their_tags():
    rows = [one for _, one in templates()]
    again = [{"tokens": one["tokens"], "tags": ["O"] * len(one["tokens"])} for one in rows]
    _, valid = hold_out(TASKS["tag"], [*rows, *again], 0.25)
    texts = [" ".join(one["tokens"]) for one in valid]
    assert len(set(texts)) * 2 == len(texts)
