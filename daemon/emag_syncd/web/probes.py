"""Health and metrics: open to all who reach the port, and answered from memory."""

import asyncio
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web

from emag_syncd import __version__
from emag_syncd.supervision.health import Check
from emag_syncd.web.answers import ProblemError, answer
from emag_syncd.web.guard import Guard
from emag_syncd.web.parts import WebParts


class Probes:
    """What machines ask to know how the daemon is. Reasons are for those who may see the rest of the pages too."""

    def __init__(self, parts: WebParts, guard: Guard) -> None:
        """Answer from ``parts``."""
        self._health = parts.health
        self._metrics = parts.metrics
        self._guard = guard

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/livez", self._live),
            web.get("/livez/{check}", self._live),
            web.get("/readyz", self._ready),
            web.get("/readyz/{check}", self._ready),
            web.get("/healthz", self._healthz),
            web.get("/metrics", self._scrape),
        ]

    async def _live(self, request: web.Request) -> web.Response:
        return self._probe(request, "livez", self._health.live)

    async def _ready(self, request: web.Request) -> web.Response:
        return self._probe(request, "readyz", self._health.ready)

    def _probe(self, request: web.Request, probe: str, look: Callable[[], list[Check]]) -> web.Response:
        checks = look()
        wanted = request.match_info.get("check")
        if wanted is not None:
            checks = [check for check in checks if check.name == wanted]
            if not checks:
                raise ProblemError(
                    HTTPStatus.NOT_FOUND, f"{probe} has no such check: see {probe}?verbose for those it has"
                )
        excluded = set(request.query.getall("exclude", []))
        judged = [check for check in checks if check.name not in excluded]
        is_well = all(check.ok for check in judged)
        if is_well and "verbose" not in request.query:
            return web.Response(text="ok")
        lines = [self._line(request, check, excluded=check.name in excluded) for check in checks]
        if excluded - {check.name for check in checks}:
            lines.append("warn: not all that was to be excluded is a check")
        lines.append(f"{probe} check {'passed' if is_well else 'failed'}")
        return web.Response(text="\n".join([*lines, ""]), status=_status(is_well=is_well))

    def _line(self, request: web.Request, check: Check, *, excluded: bool) -> str:
        if excluded:
            return f"[+]{check.name} excluded: ok"
        if check.ok:
            return f"[+]{check.name} ok"
        return f"[-]{check.name} failed: {self._reason(request, check)}"

    def _reason(self, request: web.Request, check: Check) -> str:
        if self._guard.refusal(request) is None:
            return check.reason
        return "reason withheld; it is in the log, and here for those who send the token"

    async def _healthz(self, request: web.Request) -> web.Response:
        checks = [*self._health.live(), *self._health.ready(), *self._health.others()]
        found = {_verdict(check) for check in checks}
        status = next(verdict for verdict in ("fail", "warn", "pass") if verdict in found)
        now = datetime.now(UTC)
        content = {
            "status": status,
            "serviceId": "emag-syncd",
            "releaseId": __version__,
            "checks": {check.name: [self._entry(request, check, now)] for check in checks},
        }
        return answer(content, status=_status(is_well=status != "fail"), content_type="application/health+json")

    def _entry(self, request: web.Request, check: Check, now: datetime) -> dict[str, Any]:
        entry = {
            "status": _verdict(check),
            "observedValue": round(check.age, 3),
            "observedUnit": "s",
            "time": now,
        }
        return entry if not check.reason else {**entry, "output": self._reason(request, check)}

    async def _scrape(self, request: web.Request) -> web.StreamResponse:
        parts, content_type = self._metrics.scrape(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        headers = {hdrs.CONTENT_TYPE: content_type}
        if request.method == hdrs.METH_HEAD:
            # The answer has no body: a stream would write one.
            return web.Response(headers=headers)
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            headers[hdrs.CONTENT_ENCODING], parts = "gzip", _packed(parts)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        while part := await asyncio.to_thread(next, parts, b""):
            await response.write(part)
        await response.write_eof()
        return response


def _packed(parts: Iterable[bytes]) -> Iterator[bytes]:
    # Quickly: aiohttp's own way takes four times as long as writing them does.
    packer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS + 16)
    yield from filter(None, map(packer.compress, parts))
    yield packer.flush()


def _verdict(check: Check) -> str:
    if not check.ok:
        return "fail"
    return "warn" if check.late else "pass"


def _status(*, is_well: bool) -> int:
    return HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
