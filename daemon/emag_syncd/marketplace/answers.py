"""Tells a good answer of the marketplace from all the others, and says what the others mean."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from emag_syncd.domain.calls import CallOutcome
from emag_syncd.domain.errors import (
    CredentialsError,
    IpNotAllowedError,
    MarketplaceError,
    ProtocolError,
    RejectedError,
)
from emag_syncd.marketplace.envelope import LONGEST_MESSAGE, Envelope, read_envelope
from emag_syncd.marketplace.errors import RateLimitedError, TransientError
from emag_syncd.marketplace.limits import asked_wait, retry_after
from emag_syncd.marketplace.link import LinkSettings
from emag_syncd.marketplace.transport import Exchange

HEAD = 4096
"""Bytes of a body that isn't JSON in which the marketplace's words are looked for."""

_UNKNOWN_IP = re.compile(r"invalid vendor ip\s*\[?\s*([0-9a-f.:]*)", re.IGNORECASE)
_NO_API_RIGHT = "not allowed to use this api"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer for an account. ``messages`` hold no credentials."""

    settings: LinkSettings
    status: int
    headers: Mapping[str, str]
    body: bytes
    envelope: Envelope | None
    messages: tuple[str, ...]
    redact: Callable[[str], str] = field(repr=False)

    @property
    def said(self) -> str:
        """What the marketplace said, in one line."""
        return "; ".join(self.messages)[: 2 * LONGEST_MESSAGE] or f"status {self.status} without a message"

    def header(self, name: str) -> str:
        """Return a header, short and without credentials."""
        return _line(self.redact(self.headers.get(name, "")))


def read_answer(exchange: Exchange, settings: LinkSettings, redact: Callable[[str], str]) -> Answer:
    """Return what came as an answer, good or not."""
    envelope = read_envelope(exchange.body)
    texts = envelope.texts() if envelope else ()
    messages = tuple(_line(redact(text)) for text in texts)
    return Answer(settings, exchange.status or 0, exchange.headers, exchange.body, envelope, messages, redact)


def _line(text: str) -> str:
    """Return ``text`` as a short line for logs and terminals, whatever stands in it."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:LONGEST_MESSAGE])


def results_of(answer: Answer) -> bytes:
    """Return the ``results`` of a good answer, as JSON.

    Raises TransientError, RateLimitedError, and the final kinds of MarketplaceError.
    """
    _refuse_access(answer)
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise _refused_status(answer)
    if answer.envelope is None:
        raise _not_json(answer)
    is_error = bytes(answer.envelope.is_error)
    if is_error == b"true":
        raise _rejected(answer, f"the marketplace refused the request: {answer.said}")
    if is_error != b"false":
        raise _bad_answer(answer, "an answer without isError: false")
    results = bytes(answer.envelope.results)
    if results in {b"", b"null"}:
        raise _bad_answer(answer, "an answer without results")
    return results


def _refuse_access(answer: Answer) -> None:
    settings = answer.settings
    words = " ".join(answer.messages)
    if answer.envelope is None:
        words = answer.body[:HEAD].decode(errors="replace")
    if unknown := _UNKNOWN_IP.search(words):
        address = f"this machine's address {unknown[1]}" if unknown[1] else "this machine's address"
        raise IpNotAllowedError(
            f"the marketplace does not accept {address} for account {settings.account}",
            remedy="whitelist it in the marketplace's account settings, on each platform by itself",
        )
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} or _NO_API_RIGHT in words.lower():
        raise CredentialsError(
            f"the marketplace refused account {settings.account}: {answer.said}",
            remedy=f"check {settings.setting}.username and .password, and that the user has API rights",
        )


def _refused_status(answer: Answer) -> MarketplaceError:
    status = answer.status
    if status < HTTPStatus.OK:
        return _bad_answer(answer, "an answer that ends nothing")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(f"too many requests for account {answer.settings.account}", asked_wait(answer.headers))
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TransientError(
            f"the marketplace failed with status {status}",
            outcome=CallOutcome.SERVER_ERROR,
            remedy="it is on the marketplace's side and usually passes by itself",
            retry_after=retry_after(answer.headers),
            shrink=True,
        )
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return ProtocolError(
            f"the marketplace redirects ({status}) to {answer.header('Location') or 'nowhere'}",
            remedy=f"check {answer.settings.setting}.base_url",
        )
    return _rejected(answer, f"the marketplace refused the request with status {status}: {answer.said}")


def _rejected(answer: Answer, message: str) -> RejectedError:
    setting = answer.settings.setting
    remedy = f"check {setting}.base_url, and ask the marketplace's support about what it says; then sync by hand"
    return RejectedError(message, remedy=remedy)


def _not_json(answer: Answer) -> TransientError:
    start = answer.body.lstrip()[:1]
    if not start:
        return _bad_answer(answer, "an empty answer", shrink=True)
    if start in {b"{", b"["}:
        return _bad_answer(answer, "an answer that is not an envelope, or is cut short", shrink=True)
    return _bad_answer(answer, "an answer that is not JSON")


def _bad_answer(answer: Answer, what: str, *, shrink: bool = False) -> TransientError:
    content_type = answer.header("Content-Type") or "no content type"
    return TransientError(
        f"the marketplace's address gave {what} (status {answer.status}, {content_type})",
        outcome=CallOutcome.BAD_ANSWER,
        remedy=f"check {answer.settings.setting}.base_url",
        retry_after=retry_after(answer.headers),
        shrink=shrink,
    )
