"""Metrics whose label values are known beforehand: all series show from the start, only used ones are kept.

The library's own metrics hold objects for every series: 130 MB for a thousand accounts.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import accumulate, product
from time import time

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Axes:
    """The labels of a metric and the values that each may have. The values of a label may grow later."""

    def __init__(self, **axes: Collection[str]) -> None:
        """Take the labels in their order."""
        self.names = tuple(axes)
        self._values = tuple(axes.values())

    def series(self, used: Collection[Labels]) -> Iterator[Labels]:
        """Yield the labels of every series: the closed set, then what was used beyond it."""
        yield from product(*self._values)
        yield from (labels for labels in list(used) if not self._holds(labels))

    def _holds(self, labels: Labels) -> bool:
        return all(value in values for value, values in zip(labels, self._values, strict=True))


class _Numbers(Collector):
    """A number a series, ``unset`` until it is used."""

    _family: type[CounterMetricFamily | GaugeMetricFamily]

    def __init__(self, registry: CollectorRegistry, name: str, text: str, axes: Axes, unset: float) -> None:
        self._name, self._text, self._axes, self._unset = name, text, axes, unset
        self._values: dict[Labels, float] = {}
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the metric with all of its series."""
        family = self._family(self._name, self._text, labels=self._axes.names)
        for labels in self._axes.series(self._values):
            family.add_metric(labels, self._values.get(labels, self._unset))
        yield family


class Counter(_Numbers):
    """What only grows."""

    _family = CounterMetricFamily

    def __init__(self, registry: CollectorRegistry, name: str, text: str, axes: Axes) -> None:
        """Register the counter."""
        super().__init__(registry, name, text, axes, 0)

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count ``amount``."""
        self._values[labels] = self._values.get(labels, self._unset) + amount


class Gauge(_Numbers):
    """What goes up and down."""

    _family = GaugeMetricFamily

    def __init__(self, registry: CollectorRegistry, name: str, text: str, axes: Axes, *, unset: float = 0) -> None:
        """Register the gauge, which reads ``unset`` until it is set."""
        super().__init__(registry, name, text, axes, unset)

    def set(self, *labels: str, value: float) -> None:
        """Set the number."""
        self._values[labels] = value


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


class Histogram(Collector):
    """How often what was observed was at most so large. Each bucket has its latest run as its exemplar."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, axes: Axes, bounds: tuple[float, ...]
    ) -> None:
        """Register the histogram, with the upper bounds of its buckets in rising order."""
        self._name, self._text, self._axes, self._bounds = name, text, axes, bounds
        self._names = [*map(floatToGoString, bounds), "+Inf"]
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        self._exemplars: dict[tuple[Labels, int], tuple[str, float, float]] = {}
        registry.register(self)

    def observe(self, *labels: str, value: float, run_id: str | None = None) -> None:
        """Count one observation, made by the run ``run_id``."""
        counts = self._counts.setdefault(labels, [0] * len(self._names))
        bucket = bisect_left(self._bounds, value)
        counts[bucket] += 1
        self._sums[labels] = self._sums.get(labels, 0) + value
        if run_id is not None:
            self._exemplars[labels, bucket] = (run_id, value, time())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the metric with all of its series."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._axes.names)
        none = [0] * len(self._names)
        for labels in self._axes.series(self._counts):
            counts = accumulate(self._counts.get(labels, none))
            buckets = [self._bucket(labels, at, count) for at, count in enumerate(counts)]
            family.add_metric(labels, buckets, self._sums.get(labels, 0))
        yield family

    def _bucket(self, labels: Labels, at: int, count: int) -> tuple[str, float] | tuple[str, float, Exemplar]:
        found = self._exemplars.get((labels, at))
        if found is None:
            return self._names[at], count
        run_id, value, when = found
        return self._names[at], count, Exemplar({"run_id": run_id}, value, when)
