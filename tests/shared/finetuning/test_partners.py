from collections import Counter

from shared.finetuning.partners import Partnered

LABELS = [row % 7 for row in range(63)] + [None, None]  # nine rows of each of seven labels


def rows(epoch=0, seed=3, size=8, lengths=None):
    sampler = Partnered(LABELS, lengths or [1] * len(LABELS), size, seed)
    sampler.set_epoch(epoch)
    assert len(sampler) == len(LABELS)
    return list(sampler)


def test_every_row_comes_once_and_stands_beside_one_of_its_label():
    order = rows()
    assert sorted(order) == list(range(len(LABELS)))
    alone = Counter()
    at = 0
    while at < len(order):
        label = LABELS[order[at]]
        pair = at + 1 < len(order) and label is not None and LABELS[order[at + 1]] == label
        alone[label] += not pair
        at += 2 if pair else 1
    assert alone == {**dict.fromkeys(range(7), 1), None: 2}  # of nine rows one is left over


def test_the_order_follows_from_seed_and_epoch():
    assert rows() == rows()
    assert rows() != rows(epoch=1)
    assert rows() != rows(seed=4)


def test_most_steps_hold_rows_of_like_length():
    lengths = [1 + 9 * (row % 2) for row in range(800)]
    labels = [row % 2 for row in range(800)]  # each label has one length
    order = list(Partnered(labels, lengths, 8, 0))
    steps = [order[at : at + 8] for at in range(0, 800, 8)]
    assert sum(len({lengths[row] for row in step}) > 1 for step in steps) < 20  # of 100; by chance about 87
