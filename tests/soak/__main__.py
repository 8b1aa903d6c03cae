"""Everything at once, for minutes: ``python -m tests.soak [--minutes N] [--seed N] [--daemons N] [--report FILE]``."""

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from emag_syncd.config import Log
from emag_syncd.telemetry.logging import configure_logging
from tests.soak.faults import FAULTS, drawn
from tests.soak.market import ACCOUNTS
from tests.soak.members import KILLED, STARTING, Member
from tests.soak.report import Report
from tests.soak.watch import Watch
from tests.soak.world import SHUTDOWN_SECONDS, World, world
from tests.support.history import Expected, violations
from tests.support.offers import Connection
from tests.support.server import reachable_folder
from tests.support.waiting import until

WELL_SECONDS = 60.0
START_SECONDS = 90.0
RUN_SECONDS = 120.0
CHECK_EVERY = 10

COMPLETED = """
SELECT count(DISTINCT account_type) FROM emag_sync_logs
WHERE operation = 'full_sync' AND status = 'completed' AND started_at > $1
"""
FIGURES = """
SELECT (SELECT count(*) FROM emag_sync_logs) AS "runs on record",
    (SELECT count(*) FROM emag_product_changes) AS "changes on record",
    (SELECT sum(pages_processed) FROM emag_sync_logs)::bigint AS "pages of these runs",
    (SELECT count(*) FROM emag_sync_rejects) AS "rows set aside",
    (SELECT count(*) FROM emag_api_calls) AS "calls logged",
    (SELECT count(*) FROM emag_products) AS "offers stored"
"""
OUTCOMES = """
SELECT concat_ws(' ', operation, status, errors -> -1 ->> 'kind') AS outcome, count(*) AS times
FROM emag_sync_logs GROUP BY 1
"""
INTERNAL = """
SELECT format('run %s ended with an error inside emag-syncd: %s', id, errors) FROM emag_sync_logs
WHERE errors @> '[{"kind": "internal"}]'
"""


def main() -> int:
    """Soak; 1 when anything was found that must not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--daemons", type=int, default=3)
    parser.add_argument("--report", type=Path, help="write the report to this file, too")
    options = parser.parse_args()
    configure_logging(Log(level="error"))
    # Whoever ends the soak ends its processes, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report(options.seed, options.minutes, options.daemons)
    say(f"seed {options.seed}: {options.minutes:g} minutes, {options.daemons} daemons")
    with reachable_folder() as folder:
        asyncio.run(soak(report, folder))
    page = report.markdown()
    say(page)
    if options.report is not None:
        options.report.write_text(page)
    return 1 if report.violations else 0


def say(text: str) -> None:
    """Tell whoever watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def soak(report: Report, folder: Path) -> None:
    """Do everything, and write it into ``report``."""
    async with world(report.seed, report.daemons, folder) as everything:
        await everything.becomes_well(within=START_SECONDS)
        watch = Watch(everything)
        at_work = [asyncio.create_task(watch.run())]
        moving = asyncio.create_task(everything.market.moves(random.Random(report.seed)))
        try:
            await strike(everything, report)
            moving.cancel()
            await finish(everything)
            at_work.append(moving)
        finally:
            for task in at_work:
                task.cancel()
        report.figures["looks at the ledger while it ran"] = watch.looks
        await conclude(everything, report)


async def strike(everything: World, report: Report) -> None:
    """Do faults until the time is over."""
    began, number = time.monotonic(), 0
    while (at := time.monotonic() - began) < report.minutes * 60:
        await asyncio.sleep(everything.dice.uniform(0, 2))
        kinds = drawn(everything.dice)
        # Each has dice of its own, so that what comes at once draws the same however it is interleaved.
        dices = [random.Random(everything.dice.random()) for _ in kinds]
        what = await asyncio.gather(
            *(FAULTS[kind][1](everything, dice) for kind, dice in zip(kinds, dices, strict=True))
        )
        seconds = await everything.becomes_well(within=WELL_SECONDS)
        report.recoveries.append((tuple(kinds), seconds))
        say(f"{at // 60:02.0f}:{at % 60:02.0f}  {' + '.join(what)}: well after {seconds:.1f} s")
        number += 1
        if number % CHECK_EVERY == 0:
            everything.wrong += await violations(everything.dsn, Expected(grace_seconds=WELL_SECONDS, edited=True))
        for wrong in everything.wrong[len(report.violations) :]:
            say(f"       WRONG: {wrong}")
            report.violations.append(wrong)


async def finish(everything: World) -> None:
    """Let everything be well, and one full run of each account complete on a marketplace that rests."""
    await everything.market.behaves()
    await everything.market.rests()
    await everything.becomes_well(within=WELL_SECONDS)
    rests_since = await everything.sql(lambda conn: conn.fetchval("SELECT clock_timestamp()"))

    async def all_completed() -> bool:
        await asyncio.sleep(0.5)
        await everything.asks_for_runs()
        return bool(await everything.sql(lambda conn: conn.fetchval(COMPLETED, rests_since)) == len(ACCOUNTS))

    try:
        await until(all_completed, within=RUN_SECONDS)
    except TimeoutError:
        everything.wrong.append(f"no full run of each account within {RUN_SECONDS:g} s of the last fault")
    await asyncio.gather(*(leave(member) for member in everything.members))


async def leave(member: Member) -> None:
    """End a daemon for good."""
    member.is_leaving = True
    await member.ends(signal.SIGTERM, "on SIGTERM at the end", within=SHUTDOWN_SECONDS + 5)


async def conclude(everything: World, report: Report) -> None:
    """Check the history, and count."""
    truth = {name: await everything.market.truth(name) for name in ACCOUNTS}
    everything.wrong += await violations(everything.dsn, Expected(edited=True, truth=truth))
    for name in ACCOUNTS:
        everything.wrong += [
            f"the marketplace complains: {one}" for one in await everything.market.tell("violations", name)
        ]

    async def count(conn: Connection) -> None:
        report.figures |= dict(await conn.fetchrow(FIGURES) or {})
        report.runs = {row["outcome"]: row["times"] for row in await conn.fetch(OUTCOMES)}
        everything.wrong += [row[0] for row in await conn.fetch(INTERNAL)]

    await everything.sql(count)
    exits = [one for member in everything.members for one in member.exits]
    everything.wrong += [what for member in everything.members for what in member.broken]
    # Where there is no database it does not start; once it is up, nothing but a signal ends it.
    everything.wrong += [
        f"a daemon ended {why} with {code}" for why, code in exits if why not in {KILLED, STARTING} and code != 0
    ]
    report.exits = Counter(f"{why}, exit code {code}" for why, code in exits)
    report.violations = everything.wrong


if __name__ == "__main__":
    sys.exit(main())
