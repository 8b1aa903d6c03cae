"""The API's description of itself: whole, valid, and true."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import schemathesis

from tests.support.daemon import Site
from tests.support.scale import scaled
from tests.web.conftest import API, TOKEN

PATH = "/api/v1/openapi.json"
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"),
    *("response_headers_conformance", "negative_data_rejection", "unsupported_method", "ignored_auth"),
)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def described(site: Site) -> dict[str, Any]:
    """Return what the daemon says of its API."""
    answer = await site.get(PATH, headers=BEARER)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    description: dict[str, Any] = answer.json
    return description


def exact(description: dict[str, Any]) -> dict[str, Any]:
    """Return the description with nothing left open: an answer may have no more than it says.

    What ``allowEmptyValue`` says is said once more, in the words that are looked at.
    """
    for schema in description["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    for methods in description["paths"].values():
        for parameter in (one for method in methods.values() for one in method.get("parameters", [])):
            if parameter.get("allowEmptyValue"):
                parameter["schema"] = {"anyOf": [parameter["schema"], {"const": ""}]}
    return description


async def test_every_route_is_described(site: Site) -> None:
    """Whatever is served below /api stands in the description, and nothing else does."""
    served = {
        (route.resource.canonical, route.method.lower())
        for route in site.web.routes
        if route.resource is not None and route.resource.canonical.startswith("/api/") and route.method != "HEAD"
    }
    paths = (await described(site))["paths"]
    assert {(path, method) for path, methods in paths.items() for method in methods} == served
    assert (PATH, "get") in served


async def test_the_description_is_valid(site: Site) -> None:
    """It is OpenAPI 3.1, and each operation has a name of its own."""
    description = await described(site)
    assert description["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(description).validate()
    names = [one["operationId"] for methods in description["paths"].values() for one in methods.values()]
    assert len(set(names)) == len(names)


async def test_the_description_says_how_to_get_in(site: Site, locked: Site) -> None:
    """A token or a session where a token is set; nothing where none is."""
    assert (await locked.get(PATH)).status == 401
    description = await described(locked)
    assert {one["type"] for one in description["components"]["securitySchemes"].values()} == {"http", "apiKey"}
    assert "401" in description["paths"][PATH]["get"]["responses"]
    assert "security" not in await described(site)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("is_locked", "has_token"), [(False, False), (True, True), (True, False)])
async def test_the_description_is_true(
    site: Site, locked: Site, tmp_path: Path, *, is_locked: bool, has_token: bool
) -> None:
    """Whatever is asked, rightly or wrongly, is answered as described, and nothing goes wrong inside."""
    asked = locked if is_locked else site
    await asked.post(f"{API}/sync", {"mode": "full"}, headers=BEARER)
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(exact(await described(asked))))
    options = ["--url", asked.address, "--seed", "7", "--max-examples", str(scaled(3)), "--no-color", "--no-shrink"]
    options += ["--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS), "--generation-database", "none"]
    options += ["--continue-on-failure", "--exclude-path-regex", "/events$", "--request-timeout", "60"]
    options += [f"--header=Authorization: Bearer {TOKEN}"] if has_token else []
    command = ["-m", "schemathesis.cli", "run", *options, str(file)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    tried = re.search(r"(\d+) generated", output)
    assert tried is not None, output
    assert int(tried[1]) > 100
