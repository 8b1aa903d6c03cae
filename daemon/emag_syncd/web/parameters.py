"""What requests may say. What is unknown or out of range is refused by name, all of it at once."""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from aiohttp import web
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from emag_syncd.domain import filters
from emag_syncd.domain.changes import ChangeKind
from emag_syncd.domain.products import SORTS, BuyButton, Place, ProductFilter, Removed, Sellable, Sort
from emag_syncd.domain.runs import Operation, RunRequest, Status, Trigger
from emag_syncd.domain.sellability import Obstacle
from emag_syncd.web.answers import ProblemError

ALL = frozenset({"all", "both"})
"""What stands for every configured account."""

JSON = "application/json"
MIRROR = "emag_priority"
MOST_PAGES = 1_000_000
LARGEST = 2**63 - 1
LONGEST_BODY_SECONDS = 10.0

M = TypeVar("M", bound=BaseModel)


def _filters(value: dict[str, Any]) -> dict[str, Any]:
    if problems := filters.problems(value):
        raise ValueError("; ".join(problems))
    return value


def _strategy(value: Any) -> Any:
    if value != MIRROR:
        raise ValueError(f"must be {MIRROR}: the database mirrors the marketplace, which is always right")
    return value


def read_moment(value: Any) -> datetime:
    """Return a time, in UTC unless it says otherwise. Raises ValueError with a sentence for a person."""
    text = str(value)
    # A plus sign that was not written as %2B arrives as a blank.
    text = re.sub(r"(?<=T)(\S+) (\d\d:?\d\d)$", r"\1+\2", text)
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an ISO 8601 time such as 2026-03-01T12:00:00Z") from None


def _sort(value: Any) -> Sort:
    if value not in SORTS:
        raise ValueError(f"must be one of {', '.join(SORTS)}")
    return Sort.of(value)


def _place(value: Any) -> Place:
    return Place.of(str(value))


def _one_account(account_type: str | None) -> str | None:
    return None if account_type in ALL else account_type


Moment: TypeAlias = Annotated[datetime, BeforeValidator(read_moment)]
AccountName: TypeAlias = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")]
Filters: TypeAlias = Annotated[dict[str, Any], AfterValidator(_filters), WithJsonSchema(filters.schema())]


class Parameters(BaseModel):
    """The parameters of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SyncParameters(Parameters):
    """A run that is asked for."""

    account_type: AccountName = "both"
    mode: Literal["full", "incremental", "selective"] = "incremental"
    max_pages: int | None = Field(default=None, ge=1, le=MOST_PAGES)
    items_per_page: int | None = Field(default=None, ge=1, le=100)
    include_inactive: bool = False
    run_async: bool = False
    filters: Filters | None = None
    conflict_strategy: Annotated[str, BeforeValidator(_strategy), WithJsonSchema({"const": MIRROR})] = MIRROR

    @model_validator(mode="after")
    def _selects(self) -> "SyncParameters":
        if self.mode == "selective" and not self.filters:
            raise ValueError(f"mode selective needs filters: any of {', '.join(filters.FILTERS)}")
        if self.mode != "selective" and self.filters:
            raise ValueError(f"filters go with mode selective only, and the mode is {self.mode}")
        return self

    def run(self, account: str, trigger: Trigger) -> RunRequest:
        """Return the run of one account."""
        return RunRequest(
            account=account,
            operation=Operation.of_mode(self.mode),
            trigger=trigger,
            filters=self.filters or {},
            max_pages=self.max_pages,
            page_size=self.items_per_page,
            include_inactive=self.include_inactive,
        )


class HistoryParameters(Parameters):
    """Which runs to list."""

    limit: int = Field(default=50, ge=1, le=100)
    account_type: AccountName | None = None
    status: Status | None = None
    before: Moment | None = None


class FilterParameters(Parameters):
    """Which products are meant."""

    account_type: AccountName | None = None
    search: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] | None = None
    status: int | None = Field(default=None, ge=0, le=9)
    sellable: Sellable | None = None
    why_not: Obstacle | None = None
    in_stock: bool | None = None
    validation_status: int | None = Field(default=None, ge=0, le=99)
    buy_button: BuyButton | None = None
    removed: Removed = Removed.NO

    def wanted(self) -> ProductFilter:
        """Return what they mean."""
        return ProductFilter(
            account=_one_account(self.account_type),
            search=self.search,
            status=self.status,
            sellable=self.sellable,
            obstacle=self.why_not,
            in_stock=self.in_stock,
            validation_status=self.validation_status,
            buy_button=self.buy_button,
            removed=self.removed,
        )


class ProductParameters(FilterParameters):
    """Which products to list, in which order and from where on."""

    skip: int = Field(default=0, ge=0, le=LARGEST)
    limit: int = Field(default=50, ge=1, le=1000)
    sort: Annotated[Sort, BeforeValidator(_sort), WithJsonSchema({"enum": [*SORTS]})] = Field(
        default=Sort(), json_schema_extra={"default": str(Sort())}
    )
    after: Annotated[Place, BeforeValidator(_place), WithJsonSchema({"type": "string"})] | None = None

    @model_validator(mode="after")
    def _continues(self) -> "ProductParameters":
        if self.after is not None and self.after.sort != str(self.sort):
            raise ValueError(f"after is of an answer sorted by {self.after.sort}, and sort is {self.sort}")
        return self


class ChangesOfParameters(Parameters):
    """Which changes of one product to list."""

    limit: int = Field(default=50, ge=1, le=1000)
    before: int | None = Field(default=None, ge=0, le=LARGEST)


class ChangesParameters(Parameters):
    """Which changes to list."""

    after: int = Field(default=0, ge=0, le=LARGEST)
    limit: int = Field(default=100, ge=1, le=1000)
    account_type: AccountName | None = None
    kind: ChangeKind | None = None

    @property
    def account(self) -> str | None:
        """The one account that is meant, if it is one."""
        return _one_account(self.account_type)


class OverviewParameters(Parameters):
    """Which accounts to show, where they are too many for one page."""

    model_config = ConfigDict(extra="ignore")

    page: int = Field(default=1, ge=1, le=LARGEST)


class CleanUpParameters(Parameters):
    """How long a run may have been running, in minutes."""

    timeout_minutes: int = Field(default=15, ge=5, le=60)


class EventsParameters(Parameters):
    """From where on to tell of events."""

    after: str | None = Field(default=None, description="The id of an event: those after it come first")


class ConnectionParameters(Parameters):
    """Whose way to the marketplace to try."""

    account_type: AccountName


def read_query(request: web.Request, model: type[M]) -> M:
    """Return what the address says. A parameter without a value counts as not given. Raises ProblemError."""
    return validated({name: value for name, value in request.query.items() if value}, model)


def validated(given: Mapping[str, Any], model: type[M]) -> M:
    """Return what was ``given`` as text. Raises ProblemError."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refused(error, model) from None


async def read_form(request: web.Request) -> dict[str, str]:
    """Return what a form says; a field without a value counts as not given. Raises ProblemError."""
    await _received(request)
    fields = (await request.post()).items()
    return {name: value for name, value in fields if isinstance(value, str) and value}


async def read_body(request: web.Request, model: type[M]) -> M:
    """Return what the body says; none at all says nothing. Raises ProblemError."""
    body = await _received(request)
    if body and request.content_type != JSON:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body is not JSON by its Content-Type: send it as {JSON}",
            headers={"Accept-Post": JSON},
        )
    if request.query:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "the address has parameters: put them into the JSON body")
    try:
        return model.model_validate_json(body or b"{}", strict=True)
    except ValidationError as error:
        raise _refused(error, model) from None


async def read_either(request: web.Request, model: type[M]) -> M:
    """Return what the address says or, where it says nothing, the body. Raises ProblemError."""
    if request.query and not await _received(request):
        return read_query(request, model)
    return await read_body(request, model)


async def _received(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(LONGEST_BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise ProblemError(
            HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {LONGEST_BODY_SECONDS:g} s: send it again"
        ) from None


def _refused(error: ValidationError, model: type[BaseModel]) -> ProblemError:
    details = error.errors(include_url=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return ProblemError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {details[0]['ctx']['error']}")
    lines = [_line(detail, model) for detail in details]
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(lines), errors=lines)


def _line(detail: ErrorDetails, model: type[BaseModel]) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            return f"{name!r} is unknown; known are {', '.join(model.model_fields)}"
        case "missing":
            return f"{name} is missing"
        case "value_error":
            return f"{name} {detail['ctx']['error']}".lstrip()
        case _:
            return f"{name or 'the body'}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
