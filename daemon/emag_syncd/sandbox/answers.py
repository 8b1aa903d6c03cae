"""Bodies of answers: the envelope, and what stands in it when things go wrong."""

from collections.abc import Iterable
from math import ceil
from typing import Any, Final, NamedTuple

import msgspec

JSON: Final = "application/json"
HTML: Final = "text/html"

NOT_ALLOWED: Final = b'{"isError":true,"messages":["You are not allowed to use this API."],"results":[]}'
RATE_EXCEEDED: Final = b'{"message":"API rate limit exceeded"}'


class Answer(NamedTuple):
    """A complete answer, before a fault of the wire may spoil it."""

    status: int
    body: bytes
    content_type: str = JSON
    rows: int = 0


def listed(rows: Iterable[bytes]) -> bytes:
    """A list of JSON values."""
    return b"[" + b",".join(rows) + b"]"


def keyed(rows: Iterable[bytes]) -> bytes:
    """The same as PHP writes it when a row before was dropped: an object with numbers for keys."""
    return b"{" + b",".join(b'"%d":%b' % item for item in enumerate(rows, start=1)) + b"}"


def envelope(results: bytes) -> bytes:
    """The documented envelope of a success."""
    return b'{"isError":false,"messages":[],"results":' + results + b"}"


def count_results(total: int, size: int) -> dict[str, Any]:
    """The results of count, in numbers."""
    return {"noOfItems": total, "noOfPages": ceil(total / size), "itemsPerPage": size}


def refusal(messages: list[Any]) -> bytes:
    """An envelope that says that it failed."""
    return msgspec.json.encode({"isError": True, "messages": messages, "results": []})


def bad_ip(address: str | None) -> bytes:
    """What a caller with another address is told."""
    return refusal([f"ERROR: Invalid vendor ip [{address}]"])


def page_of_gateway(status: int, text: str) -> bytes:
    """An HTML page as the gateway sends it."""
    head = f"<html>\r\n<head><title>{status} {text}</title></head>\r\n<body>\r\n"
    body = f"<center><h1>{status} {text}</h1></center>\r\n<hr><center>openresty</center>"
    return f"{head}{body}</body></html>".encode()


_BY_STATUS: Final[dict[int, tuple[bytes, str]]] = {
    204: (b"", JSON),
    400: (b'{"message":"Bad request"}', JSON),
    401: (b'{"message":"Invalid authentication credentials"}', JSON),
    403: (NOT_ALLOWED, JSON),
    404: (b'{"message":"no Route matched with those values"}', JSON),
    408: (page_of_gateway(408, "Request Time-out"), HTML),
    422: (refusal(["Validation failed", {"message": "currentPage is not valid"}]), JSON),
    429: (RATE_EXCEEDED, JSON),
    500: (refusal(["Internal error, please try again later."]), JSON),
    502: (page_of_gateway(502, "Bad Gateway"), HTML),
    503: (page_of_gateway(503, "Service Temporarily Unavailable"), HTML),
    504: (page_of_gateway(504, "Gateway Time-out"), HTML),
}


def failed(status: int) -> Answer:
    """The answer that goes with a status."""
    body, content_type = _BY_STATUS.get(status, (page_of_gateway(status, "Error"), HTML))
    return Answer(status, body, content_type)
