"""What a single value must look like.

Each check returns the value, or raises ValueError with a sentence for a person.
"""

import binascii
import re
from base64 import b64decode
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from emag_syncd.domain.schedules import Cron, Every, Off, Schedule, parse_schedule

RESERVED_NAMES = frozenset({"all", "both"})
WEBHOOK_SECRET_BYTES = range(24, 65)

_ACCOUNT_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach ``host``."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def not_a_switch(value: Any) -> Any:
    """Refuse true and false where a number is wanted: Python counts them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueError only
    return value


def schedule(value: Any) -> Schedule:
    """Read a schedule."""
    if isinstance(value, Every | Cron | Off):
        return value
    return parse_schedule(value if isinstance(value, str) else "")


def lower(value: Any) -> Any:
    """Make text lower-case."""
    return value.lower() if isinstance(value, str) else value


def account_name(name: str) -> str:
    """Check the name of an account."""
    if name in RESERVED_NAMES:
        raise ValueError("is a reserved name: it means several accounts to the sync command; choose another")
    if not _ACCOUNT_NAME.fullmatch(name):
        raise ValueError("must be 1 to 32 of the characters a-z, 0-9, _ and -")
    return name


def username(name: str) -> str:
    """Check the name of an API user. A colon would end it in an Authorization header."""
    if not name.strip() or ":" in name or not name.isprintable():
        raise ValueError("must be the user's name on the marketplace, without a colon or line breaks")
    return name


def web_address(url: str) -> str:
    """Check the address of a server, and leave out slashes at its end: https, or http on this machine."""
    parts = _split(url)
    host = parts.hostname or ""
    if parts.scheme not in {"https", "http"} or not host:
        raise ValueError("must be an address such as https://host/path")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must start with https://, except where the host is this machine")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must be an address without a user name, a query or a fragment")
    return url.rstrip("/")


def webhook_address(url: str) -> str:
    """Check the address of a webhook's receiver: https, or http on this machine; a query is allowed."""
    parts = _split(url)
    web_address(parts._replace(query="", path="/").geturl())
    return url


def database_url(secret: SecretStr) -> SecretStr:
    """Check a PostgreSQL address. What it holds is never repeated."""
    parts = _split(secret.get_secret_value())
    if parts.scheme not in {"postgresql", "postgres"} or not (parts.netloc or parts.query):
        raise ValueError("must be an address such as postgresql://user:password@host:5432/database")
    return secret


def http_token(secret: SecretStr) -> SecretStr:
    """Check that a bearer token can stand in a header."""
    if not _TOKEN.fullmatch(secret.get_secret_value()):
        raise ValueError("must be letters, digits and any of - . _ ~ + / =; make one with: openssl rand -hex 32")
    return secret


def password(secret: SecretStr) -> SecretStr:
    """Check that a password is there."""
    if not secret.get_secret_value():
        raise ValueError("must not be empty")
    return secret


def webhook_secret(secret: SecretStr) -> SecretStr:
    """Check secrets, spaces between them: each is base64 of 24 to 64 bytes, after ``whsec_`` or not."""
    keys = secret.get_secret_value().split()
    if not keys or not all(_key_size(key) in WEBHOOK_SECRET_BYTES for key in keys):
        raise ValueError("must be base64 of 24 to 64 bytes; make one with: openssl rand -base64 32")
    return secret


def _key_size(key: str) -> int:
    try:
        return len(b64decode(key.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        return 0


def listed(value: Any) -> Any:
    """Take one text for several, with commas between them, as an environment variable has it."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _split(url: str) -> SplitResult:
    """Split an address. Raises ValueError without repeating it, where its host or port is malformed."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("must be an address whose host and port are well-formed") from None
    return parts
