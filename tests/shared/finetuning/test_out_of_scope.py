import json
import subprocess
import sys

import numpy as np
import pytest

from shared.errors import BadInput, Damaged
from shared.evaluation.detection import auroc
from shared.finetuning.out_of_scope import Encoded, fit, threshold
from shared.models.heads import HeadSpec
from shared.models.out_of_scope import FILE, OutOfScope, Places, features, own_nearness

LABELS, DIM = 6, 16
SPEC = HeadSpec(name="intent", kind="classify", labels=[f"l{i}" for i in range(LABELS)], temperature=0.5)
RNG = np.random.default_rng(0)
CENTRES = np.linalg.qr(RNG.normal(size=(DIM, DIM)))[0]  # orthogonal directions: the first six are labels


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def around(places, count, noise=0.15):
    which = RNG.integers(0, len(places), count)
    vectors = unit(CENTRES[np.asarray(places)[which]] + noise * RNG.normal(size=(count, DIM)))
    return vectors, which


def said(vectors):
    return Encoded(vectors, (vectors @ CENTRES[:LABELS].T * 5).astype(np.float32))


TRAIN, OWN = around(range(LABELS), 300)
VALID, TRUTH = around(range(LABELS), 200, noise=0.25)
# Half lie in another direction, half between two labels.
BETWEEN = unit(TRAIN[OWN == 0][:30] + TRAIN[OWN == 1][:30])
FOREIGN = np.concatenate([around(range(8, 12), 60)[0], BETWEEN])


@pytest.fixture(scope="module")
def plain():
    return fit(SPEC, TRAIN, OWN, said(VALID), TRUTH)


def test_planted_foreign_rows_score_higher(plain):
    model, places = plain
    inside, outside = (model.score(places, v, said(v).logits) for v in (VALID, FOREIGN))
    there = [0] * len(inside) + [1] * len(outside)
    assert auroc(there, np.concatenate([inside, outside])) > 0.96
    assert model.reject(places, FOREIGN, said(FOREIGN).logits).mean() >= 0.7
    far = FOREIGN[:60]
    levels = model.score(places, far, said(far).logits)
    assert auroc([0] * len(inside) + [1] * len(far), np.concatenate([inside, levels])) > 0.999
    assert model.reject(places, far, said(far).logits).all()
    assert model.weights == [1, 0.5, 1, 0.5, 0.5, 1]
    assert model.features[-1] == "density"


def test_the_threshold_keeps_what_was_asked(plain):
    model, places = plain
    refused = model.reject(places, VALID, said(VALID).logits)
    right = said(VALID).logits.argmax(1) == TRUTH
    assert (right & ~refused).mean() == pytest.approx(0.94, abs=0.005) == model.kept
    stricter, _ = fit(SPEC, TRAIN, OWN, said(VALID), TRUTH, keep=0.8)
    assert stricter.threshold < model.threshold


def test_known_foreign_rows_help(plain):
    model, places = fit(SPEC, TRAIN, OWN, said(VALID), TRUTH, foreign=said(around(range(8, 12), 30)[0]))
    assert len(model.weights) == 7
    new = np.concatenate([VALID, around(range(8, 12), 100)[0]])
    there = [0] * len(VALID) + [1] * 100
    with_, without = (auroc(there, m.score(p, new, said(new).logits)) for m, p in ((model, places), plain))
    assert with_ >= without - 1e-9
    few, _ = fit(SPEC, TRAIN, OWN, said(VALID), TRUTH, foreign=said(FOREIGN[:5]))
    assert len(few.weights) == 6  # too few to learn from


@pytest.mark.parametrize(
    ("scores", "right", "keep", "cut"),
    [
        (range(100), [True] * 100, 0.94, 93),
        (range(100), [True] * 95 + [False] * 5, 0.94, 93),
        (range(10), [True] * 8 + [False] * 2, 0.5, 4),
        (
            range(10),
            [True] * 8 + [False] * 2,
            0.9,
            7,
        ),  # not that accurate: 0.9 of the 8 right ones, rounded up
        (range(4), [False] * 4, 0.9, 3),
        (range(4), [True] * 4, 1, 3),
    ],
)
def test_the_rule_of_the_threshold(scores, right, keep, cut):
    assert threshold(np.asarray(scores, float), np.asarray(right), keep) == cut


def test_it_is_stored_without_pickle_and_reads_the_same(plain, tmp_path):
    model, places = plain
    places.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    again = OutOfScope.model_validate_json(model.model_dump_json())
    logits = said(FOREIGN).logits
    kept = again.score(Places.load(tmp_path), FOREIGN, logits)
    assert kept == pytest.approx(model.score(places, FOREIGN, logits), abs=0.02)  # half precision
    (tmp_path / FILE).write_bytes(b"no file")
    with pytest.raises(Damaged, match="can't be read"):
        Places.load(tmp_path)


def test_a_rule_from_before_density_scores_as_it_did(plain, tmp_path):
    model, places = plain
    first = {name: getattr(model, name)[:5] for name in ("means", "spreads", "weights")}
    old = OutOfScope.model_validate(
        {**model.model_dump(exclude={"features"}), **first, "weights": [1.0] * 5, "threshold": 3.0}
    )
    places.save(tmp_path)
    with np.load(tmp_path / FILE) as file:
        parts = {name: file[name] for name in file.files if name != "own"}
    with (tmp_path / FILE).open("wb") as file:
        np.savez(file, **parts)
    vectors = np.concatenate([VALID, FOREIGN])
    found = features(places, vectors, said(vectors).logits / SPEC.temperature)
    levels = (found[:, :5] - np.asarray(first["means"])) / np.asarray(first["spreads"])
    wanted = np.clip(levels, -4, 4).sum(1)
    got = old.score(Places.load(tmp_path), vectors, said(vectors).logits)
    assert got == pytest.approx(wanted, abs=1e-3)
    with pytest.raises(ValueError, match="no feature is called moon"):
        OutOfScope.model_validate({**model.model_dump(), "features": ["moon"]})


def test_a_row_among_few_is_stranger_than_one_as_far_in_a_loose_crowd():
    tight, loose = around([0], 60, noise=0.02)[0], around([1], 60, noise=0.3)[0]
    rows = np.concatenate([tight, loose])
    own = own_nearness(rows)
    assert own[:60].min() > own[60:].max()
    near = rows[5:6] @ rows.T
    near[0, 5] = -1
    assert own[5] == pytest.approx(np.sort(near[0])[-3:].mean(), abs=1e-6)
    assert own_nearness(rows[:1]).tolist() == [1.0]
    assert own_nearness(rows[:2]) == pytest.approx([rows[0] @ rows[1]] * 2, abs=1e-6)


def test_a_row_counts_alone_and_many_rows_are_blocks(plain):
    model, places = plain
    many = np.concatenate([VALID, FOREIGN, VALID])
    every = model.score(places, many, said(many).logits)
    assert model.score(places, many[230:231], said(many[230:231]).logits) == pytest.approx(every[230:231])
    assert model.score(places, many[:0], said(many).logits[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("changes", "said_why"),
    [
        ({"keep": 0}, "above 0 and up to 1"),
        ({"truth": TRUTH[:10], "valid": said(VALID[:10])}, "20 in-scope validation rows, there are 10"),
        ({"labels": np.minimum(OWN, 4)}, "label 'l5' has no training row"),
    ],
)
def test_what_can_not_be_fitted_is_said(changes, said_why):
    given = {"spec": SPEC, "train": TRAIN, "labels": OWN, "valid": said(VALID), "truth": TRUTH, **changes}
    with pytest.raises(BadInput, match=said_why):
        fit(**given)


def test_logits_of_another_head_are_refused(plain):
    model, places = plain
    with pytest.raises(BadInput, match="3 logits a text don't fit 6 labels"):
        model.score(places, VALID, np.zeros((len(VALID), 3), np.float32))


def test_serving_it_loads_neither_scikit_learn_nor_scipy():
    probe = (
        "import sys, json, shared.models.out_of_scope\n"
        "print(json.dumps(sorted({'sklearn', 'scipy', 'torch'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert json.loads(done.stdout) == [], done.stderr
