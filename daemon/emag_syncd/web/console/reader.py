"""Who reads a page: in which language, and how numbers and times are written there."""

import gettext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from importlib import resources
from io import BytesIO
from typing import TypeAlias

from aiohttp import hdrs, web
from babel import Locale, dates, negotiate_locale, numbers
from babel.messages import mofile, pofile
from markupsafe import Markup

from emag_syncd.web.console.sentences import in_words

Number: TypeAlias = int | float | Decimal

LANGUAGES = ("en", "ro")
"""The first is for those whose browser asks for none of them."""

NOTHING = Markup('<span class="nothing">&ndash;</span>')

_SMALLEST_GRANULARITY = 45
"""Seconds: below that, a time that passed is *now*."""


@cache
def _translations(language: str) -> gettext.NullTranslations:
    """Return the texts of a language. Compiled here, so that what can be read is all there is."""
    if language == LANGUAGES[0]:
        return gettext.NullTranslations()
    source = resources.files(__package__) / "locale" / f"{language}.po"
    compiled = BytesIO()
    mofile.write_mo(compiled, pofile.read_po(BytesIO(source.read_bytes()), locale=language, abort_invalid=True))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@cache
def _locale(language: str) -> Locale:
    return Locale.parse(language)


@lru_cache(maxsize=4096)
def _moment(language: str, when: datetime) -> str:
    """Write a moment to the second. A page asks for the same ones again and again, and many rows for one."""
    return f"{dates.format_datetime(when, 'medium', tzinfo=UTC, locale=_locale(language))} UTC"


@dataclass(frozen=True, slots=True)
class Reader:
    """Writes texts, numbers and times for one reader. What is None becomes a dash."""

    language: str

    @classmethod
    def of(cls, request: web.Request) -> "Reader":
        """Return the reader that the browser's ``Accept-Language`` tells of."""
        wished = (part.split(";")[0].strip() for part in request.headers.get(hdrs.ACCEPT_LANGUAGE, "").split(","))
        return cls(negotiate_locale([one for one in wished if one], LANGUAGES, sep="-") or LANGUAGES[0])

    @property
    def translations(self) -> gettext.NullTranslations:
        """The texts of the language."""
        return _translations(self.language)

    @property
    def locale(self) -> Locale:
        """The language's rules."""
        return _locale(self.language)

    def sentence(self, text: str) -> str | None:
        """Return how a run ended, said in the language; None for what others say."""
        return in_words(text, self.translations)

    def number(self, value: Number | None) -> str:
        """Write a number with the separators of the language."""
        return NOTHING if value is None else numbers.format_decimal(value, locale=self.locale)

    def percent(self, share: float | None) -> str:
        """Write a share of 1."""
        return NOTHING if share is None else numbers.format_percent(share, locale=self.locale)

    def money(self, value: Number | None, currency: str | None) -> str:
        """Write a price, to four digits where it has them; without a currency it is a number."""
        if value is None:
            return NOTHING
        if not currency:
            return numbers.format_decimal(value, format="#,##0.00##", locale=self.locale)
        pattern = self.locale.currency_formats["standard"].pattern.replace("0.00", "0.00##")
        if numbers.get_currency_symbol(currency, self.locale).isalpha():
            pattern = pattern.replace("¤#", "¤\xa0#")
        return numbers.format_currency(value, currency, format=pattern, locale=self.locale, currency_digits=False)

    def duration(self, seconds: float | None) -> str:
        """Write how long something takes, in its two largest units."""
        if seconds is None:
            return NOTHING
        if seconds < 1:
            return f"{round(seconds * 1000)} ms"
        if seconds < 10:  # noqa: PLR2004 - below, a tenth tells something
            return f"{numbers.format_decimal(round(seconds, 1), locale=self.locale)} s"
        whole = round(seconds)
        parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
        first = next(index for index, (count, _) in enumerate(parts) if count)
        return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)

    def moment(self, when: datetime | None) -> str:
        """Write when something was or will be, absolutely, in UTC."""
        if when is None:
            return NOTHING
        return _moment(self.language, when.replace(microsecond=0))

    def ago(self, when: datetime | None) -> Markup | str:
        """Write when something was or will be, from now; the absolute time is on hover."""
        if when is None:
            return NOTHING
        distance = when - datetime.now(UTC)
        if abs(distance) < timedelta(seconds=_SMALLEST_GRANULARITY):
            words = dates.format_timedelta(round(distance.total_seconds()), add_direction=True, locale=self.locale)
        else:
            words = dates.format_timedelta(distance, add_direction=True, threshold=1.5, locale=self.locale)
        return Markup('<time datetime="{}" title="{}">{}</time>').format(when.isoformat(), self.moment(when), words)
