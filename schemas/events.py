"""What happened in a shard: bodies of the topic `events`.

Written by: the shard's active matching shell. Read by: settlement, gateways, market_data, followers, audit.
Order: total within a shard, by (seq, index in the record). Delivery: at least once; a reader applies only
`last seq + 1` and compares chains (`schemas.codec`).

Two kinds. An **outcome** has `index`, the command's place in its frame: each command has exactly one, and it
comes before the command's effects. An **effect** has no `index`.
Order within one command: outcome, fills and cancellations in the order in which they happened.
What time alone causes (listing, gates, expiry) comes before the outcome of the first command of its record.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from schemas.commands import Fees
from schemas.units import BasisPoints, Gpus, Hour, Micros, Millis, Price


class Code(IntEnum):
    """Why a command was rejected. The lower-case name is the `code` at the API; numbers are never re-used.

    21 stands for nothing.
    """

    NOT_OFFERED_YET = 1
    """Declared, and the engine of this version does not offer it."""
    UNKNOWN_ACCOUNT = 2
    UNKNOWN_CLASS = 3
    UNKNOWN_CONTRACT = 4
    """The class exists; this hour is not listed, or has ended."""
    WRONG_PHASE = 5
    """The contract's gate is closed."""
    HALTED = 6
    """The class or contract is halted or cancel-only."""
    WRONG_SIDE = 7
    WRONG_TIF = 8
    WRONG_FLAGS = 9
    WRONG_QTY = 10
    """Not positive, above the maximum, or not a multiple of the lot (`need`)."""
    WRONG_PRICE = 11
    """Not positive or not a multiple of the tick (`need`)."""
    OUTSIDE_COLLAR = 12
    """`need`: the bound that was passed."""
    INSUFFICIENT_FUNDS = 13
    """`need`: µUSD needed; `have`: µUSD available."""
    INSUFFICIENT_BACKING = 14
    """`need`: GPUs asked; `have`: GPUs that may still be offered."""
    DUPLICATE_CLIENT_ID = 15
    """The account's client order id stands for another order (`have`)."""
    WRONG_CLIENT_ID = 16
    TOO_LATE = 17
    """Past `valid_until_ms`."""
    WRONG_VALIDITY = 18
    """`valid_until_ms` is more than 10 minutes ahead."""
    WOULD_TRADE = 19
    """Post-only, and it would trade at once."""
    CANNOT_FILL = 20
    """Fill-or-kill, and the book cannot fill it within the limit (`have`: GPUs that it could)."""
    UNKNOWN_ORDER = 22
    """No resting order of the account has this id."""
    TOO_MANY_ORDERS = 23
    """`need`: the bound of open orders per account."""
    STALE_VERSION = 24
    """Backing: `have` is the version in force."""
    WRONG_ROLE = 25
    """The account's role does not permit this ground."""
    WRONG_GROUND = 26
    WRONG_COLLATERAL = 27
    """Collateral price below the collar's cap (`need`)."""
    WRONG_CLASS = 28
    """A class that contradicts the one listed, or values out of range."""
    WRONG_AMOUNT = 29
    WRONG_OWNER = 30
    """An account's owner never changes."""
    WRONG_STATE = 31
    WRONG_VERSION = 32
    """An engine version that this build does not know, or a step back."""
    WRONG_HOURS = 33
    MALFORMED = 34
    """The body does not decode by the schema of this engine version."""
    WRONG_EXPIRY = 35
    """GTD without a moment to come (`need`: now), or a dead man's switch outside its bounds (`need`: the bound)."""
    WRONG_REFERENCE = 36
    """A collar's reference too far from the one in force or from the list price (`need`: the bound passed)."""
    TOO_SOON = 37
    """The reference moved less than a minute ago (`need`: when it may move again)."""
    STALE_NUMBER = 38
    """Quotes: `have` is the last number of the account and class."""
    UNKNOWN_TRADE = 39
    """The shard has made no trade of this number."""
    WRONG_APPROVAL = 40
    """Of a correction: no name, or one under which a correction was made."""


class Reason(IntEnum):
    """Why an open quantity was cancelled."""

    ASKED = 1
    IOC = 2
    SELF_TRADE_NEWEST = 3
    SELF_TRADE_OLDEST = 4
    GATE_CLOSED = 5
    EXPIRED = 6
    BACKING_LOWERED = 7
    DEAD_MAN = 8
    QUOTE_REPLACED = 9
    MASS = 10
    RUNNING_CLOSED = 11
    QUOTE_REFUSED = 12
    """The quote that was to replace it was refused: a price that its maker no longer wants never trades."""


class TitleMove(Struct, array_like=True, frozen=True, gc=False):
    """What one fill did to one title. A fill has one move per title touched, in order.

    The steps, for `qty` GPUs of one source title:
    1. `source` 0: title `title` is new, owed by the seller on `ground`. Otherwise the seller resells `qty` of the
       title `source` that he holds; when that is less than all of it, the piece gets the new id `title`,
       else `title == source`.
    2. The buyer holds `title`, or, when he owed title `closes`: `title`'s obligor takes his place in it. When
       that is less than all of `closes`, the piece gets the new id `closed`, else `closed == closes`.
       The title that lives on is `closed`; `title` is gone. `closes == title`: he bought back his very
       own promise; no obligor and no holder are left, and it counts as delivered.
    """

    source: int
    title: int
    ground: int
    """`Ground` of a new title, 0 otherwise."""
    qty: Gpus
    net: Micros
    """Seller's net proceeds of this piece."""
    cost: Micros
    """Buyer's cost of this piece; cost − net are this piece's fees."""
    released_seller: Micros
    """min(net, cost of the title sold); 0 for a new title."""
    closes: int = 0
    closed: int = 0
    released_buyer: Micros = 0
    """min(proceeds of the title closed, cost of this piece)."""


class _Event(Struct, array_like=True, frozen=True, gc=False):
    """One event. `gc=False`: events never take part in reference cycles."""


# --- Outcomes ---------------------------------------------------------------------------------------------


class Rejected(_Event, frozen=True, tag=1):
    """Nothing changed. `need` and `have` are the numbers of the code's sentence, 0 where it has none."""

    index: int
    account: int
    """0 where the body did not decode or has no account."""
    code: int
    """`Code`."""
    client_id: str = ""
    need: int = 0
    have: int = 0


class OrderAccepted(_Event, frozen=True, tag=2):
    """The order is in; fills and cancellations follow, what is left rests."""

    index: int
    order: int
    account: int
    contract: int
    side: int
    qty: Gpus
    price: Price
    tif: int
    flags: int
    client_id: str
    maker_bp: BasisPoints
    """Rates frozen for the order's life."""
    taker_bp: BasisPoints
    expires_ms: Millis = 0


class OrderRepeated(_Event, frozen=True, tag=3):
    """The same body under the same client order id: the order stands as first accepted."""

    index: int
    account: int
    order: int
    client_id: str


class CancelAccepted(_Event, frozen=True, tag=4):
    """`OrderCancelled` follows."""

    index: int
    account: int
    order: int


class StateSet(_Event, frozen=True, tag=5):
    """A class (`hour` 0) or contract has a new state."""

    index: int
    operator: int
    class_no: int
    hour: Hour
    state: int
    reason: str


class EngineVersionSet(_Event, frozen=True, tag=6):
    """Applies from the next record on."""

    index: int
    operator: int
    version: int


class ShardStarted(_Event, frozen=True, tag=7):
    """The shard's first event."""

    index: int
    shard: int
    engine_version: int
    t0_ms: Millis
    rate: int
    sandbox: bool


class Ticked(_Event, frozen=True, tag=8):
    """Time has passed to `time_ms`; what it caused came before."""

    index: int
    time_ms: Millis


class ReferenceMoved(_Event, frozen=True, tag=9):
    """Collar of a contract, or of a class (`hour` 0)."""

    index: int
    class_no: int
    hour: Hour
    price: Price
    source: str
    low: Price = 0
    """The collar from here on, both ends included."""
    high: Price = 0


class OutboxSkipped(_Event, frozen=True, tag=10):
    """A message of settlement's that is not `expected`: a repeat (lower) or a gap (higher). Not applied."""

    index: int
    outbox: int
    expected: int


class OutboxRejected(_Event, frozen=True, tag=11):
    """A message of settlement's with the right number that cannot be done. The number is used up."""

    index: int
    outbox: int
    account: int
    code: int
    need: int = 0
    have: int = 0


class AccountSet(_Event, frozen=True, tag=12):
    """The account may trade here."""

    index: int
    outbox: int
    account: int
    owner: int
    role: int
    fee_plan: int


class Credited(_Event, frozen=True, tag=13):
    """Transit → trading balance."""

    index: int
    outbox: int
    account: int
    amount: Micros
    balance: Micros
    """Trading balance afterwards, holds and collateral included."""


class Swept(_Event, frozen=True, tag=14):
    """Trading balance → wallet; `amount` may be less than asked, also 0."""

    index: int
    outbox: int
    account: int
    amount: Micros
    balance: Micros


class BackingSet(_Event, frozen=True, tag=15):
    """Backing of the hours on this ground is `qty`; asks cut by a lowering follow as `OrderCancelled`."""

    index: int
    outbox: int
    account: int
    class_no: int
    hours: tuple[Hour, ...]
    ground: int
    qty: Gpus
    collateral_price: Price
    version: int
    changed: bool
    """False: the same version again."""
    short: Gpus = 0
    """GPUs owed beyond backing, the largest of the hours: what is owed stays owed."""


class ClassSet(_Event, frozen=True, tag=16):
    """The class is listed here; its contracts follow as `ContractListed` when their time has come."""

    index: int
    outbox: int
    class_no: int
    class_id: str
    lot: Gpus
    tick: Price
    list_price: Price
    fees: Fees
    horizon_hours: int
    gate_ms: Millis
    cover_ms: Millis
    running_close_ms: Millis
    collar_low_bp: BasisPoints
    collar_high_bp: BasisPoints
    first_hour: Hour


class LegOutcome(Struct, array_like=True, frozen=True, gc=False):
    """Outcome of one leg of a range: an order, or a code."""

    leg: int
    order: int
    code: int = 0
    need: int = 0
    have: int = 0


class RangeAccepted(_Event, frozen=True, tag=17):
    """One outcome per leg; fills and cancellations of the accepted legs follow."""

    index: int
    account: int
    class_no: int
    hours: tuple[Hour, ...]
    side: int
    qty: Gpus
    price: Price
    tif: int
    flags: int
    client_id: str
    maker_bp: BasisPoints
    taker_bp: BasisPoints
    legs: tuple[LegOutcome, ...]
    expires_ms: Millis = 0


class BlockAccepted(_Event, frozen=True, tag=18):
    """The block is in; `Filled` of its hours and `BlockFilled` follow, what is left rests."""

    index: int
    order: int
    account: int
    class_no: int
    first_hour: Hour
    hours: int
    side: int
    qty: Gpus
    qty_min: Gpus
    price: Price
    tif: int
    flags: int
    client_id: str
    maker_bp: BasisPoints
    taker_bp: BasisPoints
    expires_ms: Millis = 0


class QuoteOutcome(Struct, array_like=True, frozen=True, gc=False):
    """One hour of a quote: the two order ids, or a code."""

    hour: Hour
    bid_order: int
    ask_order: int
    code: int = 0
    bid: Price = 0
    bid_qty: Gpus = 0
    """Open quantity from here on; an order that kept its place may have been cut to it."""
    ask: Price = 0
    ask_qty: Gpus = 0


class QuotesPut(_Event, frozen=True, tag=19):
    """One outcome per hour. Orders that are replaced follow as `OrderCancelled`."""

    index: int
    account: int
    class_no: int
    number: int
    outcomes: tuple[QuoteOutcome, ...]
    budget_qty: Gpus = 0
    budget_notional: Micros = 0
    protect_qty: Gpus = 0
    protect_window_ms: Millis = 0
    bid_bp: BasisPoints = 0
    """Maker's rates frozen for the new orders' lives; a quote never takes."""
    ask_bp: BasisPoints = 0


class OrderAmended(_Event, frozen=True, tag=20):
    """Open quantity and price are now these. Without its place it may trade at once: fills follow, what is left rests last."""

    index: int
    account: int
    order: int
    qty: Gpus
    price: Price
    kept_place: bool


class MassCancelAccepted(_Event, frozen=True, tag=21):
    """`count` orders and blocks are cancelled; an `OrderCancelled` each follows."""

    index: int
    account: int
    count: int


class CancelAllAfterSet(_Event, frozen=True, tag=22):
    """0: off."""

    index: int
    account: int
    at_ms: Millis


class CashCorrected(_Event, frozen=True, tag=23):
    """Public, with its reason."""

    index: int
    operator: int
    second_operator: int
    payer: int
    payee: int
    amount: Micros
    trade: int
    reason: str


# --- Effects ----------------------------------------------------------------------------------------------


class Filled(_Event, frozen=True, tag=40):
    """One trade, at the maker's price."""

    trade: int
    """Dense per shard, from 1."""
    contract: int
    price: Price
    qty: Gpus
    minutes: int
    """60, or what was left of a running hour."""
    taker_side: int
    maker_order: int
    taker_order: int
    """0: the exchange buys in (`BuyIn`)."""
    maker_leaves: Gpus
    """Open quantity of the maker's order after this fill; of a block: what is still to come in this hour of this trade."""
    taker_leaves: Gpus
    buyer: int
    seller: int
    notional: Micros
    buyer_fee: Micros
    seller_fee: Micros
    moves: tuple[TitleMove, ...]


class OrderCancelled(_Event, frozen=True, tag=41):
    """`qty` of the order's open quantity is gone; the order has ended."""

    order: int
    account: int
    contract: int
    """Of a block: its first hour."""
    qty: Gpus
    reason: int
    """`Reason`."""


class ContractListed(_Event, frozen=True, tag=42):
    """Orders are accepted from here on."""

    contract: int


class GateClosed(_Event, frozen=True, tag=43):
    """The forward phase is over: orders are gone (before this event) but running asks, unsold forward backing has ended."""

    contract: int


class RunningClosed(_Event, frozen=True, tag=44):
    """The running phase is over."""

    contract: int


class TitleEnded(_Event, frozen=True, tag=45):
    """A title of an ended hour leaves the shard; its claims wait in settlement for the delivery record."""

    contract: int
    title: int
    obligor: int
    holder: int
    ground: int
    qty: Gpus
    minutes: int
    proceeds: Micros
    cost: Micros
    escrow: Micros


class CollateralMoved(_Event, frozen=True, tag=46):
    """Collateral of promises still owed leaves the shard for clearing, until delivery is settled."""

    contract: int
    account: int
    amount: Micros


class HourEnded(_Event, frozen=True, tag=47):
    """The contract is gone from the shard; `escrow` (bought-back titles included) is now clearing's."""

    contract: int
    titles: int
    escrow: Micros
    collateral: Micros


class BackingCut(_Event, frozen=True, tag=48):
    """Unsold promises were cut (collar rose, cover deadline); asks that it stood behind are cancelled."""

    contract: int
    account: int
    ground: int
    qty: Gpus


class BlockFilled(_Event, frozen=True, tag=49):
    """A block traded `qty` in each of its hours; the hours' `Filled` came before."""

    order: int
    account: int
    class_no: int
    first_hour: Hour
    hours: int
    qty: Gpus
    leaves: Gpus
    average_price_num: int
    """Sum of price × qty over the hours; the average is this / (qty × hours)."""


class DeadManFired(_Event, frozen=True, tag=50):
    """Cancel-all-after ran out; an `OrderCancelled` each follows."""

    account: int


class BuyInFailed(_Event, frozen=True, tag=51):
    """Promised titles still owed after the buy-in at the cover deadline: `qty` GPUs."""

    contract: int
    account: int
    qty: Gpus


class TitleCovered(_Event, frozen=True, tag=52):
    """One owed title moved from `PROMISED` to another ground; with `title` != `source` a piece split off."""

    contract: int
    source: int
    title: int
    qty: Gpus
    ground: int


class StateReached(_Event, frozen=True, tag=53):
    """What time alone did to the state of a class (`hour` 0) or contract: an opening or reopening began or went on."""

    class_no: int
    hour: Hour
    state: int


class BuyIn(_Event, frozen=True, tag=54):
    """The cover deadline: `qty` GPUs still owed as promised are bought on the book, up to `limit`. Fills follow."""

    contract: int
    account: int
    qty: Gpus
    limit: Price


Event = (
    Rejected
    | OrderAccepted
    | OrderRepeated
    | CancelAccepted
    | StateSet
    | EngineVersionSet
    | ShardStarted
    | Ticked
    | ReferenceMoved
    | OutboxSkipped
    | OutboxRejected
    | AccountSet
    | Credited
    | Swept
    | BackingSet
    | ClassSet
    | RangeAccepted
    | BlockAccepted
    | QuotesPut
    | OrderAmended
    | MassCancelAccepted
    | CancelAllAfterSet
    | CashCorrected
    | Filled
    | OrderCancelled
    | ContractListed
    | GateClosed
    | RunningClosed
    | TitleEnded
    | CollateralMoved
    | HourEnded
    | BackingCut
    | BlockFilled
    | DeadManFired
    | BuyInFailed
    | TitleCovered
    | StateReached
    | BuyIn
)
