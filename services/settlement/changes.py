"""What a batch changes: rows created, changed and removed per table, each once and in its last state. Pure.

changes.orders.create(order.order_id, order)
order.leaves -= 3
changes.orders.change(order.order_id, order)     # nothing more to write: it is new in this batch
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from msgspec.structs import astuple

from services.settlement import rows
from services.settlement.rows import Row

R = TypeVar("R", bound=Row)


class RowChanges(NamedTuple):
    """Changes of one table, as tuples in the columns' order. `created` are certainly new; `removed` are keys."""

    created: list[tuple[object, ...]]
    changed: list[tuple[object, ...]]
    removed: list[tuple[object, ...]]


class TableChanges(Generic[R]):
    """Changes of one table since the last `take`."""

    __slots__ = ("_appended", "_changed", "_created", "_removed")

    def __init__(self) -> None:
        self._appended: list[tuple[object, ...]] = []
        self._created: dict[Hashable, R] = {}
        self._changed: dict[Hashable, R] = {}
        self._removed: set[Hashable] = set()

    def append(self, row: tuple[object, ...]) -> None:
        """A row that is new and never changes, in the columns' order."""
        self._appended.append(row)

    def create(self, key: Hashable, row: R) -> None:
        """A row that the table does not have; or has until this batch, when it was removed in the same batch."""
        assert key not in self._created, f"{key} created twice"
        if key in self._removed:
            self._removed.discard(key)
            self._changed[key] = row
        else:
            self._created[key] = row

    def change(self, key: Hashable, row: R) -> None:
        """A row that the table has, now or after this batch; its values are read at `take`."""
        (self._created if key in self._created else self._changed)[key] = row

    def remove(self, key: Hashable) -> None:
        """A row that the table has, or would have had."""
        if self._created.pop(key, None) is None:
            self._changed.pop(key, None)
            self._removed.add(key)

    def take(self) -> RowChanges:
        """What changed since the last call."""
        taken = RowChanges(
            [*self._appended, *map(astuple, self._created.values())],
            list(map(astuple, self._changed.values())),
            [key if isinstance(key, tuple) else (key,) for key in self._removed],
        )
        self._appended, self._created, self._changed, self._removed = [], {}, {}, set()
        return taken


class Changes:
    """Changes of all tables, one attribute each."""

    def __init__(self) -> None:
        self.accounts: TableChanges[rows.Account] = TableChanges()
        self.classes: TableChanges[rows.ClassRow] = TableChanges()
        self.contracts: TableChanges[rows.Contract] = TableChanges()
        self.backing: TableChanges[rows.Backing] = TableChanges()
        self.orders: TableChanges[rows.Order] = TableChanges()
        self.blocks: TableChanges[rows.Block] = TableChanges()
        self.quotes: TableChanges[rows.Quotes] = TableChanges()
        self.fills: TableChanges[rows.Fill] = TableChanges()
        self.titles: TableChanges[rows.Title] = TableChanges()
        self.claims: TableChanges[rows.Claim] = TableChanges()
        self.collateral: TableChanges[rows.Collateral] = TableChanges()
        self.procurements: TableChanges[rows.Procurement] = TableChanges()
        self.buy_in_failures: TableChanges[rows.BuyInFailure] = TableChanges()
        self.corrections: TableChanges[rows.Correction] = TableChanges()
        self.deliveries: TableChanges[rows.Delivery] = TableChanges()
        self.requests: TableChanges[rows.RequestRow] = TableChanges()
        self.deposits: TableChanges[rows.Deposited] = TableChanges()
        self.providers: TableChanges[rows.Provider] = TableChanges()
        self.payouts: TableChanges[rows.Payout] = TableChanges()
        self.refusals: TableChanges[rows.Refusal] = TableChanges()
        self.outbox: TableChanges[rows.OutboxRow] = TableChanges()
        self.outbox_counters: TableChanges[rows.OutboxCounter] = TableChanges()
        self.counters: TableChanges[rows.Counter] = TableChanges()
        self.shards: TableChanges[rows.ShardRow] = TableChanges()

    def take(self) -> dict[str, RowChanges]:
        """Table name → changes since the last call, tables without any left out."""
        taken = {name: table.take() for name, table in vars(self).items()}
        return {name: changes for name, changes in taken.items() if any(changes)}
