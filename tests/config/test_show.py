"""What people are shown of the settings: all of it, as TOML, and nothing secret."""

import re
import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from emag_syncd.config import MASK, Settings, as_toml, effective, hide_passwords
from emag_syncd.config.catalogue import plain, settings
from tests.config.support import read

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
SECRETS = {
    "accounts.main.password": "hunter2 hunter2",
    "database.url": "postgresql://user:p%40ssw0rd@db.example.com/erp?password=s3cond",
    "http.token": "0123456789abcdef",
    "webhooks.secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


def complete(folder: Path) -> Settings:
    """Return settings in which every secret is set, by credentials."""
    credentials = folder / "credentials"
    credentials.mkdir()
    for name, secret in SECRETS.items():
        (credentials / name).write_text(secret)
    text = '[accounts.main]\nusername = "seller"\n[webhooks]\nurls = ["https://example.com/hook?token=t0ken0"]\n'
    return read(folder, text, {"CREDENTIALS_DIRECTORY": str(credentials)})


def test_nothing_secret_is_shown(tmp_path: Path) -> None:
    """Neither what config prints nor the repr of the settings has a secret in it, in any form."""
    shown = complete(tmp_path)
    for text in (as_toml(effective(shown)), repr(shown), str(shown)):
        for secret in (*shown.secrets(), "p%40ssw0rd", "p@ssw0rd", "s3cond", "t0ken0", "MfKQ9r8G"):
            assert secret not in text


def test_all_forms_of_the_secrets_are_known(tmp_path: Path) -> None:
    """The log is told of passwords as they are, as addresses have them and as headers have them."""
    assert set(complete(tmp_path).secrets()) == {
        "hunter2 hunter2",
        "c2VsbGVyOmh1bnRlcjIgaHVudGVyMg==",
        "p%40ssw0rd",
        "p@ssw0rd",
        "s3cond",
        "0123456789abcdef",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }


def test_what_is_shown_is_toml_with_every_setting(tmp_path: Path) -> None:
    """The text is read by a TOML parser, and has each setting with the value in force."""
    text = as_toml(effective(complete(tmp_path)))
    values = tomllib.loads(text)
    for path in settings():
        value = values
        for part in path:
            value = value["main" if part == "NAME" else part]
    assert values["database"]["url"] == f"postgresql://user:{MASK}@db.example.com/erp?password={MASK}"
    assert values["accounts"]["main"]["password"] == MASK
    assert values["accounts"]["main"]["schedule"] == {"full": "1d", "incremental": "15m"}
    assert values["schedule"]["timezone"] == "UTC"
    assert "timeout_seconds = 600\n" in text


def test_what_is_shown_can_be_a_configuration(tmp_path: Path) -> None:
    """Without secrets, what config prints makes the same settings again, and unset ones are comments."""
    shown = effective(Settings.of({}, tmp_path))
    text = as_toml(shown)
    assert "# url is not set" in text
    assert effective(read(tmp_path, text)) == shown


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_written_so_that_toml_reads_it(text: str) -> None:
    """Quotes, backslashes, control characters and DEL come back as they were."""
    assert tomllib.loads(as_toml({"table": {"key": text}})) == {"table": {"key": text}}


def test_passwords_are_hidden_in_the_middle_of_a_text() -> None:
    """Addresses keep what is not secret; text without a password stays as it is."""
    text = "connecting to postgresql://user:p@ss@h:5432/db?sslmode=require&password=x&y=1 failed, see http://h:80/a@b"
    assert hide_passwords(text) == (
        f"connecting to postgresql://user:{MASK}@h:5432/db?sslmode=require&password={MASK}&y=1 failed,"
        " see http://h:80/a@b"
    )
    assert hide_passwords("host=h user=u password='a b' dbname=d") == f"host=h user=u password={MASK} dbname=d"


def test_the_document_lists_every_setting_as_it_is() -> None:
    """Each setting has a row with its true default and range, and no row is about anything else."""
    rows = {
        cells[0].strip("`"): cells[1:]
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if (cells := [cell.strip() for cell in line.strip("|").split(" | ")]) and re.fullmatch(r"`[\w.*]+`", cells[0])
    }
    own = {"accounts.NAME.marketplace.*", "accounts.NAME.sync.timeout_seconds"}
    listed = {one.name: one for one in settings().values() if not one.name.startswith("accounts.NAME.marketplace")}
    assert set(rows) == set(listed) | own
    for name in set(listed) - own:
        default, allowed, meaning = rows[name]
        setting = listed[name]
        if setting.field.is_required():
            assert default == "required"
        elif setting.field.default not in (None, ()):
            assert default == plain(setting.field.default)
        if "number" in setting.allowed or "one of" in setting.allowed:
            assert allowed == setting.allowed
        assert meaning
