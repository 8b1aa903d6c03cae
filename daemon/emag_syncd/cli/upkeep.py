"""``migrate``, ``cleanup-stuck`` and ``config``."""

from pathlib import Path

from emag_syncd.cli.endings import ExitCode
from emag_syncd.cli.logs import log_in_foreground
from emag_syncd.cli.loops import run_loop
from emag_syncd.cli.printing import say, warn
from emag_syncd.config import Settings, as_toml, effective, load
from emag_syncd.service.databases import database_address
from emag_syncd.service.overview import ledger_and_mirror
from emag_syncd.storage.migrations import migrate as apply_migrations
from emag_syncd.storage.migrations import offline_sql


def migrate(config: Path | None) -> int:
    """Apply what is pending and name it. Raises ConfigurationError."""
    settings = load(config)
    log_in_foreground(settings)
    return run_loop(_migrate(settings))


def print_sql() -> int:
    """Print the whole schema."""
    say(offline_sql())
    return ExitCode.DONE


def clean_up(config: Path | None, older_than_minutes: int) -> int:
    """End the runs that are stuck and name them. Raises ConfigurationError."""
    settings = load(config)
    log_in_foreground(settings)
    return run_loop(_clean_up(settings, older_than_minutes))


def show_configuration(config: Path | None) -> int:
    """Print the settings in force. Raises ConfigurationError."""
    settings = load(config)
    if settings.path:
        say(f"# {settings.path}, and what environment variables and credentials say")
    say(as_toml(effective(settings)).strip())
    warn(settings.warnings)
    return ExitCode.DONE


async def _migrate(settings: Settings) -> int:
    async with database_address(settings) as dsn:
        applied = await apply_migrations(dsn)
    for revision in applied:
        say(f"applied {revision}")
    if not applied:
        say("up to date")
    return ExitCode.DONE


async def _clean_up(settings: Settings, older_than_minutes: int) -> int:
    async with ledger_and_mirror(settings) as (ledger, _):
        rows = await ledger.clean_up(older_than_minutes)
    for row in rows:
        say(f"{row['account_type']}: ended run {row['id']}, running since {row['started_at']:%Y-%m-%d %H:%M:%S} UTC")
    if not rows:
        say(f"no run has been running for more than {older_than_minutes} minutes")
    return ExitCode.DONE
