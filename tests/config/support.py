"""What the tests of the configuration share."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from emag_syncd.config import Settings, load
from emag_syncd.domain.errors import ConfigurationError

MAIN = """
[accounts.main]
username = "seller"
password = "hunter2hunter2"
"""


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Load ``text`` as a configuration file that only its owner may read."""
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return load(file, {"HOME": str(folder), **(environ or {})})


def refused(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines with which ``text`` is refused."""
    with pytest.raises(ConfigurationError) as refusal:
        read(folder, text, environ)
    return str(refusal.value).splitlines()
