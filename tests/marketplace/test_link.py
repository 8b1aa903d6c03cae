"""An account's patience: waits that grow, pauses that don't pile up, headers that say how long."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import SecretStr

from emag_syncd.domain.calls import CallOutcome
from emag_syncd.marketplace.errors import TransientError
from emag_syncd.marketplace.limits import asked_wait, retry_after
from emag_syncd.marketplace.link import AccountLink
from emag_syncd.marketplace.redaction import Redactor
from tests.marketplace.conftest import settings_for

BASE_URL = "http://127.0.0.1:9/api-3"


def failed(retry_after_seconds: float | None = None) -> TransientError:
    """Return a failure."""
    return TransientError("no", outcome=CallOutcome.TIMEOUT, remedy="", retry_after=retry_after_seconds)


async def test_waits_between_attempts_grow_to_a_ceiling() -> None:
    """1, 2, 4 ... 60 seconds, each shortened by chance to no less than its half."""
    link = AccountLink(settings_for(BASE_URL))
    for attempt, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (7, 60), (5000, 60)):
        waits = {link.backoff(attempt, failed()) for _ in range(50)}
        assert longest / 2 <= min(waits) < max(waits) <= longest


async def test_the_marketplaces_wish_comes_first() -> None:
    """Retry-After is what is waited; a shorter one does not stop the waits from growing."""
    link = AccountLink(settings_for(BASE_URL))
    assert link.backoff(1, failed(17.0)) == 17.0
    assert link.backoff(7, failed(1.0)) >= 30.0


async def test_pauses_grow_until_an_answer_is_good() -> None:
    """Each 429 that was sent after the last pause began doubles the pause; a good answer starts over."""
    link = AccountLink(settings_for(BASE_URL))
    for longest in (1, 2, 4, 8, 16, 30, 30):
        assert 0.8 * longest <= link.rate_limited(time.monotonic(), None) <= 1.2 * longest
    link.answered()
    assert link.rate_limited(time.monotonic(), None) <= 1.2


async def test_requests_in_flight_do_not_multiply_a_pause() -> None:
    """24 requests refused together are one refusal."""
    link = AccountLink(settings_for(BASE_URL))
    sent = time.monotonic()
    pauses = [link.rate_limited(sent, None) for _ in range(24)]
    assert max(pauses) <= 1.2


async def test_other_settings_count_from_the_next_request_on() -> None:
    """New credentials and limits take effect without a new link."""
    link = AccountLink(settings_for(BASE_URL))
    changed = settings_for(BASE_URL, requests_per_second=1.0)
    link.reconfigure(changed)
    assert link.settings is changed
    await link.pacer.acquire()
    assert link.pacer._due() > time.monotonic()


def test_settings_hide_the_password() -> None:
    """Neither repr nor str of the settings has it."""
    shown = settings_for(BASE_URL)
    assert shown.password == SecretStr(shown.password.get_secret_value())
    assert shown.password.get_secret_value() not in f"{shown!r} {shown}"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry-After": "5"}, 5.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "0", "X-RateLimit-Remaining-minute": "0"}, 60.0),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "999999999"}, 3600.0),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": formatdate(1100.0, usegmt=True), "Date": formatdate(1060.0, usegmt=True)}, 40.0),
        ({"Retry-After": formatdate(1000.0, usegmt=True), "Date": formatdate(1060.0, usegmt=True)}, None),
        ({"Retry-After": formatdate(1e9, usegmt=True), "Date": formatdate(1060.0, usegmt=True)}, 3600.0),
        ({"Retry-After": formatdate(9e9, usegmt=True), "Date": "Fri, 31 Dec 9999 23:59:60 GMT"}, None),
        ({"Retry-After": formatdate(9e9, usegmt=True), "Date": "Sun, 00 Jan 0000 00:00:00 GMT"}, None),
        ({"X-RateLimit-Remaining-3second": "0", "X-RateLimit-Limit-3second": "9"}, 3.0),
        ({"x-ratelimit-remaining-minute": "0", "x-ratelimit-remaining-second": "0"}, 60.0),
        ({"X-RateLimit-Remaining-60second": "0"}, 60.0),
        ({"X-RateLimit-Remaining-Hour": " 0 "}, 3600.0),
        ({"X-RateLimit-Remaining-minute": "4"}, None),
        ({"X-RateLimit-Remaining": "0"}, None),
        ({"X-RateLimit-Remaining-fortnight": "0"}, None),
        ({"X-RateLimit-Remaining-99999999999999second": "0"}, None),
        ({"Retry-After": "2", "X-RateLimit-Remaining-minute": "0"}, 2.0),
    ],
)
def test_headers_that_say_how_long(headers: dict[str, str], wait: float | None) -> None:
    """Retry-After first, by number or date; else the window that is used up; else nobody knows."""
    assert asked_wait(CIMultiDict(headers)) == wait


def test_a_date_without_the_servers_clock_tells_nothing() -> None:
    """Our own clock may be hours off: it would make a wish of a minute one of hours, or none."""
    assert retry_after({"Retry-After": formatdate(time.time() + 60, usegmt=True)}) is None


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:+ ]{0,20}"))
def test_no_header_is_so_odd_that_it_breaks_anything(value: str) -> None:
    """Whatever stands in Retry-After and Date, the wait is none, or between nothing and an hour."""
    date = formatdate(1e9, usegmt=True)
    for headers in ({"Retry-After": value, "Date": date}, {"Retry-After": date, "Date": value}):
        wait = retry_after(headers)
        assert wait is None or 0 < wait <= 3600


def test_secrets_are_found_in_the_spellings_of_servers() -> None:
    """Plain, as JSON, with PHP's slashes, in HTML and in addresses."""
    redact = Redactor('a"b/ü&c', "tok/en=")
    echoed = 'a"b/ü&c a\\"b/\\u00fc&c a\\"b\\/\\u00fc&c a&quot;b/ü&amp;c a%22b%2F%C3%BC%26c tok/en= tok\\/en='
    assert redact(echoed) == " ".join(["***"] * 7)


def test_without_secrets_nothing_is_redacted() -> None:
    """An empty secret is not found between all characters."""
    assert Redactor("")("text") == "text"


def test_a_secret_on_the_edge_is_not_kept_by_half() -> None:
    """However the kept beginning is cut, no part of a secret remains at its end."""
    redact = Redactor("SECRET")
    for size in range(1, 60):
        head = redact.head(b"." * 7 + b"SECRET" * 40, size)
        assert "SECRET"[:3] not in head
        assert len(head) <= size


def test_a_head_is_text_that_postgresql_takes() -> None:
    """No NUL, nothing that isn't UTF-8, and nothing lost when it is short."""
    assert Redactor("x").head(b"a\0b\xffc", 10) == "a\ufffdb\ufffdc"
