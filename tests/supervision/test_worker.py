"""Whether a process is dead is only said when it is known."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from emag_syncd.supervision.worker import this_worker

NO_PROCESS = 2**22 + 1
"""More than any process's number."""


def test_this_process_is_alive() -> None:
    """It knows itself, and takes another one that has its number by now for what it is."""
    this = this_worker()
    assert this.pid == os.getpid()
    assert str(this).startswith(this.prefix)
    assert not this.outlived(str(this))
    assert this.outlived(str(replace(this, start="1")))


def test_no_identity_is_used_twice() -> None:
    """Each start of a process, and each core in it, is somebody else."""
    assert len({str(this_worker()) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "worker_id", ["", "/", "nightly-import", "{prefix}", "{prefix}{boot}/1", "{prefix}{boot}/x/1/2", "{prefix}a/1/2/3"]
)
def test_when_in_doubt_it_lives(worker_id: str) -> None:
    """Ids that are not ours, of another boot or another namespace say nothing."""
    this = this_worker()
    assert not this.outlived(worker_id.format(prefix=this.prefix, boot=this.boot))


def test_numbers_without_a_process() -> None:
    """A process that is gone is dead; a number that no process can have is doubtful."""
    this = this_worker()
    assert this.outlived(str(replace(this, pid=NO_PROCESS)))
    assert not this.outlived(str(replace(this, pid=10**30)))
    with subprocess.Popen(["true"]) as process:
        pass
    assert this.outlived(str(replace(this, pid=process.pid)))


def test_where_proc_shows_no_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under systemd's ProtectProc=invisible a process that can't be seen may live all the same."""
    this = this_worker()
    monkeypatch.setattr("emag_syncd.supervision.worker._PROC", tmp_path)
    assert not this.outlived(str(replace(this, start="1")))
    assert this.outlived(str(replace(this, pid=NO_PROCESS)))
    assert this_worker().start == "0"
