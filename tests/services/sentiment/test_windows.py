"""Buckets, windows and the watermark."""

from datetime import UTC, datetime, timedelta

import pytest

from services.sentiment.domain import Counts
from services.sentiment.windows import Progress, bucket_of, ends_to_close, to_time, watermark, window_sum

STEP = 900
T = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(text):
    return datetime.fromisoformat(f"2026-03-02T{text}+00:00")


@pytest.mark.parametrize(
    ("moment", "start"),
    [("12:00:00", "12:00:00"), ("12:14:59", "12:00:00"), ("12:15:00", "12:15:00"), ("00:00:01", "00:00:00")],
)
def test_a_bucket_begins_at_its_step_and_ends_before_the_next(moment, start):
    assert to_time(bucket_of(at(moment), STEP)) == at(start)


def test_times_before_1970_fall_into_buckets_too():
    assert bucket_of(datetime(1969, 12, 31, 23, 50, tzinfo=UTC), STEP) == -900


def test_a_window_holds_its_start_and_not_its_end():
    buckets = {0: Counts(1), 900: Counts(2, 1, 1, 0.5), 3_600: Counts(8)}
    assert window_sum(buckets, 3_600, 3_600, STEP) == Counts(3, 1, 1, 0.5)


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [
        ([Progress(T, False)], T),
        ([Progress(T, False), Progress(T + timedelta(hours=9), False)], T),  # the slowest decides
        ([Progress(T, False), Progress(None, False)], None),  # one was not read yet: nobody knows
        ([Progress(T, False), Progress(None, True)], T),  # it has nothing to read: it holds nothing back
        ([Progress(T, True), Progress(T + timedelta(hours=9), False)], T + timedelta(hours=9)),
        ([Progress(T, True), Progress(T + timedelta(hours=9), True)], T + timedelta(hours=9)),
        ([Progress(None, True)], None),
        ([], None),
    ],
)
def test_the_watermark_waits_for_the_slowest_partition_that_has_something_to_read(partitions, expected):
    grace = timedelta(minutes=30)
    found = watermark(partitions, grace)
    assert found == (None if expected is None else expected - grace)


def test_windows_without_any_item_are_skipped():
    ends = ends_to_close([0, 86_400], closed=0, until=200_000, window=1_800, step=STEP)
    assert ends == [900, 1_800, 87_300, 88_200]


def test_windows_are_closed_once_and_not_ahead_of_the_watermark():
    assert ends_to_close([0], closed=900, until=2_700, window=3_600, step=STEP) == [1_800, 2_700]
