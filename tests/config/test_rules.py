"""What settings owe each other, what holds for an account, and what is only warned of."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from emag_syncd.config import Settings
from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.domain.platforms import Platform
from emag_syncd.domain.runs import Operation
from emag_syncd.domain.schedules import Off, parse_schedule
from tests.config.support import MAIN, read

ACCOUNT = {"username": "seller", "password": "hunter2hunter2"}


def of(values: dict[str, Any], **account: Any) -> Settings:
    """Return the settings of ``values`` with one account, main."""
    return Settings.of(values | {"accounts": {"main": ACCOUNT | account}}, Path("/nowhere"))


def test_an_account_has_what_is_general_unless_it_has_its_own() -> None:
    """Each setting is resolved by itself: one of its own leaves the others general."""
    general = {"marketplace": {"page_size": 50, "max_attempts": 7}, "sync": {"timeout_seconds": 1200}}
    account = of(general, marketplace={"page_size": 20}, sync={"timeout_seconds": 300}).account("main")
    assert (account.page_size, account.max_attempts, account.timeout_seconds) == (20, 7, 300)
    assert of(general).account("main").timeout_seconds == 1200


@pytest.mark.parametrize("platform", list(Platform))
def test_the_address_is_the_platforms_unless_it_is_set(platform: Platform) -> None:
    """Every platform's name is taken, and brings its address along."""
    assert of({}, platform=platform.value).account("main").base_url == platform.base_url


def test_a_schedule_is_found_by_the_operation() -> None:
    """Full and incremental runs have their schedules; selective ones are never due by themselves."""
    account = of({}, schedule={"full": "0 3 * * *"}).account("main")
    assert account.schedule(Operation.FULL) == parse_schedule("0 3 * * *")
    assert account.schedule(Operation.INCREMENTAL) == parse_schedule("15m")
    assert account.schedule(Operation.SELECTIVE) == Off()


def test_an_unknown_account_is_refused_with_those_there_are() -> None:
    """The message lists what could have been meant."""
    with pytest.raises(ConfigurationError, match='no account is called "fbe": configured are: main'):
        of({}).account("fbe")


def test_a_request_may_not_last_as_long_as_its_run() -> None:
    """The contradiction names both settings where they stand, once, and for the account it concerns."""
    general = {"marketplace": {"request_timeout_seconds": 60}, "sync": {"timeout_seconds": 60}}
    with pytest.raises(ConfigurationError) as refusal:
        of(general)
    assert str(refusal.value) == (
        "marketplace.request_timeout_seconds = 60 must be less than sync.timeout_seconds = 60:"
        " lower the one or raise the other"
    )
    with pytest.raises(ConfigurationError, match=r"^marketplace\.request_\S+ = 60 .* accounts\.main\.sync\.\S+ = 30"):
        of({"marketplace": {"request_timeout_seconds": 60}}, sync={"timeout_seconds": 30})
    with pytest.raises(ConfigurationError, match=r"^accounts\.main\.marketplace\.\S+ = 700 .* than sync\.\S+ = 600"):
        of({}, marketplace={"request_timeout_seconds": 700})


def test_the_watchdog_may_not_be_slower_than_the_lease() -> None:
    """The contradiction is refused by both names."""
    with pytest.raises(ConfigurationError, match=r"watchdog\.interval_seconds = 20 .* sync\.lease_seconds = 10"):
        of({"watchdog": {"interval_seconds": 20}, "sync": {"lease_seconds": 10}})


def test_defaults_give_way_to_what_is_set() -> None:
    """Lowering one setting never makes another, which nobody set, refuse it."""
    settings = of({"sync": {"timeout_seconds": 20, "lease_seconds": 5}}, sync={"timeout_seconds": 4})
    assert settings.watchdog.interval_seconds == 5
    assert settings.marketplace.request_timeout_seconds == 10
    assert settings.account("main").request_timeout_seconds == 2
    assert of({}).account("main").request_timeout_seconds == 90


def test_four_heartbeats_and_more_fall_into_a_lease() -> None:
    """The heartbeat is derived, so that it can't contradict the lease."""
    assert of({}).sync.heartbeat_seconds <= 60 / 4


def test_defaults_are_free_of_warnings() -> None:
    """A configuration that says nothing odd is not commented upon."""
    assert of({}).warnings == ()


@pytest.mark.parametrize(
    ("values", "account", "said"),
    [
        ({"http": {"token": "short"}}, {}, "http.token is short"),
        ({"watchdog": {"stale_after_seconds": 600}}, {}, "watchdog.stale_after_seconds = 600 is less"),
        ({"sync": {"resume_within_seconds": 600}}, {}, "sync.resume_within_seconds = 600 is not more"),
        ({"retention": {"api_calls_days": 7}}, {}, "retention.api_calls_days = 7 is less"),
        ({}, {"schedule": {"incremental": "30s"}}, 'accounts.main.schedule.incremental = "30s" is not more'),
        (
            {"marketplace": {"requests_per_second": 10}},
            {},
            "account main: requests_per_second = 10 is above the 3",
        ),
        (
            {},
            {"marketplace": {"requests_per_minute": 200}},
            "account main: requests_per_minute = 200 is above",
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(values: dict[str, Any], account: dict[str, Any], said: str) -> None:
    """It is permitted, and said in one sentence that names the setting."""
    (warning,) = of(values, **account).warnings
    assert warning.startswith(said)


def test_limits_are_free_on_this_machine() -> None:
    """A simulated marketplace may be asked as fast as one likes."""
    limits = {"requests_per_second": 1000, "requests_per_minute": 60000}
    assert of({"marketplace": limits}, base_url="http://127.0.0.1:1").warnings == ()


def test_secrets_in_a_file_that_everybody_reads_are_a_warning(tmp_path: Path) -> None:
    """The warning lists the settings and the remedy; secrets from elsewhere, or a closed file, make none."""
    text = '[database]\nurl = "postgresql://u:pw@h/d"\n[http]\ntoken = "0123456789abcdef"\n' + MAIN
    assert read(tmp_path, text).warnings == ()
    file = tmp_path / "config.toml"
    file.chmod(0o644)
    (warning,) = _again(file, {}).warnings
    assert "holds accounts.main.password, database.url, http.token and everybody" in warning
    assert f"chmod 0640 {file}" in warning
    file.write_text('[database]\nurl = "postgresql://u@h/d"\n[accounts.main]\nusername = "u"\n')
    assert _again(file, {"EMAG_SYNCD_ACCOUNTS__MAIN__PASSWORD": "hunter2"}).warnings == ()


def test_settings_never_change() -> None:
    """No part of the settings can be assigned to."""
    settings = of({})
    for thing, name in ((settings, "http"), (settings.account("main"), "page_size")):
        assert name in {field.name for field in fields(thing)}
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, None)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings.http, "port", 1)  # noqa: B010 - mypy would refuse a plain assignment, rightly
    with pytest.raises(TypeError):
        settings.accounts["x"] = settings.account("main")  # type: ignore[index]


def _again(file: Path, environ: dict[str, str]) -> Settings:
    from emag_syncd.config import load

    return load(file, {"HOME": "/", **environ})
