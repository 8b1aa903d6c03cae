"""A seller account of the simulated marketplace, with everything about it that can be turned."""

import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

from emag_syncd.sandbox.catalogue import Catalogue
from emag_syncd.sandbox.dice import Dice
from emag_syncd.sandbox.faults import FaultPlan
from emag_syncd.sandbox.latency import Latency
from emag_syncd.sandbox.limits import Limiter
from emag_syncd.sandbox.oddities import PLAIN, Oddities
from emag_syncd.sandbox.stats import Stats

Change = Callable[[Catalogue], object]


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """How an account begins. Without credentials of its own it gets those of `credentials(name)`."""

    offers: int = 2500
    platform: str = "emag-ro"
    seed: object = 0
    username: str | None = None
    password: str | None = None
    oddities: Oddities = PLAIN
    preencode: int = 0
    limited: bool = True

    def credentials(self, name: str) -> tuple[str, str]:
        """User and password of an account of that name."""
        return self.username or f"{name}@sandbox.example", self.password or f"sandbox-{name}"


@dataclass(slots=True)
class Access:
    """Who may come in: `refused` is the status (401 or 403) for right credentials, None to let them in.

    `allowed_ips` None lets every address in; others are told so with `ip_status`.
    """

    refused: int | None = None
    allowed_ips: frozenset[str] | None = None
    ip_status: int = 200


class Drift:
    """Changes to a catalogue while it is being read."""

    def __init__(self) -> None:
        self.reads = 0
        self._planned: dict[int, list[Change]] = {}

    def before(self, read: int, change: Change) -> None:
        """Plans a change right before the page of that read is made (reads count from 1)."""
        self._planned.setdefault(read, []).append(change)

    def before_read(self, catalogue: Catalogue) -> None:
        """Does what is planned for the read that comes now."""
        self.reads += 1
        for change in self._planned.pop(self.reads, ()):
            change(catalogue)


@dataclass(slots=True)
class Account:
    """One account with all its knobs; `moving` is how many changes a second come by themselves."""

    name: str
    spec: AccountSpec
    catalogue: Catalogue
    limits: Limiter
    faults: FaultPlan
    latency: Latency
    stats: Stats
    drift: Drift = field(default_factory=Drift)
    access: Access = field(default_factory=Access)
    moving: float = 0.0
    _owed: float = 0.0
    _dice: Dice = field(default_factory=Dice)

    @classmethod
    def begin(cls, name: str, spec: AccountSpec, clock: Callable[[], float] = time.time) -> "Account":
        """Opens an account; `clock` is the gateway's, in seconds."""
        seed = (name, spec.seed)
        limits = Limiter(clock=clock)
        if not spec.limited:
            limits.off()
        catalogue = Catalogue(
            spec.offers,
            seed=seed,
            platform=spec.platform,
            oddities=spec.oddities,
            preencode=spec.preencode,
        )
        return cls(
            name=name,
            spec=spec,
            catalogue=catalogue,
            limits=limits,
            faults=FaultPlan(seed),
            latency=Latency(seed=seed),
            stats=Stats(name),
            _dice=Dice("moving", seed),
        )

    @property
    def username(self) -> str:
        """The user of HTTP Basic."""
        return self.spec.credentials(self.name)[0]

    @property
    def password(self) -> str:
        """The password of HTTP Basic."""
        return self.spec.credentials(self.name)[1]

    @property
    def authorization(self) -> str:
        """The header that opens the account."""
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()

    def move(self, seconds: float) -> None:
        """Lets the catalogue change as it does in that time."""
        self._owed += self.moving * seconds
        changes, self._owed = int(self._owed), self._owed % 1
        self.catalogue.mutate_randomly(self._dice, changes)
