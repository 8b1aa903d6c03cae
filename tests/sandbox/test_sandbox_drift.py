"""Catalogues that move while they are read."""

from tests.sandbox.caller import READ, Caller, until

from emag_syncd.sandbox import Sandbox


async def test_drift_changes_the_catalogue_between_two_reads(main: Caller) -> None:
    """An insertion at the front before the second read makes it repeat the last row of the first."""
    main.account.drift.before(2, lambda catalogue: catalogue.add(front=True))
    first = (await main.post(READ, currentPage=1, itemsPerPage=10)).ids
    second = (await main.post(READ, currentPage=2, itemsPerPage=10)).ids
    assert second[0] == first[-1]


async def test_catalogues_move_by_themselves(main: Caller, fbe: Caller, sandbox: Sandbox) -> None:
    """`moving` changes that many offers a second, fractions added up, in that account alone."""
    before = dict(main.account.catalogue.truth())
    main.account.moving = 2.5
    version = main.account.catalogue.version
    sandbox.move(1.0)
    sandbox.move(1.0)
    assert main.account.catalogue.version == version + 5
    assert 1 <= sum(before[offer] != row for offer, row in main.account.catalogue.truth()) <= 5
    assert fbe.account.catalogue.version == 0


async def test_a_running_marketplace_moves(main: Caller) -> None:
    """While it runs nobody has to push it."""
    main.account.moving = 1000
    await until(lambda: main.account.catalogue.version > 0)
