"""Slots: the same in every process, spread off round times, and never lost or doubled when clocks change."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_syncd.domain.schedules import Cron, Every, Off, Schedule
from emag_syncd.domain.slots import Slots

BUCHAREST = ZoneInfo("Europe/Bucharest")
UTC_ZONE = ZoneInfo("UTC")
PERIODS = st.integers(1, 366 * 86400).map(lambda seconds: Every(timedelta(seconds=seconds)))
CRONS = st.sampled_from(
    [
        "* * * * *",
        "*/15 * * * *",
        "30 * * * *",
        "30 3 * * *",
        "15,45 3 * * *",
        "0 3,4 * * *",
        "30 */3 * * *",
        "0 0 * * *",
        "59 23 * * 0",
        "0 4 29 2 *",
        "30 3 25-31 10 0",
        "5 2-5 * 3,10 *",
    ]
).map(Cron)
DAYS = st.timedeltas(timedelta(), timedelta(days=6000))
MOMENTS = DAYS.map(lambda later: datetime(2020, 1, 1, tzinfo=UTC) + later)
# The nights in which Romania's clocks go forward and back.
NIGHTS = st.one_of(
    st.timedeltas(timedelta(), timedelta(hours=6)).map(lambda later: datetime(2026, 3, 28, 22, tzinfo=UTC) + later),
    st.timedeltas(timedelta(), timedelta(hours=6)).map(lambda later: datetime(2026, 10, 24, 22, tzinfo=UTC) + later),
)
ZONES = st.sampled_from([UTC_ZONE, BUCHAREST])


def slots(schedule: Schedule, *, key: str = "main/full_sync", timezone: ZoneInfo = UTC_ZONE) -> Slots:
    """Return the slots of an account's schedule."""
    return Slots(schedule, key=key, timezone=timezone)


def at(text: str) -> datetime:
    """Return a moment of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day(cron: str, date: str) -> list[str]:
    """Return the slots, in UTC, of a day in Bucharest."""
    found, moment = [], datetime.fromisoformat(date).replace(tzinfo=BUCHAREST) - timedelta(seconds=1)
    end = datetime.fromisoformat(date).replace(hour=23, minute=59, tzinfo=BUCHAREST)
    while (slot := slots(Cron(cron), timezone=BUCHAREST).after(moment)) is not None and slot <= end.astimezone(UTC):
        found.append(f"{slot:%H:%M}")
        moment = slot
    return found


@given(schedule=PERIODS | CRONS, now=MOMENTS | NIGHTS, timezone=ZONES)
def test_now_lies_between_two_slots(schedule: Schedule, now: datetime, timezone: ZoneInfo) -> None:
    """``latest`` is never in the future, ``after`` always is, and there is no slot between the two."""
    of = slots(schedule, timezone=timezone)
    latest, after = of.latest(now), of.after(now)
    assert latest is not None
    assert after is not None
    assert latest <= now < after
    assert (latest.tzinfo, after.tzinfo) == (UTC, UTC)
    assert of.after(latest) == after
    assert of.latest(after) == after
    assert of.latest(after - timedelta(microseconds=1)) == latest
    assert of.after(latest - timedelta(microseconds=1)) == latest


@given(schedule=CRONS, night=NIGHTS, later=st.timedeltas(timedelta(), timedelta(hours=3)))
def test_slots_only_go_forward(schedule: Schedule, night: datetime, later: timedelta) -> None:
    """What was the latest slot is never taken back, not even while the clock is."""
    of = slots(schedule, timezone=BUCHAREST)
    first, second = of.latest(night), of.latest(night + later)
    assert first is not None
    assert second is not None
    assert first <= second


@given(period=PERIODS, now=MOMENTS, key=st.text(max_size=20))
def test_durations_are_evenly_apart(period: Every, now: datetime, key: str) -> None:
    """Each slot is one period after the one before, on whole seconds."""
    of = slots(period, key=key)
    latest, after = of.latest(now), of.after(now)
    assert latest is not None
    assert after == latest + period.period
    assert latest.microsecond == 0


@pytest.mark.parametrize("seed", ["0", "1"])
def test_every_process_computes_the_same(seed: str) -> None:
    """Whatever the process hashes strings with, and wherever its clocks are."""
    code = """if True:
        from datetime import *
        from zoneinfo import ZoneInfo
        from emag_syncd.domain.schedules import Every
        from emag_syncd.domain.slots import Slots
        slots = Slots(Every(timedelta(minutes=15)), key="main/full_sync", timezone=ZoneInfo("UTC"))
        print(slots.latest(datetime(2026, 5, 1, 4, 42, tzinfo=UTC)).isoformat())
    """
    environment = {"PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "PYTHONPATH": ":".join(sys.path)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "2026-05-01T04:39:53+00:00"


def test_accounts_are_spread_over_the_period() -> None:
    """A thousand accounts with one schedule start all over the hour, and few of them on round minutes."""
    now = at("2026-05-01T12:00")
    starts = [slots(Every(timedelta(hours=1)), key=f"account-{n}/full_sync").latest(now) for n in range(1000)]
    minutes = [sum(start is not None and start.minute == minute for start in starts) for minute in range(60)]
    assert min(minutes) >= 3
    assert max(minutes) <= 40
    assert sum(start is not None and start.second == 0 for start in starts) <= 50


def test_the_zone_of_the_question_does_not_matter() -> None:
    """A moment is a moment, in whatever zone it is given."""
    of, now = slots(Cron("30 3 * * *"), timezone=BUCHAREST), at("2026-10-25T01:10")
    assert of.latest(now) == of.latest(now.astimezone(BUCHAREST)) == at("2026-10-25T00:30")
    assert of.after(now) == of.after(now.astimezone(BUCHAREST)) == at("2026-10-26T01:30")


@pytest.mark.parametrize(
    ("cron", "spring", "autumn"),
    [
        ("30 3 * * *", ["01:00"], ["00:30"]),
        ("30 2,3,4 * * *", ["00:30", "01:00", "01:30"], ["23:30", "00:30", "02:30"]),
        ("15,45 3 * * *", ["01:00"], ["00:15", "00:45"]),
        ("0 4 * * *", ["01:00"], ["02:00"]),
    ],
)
def test_clock_changes_neither_lose_nor_double_a_daily_run(cron: str, spring: list[str], autumn: list[str]) -> None:
    """What falls into the hour that is left out comes right after it; in the hour that comes twice it runs once."""
    assert day(cron, "2026-03-29") == spring
    assert day(cron, "2026-10-25") == autumn


def test_clock_changes_do_not_disturb_an_interval() -> None:
    """Four an hour on a day of 23 hours, and on one of 25."""
    assert (len(day("*/15 * * * *", "2026-03-29")), len(day("*/15 * * * *", "2026-10-25"))) == (4 * 23, 4 * 25)


def test_utc_has_no_clock_changes() -> None:
    """In UTC the same expression is at the same time on both days."""
    of = slots(Cron("30 3 * * *"))
    for date in ("2026-03-29", "2026-10-25"):
        assert of.after(at(date)) == at(f"{date}T03:30")


def test_off_has_no_slots() -> None:
    """A schedule that is off never fires."""
    of = slots(Off())
    assert of.latest(at("2026-05-01")) is None
    assert of.after(at("2026-05-01")) is None
    assert of.longest_gap(at("2026-05-01")) is None


@pytest.mark.parametrize(
    ("schedule", "gap"),
    [
        (Every(timedelta(minutes=15)), timedelta(minutes=15)),
        (Cron("0 6,8,20 * * *"), timedelta(hours=12)),
        (Cron("0 6 * * 1-5"), timedelta(days=3)),
    ],
)
def test_the_longest_gap(schedule: Schedule, gap: timedelta) -> None:
    """How long a schedule may be silent without anything being wrong."""
    assert slots(schedule).longest_gap(at("2026-05-01")) == gap
