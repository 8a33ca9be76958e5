"""What stands behind hours that are sold and not held: per account, contract and ground, what may be owed and what is. Pure.

`docs/engine.md` says what changes it. A phase takes its grounds with it when it ends: DECLARED and PROMISED go with the gate,
unsold READY with the running phase; what is owed stays owed, at its collateral price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from schemas.commands import Ground
from schemas.events import BackingSet
from schemas.ids import contract_of
from schemas.units import BasisPoints, Gpus, Micros, promise_collateral
from services.settlement.changes import Changes
from services.settlement.ledger import Contradiction
from services.settlement.rows import Backing

READY: Final = int(Ground.READY)
PROMISED: Final = int(Ground.PROMISED)
WITH_COLLATERAL: Final = (PROMISED, READY)


class BackingBook:
    """One shard's, of contracts whose hour has not ended."""

    def __init__(self, changes: Changes) -> None:
        self.of_contract: dict[int, dict[tuple[int, int], Backing]] = {}
        """Contract → (account, ground) → row."""
        self._changes = changes

    def load(self, rows: Iterable[Backing]) -> None:
        """Take up what a database held."""
        for row in rows:
            self.of_contract.setdefault(row.contract, {})[row.account, row.ground] = row

    def find(self, contract: int, account: int, ground: int) -> Backing | None:
        """The row, where it was ever set."""
        return self.of_contract.get(contract, {}).get((account, ground))

    def owed(self, contract: int, account: int, ground: int) -> Gpus:
        """GPUs that the account owes on the ground."""
        row = self.find(contract, account, ground)
        return 0 if row is None else row.owed

    def owe(self, account: int, contract: int, ground: int, qty: Gpus) -> None:
        """The obligor owes `qty` more (less). Raises Contradiction."""
        of_contract = self.of_contract.get(contract)
        row = of_contract.get((account, ground)) if of_contract else None
        if row is None or row.owed + qty < 0:
            raise Contradiction(f"account {account} owes {qty} more in {contract} on ground {ground}, ours is {row}")
        row.owed += qty
        self._changes.backing.change((account, contract, ground), row)

    def put(self, event: BackingSet) -> None:
        """Absolute backing of hours on a ground."""
        for hour in event.hours:
            contract = contract_of(event.class_no, hour)
            of_contract = self.of_contract.setdefault(contract, {})
            key = (event.account, contract, event.ground)
            row = of_contract.get((event.account, event.ground))
            if row is None:
                row = Backing(*key, event.qty, event.collateral_price, event.version, 0)
                of_contract[event.account, event.ground] = row
                self._changes.backing.create(key, row)
            else:
                row.qty, row.collateral_price, row.version = event.qty, event.collateral_price, event.version
                self._changes.backing.change(key, row)

    def cut(self, contract: int, account: int, ground: int, qty: Gpus) -> None:
        """The unsold part ends: `qty` GPUs, all that is not owed. Raises Contradiction."""
        row = self.find(contract, account, ground)
        if row is None or qty <= 0 or row.qty - row.owed != qty:
            raise Contradiction(f"{qty} unsold GPUs of account {account} in {contract} are cut, ours is {row}")
        self._become(row, row.owed)

    def end_promise(self, contract: int, account: int) -> Gpus:
        """The cover deadline: nothing more is promised. GPUs that are still owed as promised."""
        row = self.find(contract, account, PROMISED)
        if row is None:
            return 0
        self._become(row, 0)
        return row.owed

    def close_gate(self, contract: int) -> None:
        """The forward phase is over."""
        for row in self._rows(contract):
            if row.ground != READY:
                self._become(row, 0)

    def close_running(self, contract: int) -> None:
        """The running phase is over. What was lowered below what is owed does not come back."""
        for row in self._rows(contract):
            if row.ground == READY:
                self._become(row, min(row.qty, row.owed))

    def collateral(self, contract: int, account: int, buyer_taker: BasisPoints) -> Micros:
        """Of what the account still owes against collateral, when the hour ends."""
        of_contract = self.of_contract.get(contract, {})
        owing = (of_contract.get((account, ground)) for ground in WITH_COLLATERAL)
        return sum(row.owed * promise_collateral(row.collateral_price, buyer_taker) for row in owing if row is not None)

    def end_contract(self, contract: int) -> None:
        """The hour is over: what is owed stands in its titles."""
        for row in self.of_contract.pop(contract, {}).values():
            self._changes.backing.remove((row.account, row.contract, row.ground))

    def _rows(self, contract: int) -> Iterator[Backing]:
        return iter(self.of_contract.get(contract, {}).values())

    def _become(self, row: Backing, qty: Gpus) -> None:
        if row.qty != qty:
            row.qty = qty
            self._changes.backing.change((row.account, row.contract, row.ground), row)
