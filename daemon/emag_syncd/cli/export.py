"""``emag-syncd export``: products, changes or runs as CSV or JSON Lines, at any size."""

import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from asyncpg import Record
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from emag_syncd.cli.endings import ExitCode, UsageError
from emag_syncd.cli.logs import log_in_foreground
from emag_syncd.cli.loops import run_loop
from emag_syncd.config import Settings, load
from emag_syncd.domain.products import ProductFilter
from emag_syncd.domain.tabular import Writer, csv_head, csv_writer, json_writer
from emag_syncd.service.databases import existing_database
from emag_syncd.storage import exports
from emag_syncd.storage.catalogue import Catalogue

What: TypeAlias = Literal["products", "changes", "history"]
Format: TypeAlias = Literal["csv", "jsonl"]
Batches: TypeAlias = Callable[[Catalogue, ProductFilter], AsyncGenerator[list[Record], None]]

_SOURCES: dict[What, tuple[Batches, Sequence[str]]] = {
    "products": (exports.products, exports.PRODUCT),
    "changes": (exports.changes, exports.CHANGE),
    "history": (exports.runs, exports.RUN),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    what: What
    format: Format
    output: Path | None
    filter: ProductFilter


def export(config: Path | None, wanted: Wanted) -> int:
    """Write what is wanted. Raises ConfigurationError."""
    if wanted.filter.search and wanted.what == "history":
        raise UsageError("--search goes with products and changes only: history has neither names nor numbers")
    settings = load(config)
    log_in_foreground(settings)
    return run_loop(_export(settings, wanted))


async def _export(settings: Settings, wanted: Wanted) -> int:
    account = wanted.filter.account
    if account is not None and account not in settings.accounts:
        raise UsageError(f"no account is called {account}: configured are: {', '.join(settings.accounts) or 'none'}")
    batches, columns = _SOURCES[wanted.what]
    is_csv = wanted.format == "csv"
    write = csv_writer(columns) if is_csv else json_writer(columns)
    async with existing_database(settings) as database:
        found = batches(Catalogue(database), wanted.filter)
        with _written(wanted.output) as file, _counted(wanted.what) as count:
            async with aclosing(found):
                if is_csv:
                    file.write(csv_head(columns))
                await _copy(found, write, file, count)
    return ExitCode.DONE


async def _copy(
    batches: AsyncGenerator[list[Record], None], write: Writer, file: BinaryIO, count: Callable[[int], None]
) -> None:
    async for rows in batches:
        file.write(write(rows))
        file.flush()
        count(len(rows))


@contextmanager
def _written(output: Path | None) -> Iterator[BinaryIO]:
    """Give the file to write to. It has its name only once it is whole."""
    if output is None:
        yield sys.stdout.buffer
        return
    path = output.resolve()
    if path.exists() and not path.is_file():
        # A pipe or a device is no file that another can take the place of.
        with path.open("wb") as file:
            yield file
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _counted(what: str) -> Iterator[Callable[[int], None]]:
    """Show how far it is where somebody looks on, on the error stream."""
    console = Console(stderr=True)
    # On the same terminal the lines themselves are to be seen.
    if not console.is_terminal or sys.stdout.isatty():
        yield lambda _: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda count: progress.advance(bar, count)
