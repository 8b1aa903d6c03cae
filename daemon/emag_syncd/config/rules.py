"""What settings owe each other. docs/configuration.md says why, rule by rule."""

import stat
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from emag_syncd.config import catalogue
from emag_syncd.config.checks import is_loopback
from emag_syncd.config.model import Account, Configuration, Marketplace, RunLimits
from emag_syncd.config.secrets import passwords_in
from emag_syncd.config.sources import Gathered
from emag_syncd.domain.schedules import Every

SHORT_TOKEN = 16
EMAG_REQUESTS_PER_SECOND = 3
EMAG_REQUESTS_PER_MINUTE = 180
EMAG_LOG_DAYS = 30


def settle(configuration: Configuration) -> Configuration:
    """Return the configuration with those defaults lowered that would contradict what was set."""
    watchdog, lease = configuration.watchdog, configuration.sync.lease_seconds
    if "interval_seconds" not in watchdog.model_fields_set:
        watchdog = watchdog.model_copy(update={"interval_seconds": min(watchdog.interval_seconds, lease)})
    marketplace = fit_requests(configuration.marketplace, configuration.sync)
    return configuration.model_copy(update={"watchdog": watchdog, "marketplace": marketplace})


def fit_requests(marketplace: Marketplace, limits: RunLimits) -> Marketplace:
    """Let a request without a limit of its own take half of its run's time at most, to be repeatable."""
    if "request_timeout_seconds" in marketplace.model_fields_set:
        return marketplace
    fitting = min(marketplace.request_timeout_seconds, limits.timeout_seconds / 2)
    return marketplace.model_copy(update={"request_timeout_seconds": fitting})


def violations(configuration: Configuration) -> Iterator[str]:
    """Yield what contradicts itself, a line each."""
    lease, interval = configuration.sync.lease_seconds, configuration.watchdog.interval_seconds
    if "interval_seconds" in configuration.watchdog.model_fields_set and interval > lease:
        yield (
            f"watchdog.interval_seconds = {catalogue.plain(interval)} must not be more than"
            f" sync.lease_seconds = {catalogue.plain(lease)}: lower the interval"
        )
    own = Account.model_construct(marketplace=Marketplace(), sync=RunLimits())
    yield from _late_requests(configuration, "", own)
    for name, account in configuration.accounts.items():
        if account.marketplace.model_fields_set or account.sync.model_fields_set:
            yield from _late_requests(configuration, f"accounts.{name}.", account)


def _late_requests(configuration: Configuration, prefix: str, account: Account) -> Iterator[str]:
    """Yield the contradiction that a request may last as long as its run."""
    request_of, run_of = "", ""
    request, run = configuration.marketplace, configuration.sync.timeout_seconds
    if "request_timeout_seconds" in account.marketplace.model_fields_set:
        request_of, request = prefix, account.marketplace
    if "timeout_seconds" in account.sync.model_fields_set:
        run_of, run = prefix, account.sync.timeout_seconds
    if prefix and not (request_of or run_of):
        return  # said once, of all accounts
    seconds = request.request_timeout_seconds
    if "request_timeout_seconds" in request.model_fields_set and seconds >= run:
        yield (
            f"{request_of}marketplace.request_timeout_seconds = {catalogue.plain(seconds)} must be less than"
            f" {run_of}sync.timeout_seconds = {catalogue.plain(run)}: lower the one or raise the other"
        )


def cautions(configuration: Configuration, gathered: Gathered) -> Iterator[str]:
    """Yield what is permitted and probably not meant, a line each."""
    yield from _open_file(gathered)
    token = configuration.http.token
    if token is not None and len(token.get_secret_value()) < SHORT_TOKEN:
        yield f"http.token is short: take {SHORT_TOKEN} characters or more, as from: openssl rand -hex 32"
    yield from _private_receivers(configuration)
    yield from _odd_times(configuration)
    if configuration.retention.api_calls_days < EMAG_LOG_DAYS:
        yield (
            f"retention.api_calls_days = {configuration.retention.api_calls_days} is less than the"
            f" {EMAG_LOG_DAYS} days for which eMAG asks integrators to keep the log of calls"
        )


def _private_receivers(configuration: Configuration) -> Iterator[str]:
    """Yield a warning where messages are sure to be refused, without the URL: its query may hold a token."""
    for number, url in enumerate(configuration.webhooks.urls):
        if is_loopback(urlsplit(url).hostname or "") and not configuration.webhooks.allow_private:
            yield (
                f"webhooks.urls[{number}] is on this machine and will not be reached:"
                " set webhooks.allow_private = true if that is meant"
            )


def _open_file(gathered: Gathered) -> Iterator[str]:
    """Yield a warning where everybody may read a file that holds secrets."""
    if gathered.file is None or not gathered.file.stat().st_mode & stat.S_IROTH:
        return
    if held := sorted(".".join(path) for path in _secrets(gathered.values, ()) if path not in gathered.origins):
        yield (
            f"{gathered.file} holds {', '.join(held)} and everybody on this machine may read it:"
            f" chmod 0640 {gathered.file}, or keep secrets in credential files"
        )


def _secrets(values: Mapping[str, Any], above: catalogue.Path) -> Iterator[catalogue.Path]:
    for name, value in values.items():
        path = (*above, name)
        if isinstance(value, dict):
            yield from _secrets(value, path)
        elif (setting := catalogue.find(path)) is None or not setting.secret:
            continue
        elif path != ("database", "url") or any(passwords_in(str(value))):
            yield path


def _odd_times(configuration: Configuration) -> Iterator[str]:
    sync, stale = configuration.sync, configuration.watchdog.stale_after_seconds
    if stale < sync.timeout_seconds + sync.abandon_after_seconds:
        yield (
            f"watchdog.stale_after_seconds = {catalogue.plain(stale)} is less than sync.timeout_seconds and"
            " sync.abandon_after_seconds together: another program's run may be ended while it works"
        )
    if 0 < sync.resume_within_seconds <= sync.timeout_seconds:
        yield (
            f"sync.resume_within_seconds = {catalogue.plain(sync.resume_within_seconds)} is not more than"
            " sync.timeout_seconds: a scan that its timeout cuts short is never taken up again"
        )
    for name, account in configuration.accounts.items():
        yield from _odd_account(configuration, name, account)


def _odd_account(configuration: Configuration, name: str, account: Account) -> Iterator[str]:
    jitter = configuration.schedule.jitter_seconds
    for key in ("full", "incremental"):
        timetable = getattr(account.schedule, key)
        if isinstance(timetable, Every) and timetable.period <= timedelta(seconds=jitter):
            yield (
                f'accounts.{name}.schedule.{key} = "{timetable}" is not more than schedule.jitter_seconds ='
                f" {catalogue.plain(jitter)}: starts will be skipped; lower the jitter"
            )
    if account.base_url is not None and is_loopback(urlsplit(account.base_url).hostname or ""):
        return
    asked = configuration.marketplace.model_copy(update=account.marketplace.model_dump(exclude_unset=True))
    permitted = {
        "requests_per_second": EMAG_REQUESTS_PER_SECOND,
        "requests_per_minute": EMAG_REQUESTS_PER_MINUTE,
    }
    for key, most in permitted.items():
        if getattr(asked, key) > most:
            yield f"account {name}: {key} = {getattr(asked, key)} is above the {most} that eMAG permits"
