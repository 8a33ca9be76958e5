"""Rows of schema `settlement`, as they stand in memory: fields are the table's columns, in its order. Pure.

What each column means: `migrations/`. `TABLE` says what a store must know: how many leading columns are
the key, which columns change, and which rows are still alive, so that settlement wants them back at its start.
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

import msgspec
from msgspec import Struct

from schemas.units import Gpus, Hour, Micros, Millis, Price


class Table(NamedTuple):
    """A table of schema `settlement`."""

    name: str
    key: int
    """Leading columns that are the primary key."""
    changing: tuple[str, ...]
    """Columns that an update writes."""
    live: str
    """SQL condition of rows that settlement loads; a store may give more, never fewer."""


FORWARD: Final = "forward"
RUNNING: Final = "running"
CLOSED: Final = "closed"
ENDED: Final = "ended"
"""Phases of a contract, in this order."""

_ALIVE: Final = "SELECT contract FROM settlement.contracts WHERE NOT paid_out"


class Row(Struct, gc=False):
    """One row. Never takes part in reference cycles."""

    TABLE: ClassVar[Table]

    def row(self) -> tuple[object, ...]:
        """The columns' values, in order."""
        return msgspec.structs.astuple(self)


class Account(Row, gc=False):
    """Who trades, and for which owner."""

    TABLE: ClassVar[Table] = Table("accounts", 1, ("role", "fee_plan"), "true")

    account: int
    owner: int
    name: str
    role: int
    fee_plan: int
    desk: bool
    opened_ms: Millis


class ClassRow(Row, gc=False):
    """A class as published, and where it is listed."""

    TABLE: ClassVar[Table] = Table("classes", 1, ("listed", "state", "reference", "collar_low", "collar_high"), "true")

    class_no: int
    class_id: str
    shard: int
    specification: str
    lot: Gpus
    tick: Price
    list_price: Price
    buyer_maker: int
    buyer_taker: int
    seller_maker: int
    seller_taker: int
    horizon_hours: int
    gate_ms: Millis
    cover_ms: Millis
    running_close_ms: Millis
    collar_low_bp: int
    collar_high_bp: int
    first_hour: Hour
    listed: bool
    state: int
    reference: Price
    collar_low: Price
    """Both ends included."""
    collar_high: Price


class Contract(Row, gc=False):
    """One hour of one class."""

    TABLE: ClassVar[Table] = Table(
        "contracts", 1, ("phase", "state", "paid_out", "reference", "collar_low", "collar_high"), "NOT paid_out"
    )

    contract: int
    class_no: int
    hour: Hour
    shard: int
    phase: str
    state: int
    paid_out: bool
    """Ended, and no title is left that waits for a delivery record."""
    reference: Price = 0
    """Its own, with its collar; 0: its class's."""
    collar_low: Price = 0
    collar_high: Price = 0


class Backing(Row, gc=False):
    """What an account may owe in a contract on one ground, and what it owes there."""

    TABLE: ClassVar[Table] = Table("backing", 3, ("qty", "collateral_price", "version", "owed"), "true")

    account: int
    contract: int
    ground: int
    qty: Gpus
    collateral_price: Price
    version: int
    owed: Gpus


class Order(Row, gc=False):
    """An order in its last state."""

    TABLE: ClassVar[Table] = Table(
        "orders",
        1,
        ("qty", "price", "leaves", "filled", "cancelled", "state", "reason", "updated_ms", "seq"),
        "state = 'open'",
    )

    order_id: int
    account: int
    contract: int
    shard: int
    side: int
    qty: Gpus
    price: Price
    tif: int
    flags: int
    client_id: str
    leaves: Gpus
    filled: Gpus
    cancelled: Gpus
    state: str
    """open, filled, cancelled."""
    reason: int
    """`schemas.events.Reason`; 0: not cancelled."""
    maker_bp: int
    taker_bp: int
    accepted_ms: Millis
    updated_ms: Millis
    seq: int
    expires_ms: Millis
    """0: not by itself."""


class Block(Row, gc=False):
    """A block in its last state."""

    TABLE: ClassVar[Table] = Table(
        "blocks",
        1,
        (
            "leaves",
            "filled",
            "cancelled",
            "state",
            "reason",
            "updated_ms",
            "seq",
            "trade_qty",
            "trade_hours",
            "trade_gpus",
            "trade_cash",
        ),
        "state = 'open'",
    )

    order_id: int
    account: int
    class_no: int
    first_hour: Hour
    hours: int
    shard: int
    side: int
    qty: Gpus
    qty_min: Gpus
    price: Price
    tif: int
    flags: int
    client_id: str
    leaves: Gpus
    filled: Gpus
    cancelled: Gpus
    state: str
    reason: int
    maker_bp: int
    taker_bp: int
    expires_ms: Millis
    accepted_ms: Millis
    updated_ms: Millis
    seq: int
    trade_qty: Gpus = 0
    """The trade under way: its GPUs. It is over with its last hour, in the same output, but an output may be several records."""
    trade_hours: int = 0
    """Hours of it that are complete."""
    trade_gpus: Gpus = 0
    """GPUs of the hour that is not."""
    trade_cash: int = 0
    """Sum of price × qty of its fills."""


class Quotes(Row, gc=False):
    """A market maker's quotes of a class, by its last command; the orders behind them are not projected."""

    TABLE: ClassVar[Table] = Table("quotes", 2, ("number", "hours", "refused", "updated_ms", "seq"), "true")

    account: int
    class_no: int
    shard: int
    number: int
    hours: int
    """Hours of the command in which something is open after it."""
    refused: int
    """Hours of the command that were refused."""
    updated_ms: Millis
    seq: int


class Fill(Row, gc=False):
    """A trade, as both its orders saw it."""

    TABLE: ClassVar[Table] = Table("fills", 2, (), "false")

    shard: int
    trade: int
    seq: int
    contract: int
    price: Price
    qty: Gpus
    minutes: int
    taker_side: int
    maker_order: int
    taker_order: int
    """0: the exchange bought in."""
    buyer: int
    seller: int
    notional: Micros
    buyer_fee: Micros
    seller_fee: Micros
    time_ms: Millis


class Title(Row, gc=False):
    """Hours that one account owes to another, and the money that waits for them."""

    TABLE: ClassVar[Table] = Table(
        "titles",
        2,
        ("obligor", "holder", "ground", "qty", "escrow", "proceeds", "cost", "fees", "state"),
        f"contract IN ({_ALIVE}) AND state <> 'settled'",
    )

    contract: int
    title: int
    shard: int
    obligor: int
    holder: int
    ground: int
    qty: Gpus
    minutes: int
    escrow: Micros
    proceeds: Micros
    """The obligor's, if delivered."""
    cost: Micros
    """The holder's, if not."""
    fees: Micros
    """Treasury's, if delivered."""
    state: str
    """live; closed (no obligor, no holder); ended (its hour has); settled (paid out)."""


class Claim(Row, gc=False):
    """A reseller's part of a title's escrow."""

    TABLE: ClassVar[Table] = Table(
        "claims",
        3,
        ("gain", "loss"),
        "(shard, title) IN (SELECT shard, title FROM settlement.titles"  # noqa: S608 # a constant of ours
        f" WHERE contract IN ({_ALIVE}) AND state <> 'settled')",
    )

    shard: int
    title: int
    account: int
    gain: Micros
    """A reseller's, if delivered."""
    loss: Micros
    """A reseller's, if not."""


class Collateral(Row, gc=False):
    """What a promise leaves behind until its titles are settled."""

    TABLE: ClassVar[Table] = Table("collateral", 2, (), "true")

    contract: int
    account: int
    shard: int
    amount: Micros


class Procurement(Row, gc=False):
    """A machine bought for a title that was sold as ready."""

    TABLE: ClassVar[Table] = Table("procurements", 2, (), f"contract IN ({_ALIVE})")

    contract: int
    title: int
    account: int
    cost: Micros
    request_id: str


class BuyInFailure(Row, gc=False):
    """Promised GPUs that were still owed after the buy-in at the cover deadline."""

    TABLE: ClassVar[Table] = Table("buy_in_failures", 2, (), "false")

    contract: int
    account: int
    shard: int
    qty: Gpus
    time_ms: Millis
    seq: int


class Correction(Row, gc=False):
    """A clear error put right in cash by two operators; public."""

    TABLE: ClassVar[Table] = Table("corrections", 3, (), "false")

    shard: int
    seq: int
    index: int
    trade: int
    payer: int
    payee: int
    amount: Micros
    operator: int
    second_operator: int
    reason: str
    time_ms: Millis


class Delivery(Row, gc=False):
    """What a delivery record says of a title (0: of all of its contract), in force. Key: (contract, title)."""

    TABLE: ClassVar[Table] = Table(
        "deliveries", 2, ("undelivered", "state", "allowance", "credit"), "state = 'waiting'"
    )

    contract: int
    title: int
    shard: int
    undelivered: int
    source: str
    record_id: str
    state: str
    """waiting, settled."""
    log_offset: int
    allowance: int = 0
    """Minutes of those delivered."""
    moved: Gpus = 0
    """As the record says it: its holder had to leave so many for these."""
    refunds: dict[str, int] = msgspec.field(default_factory=dict)
    """Account → GPU-minutes that it went without; none: the title's holder."""
    credit: Micros = 0
    """For the hand-over."""


class RequestRow(Row, gc=False):
    """What a member or an operator asked for, and what became of it."""

    TABLE: ClassVar[Table] = Table(
        "requests", 1, ("state", "code", "need", "have", "outcome", "updated_ms"), "state = 'pending'"
    )

    request_id: str
    account: int
    digest: bytes
    state: str
    """pending, done, refused."""
    code: str
    """Why it was refused; else empty."""
    need: int
    have: int
    outcome: dict[str, int | bool | str]
    log_offset: int
    updated_ms: Millis


class Deposited(Row, gc=False):
    """A provider's deposit that was counted."""

    TABLE: ClassVar[Table] = Table("deposits", 2, (), "false")

    provider: str
    provider_ref: str
    account: int
    amount: Micros
    request_id: str


class Provider(Row, gc=False):
    """A payment provider and its number in the ledger."""

    TABLE: ClassVar[Table] = Table("providers", 1, (), "true")

    provider: int
    name: str


class Payout(Row, gc=False):
    """Money that a member asked to have paid out."""

    TABLE: ClassVar[Table] = Table("payouts", 1, ("state", "updated_ms"), "state IN ('requested', 'sent')")

    payout: int
    account: int
    amount: Micros
    destination: str
    state: str
    """requested, sent, paid, returned."""
    request_id: str
    created_ms: Millis
    updated_ms: Millis


class Refusal(Row, gc=False):
    """A record of `requests` or `delivery` that changed nothing and has no row of its own; `detail` is for operators."""

    TABLE: ClassVar[Table] = Table("refusals", 3, (), "false")

    source: int
    """`ledger.REQUEST` or `ledger.DELIVERY`."""
    log_offset: int
    what: str
    code: str
    detail: str
    time_ms: Millis


class OutboxRow(Row, gc=False):
    """A message to a shard, until an event confirms it and after."""

    TABLE: ClassVar[Table] = Table("outbox", 2, ("confirmed",), "NOT confirmed")

    shard: int
    outbox: int
    body: bytes
    request_id: str
    confirmed: bool


class OutboxCounter(Row, gc=False):
    """The last message number of a shard."""

    TABLE: ClassVar[Table] = Table("outbox_counters", 1, ("last",), "true")

    shard: int
    last: int


class Counter(Row, gc=False):
    """The last number given of a kind."""

    TABLE: ClassVar[Table] = Table("counters", 1, ("last",), "true")

    name: str
    """account, class, payout, provider."""
    last: int


class ShardRow(Row, gc=False):
    """How a shard reckons market time, as it was started."""

    TABLE: ClassVar[Table] = Table("shards", 1, (), "true")

    shard: int
    t0_ms: Millis
    rate: int


class Cursor(Row, gc=False):
    """How far a log has been read; `seq` and `chain` are those of `events`, else 0 and empty."""

    TABLE: ClassVar[Table] = Table("cursors", 2, ("next_offset", "last_hash", "seq", "chain", "time_ms"), "true")

    topic: str
    partition: int
    next_offset: int
    last_hash: bytes
    seq: int
    chain: bytes
    time_ms: Millis


ROWS: Final[tuple[type[Row], ...]] = (
    Account,
    ClassRow,
    Contract,
    Backing,
    Order,
    Block,
    Quotes,
    Fill,
    Title,
    Claim,
    Collateral,
    Procurement,
    BuyInFailure,
    Correction,
    Delivery,
    RequestRow,
    Deposited,
    Provider,
    Payout,
    Refusal,
    OutboxRow,
    OutboxCounter,
    Counter,
    ShardRow,
    Cursor,
)
"""Every table but the ledger's own (`entries`, `postings`, `balances`) and `commits`."""
