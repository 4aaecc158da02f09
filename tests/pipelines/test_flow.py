import json
import subprocess
import sys

import pytest

from pipelines import flow
from pipelines.gate import Verdict
from shared.artifacts.store import Ref
from shared.errors import BadInput, Conflict, NotFound, UsageError
from shared.settings import load_settings

PASSED = Verdict(True, "TF-IDF + linear SVM", None, {"macro_f1": 0.9})
REFUSED = Verdict(False, "sentiment@1", "macro F1 is worse", {"macro_f1": 0.5})


@pytest.fixture
def place(tmp_path):
    return flow.workplace(load_settings({"home": tmp_path / "home"}), "sentiment")


def part(place, name="sentiment-model", kind="model"):
    with place.store.create(name, kind) as draft:
        (draft.path / "weights").write_text("w")
    return draft.artifact.ref


def test_the_first_bundle_needs_no_other_part(place):
    result = flow.publish(place, parts={"model": part(place)}, files={"rules.json": b"{}"}, verdict=PASSED)
    assert result == {
        "artifact": "sentiment@1",
        "promoted": True,
        "compared_with": "TF-IDF + linear SVM",
        "metrics": {"macro_f1": 0.9},
    }
    bundle = place.store.open("sentiment")
    assert (bundle.manifest.kind, bundle.manifest.parents) == ("bundle", {"model": "sentiment-model@1"})
    assert (bundle.path / "rules.json").read_bytes() == b"{}"


def test_a_bundle_is_the_live_one_with_its_own_part_replaced(place, tmp_path):
    flow.publish(
        place, parts={"model": part(place)}, files={"a.json": b"1", "deep/b.json": b"1"}, verdict=PASSED
    )
    (tmp_path / "b").write_bytes(b"2")
    index = part(place, "sentiment-index", "index")
    flow.publish(place, parts={"index": index}, files={"deep/b.json": tmp_path / "b"})
    bundle = place.store.open("sentiment")
    assert bundle.manifest.parents == {"model": "sentiment-model@1", "index": "sentiment-index@1"}
    assert (bundle.path / "a.json").read_bytes() == b"1"
    assert (bundle.path / "deep" / "b.json").read_bytes() == b"2"
    assert place.store.open("sentiment@1").manifest.parents == {"model": "sentiment-model@1"}


def test_a_refused_bundle_is_kept_but_not_live(place):
    flow.publish(place, parts={"model": part(place)}, verdict=PASSED)
    result = flow.publish(place, parts={"model": part(place)}, verdict=REFUSED)
    assert result == {
        "artifact": "sentiment@2",
        "promoted": False,
        "compared_with": "sentiment@1",
        "metrics": {"macro_f1": 0.5},
        "reason": "macro F1 is worse",
    }
    assert place.pointer.current() == Ref("sentiment", 1)
    flow.publish(place, parts={"model": part(place)}, verdict=PASSED)
    assert place.store.open("sentiment").manifest.parents == {"model": "sentiment-model@3"}


def test_asked_not_to_promote_it_says_so(place):
    result = flow.publish(place, parts={"model": part(place)}, verdict=PASSED, promote=False)
    assert (result["promoted"], result["reason"]) == (False, "asked not to promote")
    assert place.pointer.current() is None


def test_what_was_built_on_another_live_bundle_is_refused(place):
    flow.publish(place, parts={"model": part(place)}, verdict=PASSED)
    other = flow.workplace(place.settings, "sentiment")
    assert other.live().ref == Ref("sentiment", 1)
    flow.publish(place, parts={"model": part(place)}, verdict=PASSED)
    with pytest.raises(Conflict, match=r"from sentiment@1 to sentiment@2.*run the same"):
        flow.publish(other, parts={"model": part(place)}, verdict=PASSED)
    other.live()
    flow.publish(other, parts={"model": part(place)}, verdict=PASSED)
    flow.publish(other, parts={"model": part(place)}, verdict=PASSED)  # its own move is no surprise


def test_a_part_that_is_not_there_leaves_live_alone(place):
    with pytest.raises(NotFound):
        flow.publish(place, parts={"model": Ref("sentiment-model", 5)}, verdict=PASSED)
    assert place.store.list("sentiment") == []


def test_an_unknown_application_is_a_usage_error(place):
    with pytest.raises(UsageError, match="sentiment"):
        flow.workplace(place.settings, "weather")


def test_promote_takes_the_newest_that_passed_unless_named(place):
    for verdict in (PASSED, PASSED, REFUSED):
        flow.publish(place, parts={"model": part(place)}, verdict=verdict, promote=False)
    assert flow.promote(place)["artifact"] == "sentiment@2"
    assert flow.promote(place)["reason"] == "it was live already"
    assert flow.promote(place, "sentiment@3")["promoted"] is True  # a person overrides the gate
    assert place.pointer.current() == Ref("sentiment", 3)
    assert flow.rollback(place)["artifact"] == "sentiment@2"
    with pytest.raises(BadInput, match="no bundle of sentiment"):
        flow.promote(place, str(part(place)))


def test_promote_without_any_that_passed_says_what_to_do(place):
    flow.publish(place, parts={"model": part(place)}, verdict=REFUSED)
    with pytest.raises(NotFound, match=r"artifacts list sentiment"):
        flow.promote(place)
    with pytest.raises(Conflict):
        flow.rollback(place)


def test_emit_prints_lines_or_one_json_line(capsys):
    result = {
        "artifact": "a@1",
        "promoted": True,
        "compared_with": None,
        "metrics": {"é": {"f1": 0.5}, "x": []},
    }
    flow.emit(result, True)
    assert json.loads(capsys.readouterr().out) == result
    flow.emit(result, False)
    assert capsys.readouterr().out.splitlines() == [
        "artifact: a@1",
        "promoted: yes",
        "compared_with: -",
        "metrics.é.f1: 0.5",
        "metrics.x: -",
    ]


def test_data_hash_is_by_content_and_order(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1"), two.write_text("2")
    assert flow.data_hash(one, two) != flow.data_hash(two, one)
    (tmp_path / "copy").write_text("1")
    assert flow.data_hash(one, "seed 0") == flow.data_hash(tmp_path / "copy", "seed 0")
    assert flow.data_hash(one, "seed 0") != flow.data_hash(one, "seed 1")


def counted(calls, result):
    def make(folder):
        calls.append(sorted(path.name for path in folder.iterdir()))
        (folder / "weights").write_text("w")
        return result

    return make


def test_a_finished_step_is_not_made_again(tmp_path):
    calls = []
    first = flow.step(tmp_path, "train", {"data": "1", "seed": 0}, counted(calls, {"f1": 0.5}))
    again = flow.step(tmp_path, "train", {"seed": 0, "data": "1"}, counted(calls, {"f1": 0.9}))
    assert (first.skipped, again.skipped, again.result, again.folder) == (
        False,
        True,
        {"f1": 0.5},
        first.folder,
    )
    assert len(calls) == 1


def test_another_key_makes_the_step_again_from_nothing(tmp_path):
    calls = []
    for key in ({"data": "1"}, {"data": "2"}, {"data": "1"}):
        assert not flow.step(tmp_path, "train", key, counted(calls, None)).skipped
    assert calls == [[], [], []]


def test_a_step_whose_folder_went_is_made_again(tmp_path):
    calls = []
    done = flow.step(tmp_path, "train", {}, counted(calls, None))
    (done.folder / "weights").unlink()
    done.folder.rmdir()
    assert not flow.step(tmp_path, "train", {}, counted(calls, None)).skipped


def test_a_broken_mark_makes_the_step_again(tmp_path):
    calls = []
    flow.step(tmp_path, "train", {}, counted(calls, None))
    (tmp_path / "train.json").write_text("{")
    assert not flow.step(tmp_path, "train", {}, counted(calls, None)).skipped


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines import flow
def make(folder):
    (folder / "checkpoint-1").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
flow.step(Path(sys.argv[1]), "train", {"data": "1"}, make)
"""


def test_a_killed_step_goes_on_from_its_checkpoints_with_the_same_key_only(tmp_path):
    for key, found in (({"data": "1"}, ["checkpoint-1"]), ({"data": "2"}, [])):
        work, calls = tmp_path / key["data"], []
        assert subprocess.run([sys.executable, "-c", KILLED, str(work)], check=False).returncode == -9
        assert not flow.step(work, "train", key, counted(calls, None)).skipped
        assert calls == [found]


def run(trillium, *arguments):
    done = subprocess.run([*trillium, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_commands_end_to_end(trillium, tmp_path):
    place = flow.workplace(load_settings(), "sentiment")
    assert place.settings.home == tmp_path / "home"
    for verdict in (PASSED, PASSED, REFUSED):
        flow.publish(place, parts={"model": part(place)}, verdict=verdict, promote=False)
    code, out, _ = run(trillium, "promote", "sentiment", "--json")
    assert (code, json.loads(out)["artifact"]) == (0, "sentiment@2")
    flow.promote(place, "sentiment@1")
    code, out, _ = run(trillium, "rollback", "sentiment", "--json")
    assert (code, json.loads(out)["artifact"]) == (0, "sentiment@2")
    code, _, err = run(trillium, "promote", "sentiment", "sentiment@9")
    assert (code, "sentiment@1 to @3" in err) == (4, True)
    code, out, _ = run(trillium, "artifacts", "list", "--kind", "bundle")
    assert (code, [line[:13] for line in out.splitlines()]) == (
        0,
        ["  sentiment@1", "* sentiment@2", "  sentiment@3"],
    )
    shown = json.loads(run(trillium, "artifacts", "show", "sentiment", "--json")[1])
    assert (shown["artifact"], shown["extra"]["gate"]["passed"], shown["live"]) == ("sentiment@2", True, True)
    removed = json.loads(run(trillium, "artifacts", "prune", "--keep", "1", "--json")[1])["removed"]
    assert removed == ["sentiment@1", "sentiment-model@1"]  # 2 is live, 3 is the newest
    (place.store.root / "sentiment-model" / "3" / "weights").write_text("other")
    code, _, err = run(trillium, "artifacts", "show", "sentiment-model@3")
    assert (code, "file weights is not what was written" in err) == (7, True)
