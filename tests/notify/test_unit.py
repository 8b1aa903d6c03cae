"""The unit: systemd takes it, it is closed up, and its times fit the daemon's."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from emag_syncd.config import Settings, load
from emag_syncd.config.catalogue import find

FOLDER = Path(__file__).parents[2] / "systemd"
UNIT = FOLDER / "emag-syncd.service"
BINARY = "/opt/emag-syncd/bin/emag-syncd"


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run systemd-analyze, or skip where it is not installed."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)


def service() -> configparser.SectionProxy:
    """Return the unit's service section; of a repeated key, the last value."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    return unit["Service"]


def seconds(text: str) -> float:
    """Return a systemd time span of one unit in seconds."""
    for unit, length in (("min", 60), ("s", 1)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * length
    return float(text)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """systemd-analyze verify has nothing to say, once the binary it names exists."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(BINARY, shutil.which("true") or "/bin/true"))
    verified = analyze("verify", "--man=no", "--recursive-errors=no", str(copy))
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_unit_is_closed_up(tmp_path: Path) -> None:
    """The score that systemd gives for exposure is 1.5 or less."""
    folder = tmp_path / "etc" / "systemd" / "system"
    folder.mkdir(parents=True)
    shutil.copy(UNIT, folder)
    scored = analyze("security", "--offline=true", f"--root={tmp_path}", "--threshold=15", UNIT.name)
    assert scored.returncode == 0, scored.stdout


def test_the_units_times_fit_the_daemons() -> None:
    """The unit waits longer than a shutdown takes, and asks for signs of life within a lease."""
    settings = Settings.of({}, Path("/nowhere"))
    assert seconds(service()["TimeoutStopSec"]) > settings.shutdown_seconds
    assert seconds(service()["WatchdogSec"]) <= settings.sync.lease_seconds


def test_the_unit_is_what_the_daemon_expects() -> None:
    """It notifies, does not restart over a configuration error, and leaves metrics the files they read."""
    expected = {
        "Type": "notify",
        "ExecStart": f"{BINARY} run",
        "ExecReload": "/bin/kill -HUP $MAINPID",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "78",
        "KillMode": "mixed",
        "User": "emag-syncd",
        "StateDirectory": "emag-syncd",
    }
    assert {key: service()[key] for key in expected} == expected
    assert "ProcSubset" not in service()


def test_the_units_credentials_are_settings() -> None:
    """Each LoadCredential= of the example names a secret that the configuration takes."""
    names = re.findall(r"^(?:# )?LoadCredential=([\w.]+):", (FOLDER / "credentials.conf").read_text(), re.MULTILINE)
    assert len(names) == 5
    for name in names:
        setting = find(tuple(name.split(".")))
        assert setting is not None, name
        assert setting.secret, name


def test_the_examples_are_configurations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration and the environment are taken as they stand, and with each line that is commented out."""
    text = (FOLDER / "config.toml").read_text()
    monkeypatch.setenv("EMAG_SYNCD_ACCOUNTS__MAIN__PASSWORD", "secret")
    monkeypatch.setenv("EMAG_SYNCD_ACCOUNTS__FBE__PASSWORD", "secret")
    for name, value in re.findall(r"^# (EMAG_SYNCD_\w+)=(.+)$", (FOLDER / "environment").read_text(), re.MULTILINE):
        monkeypatch.setenv(name, value)
    path = tmp_path / "config.toml"
    path.write_text(re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE))
    path.chmod(0o644)
    settings = load(path)
    assert sorted(settings.accounts) == ["fbe", "main"]
    assert settings.log.level == "debug"
