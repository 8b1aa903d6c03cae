"""The matrix of what a marketplace answers wrongly, and what each must be called."""

from emag_syncd.sandbox import Kind

UNAVAILABLE, REJECTED, PROTOCOL = "marketplace_unavailable", "marketplace_rejected", "protocol"

PASSING: dict[tuple[Kind, int | None], str] = {
    **{(Kind.STATUS, status): UNAVAILABLE for status in (408, 500, 502, 503, 504)},
    **{(kind, None): UNAVAILABLE for kind in (Kind.RESET, Kind.RESET_LATE, Kind.HANG, Kind.CUT, Kind.DRIP)},
    (Kind.STATUS, 204): PROTOCOL,
    **{(kind, None): PROTOCOL for kind in (Kind.HTML, Kind.EMPTY_BODY, Kind.BROKEN_JSON)},
    **{(kind, None): PROTOCOL for kind in (Kind.NO_IS_ERROR, Kind.NULL_IS_ERROR, Kind.TEXT_IS_ERROR)},
    **{(kind, None): PROTOCOL for kind in (Kind.NO_RESULTS, Kind.BAD_PACKING, Kind.HEADER_FLOOD, Kind.NOT_HTTP)},
}
"""What another attempt may not meet, and the kind of error when every attempt meets it."""

FINAL: dict[tuple[Kind, int | None], str] = {
    **{(Kind.STATUS, status): REJECTED for status in (400, 404, 422)},
    **{(Kind.STATUS, status): "credentials" for status in (401, 403)},
    **{(Kind.BAD_IP, status): "ip_not_allowed" for status in (200, 403)},
    **{(kind, None): REJECTED for kind in (Kind.ERROR_TEXTS, Kind.ERROR_OBJECTS, Kind.ERROR_KEYS)},
    **{(Kind.REDIRECT, status): PROTOCOL for status in (301, 302, 307, 308)},
}
"""What ends a run at once."""

HARMLESS = (Kind.BOM, Kind.WRONG_CHARSET, Kind.DUPLICATE_KEYS, Kind.DEEP, Kind.HUGE_NUMBER)
"""What is odd, and right all the same."""


def named(fault: tuple[Kind, int | None]) -> str:
    """Return the name of the account that has this fault."""
    return f"{fault[0].value}-{fault[1] or 'x'}"
