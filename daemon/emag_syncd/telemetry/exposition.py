"""The text that Prometheus reads, for metrics whose series are known beforehand: written an account at a time."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]

number: Callable[[float], str] = floatToGoString
"""Writes a value."""

ACCOUNT = "account"
_MARK = "\0"
"""Stands for the account in what is written for any of them."""


def header(name: str, kind: str, text: str, *, openmetrics: bool) -> str:
    """Return the lines before the series of a metric: there OpenMetrics calls a counter by its bare name."""
    shown = name.removesuffix("_total") if openmetrics else name
    return f"# HELP {shown} {text}\n# TYPE {shown} {kind}\n"


class Layout:
    """How the series of a metric are written."""

    def __init__(self, names: Labels, samples: Sequence[tuple[str, str | None]]) -> None:
        """Write each series, with labels of these ``names``, as ``samples``: their names, and the bounds of buckets."""
        self._names = [name for name in names if name != ACCOUNT]
        self._by_account = ACCOUNT in names
        self._samples = samples

    def template(self, series: Iterable[Labels]) -> str:
        """Return the text of these series of any account, with ``%s`` for each value in turn.

        The account, if there is one, is left out of ``series``.
        """
        return "".join(self._line(name, bound, rest) for rest in series for name, bound in self._samples)

    @staticmethod
    def of(account: str, text: str) -> str:
        """Return the text with the name of the account."""
        return text.replace(_MARK, account)

    def _line(self, name: str, bound: str | None, rest: Labels) -> str:
        labels = dict(zip(self._names, rest, strict=True))
        if self._by_account:
            labels[ACCOUNT] = _MARK
        if bound is not None:
            labels["le"] = bound
        shown = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        return f"{name}{{{shown}}} %s\n" if shown else f"{name} %s\n"
