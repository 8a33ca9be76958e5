"""Everything that settlement keeps in memory, and what a batch changed of it. Pure.

In memory is what may still change: accounts, classes, contracts until they are paid out, their titles, open orders, requests and
outbox rows that wait, payouts under way. What is over is in the database only.

    state = State(shards=2, loaded)          # from `Store.load`
    settle_event(...); settle_event(...)     # change state, and note what they changed
    batch = state.take(cursor)               # that, to be stored in one transaction
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from schemas.commands import Credit, OutboxCommand, SetAccount
from schemas.ids import class_no_of
from schemas.units import Micros, Millis
from services.settlement import rows
from services.settlement.backing import WITH_COLLATERAL, BackingBook
from services.settlement.changes import Changes, RowChanges
from services.settlement.ledger import TRANSIT, BalanceKey, Contradiction, Ledger, Posted
from services.settlement.rows import Row
from services.settlement.titles import TitleBook

R = TypeVar("R", bound=Row)
_encoder = msgspec.msgpack.Encoder()
_outbox: msgspec.msgpack.Decoder[OutboxCommand] = msgspec.msgpack.Decoder(OutboxCommand)


class Loaded(NamedTuple):
    """What a store held at the start: at least the live rows of each table, by its name."""

    rows: Mapping[str, Sequence[tuple[object, ...]]]
    balances: Sequence[tuple[BalanceKey, int]]
    commits: int
    """Batches committed so far."""


NOTHING = Loaded({}, (), 0)


class Batch(NamedTuple):
    """Changes to be stored in one transaction, or not at all."""

    commit: int
    """How many batches the store must hold before this one."""
    before: rows.Cursor
    """Position of the log as the store must hold it."""
    cursor: rows.Cursor
    """Its new position."""
    posted: Posted
    changes: Mapping[str, RowChanges]


class Shard:
    """What is kept per shard."""

    def __init__(self, number: int, changes: Changes) -> None:
        self.number = number
        self.backing = BackingBook(changes)
        self.titles = TitleBook(number, changes, self.backing)
        self.outbox = 0
        """Last number given to a message."""
        self.confirmed = 0
        """Last number that an event of the shard has repeated."""
        self.unconfirmed: dict[int, rows.OutboxRow] = {}
        self.roles: dict[int, tuple[int, int]] = {}
        """Account → (message, role) of the last change of its terms that is on its way."""
        self.start: rows.ShardRow | None = None
        """Known from the shard's first event."""

    def sent(self, outbox: int, command: OutboxCommand) -> None:
        """A message is on its way."""
        if isinstance(command, SetAccount):
            self.roles[command.account] = (outbox, command.role)


class State:
    """See the module. One writer: whoever holds it applies records one after the other."""

    def __init__(self, shards: int, loaded: Loaded = NOTHING) -> None:
        self.changes = Changes()
        self.commits = loaded.commits
        self.ledger = Ledger(loaded.balances)
        self.shards = [Shard(number, self.changes) for number in range(shards)]
        self.accounts = {row.account: row for row in _load(loaded, rows.Account)}
        self.owners = {row.owner for row in self.accounts.values()}
        self.classes = {row.class_no: row for row in _load(loaded, rows.ClassRow)}
        self.class_nos = {row.class_id: row.class_no for row in self.classes.values()}
        self.orders = {row.order_id: row for row in _load(loaded, rows.Order) if row.state == "open"}
        self.blocks = {row.order_id: row for row in _load(loaded, rows.Block) if row.state == "open"}
        self.quotes = {(row.account, row.class_no): row for row in _load(loaded, rows.Quotes)}
        self.requests = {row.request_id: row for row in _load(loaded, rows.RequestRow) if row.state == "pending"}
        self.payouts = {row.payout: row for row in _load(loaded, rows.Payout) if row.state in ("requested", "sent")}
        self.deliveries: dict[int, dict[int, rows.Delivery]] = {}
        """Contract → title (0: all) → record that waits for the hour's end."""
        for row in _load(loaded, rows.Delivery):
            if row.state == "waiting":
                self.deliveries.setdefault(row.contract, {})[row.title] = row
        self.collateral = {(row.contract, row.account): row for row in _load(loaded, rows.Collateral)}
        self.providers = {row.name: row.provider for row in _load(loaded, rows.Provider)}
        self.counters = {row.name: row.last for row in _load(loaded, rows.Counter)}
        self.cursors = {(row.topic, row.partition): row for row in _load(loaded, rows.Cursor)}
        self.waiting_for: dict[str, int] = {}
        """Pending request → messages of it that no shard has confirmed yet."""
        self._load_shards(loaded)
        self.contracts = {row.contract: row for row in _load(loaded, rows.Contract) if not row.paid_out}
        self.procured: dict[int, set[int]] = {}
        """Contract → titles, sold as ready, that a machine was bought for."""
        for bought in _load(loaded, rows.Procurement):
            if bought.contract in self.contracts:
                self.procured.setdefault(bought.contract, set()).add(bought.title)
        self.promised_left: dict[tuple[int, int], int] = {}
        """(contract, account) → titles of an ended hour that its collateral waits for; the last one paid out frees it."""
        for contract in {contract for contract, _ in self.collateral}:
            if contract in self.contracts and self.contracts[contract].phase == "ended":
                self.count_promised(contract)
        self.check_transit()

    def count_promised(self, contract: int) -> None:
        """At the hour's end: how many titles, promised or ready, each obligor's collateral waits for."""
        for title in self.shards[self.contracts[contract].shard].titles.of(contract):
            key = (contract, title.obligor)
            if title.ground in WITH_COLLATERAL and key in self.collateral:
                self.promised_left[key] = self.promised_left.get(key, 0) + 1

    def role_of(self, account: rows.Account, shard: int) -> int:
        """The role that the account will have when a message sent now arrives."""
        _, role = self.shards[shard].roles.get(account.account, (0, account.role))
        return role

    def _load_shards(self, loaded: Loaded) -> None:
        titles = [row for row in _load(loaded, rows.Title) if row.state != "settled"]
        live = {(row.shard, row.title) for row in titles}
        claims = [row for row in _load(loaded, rows.Claim) if (row.shard, row.title) in live]
        backing = list(_load(loaded, rows.Backing))
        for shard in self.shards:
            shard.titles.load(
                (row for row in titles if row.shard == shard.number),
                (row for row in claims if row.shard == shard.number),
            )
            shard.backing.load(
                (row for row in backing if self.classes[class_no_of(row.contract)].shard == shard.number),
            )
        for start in _load(loaded, rows.ShardRow):
            self.shards[start.shard].start = start
        for counter in _load(loaded, rows.OutboxCounter):
            shard = self.shards[counter.shard]
            shard.outbox = shard.confirmed = counter.last
        unconfirmed = [row for row in _load(loaded, rows.OutboxRow) if not row.confirmed]
        for row in sorted(unconfirmed, key=lambda row: row.outbox):
            self.shards[row.shard].unconfirmed[row.outbox] = row
            self.shards[row.shard].sent(row.outbox, decode_outbox(row.body))
            self.waiting_for[row.request_id] = self.waiting_for.get(row.request_id, 0) + 1
        for shard in self.shards:
            shard.confirmed = shard.outbox - len(shard.unconfirmed)
            numbers = list(range(shard.confirmed + 1, shard.outbox + 1))
            assert list(shard.unconfirmed) == numbers, f"the outbox of shard {shard.number} has a hole"

    # --- Numbers and messages ----------------------------------------------------------------------------------

    def last(self, counter: str) -> int:
        """The last number given by a counter; 0: none yet."""
        return self.counters.get(counter, 0)

    def number(self, counter: str) -> int:
        """The next number of a counter, used up."""
        number = self.last(counter) + 1
        row = rows.Counter(counter, number)
        if number == 1:
            self.changes.counters.create(counter, row)
        else:
            self.changes.counters.change(counter, row)
        self.counters[counter] = number
        return number

    def provider(self, name: str) -> int:
        """Number of an account of the outside world, given at its first use."""
        if name not in self.providers:
            row = rows.Provider(self.number("provider"), name)
            self.changes.providers.create(row.provider, row)
            self.providers[name] = row.provider
        return self.providers[name]

    def next_outbox(self, shard: int) -> int:
        """The number that the next message to a shard must carry."""
        return self.shards[shard].outbox + 1

    def send(self, shard: int, command: OutboxCommand, request_id: str) -> None:
        """Put a message to a shard into the outbox; the request waits for it."""
        of_shard = self.shards[shard]
        assert command.outbox == of_shard.outbox + 1, (
            f"outbox of shard {shard}: {command.outbox} after {of_shard.outbox}"
        )
        row = rows.OutboxRow(shard, command.outbox, _encoder.encode(command), request_id, False)
        counter = rows.OutboxCounter(shard, command.outbox)
        if of_shard.outbox == 0:
            self.changes.outbox_counters.create(shard, counter)
        else:
            self.changes.outbox_counters.change(shard, counter)
        of_shard.outbox = command.outbox
        of_shard.unconfirmed[command.outbox] = row
        of_shard.sent(command.outbox, command)
        self.changes.outbox.create((shard, command.outbox), row)
        self.waiting_for[request_id] = self.waiting_for.get(request_id, 0) + 1

    def confirm(self, shard: int, outbox: int) -> tuple[rows.OutboxRow, rows.RequestRow | None, bool]:
        """An event repeats a message's number.

        Returns the message, its request unless it is over, and whether nothing of that request is left to wait for.
        Raises Contradiction.
        """
        of_shard = self.shards[shard]
        row = of_shard.unconfirmed.get(outbox)
        if row is None or outbox != of_shard.confirmed + 1:
            raise Contradiction(
                f"shard {shard} confirms message {outbox}; confirmed so far {of_shard.confirmed}, sent {of_shard.outbox}"
            )
        del of_shard.unconfirmed[outbox]
        of_shard.confirmed = outbox
        of_shard.roles = {account: sent for account, sent in of_shard.roles.items() if sent[0] != outbox}
        row.confirmed = True
        self.changes.outbox.change((shard, outbox), row)
        left = self.waiting_for[row.request_id] - 1
        if left:
            self.waiting_for[row.request_id] = left
        else:
            del self.waiting_for[row.request_id]
        return row, self.requests.get(row.request_id), not left

    def market_ms(self, stamp_ms: Millis) -> Millis:
        """Market time of a record's stamp, as shard 0 was started; the stamp itself while that is not known."""
        start = self.shards[0].start
        return stamp_ms if start is None else start.t0_ms + start.rate * (stamp_ms - start.t0_ms)

    # --- Batches -----------------------------------------------------------------------------------------------

    def cursor(self, topic: str, partition: int) -> rows.Cursor:
        """Position of a log; nothing read: offset 0."""
        chain = bytes(16) if topic == "events" else b""
        return self.cursors.get((topic, partition)) or rows.Cursor(topic, partition, 0, b"", 0, chain, 0)

    def take(self, cursor: rows.Cursor) -> Batch:
        """What changed since the last call, to be stored with the new position of the log that caused it."""
        before = self.cursor(cursor.topic, cursor.partition)
        assert cursor.next_offset > before.next_offset, f"{cursor} after {before}"
        batch = Batch(self.commits, before, cursor, self.ledger.take(), self.changes.take())
        self.commits += 1
        self.cursors[cursor.topic, cursor.partition] = cursor
        return batch

    def check_transit(self) -> None:
        """M7: money in transit is what unconfirmed messages carry."""
        carried: dict[tuple[int, int], Micros] = {}
        for shard in self.shards:
            for row in shard.unconfirmed.values():
                command = _outbox.decode(row.body)
                if isinstance(command, Credit):
                    key = (shard.number, command.account)
                    carried[key] = carried.get(key, 0) + command.amount
        booked = {(key[1], key[2]): amount for key, amount in self.ledger.balances().items() if key[0] == TRANSIT}
        assert booked == carried, f"M7: {booked} in transit, messages carry {carried}"


def decode_outbox(body: bytes) -> OutboxCommand:
    """A row's body → the message."""
    return _outbox.decode(body)


def _load(loaded: Loaded, kind: type[R]) -> Iterable[R]:
    return (kind(*values) for values in loaded.rows.get(kind.TABLE.name, ()))
