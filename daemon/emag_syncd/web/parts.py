"""What the pages show and set going."""

from collections.abc import Callable
from dataclasses import dataclass

from emag_syncd.config import Settings
from emag_syncd.storage.catalogue import Catalogue
from emag_syncd.storage.history import History
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.outbox import Outbox
from emag_syncd.supervision.accounts import Accounts
from emag_syncd.supervision.counts import OfferCounts
from emag_syncd.supervision.health import Health
from emag_syncd.supervision.recorder import Recorder
from emag_syncd.supervision.schedule import Schedule
from emag_syncd.supervision.supervisor import Supervisor
from emag_syncd.telemetry.metrics import Metrics

API = "/api/v1/emag/products"


@dataclass(frozen=True, slots=True)
class WebParts:
    """The parts of the daemon that are reached over HTTP."""

    accounts: Accounts
    ledger: Ledger
    supervisor: Supervisor
    schedule: Schedule
    recorder: Recorder
    metrics: Metrics
    health: Health
    outbox: Outbox
    counts: OfferCounts
    history: History
    settings: Callable[[], Settings]
    pool: Callable[[], dict[str, int]]
    catalogue: Catalogue
