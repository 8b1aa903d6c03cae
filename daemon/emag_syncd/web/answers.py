"""What is sent back: JSON, and errors as RFC 9457 has them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NotRequired, TypedDict
from uuid import UUID

import msgspec
from aiohttp import web

from emag_syncd.domain.errors import (
    BusyError,
    ConfigurationError,
    DatabaseError,
    MarketplaceError,
    ShuttingDownError,
    SyncdError,
)
from emag_syncd.domain.runs import ErrorKind, Status

PROBLEM = "application/problem+json"
RETRY_AFTER_SECONDS = 5

_encode = msgspec.json.Encoder(decimal_format="number").encode

# The first that matches counts.
_STATUSES: tuple[tuple[type[SyncdError], HTTPStatus], ...] = (
    (BusyError, HTTPStatus.CONFLICT),
    (ConfigurationError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (MarketplaceError, HTTPStatus.BAD_GATEWAY),
    (DatabaseError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ShuttingDownError, HTTPStatus.SERVICE_UNAVAILABLE),
)


class Problem(TypedDict):
    """An error as RFC 9457 has it; what is not always there depends on the error."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    kind: NotRequired[ErrorKind]
    remedy: NotRequired[str]
    errors: NotRequired[list[str]]
    account_type: NotRequired[str]
    sync_id: NotRequired[UUID | None]
    sync_status: NotRequired[Status]


class ProblemError(Exception):
    """An error to be answered with. ``more`` are members beside those of RFC 9457."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        """Answer with ``status``; ``detail`` is for a person, and says what to do."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    @classmethod
    def of(cls, error: SyncdError) -> "ProblemError":
        """Return the answer to an error of the daemon."""
        status = next(
            (status for kind, status in _STATUSES if isinstance(error, kind)),
            HTTPStatus.INTERNAL_SERVER_ERROR,
        )
        more: dict[str, Any] = {"kind": error.kind}
        if error.remedy:
            more["remedy"] = error.remedy
        if isinstance(error, BusyError):
            more |= {"account_type": error.account, "sync_id": error.run_id}
        return cls(status, str(error), headers=_patience(status), **more)

    def answer(self, request: web.Request) -> web.Response:
        """Return the answer to ``request``."""
        content: Problem = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            # What a request brings may be no Unicode at all, and an answer is.
            "detail": self.detail.encode(errors="replace").decode(),
            "instance": request.rel_url.raw_path,
        }
        return answer({**content, **self.more}, status=self.status, content_type=PROBLEM, headers=self.headers)


def answer(
    content: Any,
    *,
    status: int = HTTPStatus.OK,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return ``content`` as JSON."""
    return web.Response(body=_encode(content), status=status, content_type=content_type, headers=headers)


def _patience(status: int) -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
