import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.artifacts.live import BUNDLE, Pointer
from shared.artifacts.store import ArtifactStore, Ref
from shared.errors import BadInput, Conflict, Damaged, NotFound, StorageFull

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FixedClock:
    def now(self):
        return NOW


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "artifacts", FixedClock())


def put(store, name="tone-model", kind="model", parents=None, content="weights"):
    with store.create(name, kind, parents=parents or {}) as draft:
        (draft.path / "onnx").mkdir()
        (draft.path / "onnx" / "model.onnx").write_text(content)
        (draft.path / "model.json").write_text("{}")
    return draft.artifact


def left_over(store):
    return list((store.root / ".drafts").iterdir()) if (store.root / ".drafts").exists() else []


def test_what_was_put_in_comes_out(store):
    with store.create(
        "tone", "model", recipe_hash="r1", data_hash="d1", parents={"base": put(store).ref}
    ) as draft:
        (draft.path / "a.txt").write_text("hello")
        draft.metrics["macro_f1"] = 0.9
        draft.extra["note"] = {"by": "hand"}
    one = store.open("tone@1")
    assert one == draft.artifact
    assert (one.path / "a.txt").read_text() == "hello"
    manifest = one.manifest
    assert (manifest.kind, manifest.created, manifest.recipe_hash, manifest.data_hash) == (
        "model",
        NOW,
        "r1",
        "d1",
    )
    assert (manifest.metrics, manifest.extra) == ({"macro_f1": 0.9}, {"note": {"by": "hand"}})
    assert one.parent("base").ref == Ref("tone-model", 1)
    assert list(manifest.files) == ["a.txt"]
    assert left_over(store) == []


def test_versions_count_up_and_a_bare_name_is_the_newest(store):
    assert [put(store).ref.version for _ in range(11)] == list(range(1, 12))
    assert store.open("tone-model").ref == Ref("tone-model", 11)
    assert [one.ref.version for one in store.list("tone-model")] == list(range(1, 12))
    assert store.newest("tone-model") == Ref("tone-model", 11)
    assert store.newest("nothing") is None


def test_list_is_by_name_then_version_and_filters(store):
    put(store, "b", "model"), put(store, "a", "index"), put(store, "a", "model")
    assert [str(one.ref) for one in store.list()] == ["a@1", "a@2", "b@1"]
    assert [str(one.ref) for one in store.list(kind="model")] == ["a@2", "b@1"]
    assert store.list("c") == []
    assert ArtifactStore(store.root / "nowhere").list() == []


def test_nothing_is_left_of_a_draft_that_failed(store):
    with pytest.raises(ZeroDivisionError), store.create("tone", "model") as draft:
        (draft.path / str(1 / 0)).write_text("...")
    assert store.list() == []
    assert left_over(store) == []
    with pytest.raises(RuntimeError):
        _ = draft.artifact


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", "/etc", ".live", "Tone", "a.b", "a b", "-a", "a\0b", "x" * 65, "tone@1"]
)
def test_a_name_that_could_leave_the_folder_is_refused(store, name):
    with pytest.raises(BadInput), store.create(name, "model"):
        pass
    with pytest.raises(BadInput):
        store.open(f"{name}@1" if "@" not in name else f"{name}@@1")
    with pytest.raises(BadInput):
        store.newest(name)
    with pytest.raises(BadInput):
        store.list(name)


@pytest.mark.parametrize(
    "text", ["tone@", "tone@0", "tone@-1", "tone@1.0", "tone@01", "@1", "tone@1@2", "tone@x"]
)
def test_a_reference_that_is_none_is_refused(store, text):
    with pytest.raises(BadInput, match="NAME@VERSION"):
        store.open(text)


def test_what_is_not_there_says_what_is(store):
    with pytest.raises(NotFound, match="holds none yet"):
        store.open("tone")
    put(store), put(store)
    with pytest.raises(NotFound, match=r"tone-model@1 to @2"):
        store.open("tone-model@7")
    with pytest.raises(NotFound, match="there are: tone-model"):
        store.open("voice")
    with pytest.raises(NotFound, match="none"):
        store.open("tone-model@1").parent("base")
    with pytest.raises(NotFound), store.create("bundle", BUNDLE, parents={"model": Ref("tone-model", 9)}):
        pass


def test_a_link_in_a_draft_is_refused(store, tmp_path):
    (tmp_path / "outside").write_text("secret")
    with pytest.raises(BadInput, match="link"), store.create("tone", "model") as draft:
        (draft.path / "in").symlink_to(tmp_path / "outside")
    assert store.list() == []


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "link"])
def test_a_changed_file_is_damage_that_names_it_and_what_to_do(store, harm, tmp_path):
    one = put(store, content="0123456789")
    file = one.path / "onnx" / "model.onnx"
    store.open("tone-model@1")  # checked once already: the change must be noticed nevertheless
    if harm == "flip":
        file.write_text("0123456780")
    elif harm == "cut":
        file.write_text("01234")
    else:
        file.unlink()
    if harm == "link":
        (tmp_path / "same").write_text("0123456789")
        file.symlink_to(tmp_path / "same")
    for attempt in (ArtifactStore(store.root), store):
        with pytest.raises(Damaged, match=r"onnx/model\.onnx.*(rollback|restore)"):
            attempt.open("tone-model@1")
    with pytest.raises(Damaged):
        one.verify()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"name": 1}', "\0", '"' + "x" * 100, b"\xff\xfe"],
)
def test_a_manifest_that_is_none_is_damage_and_hides_no_other(store, content):
    one = put(store)
    put(store, "other")
    (one.path / "manifest.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Damaged, match=r"manifest\.json"):
        store.open("tone-model@1")
    assert [str(each.ref) for each in store.list()] == ["other@1"]


def test_a_manifest_that_points_outside_is_damage(store, tmp_path):
    one = put(store)
    path = one.path / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("../../secret", "/etc/passwd", "..\\x"):
        path.write_text(json.dumps({**manifest, "files": {name: "0" * 64}}))
        with pytest.raises(Damaged, match="outside"):
            store.open("tone-model@1")
    path.write_text(json.dumps({**manifest, "version": 2}))
    with pytest.raises(Damaged, match="says that it is tone-model@2"):
        store.open("tone-model@1")


def test_a_newer_format_says_upgrade(store):
    path = put(store).path / "manifest.json"
    path.write_text(json.dumps({"format": 2, "everything": "else may differ"}))
    with pytest.raises(Conflict, match=r"format 2.*upgrade"):
        store.open("tone-model@1")


def test_a_figure_that_is_no_number_is_stored_as_null(store):
    with store.create("tone", "model") as draft:
        draft.metrics["f1"] = float("nan")
    assert store.open("tone@1").manifest.metrics == {"f1": None}


def _put_many(root, count, start, name):
    store = ArtifactStore(root)
    start.wait()
    for n in range(count):
        with store.create(name, "model") as draft:
            (draft.path / "who").write_text(f"{os.getpid()} {n}")


def test_two_processes_never_get_the_same_version(store):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    writers = [context.Process(target=_put_many, args=(store.root, 25, start, "shared")) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    stored = store.list("shared")
    assert [one.ref.version for one in stored] == list(range(1, 51))
    assert len({(one.path / "who").read_text() for one in stored}) == 50
    for one in stored:
        assert store.open(str(one.ref)).manifest.version == one.ref.version


def _aged(folder, age=timedelta(hours=25)):
    for path in (*folder.rglob("*"), folder):
        os.utime(path, ((NOW - age).timestamp(),) * 2)


def _draft(store, name):
    folder = store.root / ".drafts" / name
    (folder / "content").mkdir(parents=True)
    (folder / "content" / "half").write_text("...")
    (folder / "lock").touch()
    return folder


def test_leftovers_of_killed_writers_are_swept_but_only_own_old_unheld_ones(store):
    old, young, foreign, held = (
        _draft(store, name) for name in ("draft-old", "draft-young", "somebody", "draft-held")
    )
    for folder in (old, foreign, held):
        _aged(folder)
    _aged(young, timedelta(hours=1))
    with (held / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        put(store)
    assert not old.exists()
    assert all(folder.exists() for folder in (young, foreign, held))


def test_a_writer_killed_in_the_middle_leaves_no_version(store):
    code = (
        "import os, signal, sys; from pathlib import Path; from shared.artifacts.store import ArtifactStore\n"
        "with ArtifactStore(Path(sys.argv[1])).create('tone', 'model') as draft:\n"
        "    (draft.path / 'half').write_text('...'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
    assert done.returncode == -9
    assert store.list() == []
    assert len(left_over(store)) == 1
    assert put(store, "tone").ref.version == 1


FULL = """
import resource, sys
from pathlib import Path
from shared.artifacts.store import ArtifactStore
from shared.errors import StorageFull
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = ArtifactStore(Path(sys.argv[1]))
try:
    with store.create("tone-model", "model") as draft:
        (draft.path / "weights").write_bytes(b"x" * 1_000_000)
except StorageFull as error:
    print(error.detail)
    sys.exit(error.exit_code)
"""


def test_a_full_disk_is_named_and_loses_nothing(store):
    put(store)
    done = subprocess.run(
        [sys.executable, "-B", "-c", FULL, str(store.root)], check=False, capture_output=True, text=True
    )
    assert done.returncode == StorageFull.exit_code, done.stderr
    assert "free some space" in done.stdout
    assert [str(one.ref) for one in store.list()] == ["tone-model@1"]
    store.open("tone-model@1").verify()
    assert left_over(store) == []


def test_prune_keeps_the_newest_and_all_that_live_or_a_rollback_needs(store):
    pointer = Pointer(store, "tone", FixedClock())
    for _ in range(9):
        model, index = put(store, "tone-model"), put(store, "tone-index", "index")
        bundle = put(store, "tone", BUNDLE, {"model": model.ref, "index": index.ref})
        if bundle.ref.version <= 7:
            pointer.move(bundle.ref, "test")
    put(store, "free"), put(store, "free")
    # live is 7, a rollback reaches 2 to 6; 8 is reached by nobody, 9 is the newest
    assert [str(ref) for ref in store.prune(keep=1)] == [
        "free@1",
        "tone@1",
        "tone@8",
        "tone-index@1",
        "tone-index@8",
        "tone-model@1",
        "tone-model@8",
    ]
    for version in (*range(2, 8), 9):
        assert store.open(f"tone@{version}").parent("model").ref.version == version
    for version in range(6, 1, -1):
        assert pointer.rollback("test") == Ref("tone", version)
    assert put(store, "tone-model").ref.version == 10  # a number is never given twice
    assert left_over(store) == []


def test_prune_keeps_parts_of_a_kept_bundle_though_they_are_old(store):
    model = put(store)
    put(store, "tone", BUNDLE, {"model": model.ref})
    put(store), put(store)
    assert [str(ref) for ref in store.prune(keep=1)] == ["tone-model@2"]


def test_prune_to_nothing_is_refused(store):
    put(store)
    with pytest.raises(BadInput, match="newest"):
        store.prune(keep=0)


def test_prune_removes_nothing_when_a_kept_manifest_cannot_be_read(store):
    put(store), put(store)
    (store.root / "tone-model" / "2" / "manifest.json").write_text("{")
    with pytest.raises(Damaged):
        store.prune(keep=1)
    assert (store.root / "tone-model" / "1").is_dir()


def test_the_folder_can_be_read_from_elsewhere(store, tmp_path):
    # a backup copied to another place or machine
    put(store)
    store.root.rename(tmp_path / "moved")
    assert ArtifactStore(Path(tmp_path / "moved")).open("tone-model").ref.version == 1
