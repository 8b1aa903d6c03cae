"""Takes an account's credentials out of whatever the marketplace says, for logs, tables and errors."""

import re

from emag_syncd.config.secrets import spellings

REDACTED = "***"


class Redactor:
    """Replaces secrets, in the spellings in which a server may echo them."""

    def __init__(self, *secrets: str) -> None:
        """Know these secrets; empty ones are ignored."""
        written = {spelling for secret in secrets if secret for spelling in spellings(secret)}
        self.longest = max(map(len, written), default=0)
        ordered = sorted(written, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered)) or r"(?!)")

    def __call__(self, text: str) -> str:
        """Return ``text`` without the secrets."""
        return self._pattern.sub(REDACTED, text)

    def head(self, data: bytes, size: int) -> str:
        """Return the first ``size`` characters of ``data``, as PostgreSQL takes them, without the secrets."""
        wanted = size + 4 * self.longest
        text = self(data[:wanted].decode(errors="replace").replace("\0", "\ufffd"))
        if len(data) > wanted:
            # A secret that was cut in two at the end is not recognised.
            text = text[: len(text) - self.longest]
        return text[:size]
