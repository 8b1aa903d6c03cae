"""The sentences with which runs of this daemon end, to be said in the reader's language.

They stand in the database in English, for every reader and program. What the marketplace says stays as it said it.
"""

import re
from collections.abc import Iterator
from functools import cache
from gettext import NullTranslations

_ = str  # marks what is to be translated

SENTENCES = (
    _("Product sync timed out after %(seconds)s seconds"),
    _("Stale: running since %(moment)s without a lease"),
    _("Stale: no sign of life from %(worker)s since %(moment)s"),
    _("Cleaned up: it had been running for more than %(minutes)s minutes"),
    _("Interrupted: its process on this host is gone; a full scan is taken up again"),
    _("The daemon was shut down; a full scan is taken up where it stopped."),
    _("The daemon was shut down in the middle of a page"),
    _("The run was cancelled"),
    _("Cancelled on request"),
    _("An error inside emag-syncd ended the run (%(name)s); its log has the details"),
    _(
        "%(gone)s of %(live)s offers are gone at once, more than sync.removal_guard_percent = %(percent)s lets pass"
        " unseen: none was removed. If that many really left the marketplace, raise the setting and run a full sync."
    ),
    _(
        "The marketplace counts %(counted)s offers, and reading all of its pages found %(found)s, while their number"
        " fell (%(times)s readings): offers come and go while they are read, or its lists are wrong. The next run reads"
        " them anew."
    ),
    _(
        "The marketplace counts %(counted)s offers, and reading all of its pages found %(found)s (%(times)s readings):"
        " offers come and go while they are read, or its lists are wrong. The next run reads them anew."
    ),
    _(
        "Offers %(stretches)s and %(number)s more stretches of %(total)s could not be read (%(reason)s). The next"
        " %(mode)s run reads %(rest)s."
    ),
    _("Offers %(stretches)s of %(total)s could not be read (%(reason)s). The next %(mode)s run reads %(rest)s."),
    _("just what is missing"),
    _("them anew"),
    _("full"),
    _("incremental"),
    _("selective"),
    _(
        "%(number)s of the offers that were read are not in emag_products: somebody deletes rows, or marks them as"
        " removed, while they are read (%(times)s readings). The next run reads them anew."
    ),
)
"""Each with what stands in it, which may be another of them."""


def in_words(text: str, translations: NullTranslations) -> str | None:
    """Return ``text`` in the language of ``translations``; None for what is no sentence of ours."""
    for sentence, pattern in _patterns():
        if found := pattern.fullmatch(text):
            values = {name: in_words(value, translations) or value for name, value in found.groupdict().items()}
            return translations.gettext(sentence) % values
    return None


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(_with_patterns())


def _with_patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for sentence in SENTENCES:
        pattern = re.sub(r"%\\\((\w+)\\\)s", r"(?P<\1>.*?)", re.escape(sentence))
        yield sentence, re.compile(pattern, re.DOTALL)
