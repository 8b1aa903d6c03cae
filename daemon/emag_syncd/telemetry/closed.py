"""Metrics whose label values are known beforehand: all series show from the start, only used ones are kept.

The library's own metrics hold objects for every series, 130 MB for a thousand accounts, and its writer takes seconds
for them. Here the series of an account are written as one, and what none has used yet as a copy of another's.
"""

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, product
from time import time
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Exemplar

from emag_syncd.telemetry.exposition import ACCOUNT, Labels, Layout, header, number

T = TypeVar("T")


class Axes:
    """The labels of a metric and the values that each may have. Those of the account, the first label, may grow."""

    def __init__(self, **axes: Collection[str]) -> None:
        """Take the labels in their order."""
        self.names = tuple(axes)
        self.by_account = ACCOUNT in axes
        self._accounts = axes.pop(ACCOUNT, ("",))
        self.closed = tuple(product(*axes.values()))

    def split(self, labels: Labels) -> tuple[str, Labels]:
        """Return the account of a series, if the metric has one for each, and the other labels."""
        return (labels[0], labels[1:]) if self.by_account else ("", labels)

    def joined(self, account: str, rest: Labels) -> Labels:
        """Return the labels of a series."""
        return (account, *rest) if self.by_account else rest

    def accounts(self, used: Collection[str]) -> Iterator[tuple[str, bool]]:
        """Yield every account, and whether it has all series of the closed set; one that is not known has none."""
        yield from ((account, True) for account in list(self._accounts))
        yield from ((account, False) for account in list(used) if account not in self._accounts)


class _Used(Generic[T]):
    """What is known of each series that was used. It is read on another thread than the loop's, which writes it."""

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        self._known: dict[str, dict[Labels, T]] = {}
        self._rests = {rest: rest for rest in axes.closed}

    def get(self, labels: Labels) -> T | None:
        account, rest = self._axes.split(labels)
        return self._known.get(account, {}).get(rest)

    def put(self, labels: Labels, value: T) -> None:
        account, rest = self._axes.split(labels)
        # One tuple for all accounts: each may have hundreds of them.
        self._known.setdefault(account, {})[self._rests.setdefault(rest, rest)] = value

    def accounts(self) -> Iterator[tuple[str, dict[Labels, T], Sequence[Labels]]]:
        """Yield each account, what is known of it, and its series: the closed set, then what was used beyond it."""
        closed, beyond = self._axes.closed, [rest for rest in list(self._rests) if rest not in self._axes.closed]
        for account, is_closed in self._axes.accounts(self._known):
            used = self._known.get(account, {})
            more = [rest for rest in (beyond if is_closed else list(used)) if rest in used]
            yield account, used, (closed if is_closed and not more else [*(closed if is_closed else ()), *more])


class Closed(Collector, Generic[T]):
    """A metric of which each series has a ``T`` once it was used, and ``unused`` before."""

    def __init__(
        self,
        registry: CollectorRegistry,
        kind: str,
        name: str,
        text: str,
        axes: Axes,
        samples: Sequence[tuple[str, str | None]],
        unused: T,
    ) -> None:
        self._name, self._kind, self._text, self._axes = name, kind, text, axes
        self._layout = Layout(axes.names, samples)
        self._whole = self._layout.template(axes.closed)
        self._unused = unused
        self._used: _Used[T] = _Used(axes)
        registry.register(self)

    def write(self, *, openmetrics: bool) -> Iterator[str]:
        """Yield the metric's text, as ``collect`` has it, an account at a time."""
        yield header(self._name, self._kind, self._text, openmetrics=openmetrics)
        unused = self._texts(self._unused, openmetrics=openmetrics)
        blank = self._whole % (unused * len(self._axes.closed))
        for account, used, series in self._used.accounts():
            text = blank
            if used:
                values = [self._texts(used[one], openmetrics=openmetrics) if one in used else unused for one in series]
                template = self._whole if series is self._axes.closed else self._layout.template(series)
                text = template % tuple(chain.from_iterable(values))
            yield self._layout.of(account, text)

    def _series(self) -> Iterator[tuple[Labels, T]]:
        for account, used, series in self._used.accounts():
            yield from ((self._axes.joined(account, rest), used.get(rest, self._unused)) for rest in series)

    @abstractmethod
    def _texts(self, value: T, *, openmetrics: bool) -> tuple[str, ...]:
        """Return how the samples of a series are written."""


class _Numbers(Closed[float]):
    """A number a series."""

    _family: type[CounterMetricFamily | GaugeMetricFamily]

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the metric with all of its series."""
        family = self._family(self._name, self._text, labels=self._axes.names)
        for labels, value in self._series():
            family.add_metric(labels, value)
        yield family

    def _texts(self, value: float, *, openmetrics: bool) -> tuple[str, ...]:  # noqa: ARG002 - numbers look alike in both
        return (number(value),)


class Counter(_Numbers):
    """What only grows."""

    _family = CounterMetricFamily

    def __init__(self, registry: CollectorRegistry, name: str, text: str, axes: Axes) -> None:
        """Register the counter."""
        super().__init__(registry, "counter", name, text, axes, [(name, None)], 0)

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count ``amount``."""
        self._used.put(labels, (self._used.get(labels) or 0) + amount)


class Gauge(_Numbers):
    """What goes up and down."""

    _family = GaugeMetricFamily

    def __init__(self, registry: CollectorRegistry, name: str, text: str, axes: Axes, *, unset: float = 0) -> None:
        """Register the gauge, which reads ``unset`` until it is set."""
        super().__init__(registry, "gauge", name, text, axes, [(name, None)], unset)

    def set(self, *labels: str, value: float) -> None:
        """Set the number."""
        self._used.put(labels, value)


class Checks(Collector):
    """A gauge that is looked up when it is read: 1 for what is well, else 0."""

    def __init__(self, registry: CollectorRegistry, name: str, text: str, labels: Labels) -> None:
        """Register the gauge, which has no series before there is somewhere to ``look``."""
        self._name, self._text, self._labels = name, text, labels
        self.look: Callable[[], Iterable[tuple[Labels, bool]]] = tuple
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metric with what is there now. It is read on another thread than the loop's."""
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, is_well in self.look():
            family.add_metric(labels, float(is_well))
        yield family


@dataclass(slots=True)
class _Observed:
    """How often each bucket was hit, the sum of what was observed, and the latest run of each bucket."""

    counts: list[int]
    total: float = 0
    exemplars: Mapping[int, tuple[str, float, float]] = field(default_factory=dict)


class Histogram(Closed[_Observed]):
    """How often what was observed was at most so large. Each bucket has its latest run as its exemplar."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, axes: Axes, bounds: tuple[float, ...]
    ) -> None:
        """Register the histogram, with the upper bounds of its buckets in rising order."""
        self._bounds = bounds
        self._names = [*map(number, bounds), "+Inf"]
        buckets = [(f"{name}_bucket", bound) for bound in self._names]
        samples = [*buckets, (f"{name}_count", None), (f"{name}_sum", None)]
        super().__init__(registry, "histogram", name, text, axes, samples, self._nothing())

    def observe(self, *labels: str, value: float, run_id: str | None = None) -> None:
        """Count one observation, made by the run ``run_id``."""
        observed = self._used.get(labels)
        if observed is None:
            observed = self._nothing()
            self._used.put(labels, observed)
        bucket = bisect_left(self._bounds, value)
        observed.counts[bucket] += 1
        observed.total += value
        if run_id is not None:
            observed.exemplars = {**observed.exemplars, bucket: (run_id, value, time())}

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the metric with all of its series."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._axes.names)
        for labels, observed in self._series():
            counts = accumulate(observed.counts)
            family.add_metric(labels, [self._bucket(observed, *one) for one in enumerate(counts)], observed.total)
        yield family

    def _nothing(self) -> _Observed:
        return _Observed([0] * len(self._names))

    def _texts(self, value: _Observed, *, openmetrics: bool) -> tuple[str, ...]:
        counts = [number(count) for count in accumulate(value.counts)]
        total = counts[-1]
        for at, (run_id, seconds, when) in value.exemplars.items() if openmetrics else ():
            counts[at] += f' # {{run_id="{run_id}"}} {number(seconds)} {when}'
        return (*counts, total, number(value.total))

    def _bucket(self, observed: _Observed, at: int, count: int) -> tuple[str, float] | tuple[str, float, Exemplar]:
        found = observed.exemplars.get(at)
        if found is None:
            return self._names[at], count
        run_id, value, when = found
        return self._names[at], count, Exemplar({"run_id": run_id}, value, when)
