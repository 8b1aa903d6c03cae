"""Secrets stay out of the log, wherever they stand and however they are written."""

from base64 import b64encode
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emag_syncd.config import MASK
from emag_syncd.telemetry.redaction import DEEPEST, Redactor

SECRET = 'pä"s/s w\\rd&1'


def redacted(redactor: Redactor, **event: Any) -> dict[str, Any]:
    """Return what is left of an event."""
    return redactor(None, "info", event)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "db_password",
        "PASSWORD",
        "http.token",
        "lease_token",
        "Authorization",
        "proxy-authorization",
        "webhook_secret",
        "dsn",
        "Cookie",
    ],
)
def test_values_of_telling_keys_are_masked(key: str) -> None:
    """Whatever its type and however deep it stands, such a key's value is not written."""
    redactor = Redactor()
    for value in ("abc", 12345, ["abc"], {"any": "abc"}):
        assert redactor(None, "info", {key: value}) == {key: MASK}
        assert redactor(None, "info", {"request": [{"headers": {key: value}}]}) == {
            "request": [{"headers": {key: MASK}}]
        }


def test_what_only_sounds_like_a_secret_is_written() -> None:
    """Counters, flags and absent values say something and give nothing away."""
    event = {"tokens_left": 3, "password": None, "has_token": True, "kind": "credentials", "seconds": 1.5}
    assert Redactor()(None, "info", dict(event)) == event


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            "can't reach postgresql://emag:s3cr3t@db:5432/erp?a=1",
            f"can't reach postgresql://emag:{MASK}@db:5432/erp?a=1",
        ),
        ("Authorization: Basic c2VsbGVyOmh1bnRlcjI=", f"Authorization: Basic {MASK}"),
        ("sent 'Bearer 0123456789abcdef.xyz' there", f"sent 'Bearer {MASK}' there"),
        ("GET /hook?token=abc&page=2", f"GET /hook?token={MASK}&page=2"),
        ('{"password": "a \\" b", "user": "u"}', f'{{"password": "{MASK}", "user": "u"}}'),
        ("{'http_token': 'abc', 'user': 'u'}", f"{{'http_token': \"{MASK}\", 'user': 'u'}}"),
        (
            "Basic authentication is refused, see Bearer tokens",
            "Basic authentication is refused, see Bearer tokens",
        ),
        ("accounts.main.password is missing: set it", "accounts.main.password is missing: set it"),
    ],
)
def test_credentials_in_a_text_are_masked_and_prose_is_not(text: str, left: str) -> None:
    """What has the form of a credential is masked in place; sentences about credentials stay readable."""
    assert redacted(Redactor(), event=text) == {"event": left}


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET, safe=""),
        repr(SECRET)[1:-1],
        'p\\u00e4\\"s/s w\\\\rd&1',
        'pä\\"s\\/s w\\\\rd&1',
        "pä&quot;s/s w\\rd&amp;1",
    ],
)
def test_a_configured_secret_is_masked_in_every_spelling(written: str) -> None:
    """As it is, in an address, in a repr, in JSON of either kind and in HTML."""
    redactor = Redactor([SECRET])
    assert redacted(redactor, event=f"before {written} after") == {"event": f"before {MASK} after"}


def test_a_secret_is_found_in_every_kind_of_value() -> None:
    """Keys, bytes, numbers, exceptions, nested collections and objects are looked through."""
    redactor = Redactor(["hunter2hunter2", "12345678"])
    event = redacted(
        redactor,
        error=ValueError("no hunter2hunter2 here"),
        body=b"\xffhunter2hunter2",
        number=12345678,
        nested=({"hunter2hunter2": ["hunter2hunter2"]},),
        run=UUID(int=1),
        count=3,
    )
    assert event == {
        "error": f"no {MASK} here",
        "body": f"\ufffd{MASK}",
        "number": MASK,
        "nested": [{MASK: [MASK]}],
        "run": "00000000-0000-0000-0000-000000000001",
        "count": 3,
    }


def test_the_longest_secret_is_masked_first() -> None:
    """A secret that holds another one is masked as a whole, not around the other."""
    assert Redactor(["abcd", "xyabcdxy"]).text("xyabcdxy abcd") == f"{MASK} {MASK}"


def test_very_short_secrets_are_not_searched_for() -> None:
    """Masking every a would hide the log and tell the secret."""
    assert Redactor(["a"]).text("a cat") == "a cat"


def test_a_value_without_an_end_is_cut() -> None:
    """A list that contains itself does not hang the log."""
    endless: list[Any] = []
    endless.append(endless)
    left = redacted(Redactor(), value=endless)["value"]
    for _ in range(DEEPEST + 1):
        (left,) = left
    assert left == MASK


def test_a_value_that_has_no_text_does_not_fail_the_line() -> None:
    """An object whose own text raises is named by its type."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("hunter2hunter2")

    assert redacted(Redactor(), value=Broken()) == {"value": "<Broken without a text: RuntimeError>"}


@given(st.text(min_size=4), st.text(), st.text())
@example("aaaa", "aa", "aa")
def test_no_secret_survives_in_any_surroundings(secret: str, before: str, after: str) -> None:
    """Whatever a secret is made of and wherever it stands, it is gone, unless the mask itself holds it."""
    if secret in MASK:
        return
    header = b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    left = Redactor([secret, header]).text(f"{before}{secret}{after} {header}")
    assert secret not in left.replace(MASK, "\0")
    assert header not in left
