"""The log: what a line holds, where lines come from, and what never stands in one."""

import asyncio
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from emag_syncd.config import MASK, Log
from emag_syncd.telemetry.logging import QUIET, configure_logging, is_journal
from tests.conftest import Complaints

SECRET = "hunter2hunter2"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Give a stream to log to, and put logging back as it was afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in QUIET}
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines written, as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_how_grave_who_and_what(stream: io.StringIO) -> None:
    """Our own lines are JSON with a UTC time, level, logger, event, and what is bound to the context."""
    configure_logging(Log(), stream=stream)
    structlog.contextvars.bind_contextvars(account="main")
    structlog.stdlib.get_logger("emag_syncd.sync").info("the run started", action="run_started", pages=3)
    (line,) = lines(stream)
    written = datetime.fromisoformat(line.pop("timestamp"))
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert line == {
        "level": "info",
        "logger": "emag_syncd.sync",
        "event": "the run started",
        "action": "run_started",
        "account": "main",
        "pages": 3,
    }


def test_lines_of_libraries_are_alike(stream: io.StringIO) -> None:
    """The standard library's logging comes out in the same form, with what was passed as extra."""
    configure_logging(Log(), stream=stream)
    logging.getLogger("aiohttp.server").error("can't serve %s", "x", extra={"peer": "10.0.0.1"})
    (line,) = lines(stream)
    assert line["logger"] == "aiohttp.server"
    assert (line["level"], line["event"], line["peer"]) == ("error", "can't serve x", "10.0.0.1")


@pytest.mark.parametrize("name", QUIET)
def test_daily_work_of_libraries_is_heard_on_debug_only(stream: io.StringIO, name: str) -> None:
    """Their warnings are always written, their other lines only where everything is wanted."""
    configure_logging(Log(), stream=stream)
    logging.getLogger(name).info("as always")
    logging.getLogger(name).warning("odd")
    assert [line["event"] for line in lines(stream)] == ["odd"]
    configure_logging(Log(level="debug"), stream=stream)
    logging.getLogger(name).info("as always")
    assert [line["event"] for line in lines(stream)] == ["odd", "as always"]


def test_the_level_can_change_while_running(stream: io.StringIO) -> None:
    """Setting up again replaces the old set-up, for loggers that exist too, and writes no line twice."""
    logger = structlog.stdlib.get_logger("emag_syncd")
    configure_logging(Log(level="warning"), stream=stream)
    logger.info("not written")
    configure_logging(Log(level="info"), stream=stream)
    logger.info("written")
    assert [line["event"] for line in lines(stream)] == ["written"]


def leave_ours_alone() -> None:
    """Take away the handlers of pytest, which change what they are given and raise what they can't format."""
    root = logging.getLogger()
    root.handlers[:] = root.handlers[-1:]


def fail_with_a_cause() -> None:
    """Raise an error that holds secrets, because of another one that does."""
    try:
        int(SECRET)
    except ValueError as cause:
        raise RuntimeError(f"connecting with Basic c2VsbGVyOmh1bnRlcjI= and {SECRET}") from cause


@pytest.mark.parametrize("chosen", ["json", "console"])
def test_a_secret_is_in_no_line(stream: io.StringIO, chosen: str) -> None:
    """Events, fields, exceptions with causes, libraries' arguments, extras and warnings are all masked."""
    configure_logging(Log.model_validate({"format": chosen}), [SECRET], stream)
    leave_ours_alone()
    logger = structlog.stdlib.get_logger("emag_syncd")
    foreign = logging.getLogger("asyncpg")
    opening = f"event {SECRET}"
    logger.info(opening, url=f"postgresql://u:{SECRET}@h/d", nested={"deep": [SECRET]}, password="x")
    logger.info("argument %s", SECRET)
    foreign.warning("argument %s", SECRET, extra={"dsn": f"host=h password={SECRET}"})
    warnings.showwarning(f"warned {SECRET}", UserWarning, __file__, 1)
    try:
        fail_with_a_cause()
    except RuntimeError:
        logger.exception("ours")
        foreign.exception("theirs")
    text = stream.getvalue()
    assert SECRET not in text
    assert "c2VsbGVyOmh1bnRlcjI=" not in text
    assert text.count("Traceback") == 4
    assert text.count("UserWarning") == 1
    assert text.count(MASK) >= 14


def test_a_line_that_cant_be_made_gives_nothing_away(stream: io.StringIO) -> None:
    """The library's report of a bad format string repeats the arguments; ours names the logger only."""
    configure_logging(Log(), [SECRET], stream)
    leave_ours_alone()
    logging.getLogger("asyncpg").warning("%d rows", SECRET)
    assert stream.getvalue() == "a line of the log from asyncpg could not be written: TypeError\n"


def test_a_stream_that_is_gone_stops_nobody(stream: io.StringIO) -> None:
    """Whoever logs goes on when nobody can read it any more."""
    configure_logging(Log(), stream=stream)
    stream.close()
    structlog.stdlib.get_logger("emag_syncd").error("into the void")


def test_the_form_follows_the_terminal_unless_it_is_chosen(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    """On a terminal lines are for people, in colour; elsewhere, and where it is chosen, they are JSON."""
    monkeypatch.setattr(stream, "isatty", lambda: True)
    configure_logging(Log(), stream=stream)
    structlog.stdlib.get_logger("emag_syncd").info("hello", run="one")
    assert "hello" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()
    stream.truncate(0)
    stream.seek(0)
    configure_logging(Log(format="json"), stream=stream)
    structlog.stdlib.get_logger("emag_syncd").info("hello")
    assert lines(stream)[0]["event"] == "hello"


@pytest.mark.parametrize("chosen", ["json", "console"])
def test_the_journal_hears_how_grave_a_line_is(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, tmp_path: Path, chosen: str
) -> None:
    """Where systemd says that the stream is the journal, each line begins with its priority, tracebacks' lines too."""
    with (tmp_path / "journal").open("w+") as journal:
        found = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure_logging(Log.model_validate({"format": chosen, "level": "debug"}), stream=journal)
        leave_ours_alone()
        logger = structlog.stdlib.get_logger("emag_syncd")
        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(logger, level)(f"of {level}")
        try:
            fail_with_a_cause()
        except RuntimeError:
            logger.exception("failed")
        journal.seek(0)
        written = journal.read().splitlines()
    assert [line[:3] for line in written[:5]] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert {line[:3] for line in written[5:]} == {"<3>"}
    assert len(written) == 6 if chosen == "json" else len(written) > 10
    assert stream.getvalue() == ""


def test_what_is_not_the_journal_any_more(stream: io.StringIO, tmp_path: Path) -> None:
    """A stream that was led elsewhere or has no descriptor is not the journal, whatever the environment says."""
    with (tmp_path / "file").open("w") as file:
        found = os.fstat(file.fileno())
        assert is_journal(file, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not is_journal(file, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not is_journal(file, {})
    assert not is_journal(file, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
    assert not is_journal(stream, {"JOURNAL_STREAM": "0:0"})


async def test_a_task_that_nobody_awaits_is_in_the_log(stream: io.StringIO, no_complaints: Complaints) -> None:
    """What asyncio reports of a lost exception comes out as a line, without the secret."""
    configure_logging(Log(), [SECRET], stream)
    loop = asyncio.get_running_loop()
    loop.call_exception_handler({"message": "lost", "exception": RuntimeError(SECRET)})
    (line,) = lines(stream)
    assert (line["logger"], line["level"]) == ("asyncio", "error")
    assert MASK in line["exception"]
    assert len(no_complaints.texts) == 1
    no_complaints.texts.clear()


def test_the_log_goes_to_the_error_stream(capsys: pytest.CaptureFixture[str], stream: io.StringIO) -> None:
    """Without another stream it is standard error: standard output belongs to commands."""
    configure_logging(Log(format="json"))
    structlog.stdlib.get_logger("emag_syncd").info("hello")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "hello"
    assert sys.stderr is not stream
