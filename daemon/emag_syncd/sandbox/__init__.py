"""A simulated eMAG marketplace, as nasty as the real one, for the demo, the tests and the benchmark."""

from emag_syncd.sandbox.account import Access, Account, AccountSpec, Drift
from emag_syncd.sandbox.catalogue import ABSENT, Catalogue
from emag_syncd.sandbox.dice import Dice
from emag_syncd.sandbox.faults import Fault, FaultPlan, Kind
from emag_syncd.sandbox.latency import Latency
from emag_syncd.sandbox.limits import Limiter
from emag_syncd.sandbox.oddities import ODD, PLAIN, UNFIT, UNUSABLE, Oddities
from emag_syncd.sandbox.server import Sandbox
from emag_syncd.sandbox.stats import VIOLATIONS, Exchange, Stats, Violation

__all__ = [
    "ABSENT",
    "ODD",
    "PLAIN",
    "UNFIT",
    "UNUSABLE",
    "VIOLATIONS",
    "Access",
    "Account",
    "AccountSpec",
    "Catalogue",
    "Dice",
    "Drift",
    "Exchange",
    "Fault",
    "FaultPlan",
    "Kind",
    "Latency",
    "Limiter",
    "Oddities",
    "Sandbox",
    "Stats",
    "Violation",
]
