"""What the probes say when something is wrong."""

from collections.abc import AsyncIterator
from typing import TypeAlias

import pytest

from emag_syncd.storage.connections import DedicatedConnection, Limits
from emag_syncd.storage.database import Database
from emag_syncd.supervision.health import LONGEST_PROBE_SECONDS, Health
from emag_syncd.supervision.loops import GRACE_SECONDS, Pulse
from tests.support.offers import Connection
from tests.support.proxy import Proxy
from tests.support.server import database_proxy

Proxied: TypeAlias = tuple[Proxy, DedicatedConnection]


@pytest.fixture
async def proxied(database_url: str) -> AsyncIterator[Proxied]:
    """Give a connection behind a proxy, with a short time limit."""
    async with database_proxy(database_url) as (proxy, url):
        database = await Database.open(url, pool_max_size=2, limits=Limits(connect=0.5, command=0.5, statement=0.4))
        yield proxy, database.dedicated()
        proxy.resume()
        await database.close(timeout=0.5)


def reasons(health: Health) -> dict[str, str]:
    """Return why it is not ready."""
    return {check.name: check.reason for check in health.ready() if not check.ok}


async def test_ready_when_the_database_is(database: Database) -> None:
    """Not before the first look, and then unless it shuts down; alive all the time."""
    health = Health(database.dedicated(), [Pulse("heartbeat", every=5)])
    assert reasons(health) == {"database": "not tried yet", "schema": "not tried yet"}
    await health.probe()
    assert reasons(health) == {}
    health.shutting_down = True
    assert reasons(health) == {"shutdown": "shutting down"}
    assert health.alive
    assert [check.name for check in health.live()] == ["heartbeat", "health"]


async def test_a_database_that_is_away_is_not_our_death(proxied: Proxied) -> None:
    """It makes us unready, with the reason, and ready again when it is back; we live on."""
    proxy, connection = proxied
    health = Health(connection, [])
    await health.probe()
    proxy.silence()
    await health.probe()
    assert "did not answer in time" in reasons(health)["database"]
    assert health.alive
    proxy.resume()
    await health.probe()
    assert reasons(health) == {}


async def test_a_database_that_hangs_is_as_good_as_away(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes too long is ended, and says for how long it waited."""
    proxy, connection = proxied
    monkeypatch.setattr("emag_syncd.supervision.health.LONGEST_PROBE_SECONDS", 0.05)
    health = Health(connection, [])
    proxy.silence()
    await health.probe()
    assert reasons(health)["database"] == "no answer within 0.05 s"
    assert LONGEST_PROBE_SECONDS < GRACE_SECONDS


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM emag_syncd_version", "run emag-syncd migrate"),
        ("UPDATE emag_syncd_version SET version_num = '9999'", "upgrade it"),
    ],
)
async def test_another_schema(database: Database, sql: Connection, statement: str, said: str) -> None:
    """Older or newer than this version: not ready, with what to do; the database itself is well."""
    await sql.execute(statement)
    health = Health(database.dedicated(), [])
    await health.probe()
    assert reasons(health).keys() == {"schema"}
    assert said in reasons(health)["schema"]


async def test_a_loop_that_stands_still(database: Database) -> None:
    """First it is late, and then the process is dead, under the loop's name; old looks at the database don't count."""
    pulse = Pulse("watchdog", every=300)
    health = Health(database.dedicated(), [pulse])
    await health.probe()
    pulse._last -= 318
    health._probed -= 318
    watchdog = health.live()[0]
    assert (watchdog.ok, watchdog.late, health.alive) == (True, True, True)
    assert reasons(health)["database"].startswith("not looked at for 318.")
    pulse._last -= 30
    watchdog = health.live()[0]
    assert (watchdog.name, watchdog.ok, health.alive) == ("watchdog", False, False)
    assert watchdog.reason.startswith("no turn for 348.")
    assert watchdog.reason.endswith(" s, at most 330 s are normal")
