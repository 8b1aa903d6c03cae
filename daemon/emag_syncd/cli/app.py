# ruff: noqa: PLC0415 - a command imports what it needs when it is called, so that --help is there at once
"""The commands and their options: each parameter of a command is one."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from emag_syncd import __version__
from emag_syncd.cli.endings import delivered, reported
from emag_syncd.cli.printing import PROGRAM, say

LARGEST_ID = 4_294_967_295

Mode: TypeAlias = Literal["full", "incremental", "selective"]
What: TypeAlias = Literal["products", "changes", "history"]
Format: TypeAlias = Literal["csv", "jsonl"]

webhook_app = typer.Typer(help="Try who is told of runs and changes, and put back what could not be delivered.")
app = typer.Typer(
    name=PROGRAM,
    help="Keeps, in PostgreSQL, a true copy of what a seller has on the eMAG marketplace.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 75 busy: try again, 78 configuration error.",
    add_completion=False,
    rich_markup_mode="rich",
)
app.add_typer(webhook_app, name="webhook")


def main() -> None:
    """Run the command that the process was called with, and end the process."""
    _open_standard_streams()
    command = typer.main.get_command(app)
    sys.exit(delivered(reported(lambda: int(command.main(prog_name=PROGRAM, standalone_mode=False) or 0))))


def _open_standard_streams() -> None:
    """Stand in for streams that are closed: else a connection would get their number, and what is printed with it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is the one that is closed.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _show_version(*, value: bool) -> None:
    if value:
        say(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="PATH",
            help="The configuration file. Otherwise EMAG_SYNCD_CONFIG names it, or it is"
            " /etc/emag-syncd/config.toml where that exists.",
        ),
    ] = None,
    *,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take what holds for every command."""
    context.obj = config


@app.command()
def run(context: typer.Context) -> int:
    """Run the daemon: sync the accounts on their schedules, and serve health, metrics and the API."""
    from emag_syncd.cli.run import run

    return run(context.obj)


@app.command()
def demo(
    context: typer.Context,
    *,
    offers: Annotated[int, typer.Option(min=1, max=1_000_000, help="Offers of each account.")] = 2500,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where its database lives, to be found again by the next demo.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Where its pages are. Otherwise 9320, or a free one.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Sync both accounts once, sum up, and end.")] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the console in a browser.")] = False,
) -> int:
    """Try it all, with nothing to configure: a database, a simulated marketplace, and the daemon."""
    from emag_syncd.cli.demo import Wishes, demo

    return demo(context.obj, Wishes(offers, data_dir, port, once, browser=not no_browser))


@app.command()
def migrate(
    context: typer.Context,
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL of the whole schema instead.")] = False,
) -> int:
    """Bring the database's schema up to date. Safe to run twice, and at the same time."""
    from emag_syncd.cli.upkeep import migrate, print_sql

    return print_sql() if sql else migrate(context.obj)


@app.command()
def check(context: typer.Context) -> int:
    """Try the configuration, the database, the schema and each account, a line each."""
    from emag_syncd.cli.check import check

    return check(context.obj)


@app.command()
def sync(  # noqa: PLR0913 - as many as the contract has options
    context: typer.Context,
    *,
    accounts: Annotated[list[str], typer.Argument(metavar="ACCOUNT", help="The accounts to read, or all.")],
    mode: Annotated[
        Mode, typer.Option(help="Read all offers, the active ones, or those that the options below select.")
    ] = "incremental",
    id_: Annotated[
        int | None, typer.Option("--id", min=1, max=LARGEST_ID, help="Selective: the offer with this id.")
    ] = None,
    part_number: Annotated[str | None, typer.Option(help="Selective: offers with this part number.")] = None,
    part_number_key: Annotated[str | None, typer.Option(help="Selective: offers of this catalogue product.")] = None,
    status: Annotated[
        int | None, typer.Option(min=0, max=1, help="Selective: offers that are active (1) or not (0).")
    ] = None,
    max_stock: Annotated[int | None, typer.Option(min=0, help="Selective: offers with a stock up to this.")] = None,
    max_pages: Annotated[
        int | None, typer.Option(min=1, help="Read so many pages, and judge neither completeness nor removals.")
    ] = None,
) -> int:
    """Sync accounts in the foreground, all at once, and say how each run ended.

    Ctrl-C or SIGTERM stop at a page boundary; the runs are recorded as cancelled, and the exit code is 130 or 143.
    """
    from emag_syncd.cli.sync import Wanted, sync

    filters = {
        "id": id_,
        "part_number": part_number,
        "part_number_key": part_number_key,
        "status": status,
        "general_stock": max_stock,
    }
    given = {name: value for name, value in filters.items() if value is not None}
    return sync(context.obj, Wanted(accounts, mode, given, max_pages))


@app.command()
def status(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, for programs.")] = False,
) -> int:
    """Show what runs, the last runs, and how fresh each account is."""
    from emag_syncd.cli.status import status

    return status(context.obj, as_json=as_json)


@app.command()
def cleanup_stuck(
    context: typer.Context,
    older_than_minutes: Annotated[int, typer.Option(min=5, max=60, help="How long a run must have been running.")] = 15,
) -> int:
    """End every run that has been running for too long, whoever runs it."""
    from emag_syncd.cli.upkeep import clean_up

    return clean_up(context.obj, older_than_minutes)


@app.command()
def export(
    context: typer.Context,
    *,
    what: Annotated[
        What, typer.Argument(metavar="products|changes|history", help="What to write; history is the runs.")
    ],
    form: Annotated[Format, typer.Option("--format", help="For spreadsheets, or a line of JSON each.")] = "csv",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to; it is there only once it is whole. Otherwise standard output."),
    ] = None,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Of this account only.")] = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Of products with this name, part number, key or EAN only.")
    ] = None,
) -> int:
    """Write what is stored as CSV or JSON Lines, at any size."""
    from emag_syncd.cli.export import Wanted, export
    from emag_syncd.domain.products import ProductFilter

    return export(context.obj, Wanted(what, form, output, ProductFilter(account=account, search=search)))


@app.command()
def config(context: typer.Context) -> int:
    """Print the configuration in force, secrets hidden."""
    from emag_syncd.cli.upkeep import show_configuration

    return show_configuration(context.obj)


@app.command()
def alerts(
    *,
    runbook: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Where you publish docs/runbook.md; the alerts' links lead there. Otherwise relative."
        ),
    ] = "",
) -> int:
    """Print the alert rules for Prometheus, as YAML."""
    from emag_syncd.cli.monitoring import print_alerts

    return print_alerts(runbook)


@app.command()
def dashboard() -> int:
    """Print the dashboard for Grafana, as JSON to import."""
    from emag_syncd.cli.monitoring import print_dashboard

    return print_dashboard()


@webhook_app.command("test")
def try_webhooks(context: typer.Context) -> int:
    """Send a signed test message to each of webhooks.urls now, and say what became of it, a line each."""
    from emag_syncd.cli.webhook import try_all

    return try_all(context.obj)


@webhook_app.command("retry")
def retry_webhooks(context: typer.Context) -> int:
    """Put back what was given up, and let receivers that answered 410 be tried again."""
    from emag_syncd.cli.webhook import retry

    return retry(context.obj)
