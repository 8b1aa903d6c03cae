"""What goes wrong, when, and how often."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from emag_syncd.sandbox.dice import Dice


class Kind(StrEnum):
    """Every way of failing that was seen, and some that will be."""

    STATUS = "status"  # an HTTP status with the body that belongs to it
    RESET = "reset"  # connection reset, nothing sent
    RESET_LATE = "reset_late"  # connection reset in mid-body
    HANG = "hang"  # no answer, ever
    CUT = "cut"  # Content-Length says more than comes
    HTML = "html"  # status 200, a maintenance page
    EMPTY_BODY = "empty_body"  # status 200, nothing in it
    BROKEN_JSON = "broken_json"  # status 200, length right, JSON ends too early
    NO_IS_ERROR = "no_is_error"  # good results in an envelope without isError
    NULL_IS_ERROR = "null_is_error"  # isError is null: not exactly false
    ERROR_TEXTS = "error_texts"  # isError true, messages are strings
    TEXT_IS_ERROR = "text_is_error"  # isError is the text "false"
    NO_RESULTS = "no_results"  # isError is false, and that is all
    ERROR_OBJECTS = "error_objects"  # isError true, messages are objects
    ERROR_KEYS = "error_keys"  # isError true, the reasons under `errors`
    BAD_PACKING = "bad_packing"  # said to be gzip, and is not
    BOMB = "bomb"  # a body without end, packed into little
    HEADER_FLOOD = "header_flood"  # headers without end
    NOT_HTTP = "not_http"  # another protocol's greeting
    CLOSE_AFTER = "close_after"  # the right answer, then the connection is gone though it was to be kept
    BOM = "bom"  # a byte order mark before the right answer
    WRONG_CHARSET = "wrong_charset"  # the right answer, under a charset that it is not in
    DUPLICATE_KEYS = "duplicate_keys"  # isError stands twice, the last time right
    DEEP = "deep"  # an extra key, nested 100 000 levels deep
    HUGE_NUMBER = "huge_number"  # an extra key with a number beyond all measure
    BAD_IP = "bad_ip"  # "Invalid vendor ip", with the status given
    DRIP = "drip"  # the right answer, a byte at a time
    ENDLESS = "endless"  # a body without end
    REDIRECT = "redirect"  # to another host name, with the status given (302)
    REPEAT_PAGE = "repeat_page"  # the page before the one asked for
    IGNORE_FILTERS = "ignore_filters"
    IGNORE_SIZE = "ignore_size"  # more rows than asked for
    EMPTY_PAGE = "empty_page"  # no rows although there are
    SHORT_PAGE = "short_page"  # the last `value` rows are missing
    COUNT_OFF = "count_off"  # count is wrong by `value`
    COUNT_NUMBERS = "count_numbers"  # count in numbers, not strings
    COUNT_WORD = "count_word"  # count is no number at all
    OBJECT_RESULT = "object_result"  # a list of one as the bare object
    KEYED_RESULTS = "keyed_results"  # a list as an object with "0", "1", …


# These alter what is answered; all others alter how.
CONTENT_KINDS: Final = frozenset(
    {
        Kind.REPEAT_PAGE,
        Kind.IGNORE_FILTERS,
        Kind.IGNORE_SIZE,
        Kind.EMPTY_PAGE,
        Kind.SHORT_PAGE,
        Kind.COUNT_OFF,
        Kind.COUNT_NUMBERS,
        Kind.COUNT_WORD,
        Kind.OBJECT_RESULT,
        Kind.KEYED_RESULTS,
    }
)


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    It hits requests for `resource` (as `product_offer/read`; None: any) and `page` (None: any) that ask for
    more than `above_size` rows, lets the first `skip` of them pass, and then strikes `times` times (None:
    always) with `probability`. `value` is the status, the number of rows, or the error of a count; `seconds`
    the pause of a drip; `headers` come with the answer.
    """

    kind: Kind
    resource: str | None = None
    page: int | None = None
    above_size: int | None = None
    skip: int = 0
    times: int | None = 1
    probability: float = 1.0
    value: int | None = None
    seconds: float = 0.01
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kind = Kind(self.kind)

    def hits(self, resource: str, page: int, size: int) -> bool:
        """Whether it is about such a request."""
        return (
            self.times != 0
            and self.resource in {None, resource}
            and self.page in {None, page}
            and (self.above_size is None or size > self.above_size)
        )


class FaultPlan:
    """The faults of one account, tried in the order they were added; the first that strikes counts."""

    def __init__(self, seed: object = 0) -> None:
        self.struck: Counter[Kind] = Counter()
        self._faults: list[Fault] = []
        self._dice = Dice("faults", seed)

    def add(self, *faults: Fault) -> None:
        """Plans faults, behind those planned before."""
        self._faults.extend(faults)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()

    @property
    def pending(self) -> list[Fault]:
        """The faults that may still strike."""
        return [fault for fault in self._faults if fault.times != 0]

    def draw(self, resource: str, page: int, size: int) -> Fault | None:
        """The fault that strikes this request, if any."""
        for fault in self._faults:
            if fault.hits(resource, page, size) and self._strikes(fault):
                self.struck[fault.kind] += 1
                return fault
        return None

    def _strikes(self, fault: Fault) -> bool:
        if fault.skip > 0:
            fault.skip -= 1
            return False
        if not self._dice.chance(fault.probability):
            return False
        if fault.times is not None:
            fault.times -= 1
        return True
