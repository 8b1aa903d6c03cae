"""`/_control`: the knobs of a marketplace that runs as a process of its own."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any, Final

import msgspec
from aiohttp import web

from emag_syncd.sandbox.account import Account
from emag_syncd.sandbox.answers import JSON
from emag_syncd.sandbox.catalogue import Catalogue
from emag_syncd.sandbox.dice import Dice
from emag_syncd.sandbox.faults import Fault

CONTROL: Final = "/_control"
_LINES: Final = 500

Arguments = dict[str, Any]
Operation = Callable[[Account, Arguments], Any]


class Control:
    """Takes `{"op": NAME, "account": NAME, …}` and answers with JSON; `truth` answers with JSON lines."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Does one operation; 400 says what was wrong with it."""
        try:
            arguments: Arguments = msgspec.json.decode(await request.read(), type=dict[str, Any])
            account = self._accounts[arguments.pop("account")]
            name = arguments.pop("op")
            if name == "truth":
                return await _truth(request, account)
            result = OPERATIONS[name](account, arguments)
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.Response(body=msgspec.json.encode(result, enc_hook=list), content_type=JSON)


async def _truth(request: web.Request, account: Account) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
    await response.prepare(request)
    async for chunk in _lines(account.catalogue):
        await response.write(chunk)
    return response


async def _lines(catalogue: Catalogue) -> AsyncIterator[bytes]:
    truth = catalogue.truth()
    while some := list(islice(truth, _LINES)):
        yield b"".join(b'{"id":%d,"offer":%b}\n' % item for item in some)


def _add(account: Account, arguments: Arguments) -> list[int]:
    number, fields = arguments.pop("number", 1), arguments.pop("fields", {})
    return [account.catalogue.add(**arguments, **fields) for _ in range(number)]


def _mutate(account: Account, arguments: Arguments) -> list[int]:
    return account.catalogue.mutate_randomly(Dice("control", arguments.get("seed", 0)), arguments["number"])


def _fault(account: Account, arguments: Arguments) -> None:
    account.faults.add(Fault(**arguments))


def _drift(account: Account, arguments: Arguments) -> None:
    """Plans a change right before a read: `{"read": 3, "change": {"op": "remove", "ids": [1001]}}`."""
    change = dict(arguments["change"])
    operation = CHANGES[change.pop("op")]
    account.drift.before(arguments["read"], lambda _catalogue: operation(account, change))


def _set(account: Account, arguments: Arguments) -> None:
    """Turns knobs by their path: `{"limits.per_second": null, "latency.low": 0.3, "moving": 5}`."""
    for path, value in arguments.items():
        *parents, knob = path.split(".")
        target: Any = account
        for parent in parents:
            target = getattr(target, parent)
        if not hasattr(target, knob):
            raise LookupError(f"no knob {path}")
        setattr(target, knob, frozenset(value) if isinstance(value, list) else value)


CHANGES: Final[dict[str, Operation]] = {
    "add": _add,
    "mutate": _mutate,
    "remove": lambda account, arguments: account.catalogue.remove(*arguments["ids"]),
    "update": lambda account, arguments: account.catalogue.update(arguments["id"], **arguments["fields"]),
    "move_to_front": lambda account, arguments: account.catalogue.move_to_front(arguments["id"]),
    "shuffle": lambda account, arguments: account.catalogue.shuffle(Dice("control", arguments.get("seed", 0))),
    "duplicate": lambda account, arguments: account.catalogue.duplicate(arguments["id"]),
    "add_unusable": lambda account, arguments: account.catalogue.add_unusable(**arguments),
}

OPERATIONS: Final[dict[str, Operation]] = CHANGES | {
    "set": _set,
    "fault": _fault,
    "clear_faults": lambda account, _: account.faults.clear(),
    "drift": _drift,
    "spend": lambda account, arguments: account.limits.spend(arguments["requests"]),
    "ids": lambda account, _: account.catalogue.ids,
    "stats": lambda account, _: account.stats.summary(),
    "violations": lambda account, _: list(account.stats.violations),
    "exchanges": lambda account, _: [asdict(exchange) for exchange in account.stats.exchanges],
    "reset_stats": lambda account, _: account.stats.reset(),
}
