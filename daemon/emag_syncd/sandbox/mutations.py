"""What happens to offers by itself: prices, stock, statuses, validations and names that move."""

from collections.abc import Callable
from typing import Any, Final

from emag_syncd.sandbox.dice import Dice
from emag_syncd.sandbox.products import verdict

Lookup = Callable[[str], Any]
Fields = dict[str, Any]


def mutation(dice: Dice, current: Lookup) -> Fields:
    """Fields that differ from what they are now: mostly a price or a stock, now and then something rarer."""
    return dice.choice(_DEALT)(dice, current)


def _price(dice: Dice, current: Lookup) -> Fields:
    old = current("sale_price")
    base = old if isinstance(old, int | float) and 0 < old < 10**6 else 100.0
    # A whole ban more or less at least, so that the price is another one.
    step = max(0.01, base * dice.uniform(0.001, 0.1))
    return {"sale_price": round(base + step if dice.chance(0.5) or step >= base else base - step, 4)}


def _stock(dice: Dice, current: Lookup) -> Fields:
    new = 0 if dice.chance(0.1) else dice.below(300)
    if new == current("general_stock"):
        new += 1
    return {
        "general_stock": new,
        "estimated_stock": max(0, new - dice.below(3)),
        "stock": [{"warehouse_id": 1, "value": new}],
    }


def _status(dice: Dice, current: Lookup) -> Fields:
    return {"status": dice.choice([status for status in (0, 1, 1, 1, 2) if status != current("status")])}


def _validation(dice: Dice, current: Lookup) -> Fields:
    codes = [code for code in (3, 8, 9, 11, 12) if code != current("validation_status")]
    return {"validation_status": [verdict(dice.choice(codes))]}


def _name(dice: Dice, _current: Lookup) -> Fields:
    return {"name": f"Produs redenumit {dice.draw():x}"}


_DEALT: Final = (_price,) * 9 + (_stock,) * 8 + (_status, _validation, _name)
