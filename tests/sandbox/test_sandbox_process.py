"""The marketplace as a process of its own, and its control endpoint."""

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from tests.sandbox.caller import READ

from emag_syncd.sandbox import AccountSpec, Sandbox
from emag_syncd.sandbox.__main__ import main as run_main


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[tuple[Process, str]]:
    """A marketplace process and its address."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "emag_syncd.sandbox", *arguments, stdout=PIPE)
    assert process.stdout
    try:
        line = (await process.stdout.readline()).decode()
        assert line.startswith("listening on http://127.0.0.1:")
        yield process, line.split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def controlled() -> AsyncIterator[Sandbox]:
    """Give a marketplace that takes orders over HTTP."""
    async with Sandbox({"main": AccountSpec(offers=30, limited=False)}, control=True) as sandbox:
        yield sandbox


async def order(session: aiohttp.ClientSession, base_url: str, op: str, **arguments: Any) -> Any:
    """The answer to a control operation on `main`."""
    url = base_url.removesuffix("/api-3") + "/_control"
    async with session.post(url, json={"op": op, "account": "main"} | arguments) as response:
        text = await response.text()
        assert response.status == 200, text
        return [json.loads(line) for line in text.splitlines()] if op == "truth" else json.loads(text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serves_until_told_to_stop(session: aiohttp.ClientSession, number: signal.Signals) -> None:
    """It prints its address, serves the default credentials, and leaves with 0 while a request hangs."""
    options = ("--offers", "120", "--accounts", "main,fbe", "--limits", "off", "--no-odd")
    async with running(*options) as (process, url):
        header = {"Authorization": aiohttp.encode_basic_auth("fbe@sandbox.example", "sandbox-fbe")}
        async with session.post(f"{url}/{READ}", json={"currentPage": 2}, headers=header) as response:
            assert len((await response.json())["results"]) == 20
        await order(session, url, "fault", kind="hang", times=None)
        main = {"Authorization": aiohttp.encode_basic_auth("main@sandbox.example", "sandbox-main")}
        hanging = asyncio.create_task(session.post(f"{url}/{READ}", json={}, headers=main))
        async with asyncio.timeout(10):
            while (await order(session, url, "stats"))["in_flight"] == 0:
                pass
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        await asyncio.gather(hanging, return_exceptions=True)


async def test_options_reach_the_accounts(session: aiohttp.ClientSession) -> None:
    """A number of accounts gives them names; oddities and movement are on when asked for."""
    options = (
        "--accounts",
        "3",
        "--offers",
        "200",
        "--moving",
        "500",
        "--latency",
        "0.01,0.02",
        "--preencode",
        "100",
    )
    async with running(*options) as (_, url):
        truth = await order(session, url, "truth", account="a0002")
        assert any(isinstance(line["offer"]["id"], str) for line in truth)
        async with asyncio.timeout(10):
            while await order(session, url, "truth", account="a0002") == truth:
                pass


async def test_ends_with_its_parent() -> None:
    """With --exit-with-parent it doesn't outlive the process that started it, however that ended."""
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'emag_syncd.sandbox', '--exit-with-parent'])\n"
        "time.sleep(600)\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=PIPE)
    assert parent.stdout
    assert (await parent.stdout.readline()).startswith(b"listening on")
    parent.kill()
    await parent.wait()
    # The child holds the other end of the pipe: it is at its end when the child is gone.
    assert await asyncio.wait_for(parent.stdout.read(), 10) == b""


def test_taken_port_is_said_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken ends with 1 and one line, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_main(["--offers", "1", "--port", str(port)]) == 1
    assert capsys.readouterr().err.startswith(f"cannot listen on 127.0.0.1:{port}: ")


def test_bad_options_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """A bad option ends with 2 and says which."""
    with pytest.raises(SystemExit) as stopped:
        run_main(["--latency", "fast"])
    assert stopped.value.code == 2
    assert "--latency" in capsys.readouterr().err


async def test_control_changes_the_catalogue(session: aiohttp.ClientSession, controlled: Sandbox) -> None:
    """Offers can be updated, added, removed, moved, shuffled, doubled and mutated from outside."""
    catalogue, url = controlled.accounts["main"].catalogue, controlled.base_url
    ids = await order(session, url, "ids")
    assert ids == catalogue.ids
    await order(session, url, "update", id=ids[0], fields={"name": "Changed"})
    assert catalogue.get(ids[0])["name"] == "Changed"
    await order(session, url, "remove", ids=ids[1:3])
    added = await order(session, url, "add", number=2, front=True, fields={"status": 2})
    assert catalogue.ids == [*reversed(added), ids[0], *ids[3:]]
    await order(session, url, "move_to_front", id=ids[5])
    assert catalogue.ids[0] == ids[5]
    await order(session, url, "shuffle", seed=1)
    assert catalogue.ids[0] != ids[5]
    await order(session, url, "duplicate", id=ids[5])
    await order(session, url, "add_unusable", kind="item_null")
    assert len(catalogue.page((), 1, 100)) == 32
    before = dict(catalogue.truth())
    changed = await order(session, url, "mutate", number=3, seed=9)
    assert {offer for offer, row in catalogue.truth() if before[offer] != row} == set(changed)


async def test_control_gives_the_truth_in_lines(session: aiohttp.ClientSession, controlled: Sandbox) -> None:
    """Each line has an id as a number and the offer as served."""
    truth = await order(session, controlled.base_url, "truth")
    catalogue = controlled.accounts["main"].catalogue
    assert truth == [{"id": offer, "offer": json.loads(row)} for offer, row in catalogue.truth()]


async def test_control_turns_knobs(session: aiohttp.ClientSession, controlled: Sandbox) -> None:
    """Knobs are named by their path, and those that don't exist are refused."""
    account, url = controlled.accounts["main"], controlled.base_url
    await order(session, url, "set", **{"limits.per_second": 1, "latency.high": 0.5, "moving": 2})
    await order(session, url, "set", **{"access.allowed_ips": ["192.0.2.1"]})
    assert (account.limits.per_second, account.latency.high, account.moving) == (1, 0.5, 2)
    assert account.access.allowed_ips == frozenset({"192.0.2.1"})
    with pytest.raises(AssertionError, match=r"no knob limits\.per_hour"):
        await order(session, url, "set", **{"limits.per_hour": 1})
    await order(session, url, "spend", requests=1)
    assert not account.limits.admit().allowed


async def test_control_plans_faults_and_drift(session: aiohttp.ClientSession, controlled: Sandbox) -> None:
    """A fault and a change before a read are planned, and the record of what followed can be fetched."""
    account, url = controlled.accounts["main"], controlled.base_url
    header = {"Authorization": account.authorization}
    leaving = account.catalogue.ids[0]
    await order(session, url, "fault", kind="status", value=502, page=1)
    await order(session, url, "drift", read=1, change={"op": "remove", "ids": [leaving]})
    for _ in range(2):
        async with session.post(f"{url}/{READ}", json={"Status": 1}, headers=header) as response:
            await response.read()
    assert leaving not in account.catalogue
    stats = await order(session, url, "stats")
    assert stats["totals"] == {"product_offer/read ok": 1, "product_offer/read status": 1}
    assert stats["violations"] == {"unknown_key": 2}
    assert await order(session, url, "violations") == [["unknown_key", "Status"]] * 2
    assert [exchange["status"] for exchange in await order(session, url, "exchanges")] == [502, 200]
    await order(session, url, "fault", kind="hang")
    await order(session, url, "clear_faults")
    assert account.faults.pending == []
    await order(session, url, "reset_stats")
    assert (await order(session, url, "stats"))["requests"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"op": "ids"}',
        b'{"op": "ids", "account": "nobody"}',
        b'{"op": "explode", "account": "main"}',
        b'{"op": "fault", "account": "main", "kind": "volcano"}',
        b'{"op": "remove", "account": "main", "ids": [1]}',
        b'{"op": "drift", "account": "main", "read": 1, "change": {"op": "ids"}}',
    ],
)
async def test_control_says_what_is_wrong(session: aiohttp.ClientSession, controlled: Sandbox, body: bytes) -> None:
    """A bad order is refused with the reason, and changes nothing."""
    url = controlled.base_url.removesuffix("/api-3") + "/_control"
    async with session.post(url, data=body) as response:
        assert (response.status, list(await response.json())) == (400, ["error"])
    assert controlled.accounts["main"].catalogue.version == 0


async def test_control_is_closed_unless_asked_for(session: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    """Without `control=True` there is no such address."""
    async with session.post(sandbox.base_url.removesuffix("/api-3") + "/_control", json={}) as response:
        assert response.status == 404
