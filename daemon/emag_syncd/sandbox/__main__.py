"""The simulated marketplace as a process: `python -m emag_syncd.sandbox`."""

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from emag_syncd.sandbox.account import AccountSpec
from emag_syncd.sandbox.oddities import PLAIN, Oddities
from emag_syncd.sandbox.products import CURRENCIES
from emag_syncd.sandbox.server import Sandbox

_PR_SET_PDEATHSIG: Final = 1
_ODD: Final = Oddities(odd=0.2, unfit=0.02)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT; 1 when it could not begin."""
    options = _parser().parse_args(arguments)
    if options.exit_with_parent and not die_with_parent():
        return 1
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emag_syncd.sandbox", description=__doc__)
    parser.add_argument("--offers", type=int, default=2500, help="offers of each account")
    parser.add_argument("--accounts", type=_names, default=["main", "fbe"], help="names with commas, or how many")
    parser.add_argument("--platform", choices=sorted(CURRENCIES), default="emag-ro")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--limits", choices=("on", "off"), default="on")
    parser.add_argument("--latency", type=_seconds, default=(0.0, 0.0), help="seconds: one number, or LOW,HIGH")
    parser.add_argument("--odd", action=argparse.BooleanOptionalAction, default=True, help="odd types in some offers")
    parser.add_argument("--moving", type=float, default=0.0, help="changes a second in each account")
    parser.add_argument("--preencode", type=int, default=0, help="encoded rows to keep in memory, for benchmarks")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the process that started it dies")
    return parser


def _names(text: str) -> list[str]:
    return [f"a{number:04d}" for number in range(int(text))] if text.isdigit() else text.split(",")


def _seconds(text: str) -> tuple[float, float]:
    low, _, high = text.partition(",")
    return float(low), float(high or low)


async def _serve(options: argparse.Namespace) -> None:
    spec = AccountSpec(
        offers=options.offers,
        platform=options.platform,
        seed=options.seed,
        oddities=_ODD if options.odd else PLAIN,
        preencode=options.preencode,
        limited=options.limits == "on",
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    names = dict.fromkeys(options.accounts, spec)
    async with Sandbox(names, host=options.host, port=options.port, control=True) as sandbox:
        for account in sandbox.accounts.values():
            account.latency.low, account.latency.high = options.latency
            account.moving = options.moving
        sys.stdout.write(f"listening on {sandbox.base_url}\n")
        sys.stdout.flush()
        await stop.wait()


def die_with_parent() -> bool:
    """Asks the kernel for SIGTERM when the parent dies; False when it is dead already."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == parent


if __name__ == "__main__":
    sys.exit(main())
