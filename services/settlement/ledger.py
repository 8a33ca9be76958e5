"""Double entry: the chart of accounts, entries that sum to zero, and balances.

An account is (kind, shard, ref); a balance is (kind, shard, ref, asset). Asset 0 is USD in µUSD; any other asset is
a contract, in GPU-minutes. `docs/decisions/002-ledger.md` has the chart and says which event makes which entry. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from operator import itemgetter
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
    """Fees of what was delivered, less credits for hand-overs (0)."""
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
HANDOVER: Final = 4
"""Of entries: the record's second entry for a title. Of a refusal it is never the source."""

Line = tuple[int, int, int, int, int]
"""(kind, shard, ref, asset, amount); a line of amount 0 is not written."""
BalanceKey = tuple[int, int, int, int]
"""(kind, shard, ref, asset)."""


class Origin(NamedTuple):
    """Where an entry comes from; with `index` it is the entry's id, so nothing is ever posted twice."""

    source: int
    """EVENT, REQUEST, DELIVERY or HANDOVER."""
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


class Balance:
    """One balance while it is in memory. No Struct: slots are written several times as fast, and this is written all the time."""

    __slots__ = ("amount", "before", "moved")

    def __init__(self, amount: int) -> None:
        self.amount = amount
        self.before = 0
        """What it was when the batch began; meaningless unless `moved`."""
        self.moved = False


class Ledger:
    """Balances that are not zero, and what was posted since the last `take`."""

    def __init__(self, balances: Iterable[tuple[BalanceKey, int]] = ()) -> None:
        self._balances = {key: Balance(amount) for key, amount in balances if amount}
        self._moved: list[tuple[BalanceKey, Balance]] = []
        self._entries: list[tuple[int, int, int, int, str, int]] = []
        self._postings: list[tuple[int, int, int, int, int, int, int, int, int, int]] = []

    def balance(self, kind: int, shard: int, ref: int, asset: int = USD) -> int:
        """µUSD, or GPU-minutes of a contract; may be negative for `EXTERNAL` and `TITLES` only."""
        found = self._balances.get((kind, shard, ref, asset))
        return 0 if found is None else found.amount

    def wallet(self, account: int) -> Micros:
        """A member's money at rest."""
        return self.balance(WALLET, 0, account)

    def balances(self) -> dict[BalanceKey, int]:
        """All that are not zero."""
        return {key: balance.amount for key, balance in self._balances.items() if balance.amount}

    def post(self, origin: Origin, index: int, what: str, lines: Iterable[Line]) -> None:
        """Post one entry, unless all its lines are zero. Asserts M1, M3 and M8."""
        source, shard, seq, time_ms = origin
        balances, append = self._balances, self._postings.append
        usd = minutes = through_novation = contract = number = 0
        for kind, account_shard, ref, asset, amount in lines:
            if not amount:
                continue
            append((source, shard, seq, index, number, kind, account_shard, ref, asset, amount))
            number += 1
            if not asset:  # USD
                usd += amount
            else:
                if contract != asset:
                    assert not contract, f"{what}: two contracts in one entry"
                    contract = asset
                minutes += amount
            if kind == NOVATION:
                # Passed on within the entry: the balance stays zero and needs no row.
                through_novation += amount
                continue
            key = (kind, account_shard, ref, asset)
            try:
                balance = balances[key]
            except KeyError:
                balance = balances[key] = Balance(0)
            if not balance.moved:
                balance.moved, balance.before = True, balance.amount
                self._moved.append((key, balance))
            left = balance.amount + amount
            assert left >= 0 or kind in _MAY_BE_NEGATIVE, f"M3: {what} would leave {balance.amount} in {key}"
            balance.amount = left
        assert usd == 0, f"M1: {what} leaves {usd} µUSD"
        assert minutes == 0, f"M1: {what} leaves {minutes} minutes of contract {contract}"
        assert through_novation == 0, f"M8: {what} leaves clearing with {through_novation} minutes"
        if number:
            self._entries.append((source, shard, seq, index, what, time_ms))

    def take(self) -> Posted:
        """What was posted since the last call."""
        changes = []
        for key, balance in sorted(self._moved, key=itemgetter(0)):
            balance.moved = False
            if balance.amount != balance.before:
                changes.append(BalanceChange(key, balance.amount - balance.before, balance.before != 0))
            if balance.amount == 0:
                del self._balances[key]
        posted = Posted(self._entries, self._postings, changes)
        self._entries, self._postings, self._moved = [], [], []
        return posted


def simulated(what: str, source: str) -> str:
    """An entry's name; a stand-in for the outside world stays visible in the ledger."""
    return f"{what}_simulated" if source.startswith("simulated") else what
