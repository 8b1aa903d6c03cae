"""``emag-syncd run``: the daemon."""

from pathlib import Path

import structlog

from emag_syncd.cli.loops import run_loop
from emag_syncd.config import Settings, load
from emag_syncd.service.daemon import Daemon
from emag_syncd.telemetry.logging import configure_logging
from emag_syncd.telemetry.stacks import show_stacks_on_abort

log = structlog.get_logger(__name__)


def run(config: Path | None) -> int:
    """Run the daemon until it is told to stop. Raises ConfigurationError."""
    settings = load(config)
    settings.require_accounts()
    configure_logging(settings.log, settings.secrets())
    show_stacks_on_abort()
    _log_warnings(settings)

    def reload() -> Settings:
        changed = load(config)
        changed.require_accounts()
        # The old secrets may still be in what is under way.
        configure_logging(settings.log, {*settings.secrets(), *changed.secrets()})
        _log_warnings(changed)
        return changed

    return run_loop(Daemon(settings, reload=reload).run())


def _log_warnings(settings: Settings) -> None:
    for warning in settings.warnings:
        log.warning(warning, action="configuration_warning")
