"""The error tree, times and logs."""

import json
from datetime import UTC, datetime

import pytest

from shared import errors, telemetry
from shared.clock import parse_time, to_text

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "status, code, cls",
    [
        (400, 2, errors.UsageError),
        (422, 3, errors.BadInput),
        (413, 3, errors.TooLarge),
        (404, 4, errors.NotFound),
        (409, 5, errors.Conflict),
        (401, 6, errors.Unauthenticated),
        (403, 6, errors.Denied),
        (503, 8, errors.Unavailable),
        (507, 8, errors.StorageFull),
        (429, 9, errors.TooMany),
    ],
)
def test_one_status_and_one_exit_code_per_class(
    status: int, code: int, cls: type[errors.TrilliumError]
) -> None:
    assert errors.by_status(status) is cls
    assert cls.exit_code == code


def test_an_unknown_status_gives_the_nearest_class() -> None:
    assert errors.by_status(418) is errors.BadInput
    assert errors.by_status(502) is errors.Unavailable
    assert errors.by_status(500).status == 500


@pytest.mark.parametrize(
    "value, moment, zoned",
    [
        ("2026-03-01T12:00:00Z", NOON, True),
        ("2026-03-01T14:00:00+02:00", NOON, True),
        ("2026-03-01 12:00", NOON, False),
        ("2026-03-01", NOON.replace(hour=0), False),
        (NOON.timestamp(), NOON, True),
        (str(int(NOON.timestamp())), NOON, True),
        (int(NOON.timestamp() * 1000), NOON, True),
    ],
)
def test_times(value: str | float, moment: datetime, zoned: bool) -> None:
    assert parse_time(value) == (moment, zoned)


@pytest.mark.parametrize("value", ["", "yesterday", "31-12-2021", "nan", "inf", "1e300", True, "2026-13-01"])
def test_what_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(errors.BadInput, match="no time"):
        parse_time(value)


def test_times_are_written_with_a_z() -> None:
    assert to_text(NOON) == "2026-03-01T12:00:00Z"


def test_logs_carry_the_request_id_and_no_customer_text(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logs("info", as_json=True)
    token = telemetry.request_id.set("abcdef0123456789")
    try:
        telemetry.logger("t").info("asked", question="my card number is 4111", seconds=2)
    finally:
        telemetry.request_id.reset(token)
    line = json.loads(capsys.readouterr().err)
    assert line["request_id"] == "abcdef0123456789"
    assert line["question"] == "<22 characters>"
    assert line["seconds"] == 2


@pytest.mark.parametrize("given", [None, "short", "x" * 65, "has space in it", "line\nbreak-here"])
def test_a_request_id_of_another_form_is_replaced(given: str | None) -> None:
    assert telemetry.new_request_id(given) != given


def test_a_good_request_id_is_kept() -> None:
    assert telemetry.new_request_id("page-1234") == "page-1234"
