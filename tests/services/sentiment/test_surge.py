"""What is usual, and the chances of what came."""

import math

import pytest

from services.sentiment.domain import Counts, Reason
from services.sentiment.surge import (
    Rules,
    Usual,
    count_tail,
    hour_of_week,
    judge,
    observed_days,
    share_tail,
    usual,
)
from services.sentiment.windows import DAY, HOUR

RULES = Rules()
MONDAY = 4 * DAY  # 5 January 1970


def known(rate=0.5, share=0.25, hours=8.0, spread=1.0):
    return Usual((rate,) * 168, (hours,) * 168, spread, share)


def poisson_tail(k, mean):
    return 1 - sum(math.exp(-mean) * mean**i / math.factorial(i) for i in range(k))


@pytest.mark.parametrize(("k", "mean"), [(1, 0.2), (4, 0.5), (10, 3.0), (0, 1.0), (3, 8.0)])
def test_the_tail_of_equal_mean_and_variance_is_poisson(k, mean):
    assert count_tail(k, mean, mean) == pytest.approx(poisson_tail(k, mean), rel=1e-9)


def test_a_wider_variance_makes_large_counts_less_surprising():
    tails = [count_tail(9, 2.0, variance) for variance in (2.0, 3.0, 6.0)]
    assert tails == sorted(tails)
    # negative binomial with mean 2, variance 6: shape 1, a geometric with p = 1/3
    assert tails[2] == pytest.approx((2 / 3) ** 9, rel=1e-9)


def test_small_tails_keep_their_digits():
    assert 0 < count_tail(60, 0.5, 0.5) < 1e-80


@pytest.mark.parametrize(
    ("k", "n", "share", "p"), [(2, 2, 0.5, 0.25), (0, 5, 0.3, 1.0), (1, 3, 0.5, 0.875), (9, 10, 0.2, 4.2e-6)]
)
def test_the_share_test_is_a_binomial_tail(k, n, share, p):
    assert share_tail(k, n, share) == pytest.approx(p, rel=0.01)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (Counts(3, 3), Reason.TOO_FEW),  # under the floor, however unlikely
        (Counts(9, 2), Reason.TOO_FEW),
        (Counts(10, 7), Reason.SURGE),
        (Counts(60, 7), Reason.USUAL_SHARE),  # many items, the usual share: volume is no surge
        (Counts(40, 1), Reason.TOO_FEW),  # a burst of good news
    ],
)
def test_a_surge_needs_the_floor_the_count_and_the_share(counts, reason):
    assert judge(counts, MONDAY + DAY, known(), RULES).reason is reason


def test_the_same_count_is_usual_where_the_hour_is_busy():
    assert judge(Counts(10, 7), MONDAY + DAY, known(rate=6.0), RULES).reason is Reason.USUAL_COUNT


def test_restless_hours_need_more():
    counts = Counts(10, 8)
    assert judge(counts, MONDAY + DAY, known(rate=0.6), RULES).surge
    assert not judge(counts, MONDAY + DAY, known(rate=0.6, spread=4.0), RULES).surge


def test_between_the_thresholds_it_is_neither_a_surge_nor_calm():
    verdict = judge(Counts(5, 4), MONDAY + DAY, known(rate=1.0), RULES)
    assert (verdict.reason, verdict.calm) == (Reason.USUAL_COUNT, False)
    assert judge(Counts(1, 1), MONDAY + DAY, known(rate=1.0), RULES).calm


def test_without_history_it_is_learning():
    verdict = judge(Counts(50, 50), MONDAY, None, RULES)
    assert (verdict.reason, verdict.expected, verdict.p_count) == (Reason.LEARNING, 0.0, 1.0)


def test_the_week_begins_on_monday():
    assert [hour_of_week(MONDAY), hour_of_week(MONDAY - HOUR), hour_of_week(MONDAY + 25 * HOUR)] == [
        0,
        167,
        25,
    ]


def test_only_days_with_items_are_observed_and_only_whole_ones_before():
    hours = [MONDAY, MONDAY + 5 * HOUR, MONDAY + 40 * DAY, MONDAY + 41 * DAY]
    assert observed_days(hours, MONDAY + 41 * DAY, 10) == [MONDAY, MONDAY + 40 * DAY]
    assert observed_days(hours, MONDAY + 42 * DAY, 1) == [MONDAY + 41 * DAY]


def history(days, hour=9, negatives=2, items=6):
    return {day + hour * HOUR: Counts(items, negatives) for day in days}


def test_too_few_observed_days_or_items_are_too_little_to_say():
    days = [MONDAY + i * DAY for i in range(8)]
    assert usual(history(days[:6]), days[:6], (), RULES) is None
    assert usual(history(days, items=1, negatives=1), days, (), RULES) is None
    assert usual(history(days), days, (), RULES) is not None


def test_hours_of_the_week_differ_and_thin_ones_lean_on_the_others():
    days = [MONDAY + i * DAY for i in range(28) if i % 7 < 5]
    found = usual(history(days), days, (), RULES)
    monday_nine, monday_three, saturday_nine = found.rates[9], found.rates[3], found.rates[5 * 24 + 9]
    assert monday_nine == pytest.approx(2.0, abs=0.2)
    assert monday_three < 0.05
    # No weekend was observed: all that is known of it is the mean of everything.
    assert saturday_nine == pytest.approx(2 * 20 / (20 * 24), rel=0.2)
    assert found.hours[9] == 2 + 4
    assert found.share == pytest.approx(1 / 3, abs=0.02)


def test_spans_of_earlier_alerts_are_not_usual():
    days = [MONDAY + i * DAY for i in range(14)]
    burst = days[10] + 9 * HOUR
    hourly = history(days) | {burst: Counts(80, 70)}
    with_it, without = usual(hourly, days, (), RULES), usual(hourly, days, [(burst, burst + HOUR)], RULES)
    assert with_it.rates[9] > 2 * without.rates[9]
    assert with_it.spread > 5 > without.spread
