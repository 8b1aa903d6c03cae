"""How a command ends: the exit codes, and the one line that says why."""

import errno
import os
import sys
from collections.abc import Callable
from enum import IntEnum

import typer

from emag_syncd.cli.printing import PROGRAM, complain
from emag_syncd.domain.errors import BusyError, ConfigurationError, SyncdError


class ExitCode(IntEnum):
    """What the caller is told. Those of a signal are 128 and its number, as a shell has it."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BUSY = 75
    CONFIGURATION = 78
    INTERRUPTED = 130


class UsageError(SyncdError):
    """The command line asks for something that makes no sense."""


def code_of(error: SyncdError) -> ExitCode:
    """Return the exit code for an error."""
    match error:
        case UsageError():
            return ExitCode.USAGE
        case ConfigurationError():
            return ExitCode.CONFIGURATION
        case BusyError():
            return ExitCode.BUSY
        case _:
            return ExitCode.FAILED


def reported(command: Callable[[], int]) -> int:
    """Return the exit code of ``command``, having said what went wrong: never with a traceback on the terminal."""
    try:
        return command()
    except SyncdError as error:
        complain(error)
        return code_of(error)
    except typer.TyperException as error:
        complain(_misused(error))
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError as error:
        return _unworkable(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets a line and the log the details
        return _unexpected(error)


def delivered(code: int) -> int:
    """Return ``code`` once all output is out, or the code for output that nobody takes."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # What is still buffered would fail again, and with a traceback, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or _unworkable(error)
    return code


def _misused(error: typer.TyperException) -> str:
    """Return typer's words in one line, and where the right ones are explained."""
    context = getattr(error, "ctx", None)
    words = " ".join(error.format_message().split()).rstrip(".")
    return f"{words}: see {context.command_path if context else PROGRAM} --help"


def _unworkable(error: OSError) -> int:
    if error.errno is None:
        return _unexpected(error)
    if error.errno != errno.EPIPE:
        complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    return ExitCode.FAILED


def _unexpected(error: Exception) -> int:
    from emag_syncd.cli.logs import log_crash  # noqa: PLC0415 - half a second that only a crash has to wait for

    log_crash(error)
    complain(f"an error inside {PROGRAM} ended it ({type(error).__name__}): the log above has the details; report it")
    return ExitCode.FAILED
