"""A real Prometheus scrapes a running daemon, keeps what it says, and works out the rules and the dashboard."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from emag_syncd.sandbox import Sandbox
from tests.support.daemon import UNPACED, account_of
from tests.support.offers import Connection
from tests.support.processes import DaemonProcess, daemon_process, write_toml
from tests.support.rules import ALERTS, alerts, panels, tool
from tests.support.waiting import until

EMPTY = {"Under way since"}
"""Panels of which one expression has nothing to show while no run is under way."""


class Prometheus:
    """The answers of a Prometheus."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        """Ask through ``http``."""
        self._http = http

    async def ask(self, path: str, **parameters: Any) -> Any:
        """Return what it says, or None while it is not there yet."""
        try:
            async with self._http.get(f"/api/v1/{path}", params=parameters) as response:
                if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    return None
                said = await response.json()
        except aiohttp.ClientConnectionError:
            return None
        assert said["status"] == "success", said
        return said["data"]

    async def query(self, expression: str) -> Any:
        """Return the series of an expression."""
        return (await self.ask("query", query=expression) or {}).get("result")


@asynccontextmanager
async def prometheus(folder: Path, port: int, **targets: str) -> AsyncIterator[Prometheus]:
    """Run a Prometheus on ``port`` that scrapes ``targets`` (job: host and port) every second under our rules."""
    jobs = [
        {"job_name": job, "static_configs": [{"targets": [address]}], "scrape_timeout": "1s"}
        for job, address in targets.items()
    ]
    often = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    # YAML takes JSON.
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({"global": often, "rule_files": [str(ALERTS)], "scrape_configs": jobs}))
    address = f"127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        tool("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    )
    try:
        async with aiohttp.ClientSession(f"http://{address}") as http:
            yield Prometheus(http)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def as_text(address: str) -> AsyncIterator[str]:
    """Give an address at which the daemon is asked for the plain text format, which no setting of Prometheus does."""

    async def scrape(_request: web.Request) -> web.Response:
        async with aiohttp.request("GET", f"{address}/metrics", headers={"Accept": "text/plain"}) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            return web.Response(body=await answer.read(), headers={"Content-Type": answer.headers["Content-Type"]})

    app = web.Application()
    app.router.add_get("/metrics", scrape)
    async with TestServer(app) as server:
        yield f"{server.host}:{server.port}"


@pytest.fixture
async def daemon(tmp_path: Path, database_url: str) -> AsyncIterator[DaemonProcess]:
    """Run a daemon that reads its account at once."""
    async with Sandbox.of("main", offers=60) as sandbox:
        account = account_of(sandbox, "main", schedule={"full": "1d", "incremental": "off"})
        config = tmp_path / "config.toml"
        values = {
            "accounts": {"main": account},
            "database": {"url": database_url},
            "http": {"port": 0},
            "marketplace": UNPACED,
            "schedule": {"jitter_seconds": 0},
            "log": {"format": "json"},
        }
        write_toml(config, values)
        config.chmod(0o600)
        async with daemon_process(config) as daemon:
            yield daemon


@pytest.mark.timeout(180)
async def test_a_prometheus_that_watches(
    daemon: DaemonProcess, tmp_path: Path, unused_tcp_port: int, sql: Connection
) -> None:
    """It takes both formats, keeps the exemplar of the run, and every rule and every panel works on what it has."""
    address = (await daemon.logged("ready"))["address"]
    ended = await daemon.logged("run_ended")
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(as_text(address))
        watching = await stack.enter_async_context(
            prometheus(tmp_path, unused_tcp_port, open=address.removeprefix("http://"), plain=plain)
        )
        runs = 'emag_sync_runs_total{status="completed", operation="full_sync", account="main"} == 1'

        async def both() -> bool:
            return len(await watching.query(runs) or []) == 2

        await until(both, within=90)
        targets = (await watching.ask("targets"))["activeTargets"]
        assert {one["labels"]["job"]: (one["health"], one["lastError"]) for one in targets} == {
            "open": ("up", ""),
            "plain": ("up", ""),
        }
        series = [await watching.query(f'count({{__name__=~"emag_.*", job="{job}"}})') for job in ("open", "plain")]
        assert series[0][0]["value"][1] == series[1][0]["value"][1]
        await exemplars_are_kept(watching, str(await sql.fetchval("SELECT id FROM emag_sync_logs")))
        assert ended["run_id"] == str(await sql.fetchval("SELECT id FROM emag_sync_logs"))
        await rules_work(watching)
        await panels_work(watching)


async def exemplars_are_kept(watching: Prometheus, run_id: str) -> None:
    """The bucket that the run fell into names it; only OpenMetrics can."""
    now = time.time()
    for metric in ("emag_sync_duration_seconds_bucket", "emag_api_request_duration_seconds_bucket"):
        found = await watching.ask("query_exemplars", query=metric, start=now - 600, end=now + 60)
        named = {(one["seriesLabels"]["job"], two["labels"]["run_id"]) for one in found for two in one["exemplars"]}
        assert named == {("open", run_id)}


async def rules_work(watching: Prometheus) -> None:
    """Each rule was worked out without an error, all of the alerts are among them, and none of them fires."""

    async def worked_out() -> list[dict[str, Any]]:
        groups = (await watching.ask("rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    rules = await until(worked_out, within=60)
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == set(alerts())
    # Until its first scrape it took the daemon for absent, but not for long enough to say so.
    assert not [one for one in (await watching.ask("alerts"))["alerts"] if one["state"] == "firing"]
    # A rule's first turn may have come before the first scrape: it is well, and has nothing yet.
    stale = await until(lambda: watching.query("account:emag_sync_stale:bool"), within=60)
    assert {one["value"][1] for one in stale} == {"0"}


async def panels_work(watching: Prometheus) -> None:
    """Each expression of the dashboard is understood and finds something."""

    async def empty() -> set[str]:
        return {title for title, expression in panels() if not await watching.query(expression)}

    async def shown() -> bool:
        return await empty() <= EMPTY

    await until(shown, within=60)
