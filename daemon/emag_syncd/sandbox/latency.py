"""How long an answer takes."""

from emag_syncd.sandbox.dice import Dice


class Latency:
    """Seconds before an answer begins: between `low` and `high`, plus `per_row` for each row asked for."""

    def __init__(self, low: float = 0.0, high: float = 0.0, *, per_row: float = 0.0, seed: object = 0) -> None:
        self.low = low
        self.high = high
        self.per_row = per_row
        self._dice = Dice("latency", seed)

    def delay(self, rows: int) -> float:
        """Seconds for a request of that many rows."""
        return self._dice.uniform(self.low, max(self.low, self.high)) + self.per_row * rows
