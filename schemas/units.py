"""Units of the exchange and the arithmetic that two rooms must agree on.

All amounts are integers of a named unit; floats appear nowhere. µUSD = one millionth of a US dollar.
Rounding is written here once, so that engine, ledger and door cannot differ by one µUSD. The auditor alone works it out again.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

Micros = int
"""Money in µUSD."""
Price = int
"""µUSD per GPU-hour; a multiple of the class's tick, at least one tick."""
Gpus = int
"""Whole GPUs; a multiple of the class's lot."""
Hour = int
"""Hours since the Unix epoch, UTC: delivery in [h, h+1)."""
Millis = int
"""Market time: milliseconds since the Unix epoch."""
BasisPoints = int
"""1/10,000."""

MICROS_PER_USD: Final = 1_000_000
BP: Final = 10_000
MS_PER_MINUTE: Final = 60_000
MS_PER_HOUR: Final = 3_600_000
MINUTES_PER_HOUR: Final = 60
HOURS_PER_DAY: Final = 24

PRICE_MAX: Final = 10**10
"""10,000 USD per GPU-hour; with QTY_MAX every notional stays far below 2**63."""
QTY_MAX: Final = 1_000_000
AMOUNT_MAX: Final = 10**16
"""Largest single transfer, 10 billion USD."""
MONEY_MAX: Final = 4 * 10**18
"""All money in the exchange, 4 trillion USD: no sum of it leaves 64 bits."""
AMOUNTS_KEPT: Final = 4_096
"""That need not be read or written again: prices come back, order after order."""

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,6}))?", re.ASCII)


def notional(price: Price, qty: Gpus, minutes: int = MINUTES_PER_HOUR) -> Micros:
    """Cash of a fill: price × qty for a whole hour, ceil(price × qty × m / 60) for m minutes."""
    if minutes == MINUTES_PER_HOUR:
        return price * qty
    return -(-price * qty * minutes // MINUTES_PER_HOUR)


def fee(amount: Micros, rate: BasisPoints) -> Micros:
    """ceil(amount × rate / 10,000): rounded up per fill, against the payer."""
    return (amount * rate + BP - 1) // BP


def bid_hold(price: Price, leaves: Gpus, lot: Gpus, rate_max: BasisPoints) -> Micros:
    """Cash held for the open part of a bid: notional + floor(notional × rate) + 1 µUSD per lot.

    Of a block `leaves` is that of all its hours together. Every fill is a whole number of lots, so the lots' µUSD cover each
    fill's rounding up.
    """
    cash = price * leaves
    return cash + cash * rate_max // BP + leaves // lot


def collar(reference: Price, low_bp: BasisPoints, high_bp: BasisPoints) -> tuple[Price, Price]:
    """Lowest and highest price that a book takes around a reference: ⌈reference × low⌉ and ⌊reference × high⌋."""
    return -(-reference * low_bp // BP), reference * high_bp // BP


def promise_collateral(collateral_price: Price, rate: BasisPoints) -> Micros:
    """Cash held per promised GPU-hour: p + ceil(p × buyer's taker rate)."""
    return collateral_price + fee(collateral_price, rate)


def portion(amount: int, done: Gpus, k: Gpus, total: Gpus) -> int:
    """The share of `amount` that belongs to the next `k` of `total` GPUs when `done` went before.

    floor(amount × (done + k) / total) − floor(amount × done / total): the portions of one amount are
    never negative and add up to it, however it is cut.
    """
    return amount * (done + k) // total - amount * done // total


@lru_cache(maxsize=AMOUNTS_KEPT)
def parse_usd(text: str) -> Micros:
    """`"2.49"` → 2_490_000. Plain decimals only: no sign, no exponent, six fractional digits at most.

    Raises ValueError with a sentence for the caller; nothing is ever rounded.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not an amount: write plain decimals such as 2.49, "
            "at most six digits after the point, no sign and no exponent"
        )
    whole, fraction = match.groups()
    return int(whole) * MICROS_PER_USD + int((fraction or "").ljust(6, "0"))


@lru_cache(maxsize=AMOUNTS_KEPT)
def format_usd(amount: Micros, places_min: int = 2) -> str:
    """2_490_000 → `"2.49"`: at least `places_min` fractional digits, never rounded."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    whole, fraction = divmod(amount, MICROS_PER_USD)
    digits = f"{fraction:06d}".rstrip("0").ljust(places_min, "0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"
