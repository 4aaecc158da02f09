"""The life of an alert, one row per rule."""

import pytest

from services.sentiment.alerts import Change, alert_id, severity, step
from services.sentiment.domain import Counts, Phase, Reason, State, Verdict
from services.sentiment.surge import Rules
from services.sentiment.windows import DAY, HOUR

RULES = Rules(hold=2, recover=3, cooldown=2 * HOUR)
START = 1_000 * DAY
STEP = RULES.step


def verdict(sign, negative=9):
    """`!` a surge, `~` between the thresholds, `.` calm, `l` learning."""
    reason = {"!": Reason.SURGE, "~": Reason.USUAL_COUNT, ".": Reason.TOO_FEW, "l": Reason.LEARNING}[sign]
    return Verdict(reason, Counts(10, negative), 0.5, 0.2, 1e-8 if sign == "!" else 0.01, 1e-4, sign in ".l")


def play(signs, state=None, start=START):
    """Return (state, [(which window, change)]) after these windows in a row; `_` is a hole of a day."""
    state, events, end = state or State(), [], start
    for number, sign in enumerate(signs):
        if sign == "_":
            end += DAY
            continue
        state, event = step("banks", state, verdict(sign), end, RULES)
        if event is not None and event.change is not Change.UPDATED:
            events.append((number, str(event.change)))
        end += STEP
    return state, events


@pytest.mark.parametrize(
    ("signs", "changes"),
    [
        ("....", []),
        ("!...", []),  # one bad window is not a surge
        ("!.!.!.", []),
        ("!~!.", []),  # nor two that are not in a row
        ("!!", [(1, "opened")]),
        ("!!!!!!", [(1, "opened")]),  # and it opens once
        ("!!..!!..", [(1, "opened")]),  # a short calm does not close it
        ("!!...", [(1, "opened"), (4, "resolved")]),
        ("!!.~.~.", [(1, "opened"), (6, "resolved")]),  # between the thresholds nothing is counted
        ("!!~~~~~~", [(1, "opened")]),
        ("!!...!!", [(1, "opened"), (4, "resolved"), (6, "reopened")]),  # soon after: the same alert
        ("!!......_!!", [(1, "opened"), (4, "resolved"), (10, "opened")]),  # later: another
        ("!_!", []),  # a hole is no row
        ("!!_..!...", [(1, "opened"), (8, "resolved")]),  # and no calm
        ("llll", []),
    ],
)
def test_what_happens(signs, changes):
    assert play(signs)[1] == changes


def test_a_surge_that_comes_again_soon_keeps_its_id_and_opening():
    first, _ = play("!!")
    again, _ = play("...!!", first, START + 2 * STEP)
    assert (again.alert, again.opened) == (first.alert, first.opened)
    assert again.since > first.since


def test_the_id_says_which_series_and_when_so_that_a_replay_makes_the_same():
    state, _ = play("!!")
    assert state.alert == alert_id("banks", START)
    assert alert_id("banks", START) != alert_id("banks", START + STEP) != alert_id("ships", START + STEP)


def test_the_span_of_a_resolved_alert_is_no_part_of_what_is_usual():
    state, _ = play("!!...")
    assert state.phase is Phase.QUIET
    assert state.excluded == ((START - RULES.window, START + 4 * STEP),)


def test_what_lasts_too_long_is_the_new_usual():
    rules = Rules(hold=1, longest=4 * STEP)
    state, event, end = State(), None, START
    for _ in range(6):
        state, event = step("banks", state, verdict("!"), end, rules)
        end += STEP
        if event and event.change is Change.RESOLVED:
            break
    assert event.change is Change.RESOLVED
    assert state.excluded == ()


def test_an_alert_that_a_long_hole_ended_did_not_last():
    rules = Rules(hold=1)
    state, _ = step("banks", State(), verdict("!"), START, rules)
    state, event = step("banks", state, verdict("!"), START + 30 * DAY, rules)
    assert event.change is Change.RESOLVED
    assert state.excluded == ((START - rules.window, START),)


def test_the_worst_window_is_kept():
    state, _ = play("!!")
    worse = Verdict(Reason.SURGE, Counts(30, 25), 0.5, 0.2, 1e-20, 1e-9, False)
    state, event = step("banks", state, worse, START + 2 * STEP, RULES)
    assert (event.change, event.stronger, state.peak) == (Change.UPDATED, True, 25)
    state, event = step("banks", state, verdict("!"), START + 3 * STEP, RULES)
    assert (event, state.peak) == (None, 25)


@pytest.mark.parametrize(
    ("p", "expected", "negative", "word"),
    [(1e-5, 0.5, 5, "low"), (1e-7, 1.0, 8, "medium"), (1e-12, 1.0, 20, "high"), (1e-12, 15.0, 40, "low")],
)
def test_severity_needs_a_small_chance_and_a_large_factor(p, expected, negative, word):
    assert severity(p, expected, negative) == word
