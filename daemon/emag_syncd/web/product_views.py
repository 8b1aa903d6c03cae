"""Products and their changes as the API shows them."""

from typing import Any, Literal, TypedDict
from uuid import UUID

from emag_syncd.domain.changes import ChangeKind
from emag_syncd.domain.runs import Status
from emag_syncd.domain.sellability import Obstacle
from emag_syncd.web.views import Moment, RunView


class ProductView(TypedDict):
    """A product under its columns' names and, beside them, under those that the ERP has for them."""

    id: str
    emag_id: int
    account_type: str
    sku: str | None
    price: float | None
    stock_quantity: int | None
    is_active: bool
    last_synced_at: Moment
    part_number: str | None
    part_number_key: str | None
    name: str | None
    brand: str | None
    category_id: int | None
    vendor_category_id: int | None
    status: int | None
    sale_price: float | None
    recommended_price: float | None
    min_sale_price: float | None
    max_sale_price: float | None
    best_offer_sale_price: float | None
    best_offer_recommended_price: float | None
    currency: str | None
    vat_id: int | None
    warranty: int | None
    general_stock: int | None
    estimated_stock: int | None
    ean: list[str] | None
    number_of_offers: int | None
    buy_button_rank: int | None
    ownership: int | None
    validation_status: int | None
    translation_validation_status: int | None
    offer_validation_status: int | None
    is_sellable: bool | None
    main_image_url: str | None
    why_not: list[Obstacle]
    first_seen_at: Moment
    updated_at: Moment
    removed_at: Moment | None


class WholeProductView(ProductView):
    """A product with all that the marketplace said of it."""

    raw: Any


class Pagination(TypedDict):
    """Where a list of products stands; ``next`` is what to pass as ``after``."""

    skip: int
    limit: int
    total: int
    total_is_estimate: bool
    next: str | None


class ProductPage(TypedDict):
    """Products, and where they stand in the whole list."""

    products: list[ProductView]
    pagination: Pagination


class ProductList(TypedDict):
    """A part of the products."""

    status: Literal["success"]
    data: ProductPage


class OneProduct(TypedDict):
    """One product."""

    status: Literal["success"]
    data: WholeProductView


class ChangeView(TypedDict):
    """What happened to a product: ``changes`` has the old and the new value of each column."""

    id: int
    account_type: str
    emag_id: int
    sync_log_id: UUID | None
    changed_at: Moment
    kind: ChangeKind
    changes: Any


class ChangesOfProduct(TypedDict):
    """What happened to one product, the latest first."""

    changes: list[ChangeView]
    count: int


class ProductHistory(TypedDict):
    """The history of one product."""

    status: Literal["success"]
    data: ChangesOfProduct


class ChangePage(ChangesOfProduct):
    """Changes, the oldest first; ``next_after`` is what to pass as ``after``."""

    next_after: int


class ChangeFeed(TypedDict):
    """A part of the change feed."""

    status: Literal["success"]
    data: ChangePage


class AccountStates(TypedDict):
    """The products of one account by what a seller wants to know of them."""

    account_type: str
    offers: int
    active: int
    inactive: int
    end_of_life: int
    sellable: int
    out_of_stock: int
    buy_button_lost: int
    rejected: int
    removed: int


class Statistics(TypedDict):
    """How many products there are, and how runs ended lately."""

    status: Literal["success"]
    products_by_account: dict[str, int]
    total_products: int
    accounts: list[AccountStates]
    recent_syncs: list[RunView]
    syncs_by_status: dict[Status, int]
    success_rate: float | None
    success_rate_days: int
