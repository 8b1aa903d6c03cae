"""A process that claims runs and then does nothing: what is left when it is killed is a daemon's legacy."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from emag_syncd.domain.runs import Operation, RunRequest, Trigger
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.supervision.worker import this_worker

ROOT = Path(__file__).parents[2]


def claimer(dsn: str, *accounts: str) -> "subprocess.Popen[str]":
    """Start a process that claims a run of each account, and return it once it has."""
    command = [sys.executable, "-m", "tests.support.claimer", dsn, *accounts]
    environ = {**os.environ, "PYTHONPATH": f"{ROOT / 'daemon'}:{ROOT}"}
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    return process


async def _claim(dsn: str, accounts: list[str]) -> None:
    database = await Database.open(dsn, pool_max_size=2)
    ledger = Ledger(database, worker_id=str(this_worker()), lease_seconds=3600)
    for account in accounts:
        await ledger.claim(RunRequest(account, Operation.FULL, Trigger.CLI), stale_after_seconds=900)
    sys.stdout.write("claimed\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_claim(sys.argv[1], sys.argv[2:]))
