"""Double entry: the chart of accounts, entries that sum to zero, and balances.

An account is (kind, shard, ref); a balance is (kind, shard, ref, asset). Asset 0 is USD in µUSD; any other asset is
a contract, in GPU-minutes. `docs/decisions/002-ledger.md` has the chart and says which event makes which entry. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from schemas.units import Micros, Millis

USD: Final = 0


class Kind(IntEnum):
    """What an account is; `ref` in brackets."""

    EXTERNAL = 1
    """The outside world (provider): minus = what came in."""
    WALLET = 2
    """A member's money at rest (account)."""
    PAYOUT = 3
    """Asked to leave, not yet paid (account)."""
    TRANSIT = 4
    """Left the wallet, not yet confirmed by the shard (account)."""
    TRADING = 5
    """The engine's cash, holds and collateral included (account)."""
    ESCROW = 6
    """Escrow of titles of a contract that has not ended (contract)."""
    CLEARING = 7
    """Escrow of an ended contract, waiting for delivery records (contract)."""
    COLLATERAL = 8
    """Collateral of promises of ended hours, waiting for delivery records (account)."""
    TREASURY = 9
    """Fees of what was delivered (0)."""
    NOVATION = 10
    """Clearing's own position: zero after every entry (contract)."""
    TITLES = 11
    """Hours held (+) and owed (−) (account)."""


# Plain integers: entries are made for every fill, and an enum's attributes cost time there.
EXTERNAL: Final = int(Kind.EXTERNAL)
WALLET: Final = int(Kind.WALLET)
PAYOUT: Final = int(Kind.PAYOUT)
TRANSIT: Final = int(Kind.TRANSIT)
TRADING: Final = int(Kind.TRADING)
ESCROW: Final = int(Kind.ESCROW)
CLEARING: Final = int(Kind.CLEARING)
COLLATERAL: Final = int(Kind.COLLATERAL)
TREASURY: Final = int(Kind.TREASURY)
NOVATION: Final = int(Kind.NOVATION)
TITLES: Final = int(Kind.TITLES)

_MAY_BE_NEGATIVE: Final = (EXTERNAL, TITLES)

EVENT: Final = 1
REQUEST: Final = 2
DELIVERY: Final = 3

Line = tuple[int, int, int, int, int]
"""(kind, shard, ref, asset, amount); a line of amount 0 is not written."""
BalanceKey = tuple[int, int, int, int]
"""(kind, shard, ref, asset)."""


class Origin(NamedTuple):
    """Where an entry comes from; with `index` it is the entry's id, so nothing is ever posted twice."""

    source: int
    """EVENT, REQUEST or DELIVERY."""
    shard: int
    seq: int
    """Of the events record; else the offset in `requests` or `delivery`."""
    time_ms: Millis


class BalanceChange(NamedTuple):
    """One balance after a batch."""

    key: BalanceKey
    delta: int
    known: bool
    """It was not zero before, so it certainly has a row."""


class Posted(NamedTuple):
    """What a batch posted, in the columns' order of tables `entries` and `postings`; balances ordered by key."""

    entries: list[tuple[int, int, int, int, str, int]]
    postings: list[tuple[int, int, int, int, int, int, int, int, int, int]]
    balances: list[BalanceChange]


class Contradiction(Exception):
    """The log says one thing, our books another. Nothing may be settled before an operator has looked."""


class Ledger:
    """Balances that are not zero, and what was posted since the last `take`."""

    def __init__(self, balances: Iterable[tuple[BalanceKey, int]] = ()) -> None:
        self.balances: dict[BalanceKey, int] = {key: amount for key, amount in balances if amount}
        self._before: dict[BalanceKey, int] = {}
        self._entries: list[tuple[int, int, int, int, str, int]] = []
        self._postings: list[tuple[int, int, int, int, int, int, int, int, int, int]] = []

    def balance(self, kind: int, shard: int, ref: int, asset: int = USD) -> int:
        """µUSD, or GPU-minutes of a contract; may be negative for `EXTERNAL` and `TITLES` only."""
        return self.balances.get((kind, shard, ref, asset), 0)

    def wallet(self, account: int) -> Micros:
        """A member's money at rest."""
        return self.balances.get((WALLET, 0, account, USD), 0)

    def post(self, origin: Origin, index: int, what: str, lines: Iterable[Line]) -> None:
        """Post one entry, unless all its lines are zero. Asserts M1, M3 and M8."""
        source, shard, seq, time_ms = origin
        balances, before, postings = self.balances, self._before, self._postings
        usd = minutes = through_novation = contract = number = 0
        for kind, account_shard, ref, asset, amount in lines:
            if amount == 0:
                continue
            if asset == USD:
                usd += amount
            else:
                assert contract in (0, asset), f"{what}: two contracts in one entry"
                contract = asset
                minutes += amount
            postings.append((source, shard, seq, index, number, kind, account_shard, ref, asset, amount))
            number += 1
            if kind == NOVATION:
                # Passed on within the entry: the balance stays zero and needs no row.
                through_novation += amount
                continue
            key = (kind, account_shard, ref, asset)
            old = balances.get(key, 0)
            new = old + amount
            before.setdefault(key, old)
            if new:
                balances[key] = new
            else:
                del balances[key]
            assert new >= 0 or kind in _MAY_BE_NEGATIVE, f"M3: {what} would leave {new} in {key}"
        assert usd == 0 and minutes == 0, f"M1: {what} leaves {usd} µUSD and {minutes} minutes"
        assert through_novation == 0, f"M8: {what} leaves clearing with {through_novation} minutes"
        if number:
            self._entries.append((source, shard, seq, index, what, time_ms))

    def take(self) -> Posted:
        """What was posted since the last call."""
        changes = [
            BalanceChange(key, delta, old != 0)
            for key, old in sorted(self._before.items())
            if (delta := self.balances.get(key, 0) - old)
        ]
        posted = Posted(self._entries, self._postings, changes)
        self._entries, self._postings, self._before = [], [], {}
        return posted


def simulated(what: str, source: str) -> str:
    """An entry's name; a stand-in for the outside world stays visible in the ledger."""
    return f"{what}_simulated" if source.startswith("simulated") else what
