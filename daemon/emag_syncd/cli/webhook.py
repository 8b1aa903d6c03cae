"""``emag-syncd webhook``: tries the receivers, and puts dead messages back."""

from pathlib import Path

from emag_syncd.cli.endings import ExitCode
from emag_syncd.cli.logs import log_in_foreground
from emag_syncd.cli.loops import run_loop
from emag_syncd.cli.printing import complain, say, warn
from emag_syncd.config import Settings, load
from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.notify.sender import try_receivers
from emag_syncd.notify.webhooks import CLAIM_SECONDS
from emag_syncd.service.databases import existing_database
from emag_syncd.storage.outbox import Outbox


def try_all(config: Path | None) -> int:
    """Send a test message to each receiver; 0 only if all took it. Raises ConfigurationError."""
    settings = load(config)
    log_in_foreground(settings)
    warn(settings.warnings)
    if not settings.webhooks.urls:
        raise ConfigurationError("no webhook is configured", remedy="set webhooks.urls and webhooks.secret")
    return run_loop(_try_all(settings))


def retry(config: Path | None) -> int:
    """Put back what was given up. Raises ConfigurationError."""
    settings = load(config)
    log_in_foreground(settings)
    return run_loop(_retry(settings))


async def _try_all(settings: Settings) -> int:
    code = ExitCode.DONE
    for receiver, attempt in await try_receivers(settings.webhooks):
        if attempt.error:
            complain(f"{receiver.address}: failed, {attempt.error}")
            code = ExitCode.FAILED
        else:
            say(f"{receiver.address}: ok, answered {attempt.status} within {attempt.seconds:.2f} s")
    return code


async def _retry(settings: Settings) -> int:
    async with existing_database(settings) as database:
        messages, endpoints = await Outbox(database, claim_seconds=CLAIM_SECONDS).retry()
    say(f"put back: {messages} messages, {endpoints} receivers; the daemon delivers them")
    return ExitCode.DONE
