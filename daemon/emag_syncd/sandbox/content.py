"""What is answered: rows and counts out of a catalogue, with the faults that alter them."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from emag_syncd.sandbox.account import Account
from emag_syncd.sandbox.answers import Answer, count_results, envelope, keyed, listed
from emag_syncd.sandbox.asked import MAX_PAGE_SIZE, Asked
from emag_syncd.sandbox.faults import Fault, Kind
from emag_syncd.sandbox.filters import NO_FILTERS
from emag_syncd.sandbox.products import VAT_RATES

Source = Callable[[Account, Asked, Fault | None], Answer]


def read_offers(account: Account, asked: Asked, fault: Fault | None) -> Answer:
    """`product_offer/read`."""
    account.drift.before_read(account.catalogue)
    rows = _rows(account, asked, fault)
    if fault and fault.kind is Kind.OBJECT_RESULT and len(rows) == 1:
        results = rows[0]
    elif fault and fault.kind is Kind.KEYED_RESULTS:
        results = keyed(rows)
    else:
        results = listed(rows)
    return Answer(200, envelope(results), rows=len(rows))


def _rows(account: Account, asked: Asked, fault: Fault | None) -> list[bytes]:
    page, size, filters = asked.page, asked.size, asked.filters
    kind = fault.kind if fault else None
    if kind is Kind.EMPTY_PAGE:
        return []
    if kind is Kind.REPEAT_PAGE:
        page = max(1, page - 1)
    elif kind is Kind.IGNORE_FILTERS:
        filters = NO_FILTERS
    elif kind is Kind.IGNORE_SIZE:
        size = MAX_PAGE_SIZE if size < MAX_PAGE_SIZE else 2 * MAX_PAGE_SIZE
    rows = account.catalogue.page(filters, page, size)
    if fault and kind is Kind.SHORT_PAGE:
        return rows[: -(fault.value or 1)]
    return rows


def count_offers(account: Account, asked: Asked, fault: Fault | None) -> Answer:
    """`product_offer/count`: numbers as strings, as it mostly is."""
    kind = fault.kind if fault else None
    filters = NO_FILTERS if kind is Kind.IGNORE_FILTERS else asked.filters
    off = (fault.value or 1) if fault and kind is Kind.COUNT_OFF else 0
    results: dict[str, Any] = count_results(max(0, account.catalogue.count(filters) + off), asked.size)
    if kind is not Kind.COUNT_NUMBERS:
        results = {key: str(value) for key, value in results.items()}
    if kind is Kind.COUNT_WORD:
        results["noOfItems"] = "many"
    return Answer(200, envelope(msgspec.json.encode(results)))


def read_vat(account: Account, _asked: Asked, _fault: Fault | None) -> Answer:
    """`vat/read`."""
    rates = (VAT_RATES[account.spec.platform], 0.11, 0)
    rows = [{"vat_id": n, "vat_rate": rate, "is_default": int(n == 1)} for n, rate in enumerate(rates, start=1)]
    return Answer(200, envelope(msgspec.json.encode(rows)))


SOURCES: Final[dict[str, Source]] = {
    "product_offer/read": read_offers,
    "product_offer/count": count_offers,
    "vat/read": read_vat,
}
