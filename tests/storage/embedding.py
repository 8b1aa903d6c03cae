"""What the tests of the embedded PostgreSQL share."""

import os
import stat
from pathlib import Path

import pytest

from emag_syncd.storage.embedded import EmbeddedPostgres
from tests.support.server import FAST

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def embedded(data_dir: Path, **options: str) -> EmbeddedPostgres:
    """Return a server on ``data_dir`` that does not wait for the disk."""
    return EmbeddedPostgres(data_dir, settings={**FAST, **options})


def mode(path: Path) -> int:
    """Return the folder's permissions."""
    return stat.S_IMODE(path.stat().st_mode)
