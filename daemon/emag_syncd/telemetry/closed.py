"""Metrics whose label values are known beforehand: all series show from the start, only used ones are kept.

The library's own metrics hold objects for every series: 130 MB for a thousand accounts.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator
from itertools import accumulate, product

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
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


class Histogram(Collector):
    """How often what was observed was at most so large."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, axes: Axes, bounds: tuple[float, ...]
    ) -> None:
        """Register the histogram, with the upper bounds of its buckets in rising order."""
        self._name, self._text, self._axes, self._bounds = name, text, axes, bounds
        self._names = [*map(floatToGoString, bounds), "+Inf"]
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        registry.register(self)

    def observe(self, *labels: str, value: float) -> None:
        """Count one observation."""
        counts = self._counts.setdefault(labels, [0] * len(self._names))
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] = self._sums.get(labels, 0) + value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the metric with all of its series."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._axes.names)
        none = [0] * len(self._names)
        for labels in self._axes.series(self._counts):
            counts = accumulate(self._counts.get(labels, none))
            buckets = list(zip(self._names, counts, strict=True))
            family.add_metric(labels, buckets, self._sums.get(labels, 0))
        yield family
