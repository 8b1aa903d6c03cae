"""What the offers of a catalogue look like: facts drawn from an id, and the JSON written around them."""

import json
import re
from base64 import b32encode
from functools import cache
from typing import Any, Final, NamedTuple

from emag_syncd.sandbox.dice import Dice, mix

FIRST_ID: Final = 1001
# Ids have gaps, so that nobody takes a position for an id.
ID_STEP: Final = 3
PROTOTYPES: Final = 96

CURRENCIES: Final = {"emag-ro": "RON", "emag-bg": "EUR", "emag-hu": "HUF", "fd-ro": "RON", "fd-bg": "EUR"}
VAT_RATES: Final = {"emag-ro": 0.21, "emag-bg": 0.2, "emag-hu": 0.27, "fd-ro": 0.21, "fd-bg": 0.2}
VALIDATION: Final = {
    0: "Draft",
    1: "In MKTP validation",
    2: "Awaiting brand approval",
    3: "Awaiting EAN approval",
    4: "New documentation pending approval",
    8: "Rejected documentation",
    9: "Approved documentation",
    10: "Blocked",
    11: "Update awaiting approval",
    12: "Update rejected",
    17: "Partially translated",
}

_STATUSES: Final = (1,) * 16 + (0,) * 3 + (2,)
_VALIDATIONS: Final = (9,) * 22 + (11,) * 4 + (12,) * 2 + (3, 1, 8, 10)
_TRANSLATIONS: Final = (9,) * 26 + (17,) * 4 + (1, 10)
# Before these a product has no key in eMAG's catalogue.
_KEYLESS: Final = frozenset({0, 1, 2, 4})

_BRANDS: Final = (
    "Voltora",
    "Casa Nordică",
    "Pixelhaus",
    "Brâncuși & Fiii",
    "Zéphyr",
    "Hämmerli",
    "Тракия",
    "Őrség",
)
_THINGS: Final = (
    "Cablu USB-C",
    "Lampă de birou",
    "Husă telefon",
    "Fierbător",
    "Șurubelniță",
    "Căști",
    "Rucsac",
    "Perie",
)
_COLOURS: Final = ("negru", "alb", "roșu", "verde", "albastru închis", "gri")
_SENTENCES: Final = (
    "Cablu &icirc;mpletit, rezistent la torsiune, cu conectori din aluminiu anodizat.",
    "Potrivit pentru &icirc;ncărcare rapidă &amp; transfer de date, compatibil cu toate dispozitivele.",
    "Garanție extinsă 24 de luni; retur gratuit &icirc;n 30 de zile, 100% bani &icirc;napoi.",
    "Dimensiuni compacte, greutate redusă, ușor de transportat &icirc;n geantă sau rucsac.",
    "Fabricat din materiale reciclabile, certificat CE și RoHS.",
)
_SALEABLE: Final = b'{"value": 1, "description": "Saleable", "errors": null}'
_INVALID_PRICE: Final = b'{"value": 2, "description": "Invalid price", "errors": null}'

# A template has a slot for each value that differs between offers; all prototypes have them in one order.
_CONVERSIONS: Final = {
    "part_number": '"EM-%07d"',
    "ean": "%010d",
    **dict.fromkeys(("key", "best", "rank", "own", "validation", "translation", "offer_validation"), "%b"),
}
_SLOT: Final = re.compile(r'"@(\w+)@"|@(\w+)@')


class Facts(NamedTuple):
    """What is true of an offer, in plain types: what filters ask for and what mutations start from."""

    id: int
    bits: int
    status: int
    price_units: int
    general_stock: int
    estimated_stock: int
    validation_status: int
    translation_validation_status: int
    offer_validation_status: int

    @property
    def sale_price(self) -> float:
        """Without VAT; a unit is the fourth decimal."""
        return self.price_units / 10_000

    @property
    def part_number(self) -> str:
        """The seller's own name for it: the same for the same id, whichever account asks."""
        return f"EM-{self.id:07d}"

    @property
    def part_number_key(self) -> str | None:
        """The key in eMAG's catalogue, once there is one: the same for the same id, too."""
        if self.validation_status in _KEYLESS:
            return None
        # A bijection of 40 bits: no two ids share a key.
        number = (self.id * 0x9E3779B97F & 0xFFFFFFFFFF) ^ 0x5555555555
        return "D" + b32encode(number.to_bytes(5, "big")).decode()


def facts(seed: int, offer_id: int) -> Facts:
    """The facts of an offer as it was first listed."""
    bits = mix(seed ^ (offer_id * 0x9E3779B97F4A7C15))
    stock = (0 if bits & 7 == 0 else (bits >> 3) % 240) if bits & 0x700 else (bits >> 3) % 5000
    return Facts(
        offer_id,
        bits,
        _STATUSES[(bits >> 11) % 20],
        15_000 + (bits >> 24) % 9_000_000,
        stock,
        stock - stock * (bits >> 16 & 3) // 16,
        _VALIDATIONS[(bits >> 20) & 31],
        _TRANSLATIONS[(bits >> 48) & 31],
        1 if (bits >> 53) % 25 else 2,
    )


def verdict(code: int) -> dict[str, Any]:
    """A validation status as the API words it."""
    return {"value": code, "description": VALIDATION.get(code, "Unknown"), "errors": None}


@cache
def _verdict_text(code: int) -> bytes:
    return json.dumps(verdict(code)).encode()


def render(platform: str, offer_id: int, fact: Facts) -> bytes:
    """An offer as JSON, the way PHP writes it (non-ASCII escaped)."""
    bits, units, stock, key = fact.bits, fact.price_units, fact.general_stock, fact.part_number_key
    offers = 1 + (bits >> 33) % 9
    return _templates(platform)[bits % PROTOTYPES] % (
        offer_id,
        b'"%b"' % key.encode() if key else b"null",
        offer_id,
        offer_id,
        units / 10_000,
        units // 80 / 100 if bits & 0x10000 else 0,
        units * 7 // 10 / 10_000,
        units * 21 // 10 / 10_000,
        b"%a" % (units * 24 // 25 / 10_000) if offers > 1 else b"null",
        mix(offer_id) % 10**10,
        stock,
        fact.estimated_stock,
        stock,
        fact.status,
        offer_id,
        offer_id,
        offers,
        b"%d" % (1 + (bits >> 40) % offers) if stock else b"null",
        b"true" if bits & 0x20000 else b"false",
        _verdict_text(fact.validation_status),
        _verdict_text(fact.translation_validation_status),
        _SALEABLE if fact.offer_validation_status == 1 else _INVALID_PRICE,
        900_000 + offer_id,
    )


@cache
def _templates(platform: str) -> tuple[bytes, ...]:
    return tuple(_template(_prototype(platform, Dice("product", platform, n))) for n in range(PROTOTYPES))


def _template(prototype: dict[str, Any]) -> bytes:
    text = json.dumps(prototype).replace("%", "%%")
    return _SLOT.sub(lambda slot: _CONVERSIONS.get(slot[1] or slot[2], "%a"), text).encode()


def _prototype(platform: str, dice: Dice) -> dict[str, Any]:
    thing, brand, colour = dice.choice(_THINGS), dice.choice(_BRANDS), dice.choice(_COLOURS)
    offer = _identity(dice, f"{thing} {brand}, {colour}", brand) | _trade(platform)
    return offer | _presence(platform, dice, colour) | _approval(platform, dice)


def _identity(dice: Dice, name: str, brand: str) -> dict[str, Any]:
    text = "".join(f"<p>{dice.choice(_SENTENCES)}</p>" for _ in range(4 + dice.below(4)))
    return {
        "id": "@id@",
        "part_number_key": "@key@",
        "part_number": "@part_number@",
        "name": name + ", model @serial@",
        "brand": brand,
        "brand_name": brand,
        "category_id": 1000 + dice.below(2000),
        "vendor_category_id": None,
        "description": text,
        "url": "",
        "warranty": dice.choice((12, 24, 36, None)),
    }


def _trade(platform: str) -> dict[str, Any]:
    return {
        "vat_id": 1,
        "sale_price": "@sale@",
        "recommended_price": "@recommended@",
        "min_sale_price": "@min@",
        "max_sale_price": "@max@",
        "best_offer_sale_price": "@best@",
        "best_offer_recommended_price": None,
        "currency": CURRENCIES[platform],
        "ean": ["594@ean@"],
        "general_stock": "@stock@",
        "estimated_stock": "@estimated@",
        "stock": [{"warehouse_id": 1, "value": "@stock@"}],
        "handling_time": [{"warehouse_id": 1, "value": 1}],
        "availability": [{"value": 3}],
        "status": "@status@",
        "start_date": [],
    }


def _presence(platform: str, dice: Dice, colour: str) -> dict[str, Any]:
    cdn = "https://cdn.example.ro/products"
    images = [{"url": f"{cdn}/@id@-{n}.jpg", "display_type": min(n, 2)} for n in (1, 2)]
    if platform in {"emag-bg", "emag-hu"}:
        # Kept under another key, so that a template has the same slots everywhere.
        shown: dict[str, Any] = {"images": [], "attachments": images}
    else:
        shown = {"images": images, "attachments": []}
    values = [{"id": 5400 + dice.below(4000), "value": dice.choice(("2 m", "60 W", "PVC", "IP54"))} for _ in range(9)]
    return shown | {
        "characteristics": [{"id": 9623, "value": colour}, *values],
        "family": {"id": 0, "name": "", "family_type_id": None},
        "number_of_offers": "@offers@",
        "buy_button_rank": "@rank@",
        "ownership": "@own@",
        "weight": f"{dice.uniform(0.05, 12):.2f}",
    }


def _approval(platform: str, dice: Dice) -> dict[str, Any]:
    genius = {"genius_eligibility": 1, "genius_eligibility_type": 1, "genius_computed": dice.below(2)}
    return {
        "validation_status": ["@validation@"],
        "translation_validation_status": ["@translation@"],
        "offer_validation_status": "@offer_validation@",
        **({} if platform.startswith("fd") else genius),
        "manufacturer": True,
        "eu_representative": False,
        "safety_information": None,
        "doc_errors": None,
        "offer_details": {"id": "@details@", "warranty_type": 1, "supply_lead_time": 14, "emag_club": 0},
        "offer_properties": [],
        "commission": None,
        "reversible_vat_charging": 0,
        "rrp_guidelines": None,
        "has_smart_deals_badge": False,
    }
