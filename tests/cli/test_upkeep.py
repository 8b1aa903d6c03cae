"""What operators look at and put right: migrate, check, status, cleanup-stuck, config."""

import asyncio
import json
import signal
import tomllib
from typing import TYPE_CHECKING

from emag_syncd.sandbox import Fault, Kind, Sandbox
from tests.cli.support import DATABASE_PASSWORD, SECRETS, Desk, configuration, ended, said

if TYPE_CHECKING:
    import asyncpg

    Sql = asyncpg.Connection[asyncpg.Record]


async def test_migrate_names_what_it_applied(desk: Desk, empty_database_url: str) -> None:
    """The first time each revision is named, the second time there is nothing to do."""
    desk.configure(configuration(empty_database_url))
    first, second = await desk.run("migrate"), await desk.run("migrate")
    assert (first.code, first.out.splitlines()[0], first.err) == (0, "applied 0001", "")
    assert (second.code, second.out, second.err) == (0, "up to date\n", "")


async def test_migrate_twice_at_the_same_time(desk: Desk, empty_database_url: str) -> None:
    """Two of them don't disturb each other: one does the work, the other finds it done."""
    desk.configure(configuration(empty_database_url))
    results = await asyncio.gather(desk.run("migrate"), desk.run("migrate"))
    assert [result.code for result in results] == [0, 0]
    assert sorted(result.out.split()[0] for result in results) == ["applied", "up"]


async def test_migrate_can_print_instead(desk: Desk) -> None:
    """--sql needs no database and no configuration, and prints the tables."""
    printed = await desk.run("migrate", "--sql")
    assert (printed.code, printed.err) == (0, "")
    assert "CREATE TABLE emag_sync_logs" in printed.out
    assert printed.out.rstrip().endswith("COMMIT;")


async def test_check_is_content_when_all_is_well(ready: Desk, sql: "Sql") -> None:
    """Every part has its line, nothing is on the error stream, and its calls are logged as eMAG wants it."""
    checked = await ready.run("check")
    assert (checked.code, checked.err) == (0, "")
    lines = checked.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:4]] == ["configuration", "database", "schema", "search"]
    assert sorted(line.partition(" at ")[0] for line in lines[4:]) == [
        "account fbe: ok, 250 offers",
        "account main: ok, 250 offers",
    ]
    assert await sql.fetchval("SELECT count(*) FROM emag_api_calls WHERE sync_log_id IS NULL") == 4


async def test_check_says_why_searching_is_slow(ready: Desk, sql: "Sql") -> None:
    """A database without the extension works; what to do about it is said."""
    await sql.execute("DROP EXTENSION pg_trgm CASCADE")
    checked = await ready.run("check")
    assert checked.code == 0
    assert "search: ok, but slow" in checked.out
    assert "CREATE EXTENSION IF NOT EXISTS pg_trgm" in checked.out


async def test_check_goes_on_after_the_first_failure(desk: Desk, empty_database_url: str, sandbox: Sandbox) -> None:
    """A missing schema and a refused account are both found in one go."""
    sandbox.accounts["fbe"].access.refused = 401
    desk.configure(configuration(empty_database_url, sandbox.base_url))
    checked = await desk.run("check")
    assert checked.code == 1
    assert "account main: ok" in checked.out
    schema, account = checked.err.splitlines()
    assert schema.startswith("emag-syncd: schema: failed, ")
    assert schema.endswith(": run emag-syncd migrate")
    assert account.startswith("emag-syncd: account fbe: failed, ")


async def test_check_without_accounts_is_a_configuration_error(desk: Desk, database_url: str) -> None:
    """A database alone is not enough to work."""
    desk.configure(f'database.url = "{database_url}"')
    checked = await desk.run("check")
    assert checked.code == 78
    assert "schema: ok" in checked.out
    assert checked.line.startswith("emag-syncd: accounts: failed, no account is configured: set ")


async def test_ctrl_c_is_no_accident(ready: Desk, sandbox: Sandbox) -> None:
    """Whoever loses patience with a marketplace that hangs gets 130 and no traceback."""
    sandbox.accounts["main"].faults.add(Fault(Kind.HANG, times=None))
    async with ready.started("check") as process:
        await said(process.stdout, "account fbe: ok")
        process.send_signal(signal.SIGINT)
        result = await ended(process)
    assert (result.code, result.err) == (130, "")


async def test_status_before_anything_ran(ready: Desk) -> None:
    """Accounts that were never synced say so."""
    status = await ready.run("status")
    assert (status.code, status.err) == (0, "")
    assert status.out.count("never synced") == 2
    assert "Last runs" not in status.out


async def test_status_shows_what_runs_and_what_ran(ready: Desk, sandbox: Sandbox) -> None:
    """A run under way is shown with how far it is, one that ended with what it did."""
    assert (await ready.run("sync", "fbe", "--mode", "full")).code == 0
    sandbox.accounts["main"].faults.add(Fault(Kind.HANG, resource="product_offer/read", page=3, times=None))
    ready.environ["EMAG_SYNCD_MARKETPLACE__PAGE_SIZE"] = "25"
    ready.environ["EMAG_SYNCD_MARKETPLACE__MAX_CONCURRENT_REQUESTS"] = "1"
    async with ready.started("sync", "main", "--mode", "full") as process:
        await said(process.stderr, " of 250 offers")
        shown, told = await asyncio.gather(ready.run("status"), ready.run("status", "--json"))
    (running,) = json.loads(told.out)["running_syncs"]
    assert (running["account_type"], running["triggered_by"]) == ("main", "cli")
    assert running["progress"]["total_items"] == 250
    assert 0 < running["progress"]["processed_items"] <= 250
    rows = [line.split() for line in shown.out.splitlines()]
    assert any(row[:2] == ["main", "full"] and row[-1] == running["id"] for row in rows)
    assert any(row[:3] == ["fbe", "full", "completed"] and "250" in row for row in rows)


async def test_status_as_json_is_what_the_api_says(ready: Desk, sql: "Sql") -> None:
    """Programs find the API's names, and of each account when it last succeeded and what it has."""
    assert (await ready.run("sync", "main", "--mode", "full")).code == 0
    status = json.loads((await ready.run("status", "--json")).out)
    assert status.keys() >= {"is_running", "current_sync", "running_syncs", "recent_syncs", "accounts"}
    assert (status["is_running"], status["current_sync"]) == (False, None)
    main, fbe = status["accounts"]
    assert main["last_success_at"] == status["recent_syncs"][0]["completed_at"]
    assert (fbe["name"], fbe["last_success_at"]) == ("fbe", None)
    active = await sql.fetchval("SELECT count(*) FROM emag_products WHERE status = 1")
    assert (main["offers"]["active"], fbe["offers"]["active"]) == (active, 0)


async def test_an_account_is_late_when_two_slots_went_by(ready: Desk, sql: "Sql") -> None:
    """A success that is old for its schedule is late; one of a full sync counts for the incremental ones too."""
    ready.environ["EMAG_SYNCD_ACCOUNTS__MAIN__SCHEDULE__FULL"] = "1d"
    ready.environ["EMAG_SYNCD_ACCOUNTS__MAIN__SCHEDULE__INCREMENTAL"] = "15m"
    insert = """
        INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at)
        VALUES ('main', 'full_sync', 'completed', now() - $1::interval, now() - $1::interval)
    """
    late = []
    for age in ("3 days", "1 hour", "1 second"):
        await sql.execute(insert.replace("$1", f"'{age}'"))
        (main, _) = json.loads((await ready.run("status", "--json")).out)["accounts"]
        late.append(main["late"])
    assert late == [["full_sync", "incremental_sync"], ["incremental_sync"], []]


async def test_cleanup_ends_what_is_stuck_and_nothing_else(ready: Desk, sql: "Sql") -> None:
    """Only runs older than the limit are ended; they are named."""
    insert = """
        INSERT INTO emag_sync_logs (account_type, operation, started_at)
        VALUES ('main', 'full_sync', now() - interval '20 minutes'), ('fbe', 'full_sync', now()) RETURNING id
    """
    stuck, fresh = [str(row["id"]) for row in await sql.fetch(insert)]
    patient = await ready.run("cleanup-stuck", "--older-than-minutes", "30")
    assert patient.out == "no run has been running for more than 30 minutes\n"
    cleaned = await ready.run("cleanup-stuck")
    assert (cleaned.code, cleaned.err) == (0, "")
    assert stuck in cleaned.out
    assert fresh not in cleaned.out
    statuses = {str(row["id"]): row["status"] for row in await sql.fetch("SELECT id, status FROM emag_sync_logs")}
    assert statuses == {stuck: "failed", fresh: "running"}


async def test_config_shows_what_is_in_force_and_no_secret(ready: Desk) -> None:
    """What is printed is TOML with the values in force, every secret masked."""
    shown = await ready.run("config", EMAG_SYNCD_SYNC__TIMEOUT_SECONDS="77")
    assert (shown.code, shown.err) == (0, "")
    values = tomllib.loads(shown.out)
    assert values["sync"]["timeout_seconds"] == 77
    assert values["accounts"]["main"]["password"] == values["http"]["token"] == "********"
    assert shown.out.startswith(f"# {ready.file}")
    assert DATABASE_PASSWORD in ready.file.read_text()
    assert not [secret for secret in SECRETS if secret in shown.out]


async def test_config_warns_of_what_is_probably_not_meant(ready: Desk) -> None:
    """A file with secrets that everybody may read is allowed, and said."""
    ready.file.chmod(0o644)
    shown = await ready.run("config")
    assert shown.code == 0
    assert shown.line.startswith(f"emag-syncd: warning: {ready.file} holds ")
