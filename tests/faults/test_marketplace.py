"""The marketplace fails in every way at once, and others spend its budget: it is said, and passes."""

import signal
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from emag_syncd.sandbox import AccountSpec, Fault, Kind, Sandbox
from tests.support.endings import ends_as
from tests.support.fleet import account, configure
from tests.support.offers import Connection
from tests.support.processes import DaemonProcess, daemon_process
from tests.support.recovery import Recovery
from tests.support.scale import scaled
from tests.support.waiting import until
from tests.sync.reference import assert_mirrors

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("quiet")]

OFFERS = 25
UNAVAILABLE, PROTOCOL = "marketplace_unavailable", "protocol"
IMPATIENT = {"page_size": 10, "max_attempts": 2, "request_timeout_seconds": 5, "max_concurrent_requests": 2}

PASSING: Mapping[str, tuple[Fault, str]] = {
    "gateway": (Fault(Kind.STATUS, value=502, times=None), UNAVAILABLE),
    "drip": (Fault(Kind.DRIP, seconds=1, times=None), UNAVAILABLE),
    "hang": (Fault(Kind.HANG, times=None), UNAVAILABLE),
    "reset": (Fault(Kind.RESET_LATE, times=None), UNAVAILABLE),
    "endless": (Fault(Kind.ENDLESS, times=None), PROTOCOL),
    "bomb": (Fault(Kind.BOMB, times=None), PROTOCOL),
    "flood": (Fault(Kind.HEADER_FLOOD, times=None), PROTOCOL),
    "html": (Fault(Kind.HTML, times=None), PROTOCOL),
    "redirect": (Fault(Kind.REDIRECT, times=None), PROTOCOL),
}
"""What a schedule goes on in spite of, and the kind of error that its runs end with."""

REFUSED: Mapping[str, tuple[Fault, str]] = {
    "right": (Fault(Kind.STATUS, value=403, times=None), "credentials"),
    "address": (Fault(Kind.BAD_IP, times=None), "ip_not_allowed"),
    "request": (Fault(Kind.ERROR_KEYS, times=None), "marketplace_rejected"),
}
"""What only a person can mend: the schedule waits."""


async def ask_for(daemon: DaemonProcess, name: str) -> None:
    """Start a run as a person does who has mended what was wrong."""
    address = (await daemon.logged("ready"))["address"]
    wish = {"account_type": name, "mode": "full", "run_async": True}
    async with aiohttp.request("POST", f"{address}/api/v1/emag/products/sync", json=wish) as answer:
        assert answer.status == 202


async def test_every_failure_at_once(database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery) -> None:
    """Each account fails under its own name, none holds up another, and all are read when the marketplace is back.

    What only a person can mend is asked once, and after that by nobody but the person.
    """
    faults = {**PASSING, **REFUSED}
    specs = dict.fromkeys(["well", *faults], AccountSpec(OFFERS, limited=False))
    async with Sandbox(specs) as sandbox:
        for name, (fault, _) in faults.items():
            sandbox.accounts[name].faults.add(fault)
        accounts = {name: account(name, sandbox.base_url) for name in specs}
        config = configure(tmp_path / "config.toml", database_url, accounts, marketplace=IMPATIENT)
        async with daemon_process(config) as daemon:
            for name, (_, kind) in faults.items():
                run = await ends_as(sql, name, "failed")
                assert run["kind"] == kind, (name, run["error"])
                assert sandbox.accounts[name].password not in run["error"]
            await ends_as(sql, "well", "completed")
            assert [sandbox.accounts[name].stats.requests for name in REFUSED] == [1] * len(REFUSED)
            assert await sql.fetchval("SELECT count(*) FROM emag_products WHERE account_type <> 'well'") == 0
            for one in sandbox.accounts.values():
                one.faults.clear()
            with recovery.timed("the marketplace fails in every way", 5, 6, 9):
                for name in PASSING:
                    await ends_as(sql, name, "completed")
            assert [sandbox.accounts[name].stats.requests for name in REFUSED] == [1] * len(REFUSED)
            for name in REFUSED:
                await ask_for(daemon, name)
                await ends_as(sql, name, "completed")
            daemon.send(signal.SIGTERM)
            assert await daemon.ended() == 0
        for one in sandbox.accounts.values():
            await assert_mirrors(sql, one)
            assert list(one.stats.violations) == []


MIXED = [kind for kind in Kind if kind in {fault.kind for fault, _ in PASSING.values()} - {Kind.REDIRECT}] + [
    *(Kind.CUT, Kind.RESET, Kind.BROKEN_JSON, Kind.EMPTY_BODY, Kind.NO_IS_ERROR, Kind.CLOSE_AFTER, Kind.DEEP),
]


async def test_failures_mixed(database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery) -> None:
    """While one request in five fails in one of many ways and offers change, nothing wrong is stored or removed."""
    async with Sandbox({"main": AccountSpec(OFFERS, limited=False)}) as sandbox:
        main = sandbox.accounts["main"]
        for kind in MIXED:
            main.faults.add(Fault(kind, times=None, probability=0.2 / len(MIXED), seconds=1, value=500))
        main.moving = 5
        config = configure(
            tmp_path / "config.toml", database_url, {"main": account("main", sandbox.base_url)}, marketplace=IMPATIENT
        )
        async with daemon_process(config) as daemon:
            await until(lambda: main.faults.struck.total() >= scaled(8), within=120 * scaled(1))
            main.faults.clear()
            main.moving = 0
            # The first run to complete may have gone on with a scan that read some pages while offers still changed.
            began = await sql.fetchval("SELECT clock_timestamp()")
            done = "SELECT count(*) > 1 FROM emag_sync_logs WHERE status = 'completed' AND started_at > $1"
            with recovery.timed("one request in five fails", 4, 6, 7):
                await until(lambda: sql.fetchval(done, began), within=60)
            daemon.send(signal.SIGTERM)
            assert await daemon.ended() == 0
        await assert_mirrors(sql, main)
        removed = await sql.fetchval("SELECT count(*) FROM emag_products WHERE removed_at IS NOT NULL")
        assert removed <= await sql.fetchval("SELECT count(*) FROM emag_product_changes WHERE kind = 'removed'")
        assert list(main.stats.violations) == []


@pytest.mark.parametrize("says", [False, "date"], ids=["without a word", "with a date hours off"])
async def test_others_spend_the_budget(
    database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery, says: bool | str
) -> None:
    """For as long as other software takes all of the limit the run waits, asks rarely, counts it, and then goes on."""
    specs = {"main": AccountSpec(OFFERS)}
    async with Sandbox(specs, clock=lambda: time.time() - 6 * 3600) as sandbox:
        main = sandbox.accounts["main"]
        main.limits.per_minute, main.limits.foreign, main.limits.retry_after = None, 3, says
        main.limits.spend(3)
        paced = {**IMPATIENT, "requests_per_second": 3, "requests_per_minute": 180}
        accounts = {"main": account("main", sandbox.base_url, schedule={"full": "off", "incremental": "off"})}
        config = configure(tmp_path / "config.toml", database_url, accounts, marketplace=paced)
        async with daemon_process(config) as daemon:
            await ask_for(daemon, "main")
            began = time.monotonic()
            await until(lambda: main.stats.refused_by_limit >= scaled(4), within=60 * scaled(1))
            lasted = time.monotonic() - began
            assert main.stats.requests <= 3 * lasted + 3
            assert await sql.fetchval("SELECT status FROM emag_sync_logs") == "running"
            main.limits.foreign = 0
            with recovery.timed("other software spends the marketplace's budget", 8):
                await ends_as(sql, "main", "completed")
            daemon.send(signal.SIGTERM)
            assert await daemon.ended() == 0
        assert await sql.fetchval("SELECT rate_limit_hits FROM emag_sync_logs") == main.stats.refused_by_limit
        await assert_mirrors(sql, main)
        assert list(main.stats.violations) == []
