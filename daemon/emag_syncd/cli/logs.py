"""The log of commands that run in the foreground: what they say themselves needs not be logged too."""

import logging
import sys
from typing import TextIO, cast

import structlog

from emag_syncd.config import Log, Settings
from emag_syncd.telemetry.logging import configure_logging

SAID = ("run_failed", "run_ended")
"""What happens to runs, in the words of the log; the command tells the same in its own."""

SPEAKERS = ("emag_syncd.supervision.recorder", "emag_syncd.supervision.supervisor")


class ErrorStream:
    """The error stream of the moment: a progress bar takes its place while it is shown, to stay below the lines."""

    def write(self, text: str) -> int:
        """Write text."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return sys.stderr.isatty()


def log_in_foreground(settings: Settings) -> None:
    """Log only what matters to whoever watches, except where ``log.level`` asks for a certain level."""
    stream = cast("TextIO", ErrorStream())
    if "level" in settings.log.model_fields_set:
        configure_logging(settings.log, settings.secrets(), stream)
        return
    configure_logging(settings.log.model_copy(update={"level": "warning"}), settings.secrets(), stream)
    for name in SPEAKERS:
        logging.getLogger(name).addFilter(_is_news)


def log_crash(error: Exception) -> None:
    """Log what nobody expected, with its traceback."""
    if not structlog.is_configured():
        configure_logging(Log())
    structlog.get_logger(__name__).error("the command crashed", action="crashed", exc_info=error)


def _is_news(record: logging.LogRecord) -> bool:
    event = record.msg
    return not isinstance(event, dict) or event.get("action") not in SAID or bool(event.get("exc_info"))
