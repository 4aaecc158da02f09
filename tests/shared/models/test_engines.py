import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from pydantic import ValidationError

from shared.errors import Damaged
from shared.models import openvino_engine, selftest, slots
from shared.models.card import CARD, GRAPH, ModelCard, Slot
from shared.models.text_model import TextModel
from shared.testing.encoders import EncoderContract

TEXTS = ["where is my card", "which rate is used again, today and now", "", "money"]
FIELDS = {"engine": "openvino", "precision": "fp32", "path": GRAPH, "threads": 1, "tolerance": 2e-3}


def with_slots(folder, target, **given):
    """Copy a model folder and give it slots that serve the exported graph."""
    shutil.copytree(folder, target)
    card = ModelCard.read(target)
    model = TextModel.open(target, threads=1)
    made = {}
    for name, fields in given.items():
        file = f"{name}.json"
        selftest.write(target, model.probe, file)
        made[name] = Slot.model_validate({**FIELDS, "self_test": file, **fields})
    (target / CARD).write_text(card.model_copy(update={"slots": made}).model_dump_json(), "utf-8")
    return target


@pytest.fixture
def slotted(trained, tmp_path):
    if not openvino_engine.installed():  # importorskip would import it with its telemetry
        pytest.skip("OpenVINO is not installed")
    return with_slots(trained, tmp_path / "slotted", interactive={"engine": "onnx"}, bulk={})


class TestOpenVino(EncoderContract):
    @pytest.fixture
    def encoder(self, slotted):
        return TextModel.load(slotted, slot="bulk")


def test_both_engines_agree(slotted):
    one, two = TextModel.load(slotted), TextModel.load(slotted, slot="bulk")
    assert (one.served_by, two.served_by) == ("onnx fp32", "openvino fp32")
    for name, rows in one.logits(TEXTS).items():
        assert two.logits(TEXTS)[name] == pytest.approx(rows, abs=1e-4, rel=1e-4)


def test_threads_share_an_openvino_engine(slotted):
    model = TextModel.load(slotted, slot="bulk")
    expected = {text: model.embed([text]) for text in TEXTS}
    start, wrong = threading.Barrier(4), []

    def ask(text):
        start.wait(60)
        wrong.extend(
            text for _ in range(50) if not np.allclose(model.embed([text]), expected[text], atol=1e-5)
        )

    threads = [threading.Thread(target=ask, args=(text,)) for text in TEXTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_a_slot_has_its_own_calibration(trained, tmp_path):
    own = {"temperatures": {"intent": 7.5}, "thresholds": {"tags": [0.9, 0.8, 0.7, 0.6]}}
    folder = with_slots(trained, tmp_path / "own", interactive={"engine": "onnx", **own})
    model = TextModel.load(folder)
    assert model.heads["intent"].temperature == 7.5
    assert model.heads["tags"].thresholds == [0.9, 0.8, 0.7, 0.6]
    plain = TextModel.load(folder, engine="onnx")
    assert plain.heads["intent"].temperature == TextModel.load(trained).heads["intent"].temperature


def test_without_a_bulk_slot_the_interactive_one_serves(trained, tmp_path):
    folder = with_slots(trained, tmp_path / "one", interactive={"engine": "onnx", "precision": "int8"})
    assert TextModel.load(folder, slot="bulk").served_by == "onnx int8"


@pytest.mark.parametrize(
    ("slot", "served", "instead"),
    [("bulk", "onnx int8", "the interactive slot"), ("interactive", "onnx int8", None)],
)
def test_without_openvino_an_onnx_slot_serves(trained, tmp_path, monkeypatch, capsys, slot, served, instead):
    onnx = {"engine": "onnx", "precision": "int8"}
    folder = with_slots(trained, tmp_path / "two", interactive=onnx, bulk={})
    monkeypatch.setattr(openvino_engine, "installed", lambda: False)
    assert TextModel.load(folder, slot=slot).served_by == served
    said = capsys.readouterr()
    lines = [line for line in (said.out + said.err).splitlines() if "OpenVINO is not installed" in line]
    assert [instead in line for line in lines] == ([True] if instead else [])


def test_without_openvino_and_an_onnx_slot_the_exported_graph_serves(slotted, trained, tmp_path, monkeypatch):
    folder = with_slots(trained, tmp_path / "three", interactive={"temperatures": {"intent": 7.5}})
    monkeypatch.setattr(openvino_engine, "installed", lambda: False)
    model = TextModel.load(folder)
    assert model.served_by == "onnx fp32"
    assert model.heads["intent"].temperature != 7.5  # that belongs to the other engine's numbers


def test_a_slot_that_gives_other_outputs_is_damaged(slotted):
    (slotted / "bulk.json").write_text((slotted / "interactive.json").read_text().replace("0.", "0.9"))
    TextModel.load(slotted)
    with pytest.raises(Damaged, match=r"off by .* in the self-test bulk\.json"):
        TextModel.load(slotted, slot="bulk")


def test_a_graph_that_openvino_can_not_read_is_damaged(slotted):
    (slotted / GRAPH).write_bytes(b"no graph")
    with pytest.raises(Damaged, match="can't be opened"):
        TextModel.load(slotted, slot="bulk")


@pytest.mark.parametrize("path", ["../other/model.onnx", "/etc/passwd"])
def test_a_slot_stays_in_its_folder(path):
    with pytest.raises(ValidationError, match="outside the model folder"):
        Slot.model_validate({**FIELDS, "self_test": "s.json", "path": path})


def test_stored_threads_are_cut_to_the_usable_cores(slotted, monkeypatch):
    seen = []
    monkeypatch.setattr(slots, "usable_cores", lambda: 2)
    load = slots.OnnxEngine.load
    monkeypatch.setattr(slots.OnnxEngine, "load", lambda path, count: seen.append(count) or load(path, 1))
    slot = ModelCard.read(slotted).slots["interactive"]
    for stored, asked in ((1, None), (64, None), (64, 3)):
        slots.open_slot(slotted, slot.model_copy(update={"threads": stored}), asked)
    assert seen == [1, 2, 3]


ANSWER = """
import sys
from pathlib import Path
from shared.models.text_model import TextModel
model = TextModel.load(Path(sys.argv[1]), slot=sys.argv[2])
assert model.run(["where is my card"]).vectors.shape[0] == 1
heavy = {"torch", "transformers", "sentence_transformers", "sklearn", "scipy", "onnx", "nncf"}
loaded = {name.split(".")[0] for name, module in sys.modules.items() if module is not None}
print(model.served_by, sorted(loaded & {*heavy, "openvino_telemetry"}))
"""


@pytest.mark.parametrize(("slot", "served"), [("interactive", "onnx fp32"), ("bulk", "openvino fp32")])
def test_an_answer_of_each_engine_needs_no_torch_and_reports_to_nobody(slotted, slot, served):
    done = subprocess.run(
        [sys.executable, "-c", ANSWER, str(slotted), slot], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == f"{served} []", done.stderr
