"""What the pages are drawn with: styles, scripts, the icon. Nothing comes from elsewhere."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from aiohttp import hdrs, web

PATH = "/static"
FOREVER = "public, max-age=31536000, immutable"
_PRINT_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, packed as browsers take it too, and what its address is told apart by."""

    body: bytes
    packed: bytes
    content_type: str
    fingerprint: str


@cache
def assets() -> dict[str, Asset]:
    """Return the files by their names below the folder."""
    return dict(_found(resources.files(__package__) / "static", ""))


def _found(folder: Traversable, above: str) -> list[tuple[str, Asset]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _found(entry, f"{above}{entry.name}/")
        elif kind := mimetypes.guess_type(entry.name)[0]:
            body = entry.read_bytes()
            fingerprint = hashlib.sha256(body).hexdigest()[:_PRINT_LENGTH]
            found.append((above + entry.name, Asset(body, gzip.compress(body, mtime=0), kind, fingerprint)))
    return found


def address(name: str) -> str:
    """Return where a file is served. The address changes with the content, so that it may be kept for ever."""
    return f"{PATH}/{assets()[name].fingerprint}/{name}"


class Assets:
    """Serves the files."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get(f"{PATH}/{{fingerprint}}/{{name:.+}}", self._file)]

    async def _file(self, request: web.Request) -> web.Response:
        asset = assets().get(request.match_info["name"])
        if asset is None or asset.fingerprint != request.match_info["fingerprint"]:
            raise web.HTTPNotFound
        headers = {hdrs.CACHE_CONTROL: FOREVER, hdrs.VARY: hdrs.ACCEPT_ENCODING}
        body = asset.body
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            body, headers[hdrs.CONTENT_ENCODING] = asset.packed, "gzip"
        return web.Response(body=body, content_type=asset.content_type, charset="utf-8", headers=headers)
