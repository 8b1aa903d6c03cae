"""What commands write: results on standard output, everything else on the error stream."""

import sys
from collections.abc import Iterable
from contextlib import suppress

import typer

PROGRAM = "emag-syncd"


def say(text: str) -> None:
    """Write a result. Raises OSError where standard output takes nothing."""
    typer.echo(text)


def note(text: str) -> None:
    """Write what goes on to the error stream, if anybody listens: nothing fails because nobody does."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def complain(message: object) -> None:
    """Write what is wrong to the error stream, each line of the message as one of this program."""
    for line in str(message).splitlines():
        note(f"{PROGRAM}: {line}")


def warn(warnings: Iterable[str]) -> None:
    """Write what is permitted and probably not meant."""
    for warning in warnings:
        complain(f"warning: {warning}")
