"""Schedules: what is read, what is refused, and that what is written is read again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_syncd.domain.schedules import Cron, Every, Off, format_duration, parse_duration, parse_schedule


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1D", 86400),
        ("1w", 604800),
        (" 1s ", 1),
    ],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    """Each unit counts, alone and together with others."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "15", "m", "1.5h", "-1m", "30m1h", "15 minutes", "1m1m", "٣m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Only units in their order are durations, and the refusal shows examples."""
    with pytest.raises(ValueError, match='must be a duration such as "90s"'):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "367d", "999999999w"])
def test_durations_have_bounds(text: str) -> None:
    """Nothing below a second, and nothing that Python's own durations can't hold."""
    with pytest.raises(ValueError, match="from 1s to 366d"):
        parse_duration(text)


@given(st.integers(min_value=1, max_value=366 * 86400))
def test_a_duration_that_is_written_is_read_again(seconds: int) -> None:
    """Writing and reading are each other's inverse."""
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


def test_each_kind_of_schedule_is_told_apart() -> None:
    """A duration, a cron expression and off are different types, each written as it was read."""
    assert parse_schedule("1d") == Every(timedelta(days=1))
    assert parse_schedule("1h 30m") == Every(timedelta(minutes=90))
    assert parse_schedule(" 30  3 * * MON-FRI ") == Cron("30 3 * * MON-FRI")
    assert parse_schedule("OFF") == Off()
    assert [str(parse_schedule(text)) for text in ("90m", "*/5 * * * *", "Off")] == [
        "1h30m",
        "*/5 * * * *",
        "off",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("61 * * * *", 'its minute field is not one: "61"'),
        ("0 25 * * *", 'its hour field is not one: "25"'),
        ("0 0 30 2 *", 'its day-of-month field is not one: "30"'),
        ("0 0 * 13 *", 'its month field is not one: "13"'),
        ("0 0 */30 2 MON#5", "that comes true, and this one never does"),
        ("0 0 * * FOO", 'its day-of-week field is not one: "FOO"'),
        ("* * * * * *", "of five fields .* this has 6"),
        ("* * *", "of five fields .* this has 3"),
        ("@daily", 'a five-field cron expression such as "30 3'),
        ("", 'a five-field cron expression such as "30 3'),
    ],
)
def test_a_bad_cron_expression_is_refused_by_its_field(text: str, said: str) -> None:
    """The refusal names the field, and repeats what stands there."""
    with pytest.raises(ValueError, match=said):
        parse_schedule(text)
