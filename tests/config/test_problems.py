"""What is refused: by its full name, with what is allowed, all of it at once, and never with a secret."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from emag_syncd.config import Settings
from emag_syncd.config.catalogue import settings as catalogue
from emag_syncd.domain.errors import ConfigurationError
from tests.config.support import MAIN, refused

SECRET = "hunter2hunter2"


def test_every_problem_is_said_at_once_a_line_each(tmp_path: Path) -> None:
    """Unknown names, bad values and missing ones of all sections come in one refusal."""
    text = """
    shutdown_seconds = 1
    fish = 4
    timeout_seconds = 5
    [databse]
    url = "x"
    [database]
    pool_max_size = true
    migrate = "maybe"
    [http]
    port = 99999
    [marketplace]
    page_sise = 4
    page_size = "many"
    request_timeout_seconds = inf
    [log]
    level = "loud"
    [schedule]
    timezone = "Europe/Bukarest"
    [accounts.main]
    platform = "emag"
    page_size = 4
    schedule.full = 15
    [accounts.all]
    [accounts."Fbe x"]
    [accounts]
    other = 3
    """
    file = tmp_path / "config.toml"
    schedule = (
        'must be a duration such as "90s", "15m", "1h30m", "1d" or "1w", a five-field cron expression such as'
        ' "30 3 * * *", or "off"'
    )
    environ = {"EMAG_SYNCD_LOG__FORMAT": "xml"}
    assert sorted(refused(tmp_path, text, environ)) == sorted(
        [
            f"shutdown_seconds = 1 ({file}) must be a number above 2, up to 3600",
            f"fish is unknown ({file}): remove it",
            f"timeout_seconds is unknown ({file}): did you mean sync.timeout_seconds?",
            f"databse is unknown ({file}): did you mean database?",
            f"database.pool_max_size = true ({file}) must be a number",
            f'database.migrate = "maybe" ({file}) must be true or false',
            f"http.port = 99999 ({file}) must be a whole number from 0 to 65535",
            f"marketplace.page_sise is unknown ({file}): did you mean marketplace.page_size?",
            f'marketplace.page_size = "many" ({file}) must be a whole number from 1 to 100',
            f"marketplace.request_timeout_seconds = Infinity ({file}) must be a number from 0.1 to 3600",
            f'log.level = "loud" ({file}) must be one of "debug", "info", "warning", "error", "critical"',
            (
                'log.format = "xml" (environment variable EMAG_SYNCD_LOG__FORMAT)'
                ' must be one of "auto", "json", "console"'
            ),
            f'schedule.timezone = "Europe/Bukarest" ({file}) must be a time zone such as "Europe/Bucharest"',
            (
                f'accounts.main.platform = "emag" ({file}) must be one of "emag-ro", "emag-bg",'
                ' "emag-hu", "fd-ro", "fd-bg"'
            ),
            f"accounts.main.page_size is unknown ({file}): did you mean accounts.main.marketplace.page_size?",
            f"accounts.main.schedule.full = 15 ({file}) {schedule}",
            (
                "accounts.main.username is missing: set it in the configuration file or with"
                " EMAG_SYNCD_ACCOUNTS__MAIN__USERNAME"
            ),
            (
                "accounts.main.password is missing: set it in the configuration file, with"
                " EMAG_SYNCD_ACCOUNTS__MAIN__PASSWORD, or the credential accounts.main.password"
            ),
            (
                f'account name "all" ({file}) is a reserved name:'
                " it means several accounts to the sync command; choose another"
            ),
            f'account name "Fbe x" ({file}) must be 1 to 32 of the characters a-z, 0-9, _ and -',
            f"accounts.other ({file}) must be a table",
        ]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'[database]\nurl = "mysql://u:{SECRET}@h/d"', "database.url"),
        (f'[database]\nurl = "postgresql://u:{SECRET}@h:port/d"', "database.url"),
        (f'[http]\ntoken = "{SECRET} with spaces"', "http.token"),
        (f'[webhooks]\nsecret = "{SECRET}"', "webhooks.secret"),
        (f'[accounts.main]\nusername = "u"\npassword = ["{SECRET}"]', "accounts.main.password"),
        (f'[accounts.main]\nusername = "u"\npassword = "p"\npasword = "{SECRET}"', "accounts.main.pasword"),
        (
            f'[accounts.main]\nusername = "u"\npassword = "p"\nbase_url = "http://u:{SECRET}@example.com"',
            "accounts.main.base_url",
        ),
        (f'database = "{SECRET}"', "database"),
        (f'[log]\nlevel = {{ a = "postgresql://u:{SECRET}@h/d" }}', "log.level"),
    ],
)
def test_a_refusal_never_repeats_a_secret(tmp_path: Path, text: str, said: str) -> None:
    """The setting is named, its value is not, and what it may be is said."""
    (line,) = refused(tmp_path, text)
    assert line.startswith(said)
    assert SECRET not in line


def test_an_empty_password_is_refused() -> None:
    """No account of the marketplace has one: it was forgotten."""
    with pytest.raises(ConfigurationError, match=r"accounts\.main\.password .* must not be empty"):
        _with_account(password="")


def test_a_variable_does_not_mend_a_table_that_is_none(tmp_path: Path) -> None:
    """Where the file has a number in a table's place, that is refused, whatever the environment says."""
    (line,) = refused(tmp_path, "http = 5", {"EMAG_SYNCD_HTTP__PORT": "1"})
    assert line == f"http ({tmp_path / 'config.toml'}) must be a table"


@pytest.mark.parametrize("address", ["ftp://example.com", "example.com", "https://", "https://h/x?y=1", "https://h:x/"])
def test_an_odd_address_of_the_api_is_refused(tmp_path: Path, address: str) -> None:
    """Only an address of a server is one."""
    (line,) = refused(tmp_path, MAIN + f'base_url = "{address}"')
    assert line.startswith(f'accounts.main.base_url = "{address}"')
    assert "must be an address" in line


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("https://example.com/api-3/", "https://example.com/api-3"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_plain_http_is_for_this_machine(address: str, taken: str) -> None:
    """Passwords go over the network encrypted; a slash at the end makes no difference."""
    settings = _with_account(base_url=address)
    assert settings.account("main").base_url == taken
    with pytest.raises(ConfigurationError, match="must start with https://"):
        _with_account(base_url="http://example.com")


def test_a_user_name_with_a_colon_is_refused() -> None:
    """It could not be told from the password in a request."""
    with pytest.raises(ConfigurationError, match=r'accounts\.main\.username = "a:b" .* without a colon'):
        _with_account(username="a:b")


def test_the_console_wants_a_token_where_others_reach_it() -> None:
    """Beyond loopback a token is required, and named."""
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.com"):
        with pytest.raises(ConfigurationError, match=re.escape(f'http.token is missing: http.host = "{host}"')):
            _of({"http": {"host": host}})
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert _of({"http": {"host": host}}).http.host == host
    assert _of({"http": {"host": "0.0.0.0", "token": "x" * 32}}).http.token is not None


def test_webhooks_want_a_secret() -> None:
    """Messages are signed, so addresses without a secret are refused; a standard secret is taken."""
    with pytest.raises(ConfigurationError, match=r"^webhooks\.secret is missing"):
        _of({"webhooks": {"urls": ["https://example.com/hook?token=abc"]}})
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    settings = _of({"webhooks": {"urls": "https://a.example/x, http://127.0.0.1/y", "secret": secret}})
    assert settings.webhooks.urls == ("https://a.example/x", "http://127.0.0.1/y")
    with pytest.raises(ConfigurationError, match=r"webhooks\.urls\[1\] = .* must start with https://"):
        _of({"webhooks": {"urls": ["https://a.example", "http://b.example"], "secret": secret}})


@pytest.mark.parametrize(
    "name", [setting.path for setting in catalogue().values() if "number" in setting.allowed], ids=".".join
)
def test_every_number_has_a_range(name: tuple[str, ...]) -> None:
    """There is no number without a lower and an upper bound, and both are held."""
    allowed = catalogue()[name].allowed
    low, high = (float(word.strip(",")) for word in allowed.split() if word[0].isdigit())
    for beyond in (math.floor(low) - 1, high + 1):
        values: Any = beyond
        for part in reversed([part.replace("NAME", "main") for part in name]):
            values = {part: values}
        with pytest.raises(ConfigurationError, match=f" = {beyond:.0f}.* must be {allowed}"):
            _of(values)


def _of(values: dict[str, Any]) -> Settings:
    return Settings.of(values, Path("/nowhere"))


def _with_account(**values: Any) -> Settings:
    return _of({"accounts": {"main": {"username": "seller", "password": SECRET, **values}}})
