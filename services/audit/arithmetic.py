"""Rounding, worked out a second time: an auditor that shared `schemas.units` would share its mistakes too. Pure.

The rules are docs/decisions/002-ledger.md (Titles, 1 to 3; Holds and collateral) and docs/engine.md.
"""

from __future__ import annotations

from schemas.units import BasisPoints, Gpus, Micros, Price


def cash_of(price: Price, qty: Gpus, minutes: int) -> Micros:
    """Notional of a fill of `minutes` of an hour, rounded up."""
    whole, rest = divmod(price * qty * minutes, 60)
    return whole + (rest > 0)


def fee_of(cash: Micros, rate: BasisPoints) -> Micros:
    """Rounded up, against the payer."""
    whole, rest = divmod(cash * rate, 10_000)
    return whole + (rest > 0)


def hold_of(price: Price, leaves: Gpus, lot: Gpus, rate: BasisPoints) -> Micros:
    """Of a resting bid: its cash, its fee rounded down, and 1 µUSD for each lot that may be filled by itself."""
    return (10_000 + rate) * price * leaves // 10_000 + leaves // lot


def collateral_of(price: Price, rate: BasisPoints) -> Micros:
    """Of one promised GPU-hour: what its purchase costs, fee included."""
    whole, rest = divmod(price * (10_000 + rate), 10_000)
    return whole + (rest > 0)


def share(amount: Micros, before: int, part: int, whole: int) -> Micros:
    """What `part` of `whole` gets of `amount` when `before` of it went before: no share is negative, and they add up."""
    up_to_here, _ = divmod(amount * (before + part), whole)
    given, _ = divmod(amount * before, whole)
    return up_to_here - given


def block_hold_of(price: Price, leaves: Gpus, hours: int, lot: Gpus, rate: BasisPoints) -> Micros:
    """Of a resting buy block: the same over all of its hours, with 1 µUSD for each lot of each hour."""
    return (10_000 + rate) * price * leaves * hours // 10_000 + hours * leaves // lot
