"""The processes of a measurement: the simulated marketplace, and the workers that are measured."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

PASSWORD = "sandbox-main"
USERNAME = "main@sandbox.example"


@asynccontextmanager
async def marketplace(offers: int, *options: str) -> AsyncIterator[str]:
    """Run a simulated marketplace with one account; gives its base URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emag_syncd.sandbox", "--accounts", "main", "--offers", str(offers)),
        *("--port", "0", "--exit-with-parent", "--no-odd", *options),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        announced = (await process.stdout.readline()).decode()
        yield announced.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        await process.wait()


async def worker(module: str, *arguments: str) -> dict[str, Any]:
    """Run a worker and return what it measured."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.bench.{module}", *arguments), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{module} {' '.join(_public(arguments))} failed")
    found: dict[str, Any] = json.loads(out)
    return found


def _public(arguments: Sequence[str]) -> list[str]:
    return [argument for argument in arguments if "://" not in argument]
