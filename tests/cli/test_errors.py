"""Everything that users get wrong, or that fails around them: one line each, and the right exit code."""

import asyncio
import os
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from emag_syncd.sandbox import Fault, Kind, Sandbox
from tests.cli.support import Desk, configuration, ended, spawned

BAD_CONFIGURATIONS = {
    "is not TOML": "accounts = [",
    "htp is unknown": "htp.port = 1",
    "http.port": "http.port = 70000",
    "cron": 'accounts.main = { username = "u", password = "pppp", schedule = { full = "61 * * * *" } }',
    "account name": 'accounts.Main = { username = "u", password = "pppp" }',
    "accounts.main.password is missing": 'accounts.main = { username = "u" }',
    "http.token is missing": 'http.host = "0.0.0.0"',
}


@pytest.mark.parametrize("command", ["run", "config", "check", "migrate", "status", "cleanup-stuck"])
async def test_a_missing_file_is_a_configuration_error(desk: Desk, command: str) -> None:
    """Each command that reads the configuration ends with 78 where it is not there, and names it."""
    refused = await desk.run(command)
    assert (refused.code, refused.out) == (78, "")
    assert refused.line == (
        f"emag-syncd: {desk.file} does not exist: create it, or correct --config or EMAG_SYNCD_CONFIG"
    )


async def test_a_file_that_can_not_be_read_is_a_configuration_error(desk: Desk) -> None:
    """A folder in the place of the file is named as such."""
    desk.file.mkdir()
    refused = await desk.run("config")
    assert refused.code == 78
    assert f"{desk.file} can't be read (Is a directory)" in refused.line


@pytest.mark.parametrize("words", BAD_CONFIGURATIONS)
async def test_a_bad_configuration_is_refused_by_name(desk: Desk, words: str) -> None:
    """What is wrong in the file is named in a line, with 78."""
    desk.configure(BAD_CONFIGURATIONS[words])
    refused = await desk.run("check", EMAG_SYNCD_HTTP__TOKEN="")
    assert (refused.code, refused.out) == (78, "")
    assert words in refused.line


async def test_each_problem_has_its_line(desk: Desk) -> None:
    """A file with two mistakes is corrected in one go."""
    desk.configure("http.port = -1\nhttp.prt = 1")
    refused = await desk.run("config")
    assert refused.code == 78
    assert [line.split()[:2] for line in refused.err.splitlines()] == [
        ["emag-syncd:", "http.port"],
        ["emag-syncd:", "http.prt"],
    ]


@pytest.mark.parametrize("command", [["run"], ["sync", "all"]])
async def test_without_accounts_nothing_runs(desk: Desk, command: list[str]) -> None:
    """What needs an account says how to set one."""
    desk.configure("")
    refused = await desk.run(*command)
    assert refused.code == 78
    assert "no account is configured: set accounts.NAME.username" in refused.line


@pytest.mark.parametrize("command", [["run"], ["migrate"], ["status"], ["sync", "main"], ["cleanup-stuck"]])
async def test_a_database_that_is_not_there(desk: Desk, command: list[str]) -> None:
    """A database that refuses connections is named, without its password."""
    desk.configure(configuration("postgresql://someone@127.0.0.1:1/offers"))
    failed = await desk.run(*command)
    assert (failed.code, failed.out) == (1, "")
    assert failed.err.splitlines()[-1] == (
        "emag-syncd: nothing listens at PostgreSQL at someone@127.0.0.1:1/offers:"
        " start PostgreSQL, or correct database.url"
    )


async def test_a_database_host_that_does_not_resolve(desk: Desk) -> None:
    """A mistyped host is named."""
    desk.configure(configuration("postgresql://someone@nowhere.invalid/offers"))
    failed = await desk.run("migrate")
    assert failed.code == 1
    assert "host name of PostgreSQL at someone@nowhere.invalid/offers does not resolve" in failed.line


async def test_a_wrong_database_password(desk: Desk) -> None:
    """A refused password is no secret in the message."""
    async with _unwelcoming_server() as port:
        desk.configure(configuration(f"postgresql://someone@127.0.0.1:{port}/offers"))
        failed = await desk.run("migrate")
    assert failed.code == 1
    assert "refused the user or the password" in failed.line
    assert "correct database.url" in failed.line


async def test_a_schema_that_is_missing(desk: Desk, empty_database_url: str) -> None:
    """What only reads does not migrate on its own, and says who does."""
    desk.configure(configuration(empty_database_url))
    failed = await desk.run("status")
    assert failed.code == 1
    assert failed.line.endswith("is not up to date: run emag-syncd migrate")


async def test_no_embedded_database_is_made_only_to_be_looked_into(desk: Desk) -> None:
    """Status on a machine where nothing ever ran says so, and leaves nothing behind."""
    desk.configure("")
    refused = await desk.run("status")
    assert refused.code == 78
    assert "no database is configured and the embedded one does not run" in refused.line
    assert [left.name for left in desk.folder.iterdir()] == [desk.file.name]


@pytest.mark.parametrize(
    ("break_", "words"),
    [
        ("credentials", "check accounts.main.username and .password"),
        ("ip", "whitelist it"),
        ("html", "an answer that is not JSON"),
        ("host", "nowhere.invalid"),
    ],
)
async def test_a_marketplace_that_does_not_want_us(ready: Desk, sandbox: Sandbox, break_: str, words: str) -> None:
    """A sync that the marketplace refuses fails in one line that names the remedy; check says the same."""
    account = sandbox.accounts["main"]
    match break_:
        case "credentials":
            account.access.refused = 401
        case "ip":
            account.access.allowed_ips = frozenset()
        case "html":
            account.faults.add(Fault(Kind.HTML, times=None))
        case "host":
            address = {"EMAG_SYNCD_ACCOUNTS__MAIN__BASE_URL": "https://nowhere.invalid/api-3"}
            ready.environ.update(address)
    synced, checked = await asyncio.gather(ready.run("sync", "main"), ready.run("check"))
    assert synced.code == checked.code == 1
    assert synced.out.startswith("main: failed, 0 offers")
    assert [words in line for line in synced.err.splitlines()] == [False, True]
    # An address elsewhere also draws warnings about the pace.
    last = checked.err.splitlines()[-1]
    assert last.startswith("emag-syncd: account main: failed, ")
    assert words in last
    assert "account fbe: ok, 250 offers" in checked.out


async def test_closed_streams_are_no_reason_to_fail(ready: Desk) -> None:
    """Without standard streams a command does its work all the same, and nothing lands in its connections."""
    script = 'exec "$0" -m emag_syncd sync main <&- >&- 2>&-'
    process = await asyncio.create_subprocess_exec("sh", "-c", script, sys.executable, env=ready.environ)
    async with asyncio.timeout(30):
        assert await process.wait() == 0
    status = await ready.run("status", "--json")
    assert '"status": "completed"' in status.out


async def test_a_reader_that_leaves_is_no_reason_for_a_word(ready: Desk) -> None:
    """A pipe that is closed at the other end ends the command quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        async with ready.started("config", stdout=writing) as process:
            result = await ended(process)
    finally:
        os.close(writing)
    assert (result.code, result.err) == (1, "")


async def test_a_full_disk_under_the_output_is_said(ready: Desk) -> None:
    """Output that could not be written is a failure, and not silently lost."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        async with ready.started("config", stdout=full) as process:
            result = await ended(process)
    finally:
        os.close(full)
    assert (result.code, result.line) == (1, "emag-syncd: No space left on device")


async def test_the_unexpected_is_one_line_and_its_traceback_is_in_the_log(ready: Desk) -> None:
    """A bug does not dump its traceback on the user: it is a line of the log, and the last word is a sentence."""
    script = (
        "import sys, emag_syncd.cli.upkeep as upkeep, emag_syncd.cli.app as app;"
        "upkeep.load = lambda path: {}['surprise']; sys.argv = ['emag-syncd', 'config']; app.main()"
    )
    async with spawned("-c", script, environ=ready.environ) as process:
        result = await ended(process)
    logged, last = result.err.splitlines()
    assert result.code == 1
    assert '"action": "crashed"' in logged
    assert "KeyError: 'surprise'" in logged
    assert last.startswith("emag-syncd: an error inside emag-syncd ended it (KeyError)")


@asynccontextmanager
async def _unwelcoming_server() -> AsyncIterator[int]:
    """Give the port of a server that speaks PostgreSQL and refuses every password."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!i", await reader.readexactly(4))
        if size == 8:
            await reader.readexactly(4)
            writer.write(b"N")
            (size,) = struct.unpack("!i", await reader.readexactly(4))
        await reader.readexactly(size - 4)
        fields = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "someone"\0\0'
        writer.write(b"E" + struct.pack("!i", len(fields) + 4) + fields)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
