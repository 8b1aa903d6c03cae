"""The other tools get the same offers, whole, and versions that don't move."""

import asyncio
import json
import re
import sys
from typing import Any

import pytest

from emag_syncd.sandbox import Sandbox
from tests.bench.peers.environments import HERE, PEERS, folder, requirements, version
from tests.bench.peers.offers import PROPERTIES, STREAM
from tests.bench.processes import login

KINDS: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def fits(value: Any, types: list[str]) -> bool:
    """Return whether a value is of one of these types of JSON."""
    return any(isinstance(value, KINDS[name]) for name in types)


async def test_the_tap_tells_every_offer_as_its_schema_says() -> None:
    """A schema, each offer once with no key and no type beyond it, and a state."""
    async with Sandbox.of("main", offers=250) as sandbox:
        user, password = login("main")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(HERE / "tap.py")),
            env={"BENCH_URL": sandbox.base_url, "BENCH_USER": user, "BENCH_PASSWORD": password},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        ids = sandbox.accounts["main"].catalogue.ids
    first, *records, last = (json.loads(line) for line in out.splitlines())
    assert (first["type"], first["key_properties"], last["type"]) == ("SCHEMA", ["id"], "STATE")
    assert [message["record"]["id"] for message in records] == ids
    for message in records:
        assert message["stream"] == STREAM
        odd = {name: value for name, value in message["record"].items() if not fits(value, PROPERTIES.get(name, []))}
        assert not odd


@pytest.mark.parametrize("name", PEERS)
def test_versions_are_pinned(name: str) -> None:
    """Each package of a tool has one exact version, and other versions have another folder."""
    lines = requirements(name).read_text("utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_.\-]+==[\w.!+]+", line) for line in lines)
    assert version(name) in {line.partition("==")[2] for line in lines}
    assert folder(name).name.startswith(f"{name}-")
