"""The log: one line an event, on the error stream, ours and the libraries' alike.

Lines of JSON have ``timestamp`` (UTC), ``level``, ``logger`` and ``event``. By convention ``action``
names in one word what happened (``run_started``), and stays the same where the sentence in ``event`` changes.
Where the stream is the journal of systemd each line begins with its priority, as sd-daemon(3) has it.
"""

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from emag_syncd.config import Log
from emag_syncd.telemetry.redaction import Redactor

QUIET = ("aiohttp.access", "alembic", "apscheduler", "asyncio")
"""Libraries that tell of their daily work: heard from warnings on, except where everything is wanted."""

PRIORITIES = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}
"""The journal's numbers for the levels, which are syslog's."""


def configure_logging(log: Log, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send all logging of the process to ``stream`` (standard error), masking ``secrets``."""
    stream = stream or sys.stderr
    console = log.format == "console" or (log.format == "auto" and stream.isatty())
    redactor = Redactor(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _Handler(stream, to_journal=is_journal(stream))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redactor,
                _renderer(stream) if console else structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    _install(handler, log.level.upper())


def is_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the journal reads ``stream``: ``JOURNAL_STREAM`` names its device and inode, see systemd.exec(5)."""
    try:
        found = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):
        # What has no descriptor is not connected to anything.
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _install(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "DEBUG" else max(root.level, logging.WARNING))
    logging.captureWarnings(capture=True)


def _renderer(stream: TextIO) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines. One that can't be made is reported without what was in it, which may be secret."""

    def __init__(self, stream: TextIO, *, to_journal: bool) -> None:
        super().__init__(stream)
        self._to_journal = to_journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._to_journal:
            return text
        # To the journal each line of a traceback is an entry of its own.
        priority = PRIORITIES.get(record.levelname, PRIORITIES["INFO"])
        return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        kind: Any = sys.exc_info()[0]
        with suppress(OSError, ValueError):
            self.stream.write(f"a line of the log from {record.name} could not be written: {kind.__name__}\n")
