"""What market data says: messages of the feed, and bodies of its HTTP answers. docs/feeds.md is the text of this module.

Prices and money are decimal strings, GPUs whole numbers, times ISO 8601 UTC (market time, where nothing else is said), contracts
symbols, as in `schemas.http`. An empty price: there is none. Nothing but `account` and `rentals` says whose anything is.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.edge import MarketState, SideName, TifName
from schemas.rental import RentalRequest

Pair = tuple[str, int]
"""[price, quantity]; in a change, quantity 0: nothing stands there any more."""
Phase = Literal["forward", "running", "closed", "ended"]
Id = Annotated[str, Meta(max_length=64)] | int | None
"""The reader's own, repeated in the answer."""


class _Op(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """What a reader sends."""

    id: Id = None


class Subscribe(_Op, frozen=True, tag="subscribe"):
    """Each channel answers with a snapshot, then with changes. `account` and `rentals` need `auth` before."""

    channels: tuple[str, ...]


class Unsubscribe(_Op, frozen=True, tag="unsubscribe"):
    """No more of these."""

    channels: tuple[str, ...]


class Resume(_Op, frozen=True, tag="resume"):
    """Go on after the last message seen: what was missed follows, or a snapshot where that is no longer known."""

    channels: dict[str, int] = {}
    """Channel → last seq."""
    account: dict[str, int] = {}
    """Of the channel `account`: shard → last seq."""


class Auth(_Op, frozen=True, tag="auth"):
    """Who reads; again with a new token before `until`, to go on."""

    token: str


class Ping(_Op, frozen=True, tag="ping"):
    """Answered by `pong`."""


Op = Subscribe | Unsubscribe | Resume | Auth | Ping


class _Message(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What a reader is sent."""


# --- Of the connection ------------------------------------------------------------------------------------


class Hello(_Message, frozen=True, tag="hello"):
    """The first message."""

    channels_max: int
    heartbeat_ms: int


class Heartbeat(_Message, frozen=True, tag="heartbeat"):
    """Every `heartbeat_ms`, whether or not anything happens."""

    sent_at: str
    """Our clock."""
    market_time: str
    at: dict[str, int]
    """Shard → the last record of `events` that is told of."""
    rentals_at: int = 0
    """The last record of `rentals` that is told of."""


class Subscribed(_Message, frozen=True, tag="subscribed"):
    """To `subscribe` and `resume`: of these, a snapshot or what was missed follows. What is refused is an `error` each."""

    channels: tuple[str, ...]
    id: Id = None


class Unsubscribed(_Message, frozen=True, tag="unsubscribed"):
    """To `unsubscribe`."""

    channels: tuple[str, ...]
    id: Id = None


class Authenticated(_Message, frozen=True, tag="authenticated"):
    """To `auth`."""

    account: int
    until: str
    """Our clock. Then `account` and `rentals` end, unless `auth` came again."""
    id: Id = None


class Pong(_Message, frozen=True, tag="pong"):
    """To `ping`."""

    id: Id = None


class Refusal(_Message, frozen=True, tag="error"):
    """Something asked for is not done. The connection goes on."""

    code: str
    """Stable; `detail` may be reworded."""
    detail: str
    channel: str = ""
    id: Id = None


class End(_Message, frozen=True, tag="end"):
    """The channel has ended, as its hour has: nothing of it follows."""

    channel: str
    seq: int
    prev_seq: int


# --- book:<symbol> ----------------------------------------------------------------------------------------


class BookSnapshot(_Message, frozen=True, tag="book_snapshot"):
    """All levels, best first."""

    channel: str
    seq: int
    at: int
    """The record of `events` up to which it is told, in the class's shard."""
    time: str
    bids: list[Pair]
    asks: list[Pair]
    checksum: int


class BookChange(_Message, frozen=True, tag="book"):
    """Levels that stand otherwise than before, with what stands there now."""

    channel: str
    seq: int
    prev_seq: int
    at: int
    time: str
    bids: list[Pair]
    asks: list[Pair]
    checksum: int
    """Of the book afterwards."""


# --- trades:<class> ---------------------------------------------------------------------------------------


class TradeLine(Struct, frozen=True):
    """One public trade."""

    trade: str
    """`shard-number`."""
    contract: str
    price: str
    qty: int
    minutes: int
    """60, or what was left of a running hour."""
    maker_side: SideName
    kind: Literal["order", "block", "buy_in"]
    """`block`: one hour of a block's trade. `buy_in`: the exchange bought for somebody who had not covered a promise."""
    at: str


class TradesSnapshot(_Message, frozen=True, tag="trades_snapshot"):
    """The newest trades of the class, newest first."""

    channel: str
    seq: int
    at: int
    time: str
    trades: list[TradeLine]


class TradesChange(_Message, frozen=True, tag="trades"):
    """New trades, oldest first."""

    channel: str
    seq: int
    prev_seq: int
    at: int
    time: str
    trades: list[TradeLine]


# --- grid:<class> -----------------------------------------------------------------------------------------


class GridRow(Struct, frozen=True):
    """One hour of a class. `ended`: the row is gone."""

    contract: str
    hour: str
    phase: Phase
    state: MarketState
    bid: str = ""
    bid_qty: int = 0
    ask: str = ""
    ask_qty: int = 0
    last: str = ""
    reference: str = ""
    """Of the collar."""
    bid_next: str = ""
    """The price behind the best: whoever stands there alone sees what the others bid."""
    ask_next: str = ""


class GridSnapshot(_Message, frozen=True, tag="grid_snapshot"):
    """All hours that have not ended, rising."""

    channel: str
    seq: int
    at: int
    time: str
    rows: list[GridRow]


class GridChange(_Message, frozen=True, tag="grid"):
    """Rows that are different, whole."""

    channel: str
    seq: int
    prev_seq: int
    at: int
    time: str
    rows: list[GridRow]


# --- blocks:<class> ---------------------------------------------------------------------------------------


class BlockLine(Struct, frozen=True):
    """What stands in the block book for one range at one price. Quantity 0: nothing any more."""

    first_hour: str
    hours: int
    side: SideName
    price: str
    """Limit on the average over the hours."""
    qty: int
    """GPUs in each hour."""
    qty_min: int
    """The least that one of the blocks takes."""
    blocks: int


class BlocksSnapshot(_Message, frozen=True, tag="blocks_snapshot"):
    """All levels by range, bids before asks, best first."""

    channel: str
    seq: int
    at: int
    time: str
    blocks: list[BlockLine]


class BlocksChange(_Message, frozen=True, tag="blocks"):
    """Levels that are different, whole."""

    channel: str
    seq: int
    prev_seq: int
    at: int
    time: str
    blocks: list[BlockLine]


# --- corrections ------------------------------------------------------------------------------------------


class CorrectionLine(Struct, frozen=True):
    """A clear error, corrected in cash between the two sides of a trade, by two operators."""

    trade: str
    amount: str
    reason: str
    at: str


class CorrectionsSnapshot(_Message, frozen=True, tag="corrections_snapshot"):
    """The newest corrections, newest first."""

    channel: str
    seq: int
    corrections: list[CorrectionLine]


class CorrectionsChange(_Message, frozen=True, tag="corrections"):
    """New corrections."""

    channel: str
    seq: int
    prev_seq: int
    corrections: list[CorrectionLine]


# --- account ----------------------------------------------------------------------------------------------


class OrderLine(Struct, frozen=True, kw_only=True):
    """An own order as it stands."""

    order_id: str
    client_order_id: str
    contract: str
    """Of a block: its first hour."""
    side: SideName
    price: str
    tif: TifName
    state: Literal["open", "filled", "cancelled"]
    reason: str = ""
    """Why it was cancelled."""
    leaves: int
    filled: int
    cancelled: int
    hours: int = 1
    """Of a block."""
    qty_min: int = 0
    """Of a block."""
    post_only: bool = False
    running: bool = False


class FillLine(Struct, frozen=True, kw_only=True):
    """An own trade."""

    trade: str
    contract: str
    order_id: str
    """Empty: the exchange bought in."""
    side: SideName
    role: Literal["maker", "taker"]
    qty: int
    price: str
    minutes: int
    notional: str
    fee: str
    counterparty: Literal["desk", "member"]
    at: str


class PositionLine(Struct, frozen=True, kw_only=True):
    """Hours held and owed in one contract, GPUs. All 0: nothing any more."""

    contract: str
    held: int
    owed: int
    running_held: int
    """Bought in the running phase: not resold."""
    running_owed: int


class BalanceLine(Struct, frozen=True, kw_only=True):
    """The trading balance in the shard: available = balance − holds − collateral."""

    balance: str
    holds: str
    collateral: str
    available: str


class AccountSnapshot(_Message, frozen=True, tag="account_snapshot"):
    """Everything of the account in one shard."""

    channel: str
    shard: int
    seq: int
    time: str
    orders: list[OrderLine]
    """Open ones, oldest first."""
    fills: list[FillLine]
    """After a resume: those since, oldest first. Else none."""
    fills_complete: bool
    """False: older ones may be missing; GET /v1/fills has all."""
    positions: list[PositionLine]
    balance: BalanceLine


class AccountChange(_Message, frozen=True, tag="account"):
    """What one record of `events` did to the account."""

    channel: str
    shard: int
    seq: int
    prev_seq: int
    time: str
    orders: list[OrderLine]
    fills: list[FillLine]
    positions: list[PositionLine]
    balance: BalanceLine | None
    """Null: as before."""


# --- rentals ----------------------------------------------------------------------------------------------


class RentalLine(Struct, frozen=True, kw_only=True):
    """An own rental: what is wanted. What is bought for it is in `account`, hour by hour in GET /v1/rentals."""

    rental: str
    state: Literal["standing", "stopping", "over"]
    """Hours are bought for it; it was stopped, with hours left to sell or to run out; nothing is left."""
    made_at: str
    stopped_at: str = ""
    request: RentalRequest
    """As it is now, changes included."""


class NoticeLine(Struct, frozen=True, kw_only=True):
    """What an owner must know: why an hour could not be bought, once per hour and reason."""

    id: str
    """The same at the webhook."""
    rental: str
    hour: str
    code: str
    detail: str
    at: str


class RentalsSnapshot(_Message, frozen=True, tag="rentals_snapshot"):
    """All own rentals that are not over, and the newest notices."""

    channel: str
    seq: int
    time: str
    rentals: list[RentalLine]
    """Oldest first."""
    notices: list[NoticeLine]
    """Oldest first. After a resume: those since."""
    notices_complete: bool
    """False: older ones may be missing."""


class RentalsChange(_Message, frozen=True, tag="rentals"):
    """What one record of `rentals` did."""

    channel: str
    seq: int
    prev_seq: int
    time: str
    rentals: list[RentalLine]
    """One that was made, changed or stopped, or is over, as it stands now; else none."""
    notices: list[NoticeLine]
    """A new one; else none."""


PublicMessage = (
    BookSnapshot
    | BookChange
    | TradesSnapshot
    | TradesChange
    | GridSnapshot
    | GridChange
    | BlocksSnapshot
    | BlocksChange
    | CorrectionsSnapshot
    | CorrectionsChange
    | End
)
Message = (
    Hello
    | Heartbeat
    | Subscribed
    | Unsubscribed
    | Authenticated
    | Pong
    | Refusal
    | PublicMessage
    | AccountSnapshot
    | AccountChange
    | RentalsSnapshot
    | RentalsChange
)


# --- HTTP -------------------------------------------------------------------------------------------------


class AsOf(Struct, frozen=True, kw_only=True):
    """How new an answer is."""

    shard: int
    seq: int
    """The last record of `events` that it knows."""
    market_time: str
    """Of that record. The market's clock ticks at least every few seconds."""
    read_at: str
    """Our clock when the log was last looked at."""


class _Answer(Struct, frozen=True, kw_only=True):
    """A body that a client is answered."""

    as_of: AsOf


class MarketBook(_Answer, frozen=True):
    """GET /v1/market/{symbol}/book."""

    contract: str
    bids: list[Pair]
    asks: list[Pair]
    checksum: int
    """As in the feed: of the ten best of each side."""


class MarketTrades(_Answer, frozen=True):
    """GET /v1/market/{symbol}/trades, newest first."""

    contract: str
    trades: list[TradeLine]


class Ticker(_Answer, frozen=True):
    """GET /v1/market/{symbol}/ticker."""

    row: GridRow
    low: str
    """Of the last 24 hours, as are the next four."""
    high: str
    average: str
    """Weighted by quantity, without buy-ins."""
    volume: int
    """GPUs."""
    trades: int


class Grid(_Answer, frozen=True):
    """GET /v1/classes/{class}/grid."""

    class_id: str = msgspec.field(name="class")
    rows: list[GridRow]


class BlockBook(_Answer, frozen=True):
    """GET /v1/classes/{class}/blocks."""

    class_id: str = msgspec.field(name="class")
    blocks: list[BlockLine]


class ReferenceRow(Struct, frozen=True, kw_only=True):
    """What the collar of an hour is based on, and what it would be based on now. `contract` empty: of the class."""

    contract: str
    price: str
    source: str
    moved_at: str
    """Empty: never."""
    low: str
    high: str
    wanted: str
    """Empty: nothing to go by."""
    wanted_source: str


class References(_Answer, frozen=True):
    """GET /v1/classes/{class}/references."""

    class_id: str = msgspec.field(name="class")
    rows: list[ReferenceRow]
    """The class first, then its hours."""


class MarketStatus(Struct, frozen=True, kw_only=True):
    """GET /v1/market."""

    feed: str
    """Address of the WebSocket feed."""
    shards: list[AsOf]


class TokenAnswer(Struct, frozen=True, kw_only=True):
    """POST /v1/feed-token."""

    token: str
    """For `auth`, at once."""
    expires_in_s: int


class Unanswered(Struct, frozen=True, kw_only=True):
    """Inside the cluster: why there is no answer. The gateway makes a problem of it."""

    code: str
    detail: str
