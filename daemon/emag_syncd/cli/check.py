"""``emag-syncd check``: what is well on standard output, what is not on the error stream."""

from contextlib import aclosing
from pathlib import Path

from emag_syncd.cli.endings import ExitCode, code_of
from emag_syncd.cli.logs import log_in_foreground
from emag_syncd.cli.loops import run_loop
from emag_syncd.cli.printing import complain, say, warn
from emag_syncd.config import Settings, load
from emag_syncd.service.checks import check as findings


def check(config: Path | None) -> int:
    """Try everything; 0 only if all is well. Raises ConfigurationError."""
    settings = load(config)
    log_in_foreground(settings)
    warn(settings.warnings)
    say(f"configuration: ok, {settings.path or 'without a file'}")
    return run_loop(_check(settings))


async def _check(settings: Settings) -> int:
    codes = {ExitCode.DONE}
    async with aclosing(findings(settings)) as found:
        async for finding in found:
            if finding.error is None:
                say(f"{finding.name}: ok, {finding.text}")
            else:
                complain(f"{finding.name}: failed, {finding.error}")
                codes.add(code_of(finding.error))
    return max(codes)
