"""The sentences with which this daemon ends runs and refuses what it is asked for, to be said in the reader's language.

They stand in the database and in the API's answers in English, for every reader and program. What the marketplace says
stays as it said it.
"""

import re
from collections.abc import Sequence
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
    _("%(column)s: %(count)s that do not fit the column, such as %(example)s; kept in raw"),
    _("a sync of account %(account)s is already running (%(run)s)"),
    _("wait for it, or cancel it"),
    _("sync %(run)s is not running any more: it is %(status)s"),
    _("completed"),
    _("failed"),
    _("cancelled"),
    _("emag-syncd is shutting down"),
    _("ask again when it is back"),
    _("an error inside emag-syncd (%(name)s): its log has the details"),
    _("the marketplace refused account %(account)s: %(said)s"),
    _("check %(setting)s.username and .password, and that the user has API rights"),
    _("the marketplace does not accept %(address)s for account %(account)s"),
    _("whitelist it in the marketplace's account settings, on each platform by itself"),
    _("the marketplace gave account %(account)s no useful answer within %(seconds)s s"),
    _("try again later; if it stays so, see the log of this daemon for what came instead"),
    _("the marketplace refused the request: %(said)s"),
    _("check %(setting)s.base_url, and ask the marketplace's support about what it says; then sync by hand"),
    _("the marketplace failed with status %(status)s"),
    _("it is on the marketplace's side and usually passes by itself"),
    _("can't connect to %(host)s: %(reason)s"),
    _("check %(setting)s.base_url, and this machine's DNS and way to the internet"),
    _("no whole answer from %(host)s within %(seconds)s seconds"),
    _("raise %(setting)s.request_timeout_seconds if it is often that slow"),
    _("the connection to %(server)s was lost (%(reason)s)"),
    _("see the server's log; it is opened again by itself"),
    _("nothing listens at %(server)s"),
    _("%(server)s can't be reached (%(reason)s)"),
    _("start PostgreSQL, or correct database.url"),
    _("%(server)s did not answer in time"),
    _("look whether it and the network are well"),
)
"""Each with what stands in it, which may be another of them."""


def in_words(text: str, translations: NullTranslations) -> str | None:
    """Return ``text``, which may end with a remedy, in the language of ``translations``; None for what others say."""
    for colon in re.finditer(": ", text):
        message = _in_words(text[: colon.start()], translations)
        remedy = message and _in_words(text[colon.end() :], translations)
        if remedy:
            return f"{message}: {remedy}"
    return _in_words(text, translations)


def _in_words(text: str, translations: NullTranslations) -> str | None:
    for sentence, first, gaps in _pieces():
        if (found := _values(text, first, gaps)) is not None:
            values = {name: _in_words(value, translations) or value for name, value in found.items()}
            return translations.gettext(sentence) % values
    return None


def _values(text: str, first: str, gaps: Sequence[tuple[str, str]]) -> dict[str, str] | None:
    """Return what stands in the gaps, each of them as short as can be; None where the text is another.

    Not by a regular expression: whatever a marketplace says is looked at, and must not cost more than its length.
    """
    if not text.startswith(first) or (not gaps and text != first):
        return None
    values: dict[str, str] = {}
    at = len(first)
    for number, (name, literal) in enumerate(gaps, start=1):
        if number < len(gaps):
            end = text.find(literal, at)
        else:
            end = len(text) - len(literal) if text.endswith(literal) else -1
        if end < at:
            return None
        values[name] = text[at:end]
        at = end + len(literal)
    return values


@cache
def _pieces() -> tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]:
    """Return each sentence with how it begins, and its gaps, each with what follows it."""
    split = ((sentence, re.split(r"%\((\w+)\)s", sentence)) for sentence in SENTENCES)
    return tuple(
        (sentence, first, tuple(zip(rest[::2], rest[1::2], strict=True))) for sentence, (first, *rest) in split
    )
