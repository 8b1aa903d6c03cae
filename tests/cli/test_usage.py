"""What is asked for in the wrong words, and how help is given."""

import pytest

from emag_syncd import __version__
from tests.cli.support import Desk, ended, spawned

COMMANDS = (
    "run",
    "demo",
    "migrate",
    "check",
    "sync",
    "status",
    "cleanup-stuck",
    "export",
    "config",
    "alerts",
    "dashboard",
)


async def test_help_names_every_command(desk: Desk) -> None:
    """Whoever asks for help learns of each command, on standard output."""
    help_ = await desk.run("--help")
    assert help_.code == 0
    assert not help_.err
    assert all(command in help_.out for command in (*COMMANDS, "--config", "--version"))


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_command_explains_itself(desk: Desk, command: str) -> None:
    """Each command has a help of its own, which works without any configuration."""
    help_ = await desk.run(command, "--help", COLUMNS="120")
    assert (help_.code, help_.err) == (0, "")
    assert f"emag-syncd {command}" in help_.out


async def test_help_is_given_without_loading_the_daemon(desk: Desk) -> None:
    """Help comes at once because nothing heavy is imported for it."""
    async with spawned("-X", "importtime", "-m", "emag_syncd", "--help", environ=desk.environ) as process:
        imported = {line.rpartition("|")[2].strip() for line in (await ended(process)).err.splitlines()}
    assert "emag_syncd.cli.app" in imported
    assert not imported & {"asyncpg", "aiohttp", "pydantic", "structlog", "asyncio", "emag_syncd.config"}


async def test_the_version_is_the_package_s(desk: Desk) -> None:
    """--version needs no command and no configuration."""
    version = await desk.run("--version")
    assert (version.code, version.out, version.err) == (0, f"emag-syncd {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing command"),
        (["nonsense"], "No such command 'nonsense'"),
        (["status", "--jsn"], "No such option: --jsn"),
        (["sync"], "Missing argument 'ACCOUNT'"),
        (["sync", "main", "--mode", "quick"], "--mode"),
        (["sync", "main", "--max-pages", "0"], "greater than or equal to 1"),
        (["sync", "main", "--mode", "selective", "--id", "x"], "valid integer"),
        (["sync", "main", "--mode", "selective"], "needs to know what to select: add --id"),
        (["sync", "main", "--id", "3"], "add --mode selective"),
        (["cleanup-stuck", "--older-than-minutes", "4"], "greater than or equal to 5"),
        (["alerts", "--runbook", "wiki#page"], "is no address of a page: write it as https://host/path"),
        (["export"], "Missing argument"),
        (["export", "everything"], "everything"),
        (["export", "products", "--format", "xml"], "--format"),
        (["export", "history", "--search", "x"], "--search goes with products and changes only"),
        (["dashboard", "main"], "unexpected extra argument"),
        (["demo", "--port", "99999"], "less than or equal to 65535"),
        (["--config", "somewhere", "demo"], "nothing to configure"),
    ],
)
async def test_wrong_words_are_refused_in_one_line(desk: Desk, arguments: list[str], words: str) -> None:
    """A command line that makes no sense ends with 2 and one line that says what is wrong with it."""
    refused = await desk.run(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.line.startswith("emag-syncd: ")
    assert words in refused.line


async def test_an_account_that_is_not_configured_is_a_wrong_word(ready: Desk) -> None:
    """A mistyped account is named together with those that there are."""
    refused = await ready.run("sync", "main", "mian")
    assert (refused.code, refused.line) == (
        2,
        "emag-syncd: no account is called mian: configured are: main, fbe",
    )
