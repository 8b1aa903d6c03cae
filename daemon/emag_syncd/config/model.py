"""The settings: their names, types, ranges and defaults. What stands here is what a configuration may say."""

from typing import Annotated, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    model_validator,
)

from emag_syncd.config import checks
from emag_syncd.domain.platforms import Platform
from emag_syncd.domain.schedules import Every, Schedule, parse_duration

HOUR = 3600
DAY = 24 * HOUR
YEAR = 366 * DAY

_NUMBER = BeforeValidator(checks.not_a_switch)

Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False), _NUMBER]
Whole: TypeAlias = Annotated[int, _NUMBER]
Days: TypeAlias = Annotated[int, Field(ge=1, le=36500), _NUMBER]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
AccountName: TypeAlias = Annotated[str, AfterValidator(checks.account_name)]
WebAddress: TypeAlias = Annotated[str, AfterValidator(checks.web_address)]
WebhookAddress: TypeAlias = Annotated[str, AfterValidator(checks.webhook_address)]
DatabaseUrl: TypeAlias = Annotated[SecretStr, AfterValidator(checks.database_url)]
Token: TypeAlias = Annotated[SecretStr, AfterValidator(checks.http_token)]
Password: TypeAlias = Annotated[SecretStr, AfterValidator(checks.password)]
WebhookSecret: TypeAlias = Annotated[SecretStr, AfterValidator(checks.webhook_secret)]
Timetable: TypeAlias = Annotated[Schedule, PlainValidator(checks.schedule)]


class Section(BaseModel):
    """A table of the configuration. It refuses what it does not know, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Database(Section):
    """Where the copy is kept. Without ``url``: an embedded PostgreSQL in the state directory."""

    url: DatabaseUrl | None = None
    pool_max_size: Whole = Field(default=10, ge=2, le=1000)
    migrate: bool = True


class Http(Section):
    """Where health, metrics, API and console are served."""

    host: Text = "127.0.0.1"
    port: Whole = Field(default=9320, ge=0, le=65535)
    token: Token | None = None

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.token is None and not checks.is_loopback(self.host):
            raise ValueError(
                f'http.token is missing: http.host = "{self.host}" is reached from other machines;'
                " make one with: openssl rand -hex 32"
            )
        return self


class RunLimits(Section):
    """What an account may have of its own among the settings of ``sync``."""

    timeout_seconds: Number = Field(default=600, ge=0.1, le=7 * DAY)


class Sync(RunLimits):
    """The limits of a run."""

    abandon_after_seconds: Number = Field(default=30, ge=0.1, le=HOUR)
    resume_within_seconds: Number = Field(default=6 * HOUR, ge=0, le=YEAR)
    removal_guard_percent: Number = Field(default=20, ge=0, le=100)
    lease_seconds: Number = Field(default=60, ge=5, le=HOUR)

    @property
    def heartbeat_seconds(self) -> float:
        """How often a running run says that it lives: five times within a lease, so that one may be late."""
        return self.lease_seconds / 5


class Watchdog(Section):
    """How soon a run without a living process is ended."""

    interval_seconds: Number = Field(default=30, ge=0.1, le=HOUR)
    stale_after_seconds: Number = Field(default=900, ge=0.1, le=7 * DAY)


class Marketplace(Section):
    """How the marketplace is asked. Each account may have its own."""

    page_size: Whole = Field(default=100, ge=1, le=100)
    max_concurrent_requests: Whole = Field(default=24, ge=1, le=1000)
    request_timeout_seconds: Number = Field(default=90, ge=0.1, le=HOUR)
    requests_per_second: Whole = Field(default=3, ge=1, le=1_000_000)
    requests_per_minute: Whole = Field(default=180, ge=1, le=60_000_000)
    max_attempts: Whole = Field(default=5, ge=1, le=100)


class Timetables(Section):
    """When an account is read."""

    full: Timetable = Every(parse_duration("1d"))
    incremental: Timetable = Every(parse_duration("15m"))


class Account(Section):
    """A seller's account on the marketplace."""

    platform: Platform = Platform.EMAG_RO
    base_url: WebAddress | None = None
    username: Annotated[str, AfterValidator(checks.username)]
    password: Password
    schedule: Timetables = Timetables()
    marketplace: Marketplace = Marketplace()
    sync: RunLimits = RunLimits()


class Scheduling(Section):
    """What all schedules share."""

    timezone: ZoneInfo = ZoneInfo("UTC")
    jitter_seconds: Number = Field(default=45, ge=0, le=HOUR)


class Retention(Section):
    """How long what piles up is kept."""

    changes_days: Days = 365
    runs_days: Days = 90
    api_calls_days: Days = 30
    rejects_days: Days = 30
    dead_webhooks_days: Days = 30


class Webhooks(Section):
    """Who is told, and how the message is signed."""

    # Left out of the repr: an address may carry a token in its query.
    urls: Annotated[tuple[WebhookAddress, ...], BeforeValidator(checks.listed)] = Field(default=(), repr=False)
    secret: WebhookSecret | None = None
    allow_private: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The secrets to sign with: one, or several while it is being replaced."""
        return tuple(self.secret.get_secret_value().split()) if self.secret else ()

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.urls and self.secret is None:
            raise ValueError(
                "webhooks.secret is missing: webhooks.urls are set, and each message is signed;"
                " make one with: openssl rand -base64 32"
            )
        return self


class Log(Section):
    """What the daemon writes to its error stream. ``auto`` is console on a terminal and json elsewhere."""

    format: Annotated[Literal["auto", "json", "console"], BeforeValidator(checks.lower)] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(checks.lower)] = "info"


class Configuration(Section):
    """Everything that a configuration may say."""

    database: Database = Database()
    http: Http = Http()
    sync: Sync = Sync()
    watchdog: Watchdog = Watchdog()
    marketplace: Marketplace = Marketplace()
    accounts: dict[AccountName, Account] = {}
    schedule: Scheduling = Scheduling()
    retention: Retention = Retention()
    webhooks: Webhooks = Webhooks()
    log: Log = Log()
    shutdown_seconds: Number = Field(default=25, gt=2, le=HOUR)
