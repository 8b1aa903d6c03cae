"""Tables on standard output."""

from rich.console import Console
from rich.table import Table

WIDE = 200
"""Columns where standard output is no terminal, and so has no width: nothing is cut or wrapped for it."""


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table without lines. A column whose name ends in ``#`` holds numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column.rstrip("#"), justify="right" if column.endswith("#") else "left")
    return made


def draw(*tables: Table) -> None:
    """Write those tables that have rows, an empty line between them."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    drawn = [table for table in tables if table.row_count]
    for number, table in enumerate(drawn):
        if number:
            console.print()
        console.print(table)
