"""What the other tools are told of the marketplace. Their interpreters run it: it needs the standard library alone."""

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

STREAM = "offers"
PAGE = 100

_TEXT = "part_number_key part_number name brand brand_name description url currency weight safety_information"
_WHOLE = (
    "category_id vendor_category_id warranty vat_id general_stock estimated_stock status number_of_offers"
    " buy_button_rank genius_eligibility genius_eligibility_type genius_computed reversible_vat_charging"
)
_NUMBER = (
    "sale_price recommended_price min_sale_price max_sale_price best_offer_sale_price best_offer_recommended_price"
    " commission"
)
_FLAG = "ownership manufacturer eu_representative has_smart_deals_badge"
_LIST = (
    "ean stock handling_time availability start_date images attachments characteristics validation_status"
    " translation_validation_status offer_properties"
)
_OBJECT = "family offer_validation_status offer_details"

_NULLABLE = {
    "string": f"{_TEXT} doc_errors rrp_guidelines",
    "integer": _WHOLE,
    "number": _NUMBER,
    "boolean": _FLAG,
    "array": _LIST,
    "object": _OBJECT,
}

PROPERTIES: dict[str, list[str]] = {
    "id": ["integer"],
    **{name: ["null", kind] for kind, names in _NULLABLE.items() for name in names.split()},
}
"""Every key of an offer that the simulated marketplace gives, with its types in JSON."""

NESTED = [name for name, kinds in PROPERTIES.items() if kinds[-1] in {"array", "object"}]


def schema() -> dict[str, Any]:
    """Return the JSON schema of an offer."""
    kinds: dict[str, dict[str, Any]] = {
        "array": {"items": {}},
        "object": {"additionalProperties": True, "properties": {}},
    }
    return {
        "type": "object",
        "properties": {name: {"type": types, **kinds.get(types[-1], {})} for name, types in PROPERTIES.items()},
    }


def setting(name: str) -> str:
    """Return what the benchmark says to the tool that it runs."""
    return os.environ[f"BENCH_{name}"]


def pages() -> Iterator[list[dict[str, Any]]]:
    """Give page after page, over one connection."""
    url = urlsplit(setting("URL"))
    connection = HTTPConnection(url.netloc)
    login = b64encode(f"{setting('USER')}:{setting('PASSWORD')}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {login}"}
    number = 1
    while True:
        body = json.dumps({"currentPage": number, "itemsPerPage": PAGE})
        connection.request("POST", f"{url.path}/product_offer/read", body, headers)
        results: list[dict[str, Any]] = json.loads(connection.getresponse().read())["results"]
        if not results:
            return
        yield results
        number += 1
