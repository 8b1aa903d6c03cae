"""What is done to a world: each fault does its harm, ends it, and says in words what it was."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from tests.soak.market import ACCOUNTS
from tests.soak.members import KILLED, Member
from tests.soak.world import AWAY, SHUTDOWN_SECONDS, World
from tests.support.fleet import LEASE_SECONDS, WATCHDOG_SECONDS
from tests.support.offers import Connection

TABLES = ("emag_sync_logs", "emag_products", "emag_product_changes", "emag_sync_scan_pages", "emag_sync_progress")
TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = 'emag-syncd' AND pid <> pg_backend_pid()
"""
FAIL = "UPDATE emag_sync_logs SET status = 'failed' WHERE status = 'running'"
DELETE = "DELETE FROM emag_sync_logs WHERE status = 'running'"
FORGET = "DELETE FROM emag_sync_logs WHERE id IN (SELECT id FROM emag_sync_logs ORDER BY random() LIMIT 3)"
INSERT = "INSERT INTO emag_sync_logs (account_type, operation) VALUES ($1, 'full_sync') ON CONFLICT DO NOTHING"
RUNNING = "SELECT id FROM emag_sync_logs WHERE status = 'running'"

Act = Callable[[World, random.Random], Awaitable[str]]


@asynccontextmanager
async def one_of(world: World, dice: random.Random) -> AsyncIterator[Member]:
    """Give a member to which nothing else is done meanwhile."""
    member = dice.choice(world.members)
    async with member.turn:
        member.hindered = True
        try:
            yield member
        finally:
            member.hindered = False


async def kill(world: World, dice: random.Random) -> str:
    """Kill a daemon; the one that follows it starts at once."""
    async with one_of(world, dice) as member:
        member.send(signal.SIGKILL, KILLED)
    return f"kill -9 of {member}"


async def kill_all(world: World, dice: random.Random) -> str:
    """Kill every daemon."""
    for member in world.members:
        member.send(signal.SIGKILL, KILLED)
    return f"kill -9 of all {len(world.members)} daemons"


async def stop_and_continue(world: World, dice: random.Random) -> str:
    """Let a daemon hang past its lease."""
    seconds = LEASE_SECONDS + WATCHDOG_SECONDS + dice.uniform(0, 3)
    async with one_of(world, dice) as member:
        member.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        member.send(signal.SIGCONT)
    return f"SIGSTOP of {member} for {seconds:.0f} s"


async def terminate(world: World, dice: random.Random) -> str:
    """End a daemon in good order, which is a matter of seconds whatever else goes on."""
    async with one_of(world, dice) as member:
        if not member.address:
            return f"SIGTERM of {member}, which was starting"
        if not await member.ends(signal.SIGTERM, "on SIGTERM", within=SHUTDOWN_SECONDS + 5):
            world.wrong.append(f"{member} did not end within shutdown_seconds of SIGTERM")
            member.send(signal.SIGKILL, KILLED)
    return f"SIGTERM of {member}"


async def reload(world: World, dice: random.Random) -> str:
    """Have the configuration read anew, a good one or a bad one."""
    is_good = dice.random() < 0.5
    async with one_of(world, dice) as member:
        if not member.address:
            return f"SIGHUP of {member}, which was starting"
        good = member.config.read_text()
        member.config.write_text(good if is_good else good + "no such setting = 1\n")
        member.send(signal.SIGHUP)
        await asyncio.sleep(0.5)
        member.config.write_text(good)
    return f"SIGHUP of {member}, {'good' if is_good else 'bad'} file"


async def terminate_backends(world: World, dice: random.Random) -> str:
    """End every connection of the daemons, again and again."""
    times = dice.randrange(1, 6)
    for _ in range(times):
        with suppress(*AWAY):
            await world.sql(lambda conn: conn.fetchval(TERMINATE))
        await asyncio.sleep(dice.uniform(0, 0.5))
    return f"all backends terminated {times} times"


async def stop_server(world: World, dice: random.Random) -> str:
    """Stop PostgreSQL, in one of three manners, and start it after a while."""
    manner = dice.choice([signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
    seconds = dice.uniform(0, 6)
    async with world.server.turn:
        await world.server.stop(manner)
        await asyncio.sleep(seconds)
        await world.server.start()
    words = {signal.SIGINT: "fast", signal.SIGQUIT: "immediate", signal.SIGKILL: "kill -9"}
    return f"PostgreSQL stopped ({words[manner]}) for {seconds:.0f} s"


async def silence(world: World, dice: random.Random) -> str:
    """Swallow what goes to and from the database, from now or from some byte on."""
    seconds, after = dice.uniform(1, 12), dice.choice([None, dice.randrange(1, 200_000)])
    async with one_of(world, dice) as member:
        if after is None:
            member.proxy.silence()
        else:
            member.proxy.silence_after(after)
        await asyncio.sleep(seconds)
        member.proxy.resume()
    return f"database silent to {member} for {seconds:.0f} s"


async def cut(world: World, dice: random.Random) -> str:
    """Reset the connections to the database, now or at some byte."""
    async with one_of(world, dice) as member:
        if dice.random() < 0.3:
            member.proxy.cut()
        else:
            member.proxy.cut_after(dice.randrange(1, 200_000))
            await asyncio.sleep(dice.uniform(0.5, 2))
    return f"database connections of {member} cut"


async def market_fails(world: World, dice: random.Random) -> str:
    """Let the marketplace fail for some seconds; then somebody asks for a run."""
    what = await world.market.fails(dice)
    await asyncio.sleep(dice.uniform(1, 8))
    await world.market.behaves()
    await world.asks_for_runs()
    return what


async def edit(world: World, dice: random.Random) -> str:
    """Write to the ledger by hand."""
    words = {FAIL: "set to failed", DELETE: "deleted", FORGET: "some rows deleted", INSERT: "inserted"}
    query = dice.choice(list(words))
    arguments = [dice.choice(ACCOUNTS)] if query == INSERT else []
    with suppress(*AWAY):
        await world.sql(lambda conn: conn.execute(query, *arguments))
    return f"ledger by hand: {words[query]}"


async def lock(world: World, dice: random.Random) -> str:
    """Lock a table for seconds."""
    table, seconds = dice.choice(TABLES), dice.uniform(1, 8)

    async def hold(conn: Connection) -> None:
        async with conn.transaction():
            await conn.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(seconds)

    with suppress(*AWAY):
        await world.sql(hold)
    return f"{table} locked for {seconds:.0f} s"


async def clean_up(world: World, dice: random.Random) -> str:
    """Have a daemon end what runs, by its own API."""
    with suppress(*AWAY):
        for row in await world.sql(lambda conn: conn.fetch(RUNNING)):
            await dice.choice(world.members).ask("DELETE", f"/api/v1/emag/products/sync/{row['id']}")
    await dice.choice(world.members).ask("POST", "/api/v1/emag/products/cleanup-stuck-syncs?timeout_minutes=5")
    return "runs cancelled and cleaned up by the API"


FAULTS: Mapping[str, tuple[int, Act]] = {
    "kill -9": (4, kill),
    "kill -9 of all": (1, kill_all),
    "SIGSTOP past the lease": (2, stop_and_continue),
    "SIGTERM": (2, terminate),
    "SIGHUP": (1, reload),
    "backends terminated": (2, terminate_backends),
    "PostgreSQL stopped": (2, stop_server),
    "database silent": (2, silence),
    "database cut": (2, cut),
    "marketplace fails": (5, market_fails),
    "ledger by hand": (3, edit),
    "table locked": (2, lock),
    "API ends runs": (1, clean_up),
}
"""Each kind of fault with its share in what is drawn."""


def drawn(dice: random.Random) -> list[str]:
    """Draw one fault, or at times two or three that come at once."""
    shares = [share for share, _ in FAULTS.values()]
    return list(dict.fromkeys(dice.choices(list(FAULTS), shares, k=dice.choices([1, 2, 3], [6, 3, 1])[0])))
