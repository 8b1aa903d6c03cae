"""The sources of settings: which of them wins, and what is refused about each."""

import os
from pathlib import Path

import pytest

from emag_syncd.config import load
from emag_syncd.config.sources import state_directory
from emag_syncd.domain.errors import ConfigurationError
from tests.config.support import MAIN, read, refused


def test_nothing_at_all_is_a_configuration() -> None:
    """Without any source the defaults hold, and only what needs an account complains."""
    settings = load(None, {"HOME": "/home/someone"})
    assert settings.http.port == 9320
    assert settings.database.url is None
    with pytest.raises(ConfigurationError, match="no account is configured: set accounts"):
        settings.require_accounts()


def test_the_environment_goes_over_the_file_and_credentials_over_both(tmp_path: Path) -> None:
    """Of one setting in all three sources the credential holds, and of two the environment."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "accounts.main.password").write_text("from the credential\n")
    environ = {
        "CREDENTIALS_DIRECTORY": str(credentials),
        "EMAG_SYNCD_ACCOUNTS__MAIN__PASSWORD": "from the environment",
        "EMAG_SYNCD_ACCOUNTS__MAIN__USERNAME": "someone else",
        "EMAG_SYNCD_HTTP__PORT": "9000",
        "EMAG_SYNCD_SHUTDOWN_SECONDS": "",
    }
    settings = read(tmp_path, "shutdown_seconds = 7\n[http]\nport = 1\n" + MAIN, environ)
    account = settings.require_accounts()["main"]
    assert account.password.get_secret_value() == "from the credential"
    assert account.username == "someone else"
    assert settings.http.port == 9000
    assert settings.shutdown_seconds == 7


def test_an_account_may_live_in_the_environment_alone() -> None:
    """An account that no file knows is made by its variables."""
    environ = {
        "EMAG_SYNCD_ACCOUNTS__MY_SHOP__USERNAME": "seller",
        "EMAG_SYNCD_ACCOUNTS__MY_SHOP__PASSWORD": "12345678",
        "EMAG_SYNCD_ACCOUNTS__MY_SHOP__SCHEDULE__FULL": "0 3 * * *",
        "EMAG_SYNCD_ACCOUNTS__MY_SHOP__MARKETPLACE__PAGE_SIZE": "50",
    }
    account = load(None, environ | {"HOME": "/"}).account("my_shop")
    assert (account.page_size, str(account.full)) == (50, "0 3 * * *")
    assert account.password.get_secret_value() == "12345678"


@pytest.mark.parametrize("name", ["my-shop", "my_shop", "a__b", "platform", "x__schedule"])
def test_a_variable_finds_the_account_of_the_file(tmp_path: Path, name: str) -> None:
    """A variable has _ for -, and names that look like separators or settings are found all the same."""
    variable = f"EMAG_SYNCD_ACCOUNTS__{name.upper().replace('-', '_')}__PASSWORD"
    settings = read(tmp_path, f'[accounts.{name}]\nusername = "u"\n', {variable: "hunter2"})
    assert settings.account(name).password.get_secret_value() == "hunter2"


def test_a_variable_that_fits_two_accounts_is_refused(tmp_path: Path) -> None:
    """a-b and a_b have the same variables: nothing is guessed."""
    text = '[accounts.a-b]\nusername = "u"\npassword = "p"\n[accounts.a_b]\nusername = "u"\npassword = "p"\n'
    lines = refused(tmp_path, text, {"EMAG_SYNCD_ACCOUNTS__A_B__PASSWORD": "x"})
    assert lines == [
        (
            "environment variable EMAG_SYNCD_ACCOUNTS__A_B__PASSWORD means each of the accounts a-b and a_b:"
            " rename one of them"
        )
    ]


def test_unknown_variables_are_refused_and_ours_for_tests_are_not(tmp_path: Path) -> None:
    """A misspelt variable is named together with the one that was probably meant."""
    environ = {
        "EMAG_SYNCD_HTTP__PRT": "1",
        "EMAG_SYNCD_http__port": "1",
        "EMAG_SYNCD_ACCOUNTS__MAIN__PASWORD": "hunter2",
        "EMAG_SYNCD_NONSENSE": "1",
        "EMAG_SYNCD_TEST_DATABASE_URL": "anything",
    }
    lines = refused(tmp_path, MAIN, environ)
    assert lines == [
        (
            "environment variable EMAG_SYNCD_ACCOUNTS__MAIN__PASWORD is unknown:"
            " did you mean EMAG_SYNCD_ACCOUNTS__MAIN__PASSWORD?"
        ),
        "environment variable EMAG_SYNCD_HTTP__PRT is unknown: did you mean EMAG_SYNCD_HTTP__PORT?",
        "environment variable EMAG_SYNCD_NONSENSE is unknown: unset it",
        "environment variable EMAG_SYNCD_http__port is unknown: did you mean EMAG_SYNCD_HTTP__PORT?",
    ]


def test_credentials_are_refused_by_name_and_foreign_ones_left_alone(tmp_path: Path) -> None:
    """What looks like ours and isn't a secret's name is an error; another program's file is none."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name, content in {
        "http.tokn": b"x",
        "http.port": b"1",
        "webhooks.secret": b"\n",
        "database.url": b"\xff",
        "ssh.authorized_keys": b"x",
    }.items():
        (credentials / name).write_bytes(content)
    lines = refused(tmp_path, "", {"CREDENTIALS_DIRECTORY": str(credentials)})
    secrets = "accounts.NAME.password, database.url, http.token, webhooks.secret"
    assert lines == [
        "credential database.url can't be read: make it a file of UTF-8 text",
        f"credential http.port is not the name of a secret: those are {secrets}",
        f"credential http.tokn is not the name of a secret: those are {secrets}",
        "credential webhooks.secret is empty: write the secret into the file it is loaded from",
    ]


def test_credentials_that_are_away_are_named(tmp_path: Path) -> None:
    """A credentials directory that is not there is one plain line."""
    assert refused(tmp_path, "", {"CREDENTIALS_DIRECTORY": str(tmp_path / "none")}) == [
        f"$CREDENTIALS_DIRECTORY can't be read (No such file or directory): {tmp_path / 'none'}"
    ]


def test_a_file_that_is_asked_for_must_exist(tmp_path: Path) -> None:
    """--config and the variable name a file; where it is missing, its path and both names are said."""
    missing = tmp_path / "missing.toml"
    for path, environ in ((missing, {}), (None, {"EMAG_SYNCD_CONFIG": str(missing)})):
        with pytest.raises(
            ConfigurationError, match="does not exist: create it, or correct --config or EMAG"
        ) as refusal:
            load(path, environ)
        assert str(missing) in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[http]\nport = \n", r"is not TOML: .*\(at line 2, column 8\): correct that line"),
        (b"[http]\n[http]\n", r"is not TOML: .*line 2"),
        (b"# one\n# two\nx = '\xff'\n", r"is not UTF-8 text \(at line 3\): save it as UTF-8"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    """The path and the line are said, in a sentence and without a traceback."""
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=said) as refusal:
        load(file, {})
    assert str(file) in str(refusal.value)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    """A directory in the file's place stands for all that the system refuses to read, for root too."""
    with pytest.raises(ConfigurationError, match=r"can't be read \(Is a directory\): make it a file"):
        load(tmp_path, {})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/emag-syncd"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/emag-syncd"),
    ],
)
def test_the_state_directory_follows_systemd_then_xdg_then_home(
    environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files go is what the service manager says, else what the desktop's convention says."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state_directory(environ) == Path(expected)


def test_roots_state_directory_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """What root starts by hand finds the files of the daemon that systemd started."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state_directory({"HOME": "/root"}) == Path("/var/lib/emag-syncd")


def test_the_state_directory_is_found_without_any_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty environment the user database knows the home."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state_directory({}).is_absolute()
