"""Health and metrics."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emag_syncd import __version__
from emag_syncd.sandbox import Sandbox
from emag_syncd.supervision.loops import GRACE_SECONDS
from tests.support.daemon import Site, serving, settings_for
from tests.support.server import database_proxy
from tests.web.conftest import TOKEN

OPEN = ("/livez", "/readyz", "/healthz", "/metrics", "/livez/scheduler", "/readyz/database")


def stop_beating(site: Site, seconds: float) -> None:
    """Let the scheduler look as if it had not turned for so long."""
    site.schedule.pulse._last -= seconds


@pytest.mark.parametrize("probe", ["/livez", "/readyz"])
async def test_all_is_well(site: Site, probe: str) -> None:
    """A probe that passes says ok and nothing else."""
    answer = await site.get(probe)
    assert (answer.status, answer.text) == (200, "ok")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert (await site.ask("HEAD", probe)).status == 200


async def test_verbose_names_every_check(site: Site) -> None:
    """With ``verbose`` each check has its line."""
    assert (await site.get("/livez?verbose")).text.splitlines() == [
        "[+]scheduler ok",
        "[+]heartbeat ok",
        "[+]watchdog ok",
        "[+]call_log ok",
        "[+]health ok",
        "livez check passed",
    ]
    assert (await site.get("/readyz?verbose")).text.splitlines() == [
        "[+]database ok",
        "[+]schema ok",
        "[+]shutdown ok",
        "readyz check passed",
    ]


async def test_a_loop_that_stands_still(site: Site) -> None:
    """A dead loop fails liveness, by name and with the reason, and readiness is another matter."""
    stop_beating(site, 1000)
    answer = await site.get("/livez")
    assert answer.status == 503
    assert answer.text.startswith("[-]scheduler failed: no turn for 1000")
    assert answer.text.endswith("[+]health ok\nlivez check failed\n")
    assert (await site.get("/livez/scheduler")).status == 503
    assert (await site.get("/livez/watchdog")).text == "ok"
    assert (await site.get("/readyz")).status == 200


async def test_checks_can_be_left_out(site: Site) -> None:
    """An excluded check does not count; a name that is no check is remarked upon."""
    stop_beating(site, 1000)
    answer = await site.get("/livez?verbose&exclude=scheduler&exclude=nonsense")
    assert answer.status == 200
    assert "[+]scheduler excluded: ok" in answer.text
    assert "warn: not all that was to be excluded is a check" in answer.text


async def test_an_unknown_check_is_not_found(site: Site) -> None:
    """There is no probe for what is no check."""
    assert (await site.get("/livez/database")).status == 404


async def test_shutting_down_is_not_ready(site: Site) -> None:
    """From the beginning of the shutdown on the daemon is alive and not ready."""
    site.health.shutting_down = True
    answer = await site.get("/readyz")
    assert (answer.status, "[-]shutdown failed: shutting down" in answer.text) == (503, True)
    assert (await site.get("/livez")).status == 200


async def test_without_a_database_it_lives_and_is_not_ready(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    """A database that is away makes the daemon unready, and says why, without its password."""
    async with AsyncExitStack() as stack:
        _, through = await stack.enter_async_context(database_proxy(database_url))
        async with serving(settings_for(sandbox, tmp_path), through) as site:
            await stack.aclose()
            # The first finds out that the connection is lost, the second that there is no other.
            await site.health.probe()
            await site.health.probe()
            ready = await site.get("/readyz")
            assert ready.status == 503
            assert "[-]database failed: nothing listens at PostgreSQL at" in ready.text
            assert (await site.get("/livez")).text == "ok"


async def test_a_silent_database_is_found_out(
    sandbox: Sandbox, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that swallows everything is known soon, not when a statement's limit is reached."""
    monkeypatch.setattr("emag_syncd.supervision.health.LONGEST_PROBE_SECONDS", 0.2)
    async with (
        database_proxy(database_url) as (proxy, through),
        serving(settings_for(sandbox, tmp_path), through) as site,
    ):
        proxy.silence()
        await site.health.probe()
        assert "no answer within 0.2 s" in (await site.get("/readyz/database")).text
        proxy.cut()


async def test_healthz_tells_everything(site: Site) -> None:
    """All checks come with their values, as the health+json draft has them."""
    answer = await site.get("/healthz")
    assert (answer.status, answer.json["status"]) == (200, "pass")
    assert answer.headers["Content-Type"] == "application/health+json"
    assert answer.json["releaseId"] == __version__
    assert answer.json["checks"].keys() >= {"scheduler", "heartbeat", "watchdog", "database", "schema", "shutdown"}
    (entry,) = answer.json["checks"]["watchdog"]
    assert entry.keys() == {"status", "observedValue", "observedUnit", "time"}
    assert 0 <= entry["observedValue"] < GRACE_SECONDS


@pytest.mark.parametrize(("seconds", "status", "code"), [(22, "warn", 200), (1000, "fail", 503)])
async def test_healthz_warns_before_it_fails(site: Site, seconds: float, status: str, code: int) -> None:
    """A loop that is late is a warning; one that is much too late is a failure, with its reason."""
    stop_beating(site, seconds)
    answer = await site.get("/healthz")
    assert (answer.status, answer.json["status"]) == (code, status)
    (entry,) = answer.json["checks"]["scheduler"]
    assert (entry["status"], "output" in entry) == (status, code == 503)


async def test_metrics_are_text_or_openmetrics(site: Site) -> None:
    """The scraper chooses the format, and gets every account's series."""
    plain = await site.get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(plain.text)}
    assert names >= {"emag_sync_in_progress", "emag_syncd_build_info", "process_cpu_seconds"}
    assert 'emag_sync_in_progress{account="fbe"}' in plain.text
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    openmetrics = await site.get("/metrics", headers=accept)
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")


async def test_a_scrape_does_not_hold_up_the_loop(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """While metrics are rendered, other requests are answered."""
    loop, rendering, answered = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def parts() -> Iterator[bytes]:
        loop.call_soon_threadsafe(rendering.set)
        asyncio.run_coroutine_threadsafe(answered.wait(), loop).result(20)
        yield b"emag_sync_stale_runs 0.0\n"

    monkeypatch.setattr(site.core.metrics, "scrape", lambda _accept: (parts(), "text/plain"))
    scrape = asyncio.create_task(site.get("/metrics"))
    await rendering.wait()
    assert (await site.get("/livez")).status == 200
    assert not scrape.done()
    answered.set()
    assert (await scrape).text == "emag_sync_stale_runs 0.0\n"


async def test_a_scraper_that_can_unpack_gets_little(site: Site) -> None:
    """The same text, packed."""
    async with site.browser.get(f"{site.address}/metrics", headers={"Accept-Encoding": "identity"}) as plain:
        text = await plain.text()
    async with site.browser.get(f"{site.address}/metrics", headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert text_of(await packed.text()) == text_of(text)
    assert "Content-Encoding" not in plain.headers


def text_of(scraped: str) -> list[str]:
    """Return the lines of our own metrics' names: values go on between two scrapes."""
    return [line.rpartition(" ")[0] for line in scraped.splitlines() if line.startswith("emag_")]


async def test_a_head_of_the_metrics_is_all_there_is(site: Site) -> None:
    """Whoever asks for the head gets it, and the next answer begins where it should."""
    head = await site.ask("HEAD", "/metrics")
    assert (head.status, head.text) == (200, "")
    assert head.headers["Content-Type"].startswith("text/plain; version=")
    assert (await site.get("/livez")).text == "ok"


@pytest.mark.parametrize("path", OPEN)
async def test_probes_are_open_to_all(locked: Site, path: str) -> None:
    """Neither a token nor a known host name is asked for."""
    assert (await locked.get(path, headers={"Host": "probe.example.com"})).status == 200


async def test_reasons_are_for_those_with_the_token(locked: Site) -> None:
    """A failure is shown to all, its reason to whoever may see the rest."""
    stop_beating(locked, 1000)
    stranger = await locked.get("/livez")
    assert "[-]scheduler failed: reason withheld" in stranger.text
    (entry,) = (await locked.get("/healthz")).json["checks"]["scheduler"]
    assert entry["output"].startswith("reason withheld")
    known = await locked.get("/livez", headers={"Authorization": f"Bearer {TOKEN}"})
    assert "no turn for" in known.text
