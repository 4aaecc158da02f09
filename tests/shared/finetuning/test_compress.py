import importlib.util
import json
import shutil

import numpy as np
import pytest

from shared.errors import BadInput, Conflict, Damaged
from shared.finetuning import drift
from shared.finetuning.compress import TABLE, compress
from shared.finetuning.drift import Sample
from shared.finetuning.sample_texts import sample_texts
from shared.finetuning.speed import thread_counts
from shared.models import openvino_engine
from shared.models.card import ModelCard
from shared.models.heads import HeadSpec
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_rows
from shared.testing.tiny_trained import tiny_trained

EVERY = {"onnx fp32", "onnx int8", "onnx int8 in part", "openvino fp32", "openvino int8"}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A model folder with one head of each kind that reads a whole text."""
    return tiny_trained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def labelled():
    rows = tiny_rows()
    truth = {"intent": [row["label"] for row in rows], "tags": [row["tags"] for row in rows]}
    return Sample([row["text"] for row in rows], truth=truth)


@pytest.fixture(scope="session")
def made(model_folder, labelled, tmp_path_factory):
    if importlib.util.find_spec("nncf") is None:  # importorskip would import it with its telemetry
        pytest.skip("NNCF is not installed")
    out = tmp_path_factory.mktemp("compressed") / "out"
    return out, compress(model_folder, out, labelled, limit=0.5, seconds=0)


def test_every_variant_is_measured(made):
    out, result = made
    assert {row["name"] for row in result.table} >= EVERY
    for row in result.table:
        assert "why" not in row
        assert row["latency_ms"] > 0
        assert row["batch_ms"] > 0
        assert set(row["heads"]) == {"intent", "tags", "embed"}
        assert row["heads"]["intent"]["metric"] == "accuracy"
        assert row["heads"]["tags"]["metric"] == "micro_f1"
    first = result.table[0]
    assert (first["name"], first["heads"]["embed"]["loss"]) == ("onnx fp32", 0)
    kept = json.loads((out / TABLE).read_text("utf-8"))
    assert kept["table"] == json.loads(json.dumps(result.table))


def test_both_slots_serve_with_a_calibration_of_their_own(made, model_folder, labelled):
    out, result = made
    assert ModelCard.read(out).slots == result.slots
    for name, slot in result.slots.items():
        model = TextModel.load(out, slot=name)
        assert model.served_by == f"{slot.engine} {slot.precision}"
        assert model.heads["intent"].temperature == slot.temperatures["intent"]
        assert model.heads["tags"].thresholds == slot.thresholds["tags"]
        assert model.fingerprint == TextModel.load(model_folder).fingerprint
        said = model.run(labelled.texts).probabilities["intent"].argmax(1)
        right = [model.heads["intent"].labels[i] for i in said]
        assert np.mean(np.array(right) == np.array(labelled.truth["intent"])) > 0.9


def test_graphs_that_no_slot_serves_are_gone(made):
    out, result = made
    folders = {path.parent.relative_to(out).as_posix() for path in out.glob("slots/*/*")}
    used = {slot.path.rpartition("/")[0] for slot in result.slots.values()}
    assert folders <= used
    assert (out / "onnx" / "model.onnx").is_file()


def test_a_limit_of_nothing_leaves_what_loses_nothing(model_folder, tmp_path):
    result = compress(model_folder, tmp_path / "out", limit=0.0, seconds=0)
    within = {row["name"] for row in result.table if row["within"]}
    assert "onnx fp32" in within
    assert not within & {"onnx int8", "openvino int8"}
    assert {slot.precision for slot in result.slots.values()} == {"fp32"}


def test_what_came_in_is_left_alone(made, model_folder):
    assert ModelCard.read(model_folder).slots == {}
    assert not (model_folder / "slots").exists()


def test_without_openvino_onnx_fills_both_slots(model_folder, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino_engine, "installed", lambda: False)
    result = compress(model_folder, tmp_path / "out", labelled, limit=0.5, seconds=0)
    assert {slot.engine for slot in result.slots.values()} == {"onnx"}
    assert {row["engine"] for row in result.table} == {"onnx"}


def test_a_model_without_a_fast_tokenizer_is_sent_to_torch(model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer.json").unlink()
    with pytest.raises(BadInput, match="TRILLIUM_RUNTIME__ENGINE=torch"):
        compress(tmp_path / "copy", tmp_path / "out")


def test_samples_that_do_not_fit_are_refused(model_folder, tmp_path):
    with pytest.raises(BadInput, match="too few"):
        compress(model_folder, tmp_path / "a", Sample(["one"]))
    with pytest.raises(BadInput, match="reads single texts"):
        compress(model_folder, tmp_path / "b", Sample(["one"] * 20, ["two"] * 20))
    with pytest.raises(BadInput, match="'moon' is no label of head 'intent'"):
        compress(model_folder, tmp_path / "c", Sample(sample_texts(20), truth={"intent": ["moon"]}))


def test_a_folder_with_files_is_not_written_over(model_folder, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(Conflict, match="has files"):
        compress(model_folder, tmp_path)


def test_a_slot_whose_graph_was_changed_is_damaged(made, tmp_path):
    out, result = made
    shutil.copytree(out, tmp_path / "copy")
    (tmp_path / "copy" / result.slots["bulk"].path).write_bytes(b"no graph")
    with pytest.raises(Damaged, match="can't be opened"):
        TextModel.load(tmp_path / "copy", slot="bulk")


def test_neighbours_and_decisions_are_compared():
    angles = np.linspace(0, 3, 24)
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert drift.neighbour_agreement(vectors, vectors) == 1
    assert drift.neighbour_agreement(vectors, np.roll(vectors, 7, axis=0)) < 1
    with pytest.raises(BadInput, match="more than 10"):
        drift.neighbour_agreement(vectors[:5], vectors[:5])
    head = HeadSpec(name="h", kind="multilabel", labels=["a", "b"], thresholds=[0.5, 0.9])
    assert drift.decided(head, np.array([[1.0, 1.0]], np.float32)).tolist() == [[True, False]]
    assert drift.marked(head, [["b", "a"], []]).tolist() == [[True, True], [False, False]]


def test_made_up_texts_are_many_different_and_of_two_languages():
    texts = sample_texts(300)
    assert texts == sample_texts(300) != sample_texts(300, seed=1)
    assert len(set(texts)) == 300
    chinese = [text for text in texts if any("\u4e00" <= sign <= "\u9fff" for sign in text)]
    assert 30 < len(chinese) < 150
    assert max(len(text) for text in texts) > 5 * sorted(len(text) for text in texts)[100]


def test_thread_counts_reach_to_the_cores():
    assert [thread_counts(cores) for cores in (1, 2, 6)] == [[1], [1, 2], [1, 2, 4, 6]]
