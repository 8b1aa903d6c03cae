"""What goes wrong at the marketplace while a connection is tested: the answer says which of them it was."""

import asyncio

import pytest

from emag_syncd.domain.errors import SyncdError
from emag_syncd.sandbox import AccountSpec, Fault, Kind, Sandbox
from emag_syncd.web.connections import Connections
from tests.support.failures import FINAL, HARMLESS, PASSING, named
from tests.support.syncing import syncing

OFFERS = 3
IMPATIENT = {"max_attempts": 2, "request_timeout_seconds": 1.5}


@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
@pytest.mark.parametrize("resource", ["vat/read", "product_offer/count"])
async def test_each_fault_in_each_call_of_a_connection_test(
    database_url: str, resource: str, times: int | None
) -> None:
    """What may pass is tried again and forgotten; the rest is told under its name, with a remedy, and no password."""
    faults = PASSING | FINAL | {(kind, None): "" for kind in HARMLESS}
    specs = {named(fault): AccountSpec(OFFERS, limited=False) for fault in faults}
    few = asyncio.Semaphore(4)
    async with Sandbox(specs) as sandbox, syncing(sandbox, database_url, marketplace=IMPATIENT) as s:
        connections = Connections(s.core.accounts, s.core.recorder)

        async def meet(fault: tuple[Kind, int | None], kind: str) -> None:
            async with few:
                account = sandbox.accounts[named(fault)]
                account.faults.add(Fault(fault[0], resource=resource, value=fault[1], times=times, seconds=1))
                if (times and fault in PASSING) or fault[0] in HARMLESS:
                    assert (await connections.test(account.name))[1] == OFFERS, fault
                else:
                    with pytest.raises(SyncdError) as refused:
                        await connections.test(account.name)
                    assert refused.value.kind == kind, (fault, refused.value)
                    assert refused.value.remedy, fault
                    assert account.password not in f"{refused.value} {refused.value.remedy}", fault
                assert account.faults.struck[fault[0]] >= 1, fault
                account.faults.clear()
                assert (await connections.test(account.name))[1] == OFFERS, fault
                assert list(account.stats.violations) == [], fault

        await asyncio.gather(*(meet(fault, kind) for fault, kind in faults.items()))
