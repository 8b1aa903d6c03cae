"""Secrets that nobody configured: known by their form or their place, in every place where a line may hold one."""

import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from emag_syncd.config import Log
from emag_syncd.telemetry.logging import configure_logging
from tests.telemetry.test_logging import leave_ours_alone, stream

__all__ = ["stream"]

KEY = "zK8xQ2vW9mR4tL7p"

FORMS = {
    "address": f"postgresql://emag:{KEY}@db.example:5432/erp",
    "dsn": f"host=db.example user=emag password={KEY} dbname=erp",
    "quoted dsn": f"host=db.example password='{KEY} {KEY}'",
    "environment": f"EMAG_SYNCD_ACCOUNTS__MAIN__PASSWORD={KEY}",
    "toml": f'password = "{KEY}"',
    "query": f"GET /hook?token={KEY}&page=2",
    "json": f'{{"user": "u", "api_key": "{KEY}"}}',
    "bearer": f"Bearer {KEY}",
    "basic": f"Basic {KEY}=",
    "header": f"Authorization: {KEY}",
    "digest": f'Authorization: Digest username="u", response="{KEY}"',
    "cookie": f"Cookie: theme=dark; session={KEY}",
    "headers": f"<CIMultiDict('Authorization': 'Basic {KEY}=', 'Cookie': 'session={KEY}')>",
    "login": f"BasicAuth(login='emag', password='{KEY}', encoding='latin1')",
    "signing": f"whsec_{KEY}{KEY}=",
    "web token": f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{KEY}",
}

logger = structlog.stdlib.get_logger("emag_syncd")
foreign = logging.getLogger("asyncpg")


class Told:
    """Something whose text holds what it is made with."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def raised(text: str) -> None:
    """Log an error that holds ``text``, and so do its cause and a note on it."""
    try:
        try:
            int(text)
        except ValueError as cause:
            error = RuntimeError(text)
            error.add_note(text)
            raise error from cause
    except RuntimeError:
        logger.exception("failed")
        foreign.exception("failed")


def said(text: str) -> None:
    """Say ``text`` itself. The logger is looked up late: it is set up anew for each test."""
    logger.info(text)


def bound(text: str) -> None:
    """Bind ``text`` to the context."""
    with structlog.contextvars.bound_contextvars(about=text):
        logger.info("bound")


PLACES: dict[str, Callable[[str], Any]] = {
    "event": said,
    "argument": lambda text: logger.info("argument %s", text),
    "field": lambda text: logger.info("field", about=text),
    "nested": lambda text: logger.info("nested", about={"list": [{"deep": (text,)}]}),
    "name": lambda text: logger.info("name", about={text: 1}),
    "bytes": lambda text: logger.info("bytes", about=text.encode()),
    "object": lambda text: logger.info("object", about=Told(text)),
    "error": lambda text: logger.info("error", error=ValueError(text)),
    "context": bound,
    "exception": raised,
    "library": foreign.warning,
    "library's argument": lambda text: foreign.warning("argument %s", text),
    "library's extra": lambda text: foreign.warning("extra", extra={"about": text}),
    "warning": lambda text: warnings.showwarning(text, UserWarning, __file__, 1),
}


@pytest.mark.parametrize("chosen", ["json", "console"])
@pytest.mark.parametrize("form", FORMS)
def test_what_has_the_form_of_a_secret(stream: io.StringIO, form: str, chosen: str) -> None:
    """In whatever place of a line it stands and however lines are written, it is masked, and the line is there."""
    configure_logging(Log.model_validate({"format": chosen}), stream=stream)
    leave_ours_alone()
    for place, write in PLACES.items():
        before = stream.tell()
        write(FORMS[form])
        written = stream.getvalue()[before:]
        assert "********" in written, place
        assert KEY not in written, place


@pytest.mark.parametrize(
    "key", ["dbPassword", "api_key", "X-Api-Key", "apiKey", "private_key", "passphrase", "credentials", "Set-Cookie"]
)
def test_what_has_the_name_of_a_secret(stream: io.StringIO, key: str) -> None:
    """The value of such a key is masked, as a field, within one, and in a list of pairs as headers are kept."""
    configure_logging(Log(), stream=stream)
    leave_ours_alone()
    logger.info("field", **{key: KEY})
    logger.info("nested", about=[{key: {"any": KEY}}])
    logger.info("pairs", headers=[(key, KEY), ["Accept", "text/html"]])
    assert KEY not in stream.getvalue()
    assert "text/html" in stream.getvalue()
