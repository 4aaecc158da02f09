import json
import multiprocessing
import threading
from datetime import UTC, datetime

import pytest

from shared.artifacts.live import BUNDLE, Live, Pointer
from shared.artifacts.store import ArtifactStore, Ref
from shared.errors import BadInput, Conflict, Damaged, NotFound, Unavailable


class FixedClock:
    def now(self):
        return datetime(2026, 3, 1, 12, tzinfo=UTC)


class Hands:
    """A monotonic clock that is set by hand."""

    def __init__(self):
        self.at = 0.0

    def __call__(self):
        return self.at


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "artifacts", FixedClock())


@pytest.fixture
def pointer(store):
    return Pointer(store, "tone", FixedClock())


def bundle(store, name="tone", kind=BUNDLE, answer="yes", parents=None):
    with store.create(name, kind, parents=parents or {}) as draft:
        (draft.path / "answer.json").write_text(json.dumps(answer))
    return draft.artifact


def read(artifact):
    return json.loads((artifact.path / "answer.json").read_text())


def test_nothing_is_live_at_first(store, pointer):
    assert (pointer.current(), pointer.history(), pointer.stamp()) == (None, [], None)
    with pytest.raises(Conflict, match="no earlier bundle"):
        pointer.rollback("anna")


def test_moves_and_rollbacks_are_remembered(store, pointer):
    for _ in range(3):
        pointer.move(bundle(store).ref, by="anna")
    assert pointer.rollback(by="ben") == Ref("tone", 2)
    assert pointer.rollback(by="ben") == Ref("tone", 1)  # again goes further back, not forth and back
    assert pointer.current() == Ref("tone", 1)
    with pytest.raises(Conflict):
        pointer.rollback(by="ben")
    assert pointer.history() == [
        {"ref": f"tone@{version}", "moved": "2026-03-01T12:00:00Z", "by": by}
        for version, by in [(1, "anna"), (2, "anna"), (3, "anna"), (2, "ben"), (1, "ben")]
    ]


def test_the_application_name_opens_what_is_live(store, pointer):
    bundle(store), bundle(store)
    assert store.open("tone").ref == Ref("tone", 2)  # nothing is live: the newest
    pointer.move(Ref("tone", 1), "anna")
    assert store.open("tone").ref == Ref("tone", 1)


def test_moving_to_the_live_one_changes_nothing(store, pointer):
    pointer.move(bundle(store).ref, "anna")
    pointer.move(Ref("tone", 1), "anna")
    assert len(pointer.history()) == 1
    with pytest.raises(Conflict):
        pointer.rollback("anna")


def test_the_stamp_changes_with_each_move(store, pointer):
    stamps = []
    for _ in range(5):
        pointer.move(bundle(store).ref, "anna")
        stamps.append(pointer.stamp())
    assert len(set(stamps)) == 5
    assert pointer.stamp() == stamps[-1]


def test_only_a_whole_bundle_of_this_application_goes_live(store, pointer):
    pointer.move(bundle(store).ref, "anna")
    refused = [
        (bundle(store, "voice").ref, BadInput, "no bundle of tone"),
        (bundle(store, "tone", "model").ref, BadInput, "is a model"),
        (Ref("tone", 99), NotFound, "tone@99"),
    ]
    harmed = bundle(store)
    (harmed.path / "answer.json").write_text("no")
    part = bundle(store, "tone-model", "model")
    with_harmed_part = bundle(store, parents={"model": part.ref})
    (part.path / "answer.json").unlink()
    refused += [(harmed.ref, Damaged, "answer.json"), (with_harmed_part.ref, Damaged, "tone-model@1")]
    for ref, error, said in refused:
        with pytest.raises(error, match=said):
            pointer.move(ref, "anna")
        assert pointer.current() == Ref("tone", 1)


def test_a_pointer_file_that_is_none_says_what_to_do(store, pointer):
    pointer.move(bundle(store).ref, "anna")
    (path,) = (store.root / ".live").glob("*.json")
    for content in ("", "{", '{"current": "tone"}', '{"current": "../x@1"}', "[]"):
        path.write_text(content)
        with pytest.raises((Damaged, BadInput)):
            pointer.current()
    path.write_text('{"format": 7, "current": "tone@1"}')
    with pytest.raises(Conflict, match="upgrade"):
        pointer.current()


def _move_often(root, first, start):
    pointer = Pointer(ArtifactStore(root), "tone")
    start.wait()
    for version in range(first, 31, 2):
        pointer.move(Ref("tone", version), "someone")


def test_no_move_of_two_processes_is_lost(store, pointer):
    for _ in range(30):
        bundle(store)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    movers = [context.Process(target=_move_often, args=(store.root, first, start)) for first in (1, 2)]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join(60)
    assert [mover.exitcode for mover in movers] == [0, 0]
    assert sorted(move["ref"] for move in pointer.history()) == sorted(f"tone@{n}" for n in range(1, 31))


def test_without_a_bundle_the_answer_is_the_command_to_run(pointer):
    with pytest.raises(Unavailable, match=r"trillium train tone"):
        Live(pointer, read).current()


def test_the_first_bundle_is_found_once_it_is_there(store, pointer):
    live = Live(pointer, read)
    with pytest.raises(Unavailable):
        live.current()
    pointer.move(bundle(store, answer="first").ref, "anna")
    assert live.current() == (Ref("tone", 1), "first")


def test_a_move_is_followed_at_the_next_check(store, pointer):
    hands = Hands()
    live = Live(pointer, read, check_every_s=0.5, monotonic=hands)
    pointer.move(bundle(store, answer="old").ref, "anna")
    assert live.current()[1] == "old"
    pointer.move(bundle(store, answer="new").ref, "anna")
    hands.at = 0.4
    live.current()
    live.wait()
    assert live.current()[1] == "old"  # not looked yet
    hands.at = 0.6
    assert live.current()[1] == "old"  # this request does not wait for the load
    live.wait()
    assert live.current() == (Ref("tone", 2), "new")
    pointer.rollback("anna")
    hands.at = 1.2
    live.current()
    live.wait()
    assert live.current() == (Ref("tone", 1), "old")


def test_requests_never_fail_or_wait_while_live_moves(store, pointer):
    """Eight threads ask all the time; every load is held until 200 more answers came in."""
    versions = 5
    for version in range(versions):
        bundle(store, answer=version + 1)
    pointer.move(Ref("tone", 1), "anna")
    answers, failures, counted = [], [], threading.Condition()

    def slow(artifact):
        with counted:
            goal = len(answers) + 200
            if live_is_up.is_set():
                assert counted.wait_for(lambda: len(answers) >= goal, timeout=30)
        return read(artifact)

    live_is_up, done = threading.Event(), threading.Event()
    live = Live(pointer, slow, check_every_s=0.0)
    live.current()
    live_is_up.set()

    def ask():
        while not done.is_set():
            try:
                ref, value = live.current()
                assert ref.version == value
            except Exception as error:
                failures.append(error)
            with counted:
                answers.append(ref.version)
                counted.notify_all()

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for version in range(2, versions + 1):
        pointer.move(Ref("tone", version), "anna")
        with counted:
            assert counted.wait_for(lambda v=version: v in answers[-50:], timeout=30)
    done.set()
    for asker in askers:
        asker.join()
    live.wait()
    assert failures == []
    assert sorted(set(answers)) == list(range(1, versions + 1))
    assert len(answers) > 200 * (versions - 1)


def test_a_damaged_new_bundle_leaves_the_old_one_serving(store, pointer):
    hands = Hands()
    live = Live(pointer, read, check_every_s=0.5, retry_every_s=30, monotonic=hands)
    pointer.move(bundle(store, answer="old").ref, "anna")
    live.current()
    harmed = bundle(store, answer="new")
    pointer.move(harmed.ref, "anna")
    good = (harmed.path / "answer.json").read_bytes()
    (harmed.path / "answer.json").write_bytes(good[:-1])

    hands.at = 1.0
    live.current()
    live.wait()
    assert live.current() == (Ref("tone", 1), "old")
    assert live.problem is not None
    assert "tone@2" in live.problem
    assert "answer.json" in live.problem
    assert "tone@1 still serves" in live.problem

    (harmed.path / "answer.json").write_bytes(good)  # mended: noticed at the next try
    hands.at = 20.0
    live.current()
    live.wait()
    assert live.current()[1] == "old"
    hands.at = 31.5
    live.current()
    live.wait()
    assert live.current() == (Ref("tone", 2), "new")
    assert live.problem is None


def test_a_bundle_that_fails_its_self_test_leaves_the_old_one_serving(store, pointer):
    def tested(artifact):
        value = read(artifact)
        if value == "broken":
            raise ZeroDivisionError("self-test")
        return value

    live = Live(pointer, tested, check_every_s=0.0)
    pointer.move(bundle(store, answer="old").ref, "anna")
    live.current()
    pointer.move(bundle(store, answer="broken").ref, "anna")
    live.current()
    live.wait()
    assert live.current()[1] == "old"
    assert "self-test" in live.problem
    pointer.rollback("anna")
    live.current()
    live.wait()
    assert (live.current()[1], live.problem) == ("old", None)


def test_a_damaged_first_bundle_is_an_error_that_names_it(store, pointer):
    one, hands, loads = bundle(store), Hands(), []
    pointer.move(one.ref, "anna")
    good = (one.path / "answer.json").read_bytes()
    (one.path / "answer.json").write_text("")
    live = Live(
        pointer, lambda artifact: loads.append(1) or read(artifact), retry_every_s=30, monotonic=hands
    )
    for _ in range(3):
        with pytest.raises(Damaged, match=r"answer\.json"):
            live.current()
    assert "tone@1" in live.problem
    (one.path / "answer.json").write_bytes(good)
    with pytest.raises(Damaged):
        live.current()  # tried again after a while, not at every request
    hands.at = 31
    assert live.current() == (Ref("tone", 1), "yes")
    assert (live.problem, len(loads)) == (None, 1)


def test_a_pointer_that_vanished_or_broke_changes_nothing(store, pointer):
    live = Live(pointer, read, check_every_s=0.0)
    pointer.move(bundle(store, answer="old").ref, "anna")
    live.current()
    (path,) = (store.root / ".live").glob("*.json")
    path.write_text("{")
    live.current()
    live.wait()
    assert live.current()[1] == "old"
    assert live.problem
    path.unlink()
    assert live.current()[1] == "old"
