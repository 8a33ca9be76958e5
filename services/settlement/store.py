"""What settlement wants of a database. `postgres_store` gives it one; the simulation gives it a seeded one.

A store decides nothing: it holds rows, gives back the live ones, and stores a batch whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from services.settlement.rows import Delivery
from services.settlement.state import Batch, Loaded


class StoreAway(Exception):
    """The database does not answer. A commit under way may or may not have been done: load again to know."""


class Conflict(Exception):
    """The database does not hold what this settlement last committed: another one writes too, or somebody's hand did."""


class Recall(NamedTuple):
    """Keys of rows that are not kept in memory, because they are over."""

    requests: Sequence[str] = ()
    deposits: Sequence[tuple[str, str]] = ()
    """(provider, provider's reference)."""
    deliveries: Sequence[tuple[int, int]] = ()
    """(contract, title)."""


class Recalled(NamedTuple):
    """What there is of what was asked for."""

    requests: dict[str, bytes]
    """Request id → digest."""
    deposits: set[tuple[str, str]]
    deliveries: dict[tuple[int, int], Delivery]


class Store(Protocol):
    """Any method may raise StoreAway."""

    async def load(self) -> Loaded:
        """Every row that is live (`rows.Table.live`), possibly more; one consistent moment."""

    async def recall(self, ask: Recall) -> Recalled:
        """Rows by their keys, as of the last batch given to `commit`. May raise Conflict, as `commit` does."""

    async def commit(self, batch: Batch) -> int:
        """Store a batch; how many batches are durable now: this one included, or all before it.

        A store may work on one batch while the next is being made; batches become durable in order or not at all. Raises
        Conflict, here or at the next call, with nothing of the batch stored, unless exactly `batch.commit` batches were committed
        before it, and the cursor is at `batch.before`.
        """

    async def flush(self) -> int:
        """Wait until every batch given to `commit` is durable; how many there are. Raises Conflict."""
