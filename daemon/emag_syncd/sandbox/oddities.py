"""Every odd type that was ever seen in an offer, dealt out to a deterministic share of a catalogue.

Three classes, because different things are expected of a client:

* `ODD`: unusual, yet every column can be filled (or is rightly null);
* `UNFIT`: one value fits no column: the column stays null, the offer is mirrored all the same;
* `UNUSABLE`: rows without a usable id, on top of the offers: to be set aside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Raw

from emag_syncd.sandbox.dice import mix

Offer = dict[str, Any]
Oddity = Callable[[Offer], None]


@dataclass(frozen=True, slots=True)
class Oddities:
    """How odd a catalogue is.

    `odd` and `unfit` are the shares of offers (0..1) that show one oddity of their class; `unusable` and
    `duplicates` are numbers of extra rows; `only` narrows the kinds; `counted` makes `count` include extras.
    """

    odd: float = 0.0
    unfit: float = 0.0
    unusable: int = 0
    duplicates: int = 0
    only: frozenset[str] | None = None
    counted: bool = False

    def of(self, seed: int, offer_id: int) -> tuple[str, ...]:
        """The names of the oddities that an offer shows."""
        if not (self.odd or self.unfit):
            return ()
        bits = mix(seed ^ mix(offer_id))
        names = (_deal(self._kinds(ODD), self.odd, bits), _deal(self._kinds(UNFIT), self.unfit, mix(bits)))
        return tuple(name for name in names if name)

    def unusable_kinds(self) -> tuple[str, ...]:
        """The kinds of unusable rows that may come."""
        return tuple(name for name in UNUSABLE if self.only is None or name in self.only)

    def _kinds(self, group: dict[str, Oddity]) -> tuple[str, ...]:
        return tuple(group) if self.only is None else tuple(name for name in group if name in self.only)


PLAIN: Final = Oddities()


def _deal(kinds: tuple[str, ...], share: float, bits: int) -> str | None:
    if not kinds or (bits & 0xFFFF) >= share * 0x10000:
        return None
    return kinds[(bits >> 16) % len(kinds)]


def apply(name: str, offer: Offer) -> None:
    """Makes an offer odd in the named way."""
    (ODD.get(name) or UNFIT[name])(offer)


def _put(**values: Any) -> Oddity:
    return lambda offer: offer.update(values)


def _text(*keys: str) -> Oddity:
    def change(offer: Offer) -> None:
        offer.update({key: str(offer[key]) for key in keys if offer.get(key) is not None})

    return change


def _without(*keys: str) -> Oddity:
    def change(offer: Offer) -> None:
        for key in keys:
            offer.pop(key, None)

    return change


def _map(key: str, change: Callable[[Any], Any]) -> Oddity:
    def apply_to(offer: Offer) -> None:
        offer[key] = change(offer[key])

    return apply_to


def _key_order(offer: Offer) -> None:
    items = list(offer.items())
    offer.clear()
    offer.update(reversed(items))


def _nested(depth: int) -> Raw:
    return Raw(b'{"a":[' * depth + b"1" + b"]}" * depth)


def _rejection(errors: int) -> list[dict[str, Any]]:
    """A verdict with errors whose message is a dict by locale, as rejected documentation has."""
    message = {"ro_RO": "Titlul conține caractere nepermise. " * 4, "en_GB": "The title is not allowed. " * 4}
    found = {"errors": [{"code": 1000 + n, "field": f"f{n}", "message": message} for n in range(errors)]}
    return [{"value": 8, "description": "Rejected documentation", "errors": found}]


ODD: Final[dict[str, Oddity]] = {
    "id_text": _text("id"),
    "prices_text": _text("sale_price", "recommended_price", "min_sale_price", "max_sale_price"),
    "price_padded": lambda offer: offer.update(sale_price=f"{offer['sale_price']:.4f}"),
    "stock_text": _text("general_stock", "estimated_stock", "warranty", "category_id"),
    "status_text": _text("status", "number_of_offers", "vat_id"),
    "ownership_number": _put(ownership=2),
    "ean_single_text": _map("ean", lambda ean: ean[0]),
    "ean_single_number": _map("ean", lambda ean: int(ean[0])),
    "ean_leading_zeros": _put(ean=["0012345678905", "00000017"]),
    "ean_numbers": _map("ean", lambda ean: [int(ean[0])]),
    "ean_empty": _put(ean=[]),
    "validation_object": _map("validation_status", lambda status: status[0]),
    "validation_huge_errors": _put(validation_status=_rejection(120)),
    "validation_errors_list": _map("validation_status", lambda status: [status[0] | {"errors": []}]),
    "validation_text": _map("validation_status", lambda status: [status[0] | {"value": str(status[0]["value"])}]),
    "offer_validation_list": _map("offer_validation_status", lambda status: [status]),
    "translation_null": _put(translation_validation_status=None),
    "translation_object": _map("translation_validation_status", lambda status: status[0]),
    "family_null": _put(family=None),
    "family_list": _put(family=[]),
    "family_full": _put(family={"id": 77, "name": "Cabluri", "family_type_id": 95}),
    "empty_objects_as_lists": _put(family=[], offer_details=[], offer_properties=[], campaign=[]),
    "part_number_missing": _without("part_number"),
    "part_number_empty": _put(part_number=""),
    "key_null": _put(part_number_key=None),
    "stock_missing": _without("stock"),
    "stock_empty": _put(stock=[]),
    "stock_no_warehouse": _map("stock", lambda stock: [{"value": row["value"]} for row in stock]),
    "recommended_missing": _without("recommended_price", "best_offer_sale_price", "best_offer_recommended_price"),
    "genius_missing": _without("genius_eligibility", "genius_eligibility_type", "genius_computed"),
    "nulls": _put(recommended_price=None, min_sale_price=None, max_sale_price=None, warranty=None, category_id=None),
    "extra_keys": _put(green_tax={"value": 1.5}, campaign=None, **{"șir nou": [1, {"x": None}], "": 0}),
    "html_entities": _put(name="Ceai &quot;Muntele&quot; &amp; fiii &ndash; 100&nbsp;g", brand="T&amp;T"),
    "description_huge": _put(description="<p>Descriere foarte lungă.</p>" * 9000),
    "description_null": _put(description=None),
    "start_date_text": _put(start_date=""),
    "images_unordered": _map("images", lambda images: [*images[::-1], {"url": "https://x/0.jpg", "display_type": 0}]),
    "images_empty": _put(images=[]),
    "characteristics_unordered": _map("characteristics", lambda rows: [*rows[::-1], rows[0] | {"tag": "original"}]),
    "key_order": _key_order,
    "nul_characters": _put(name="Cablu\x00 USB", description="\x00", offer_details={"a\x00b": "\x00"}),
    "lone_surrogates": lambda offer: offer.update(name=Raw(b'"Cablu \\ud83d rupt"'), url=Raw(b'"\\udc00"')),
    "deep_nesting": lambda offer: offer.update(offer_properties=_nested(100)),
    "emoji": _put(name="Cablu 🔌 “premium” \u202e\ufeff"),
}

UNFIT: Final[dict[str, Oddity]] = {
    "price_too_large": _put(sale_price=1e12),
    "price_word": _put(sale_price="abc"),
    "price_comma": _put(sale_price="28,9256"),
    "price_beyond_float": lambda offer: offer.update(sale_price=Raw(b"1e400")),
    "price_not_a_number": _put(sale_price="NaN"),
    "price_infinite": _put(sale_price="Infinity"),
    "price_object": _put(sale_price={"amount": 12.5}),
    "stock_beyond_bigint": lambda offer: offer.update(general_stock=Raw(b"1" + b"0" * 20)),
    "stock_fraction": _put(general_stock=3.5),
    "status_word": _put(status="x"),
    "category_beyond_integer": _put(category_id=2**62),
    "warranty_word": _put(warranty="24 luni"),
    "ownership_word": _put(ownership="seller"),
    "name_list": _put(name=["Cablu", "USB"]),
    "ean_object": _put(ean={"value": []}),
    "validation_word": _put(validation_status="approved"),
    "images_of_text": _put(images=["https://x/1.jpg", None, 7]),
}

UNUSABLE: Final[dict[str, bytes]] = {
    "id_missing": b'{"part_number":"NO-ID","sale_price":1.5,"status":1}',
    "id_null": b'{"id":null,"part_number":"NULL-ID"}',
    "id_word": b'{"id":"forty-two","part_number":"WORD-ID"}',
    "id_empty": b'{"id":"","part_number":"EMPTY-ID"}',
    "id_zero": b'{"id":0,"part_number":"ZERO-ID"}',
    "id_negative": b'{"id":-17,"part_number":"NEGATIVE-ID"}',
    "id_true": b'{"id":true,"part_number":"BOOL-ID"}',
    "id_fraction": b'{"id":12.5,"part_number":"FRACTION-ID"}',
    "id_beyond_bigint": b'{"id":18446744073709551617,"part_number":"HUGE-ID"}',
    "id_list": b'{"id":[1001],"part_number":"LIST-ID"}',
    "item_null": b"null",
    "item_text": b'"Internal error"',
    "item_number": b"7",
    "item_list": b"[]",
    "item_empty": b"{}",
}
