"""Bodies of the HTTP API under /v1: what clients send and what they are answered.

Money and prices are decimal strings (`"2.49"`, at most six digits after the point, no exponent), GPUs are whole
numbers, times are ISO 8601 UTC, contracts are symbols (`H100.SXM.80.US.20261122T14-USD`), orders `0-1842-3-0`.
Requests with a field that is not known are refused: a misspelt option must not be ignored in silence.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.edge import AccountRole, GroundName, MarketState, SideName, TifName
from schemas.ids import LEGS_MAX, SHARDS_MAX
from schemas.keys import Scope
from schemas.units import QTY_MAX

# What the OpenAPI document says of texts and numbers. It does not decide: who judges a request says more than "malformed".
TOLD_RANGE = "x-range"
"""In a schema of a number: what the document says instead of all that a record can hold."""
OWN_ID = "^[!-~]([ -~]{0,38}[!-~])?$"
"""What a member names something: printable ASCII."""
ORDER_ID = "^[0-9]{1,3}-[0-9]{1,11}-[0-9]{1,3}-[0-9]{1,4}$"
TRADE = "^[0-9]{1,3}-[0-9]{1,18}$"
CLASS_ID = "^[A-Z0-9]+([.][A-Z0-9]+)*$"
SYMBOL = "^[A-Z0-9.]+[.][0-9]{8}T[0-9]{2}-USD$"
LAUNCH = "^[a-z0-9][a-z0-9-]{0,35}$"
HOUR = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:00Z$"
USD = "(0|[1-9][0-9]{0,11})([.][0-9]{1,6})?"
_MOMENT = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})"


def _text(pattern: str) -> Meta:
    return Meta(extra_json_schema={"pattern": pattern})


def _number(least: int, most: int) -> Meta:
    return Meta(ge=-(2**63), le=2**63 - 1, extra_json_schema={TOLD_RANGE: [least, most]})


Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number of a request: what a record can hold. Which of them mean something is said by whoever judges the request."""
Natural = Annotated[int, _number(0, 2**63 - 1)]
Qty = Annotated[int, _number(1, QTY_MAX)]
Size = Annotated[int, _number(0, QTY_MAX)]
ValidMs = Annotated[int, _number(1, 600_000)]
Usd = Annotated[str, _text(f"^{USD}$")]
UsdOrNone = Annotated[str, _text(f"^({USD})?$")]
ClassId = Annotated[str, _text(CLASS_ID)]
ClassIdOrNone = Annotated[str, _text(f"^({CLASS_ID[1:-1]})?$")]
Symbol = Annotated[str, _text(SYMBOL)]
HourText = Annotated[str, _text(HOUR)]
HourOrNone = Annotated[str, _text(f"^({HOUR[1:-1]})?$")]
MomentOrNone = Annotated[str, _text(f"^({_MOMENT})?$")]
UsdAnswer = Annotated[str, _text("^-?(0|[1-9][0-9]*)[.][0-9]{2,6}$")]
MomentAnswer = Annotated[str, _text("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z$")]
OrderId = Annotated[str, _text(ORDER_ID)]
ClientId = Annotated[str, _text("^[!-~]{0,36}$")]
"""Empty: none."""
Launch = Annotated[str, _text(f"^({LAUNCH[1:-1]})?$")]
"""Name of a launch specification; empty: `default`."""
LIFE_S_MAX = 100 * 366 * 86_400
"""Of a key that expires."""

SelfTrade = Literal["cancel_newest", "cancel_oldest"]
OrderState = Literal["open", "filled", "cancelled"]
PayoutReport = Literal["sent", "paid", "returned"]


class _Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body that a client sends."""


class _Answer(Struct, frozen=True, kw_only=True):
    """A body that a client is answered."""


class Problem(_Answer, frozen=True):
    """RFC 9457, `application/problem+json`. `code` is stable; `title` and `detail` may be reworded."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retryable: bool
    """The same request may succeed later, and repeating it is harmless."""
    outcome: Literal["rejected", "unknown"]
    """`unknown`: it may have had an effect; ask again with the same client order id or Idempotency-Key."""
    need: str | int | None = None
    have: str | int | None = None


# --- Orders -----------------------------------------------------------------------------------------------


class OrderRequest(_Request, frozen=True):
    """POST /v1/orders, and /v1/orders/preview."""

    contract: Symbol
    side: SideName
    qty: Qty
    price: Usd
    """USD per GPU-hour."""
    tif: TifName = "gtc"
    expires: MomentOrNone = ""
    """With `gtd`: when what is left is cancelled, market time."""
    post_only: bool = False
    running: bool = False
    """An ask that stays in the book through gate closure, as far as it is backed as `ready` then."""
    self_trade: SelfTrade = "cancel_newest"
    client_order_id: ClientId = ""
    """The account's own, 1-36 printable ASCII. Repeating a request with it is harmless."""
    valid_for_ms: ValidMs = 30_000
    """How long the order may be on its way before it is refused; at most 600000."""
    launch: Launch = ""
    """Of a purchase with a client order id: what its machines begin with. A repeat does not change it."""


class BatchRequest(_Request, frozen=True):
    """POST /v1/orders/batch: orders of any hours and classes, each judged by itself, in the order given."""

    orders: Annotated[tuple[OrderRequest, ...], Meta(min_length=1, max_length=64)]


class FillAnswer(_Answer, frozen=True, kw_only=True):
    """One trade, from the account's side."""

    trade: str
    """`shard-number`."""
    contract: Symbol
    order_id: str
    """Empty: the exchange bought in what the account had promised and not covered."""
    block_id: str = ""
    """Of a block's trade: the block. It has one fill or more in each hour."""
    side: SideName
    role: Literal["maker", "taker"]
    qty: int
    price: UsdAnswer
    minutes: int
    """60, or what was left of a running hour."""
    notional: UsdAnswer
    fee: UsdAnswer
    counterparty: Literal["desk", "member"]
    at: MomentAnswer


class OrderAnswer(_Answer, frozen=True, kw_only=True):
    """An order as it stands."""

    order_id: OrderId
    client_order_id: str
    contract: Symbol
    side: SideName
    qty: int
    price: UsdAnswer
    tif: TifName
    expires: str = ""
    post_only: bool
    running: bool = False
    state: OrderState
    reason: str
    """Why it was cancelled: `asked`, `ioc`, `gate_closed`, ...; empty otherwise."""
    leaves: int
    filled: int
    cancelled: int
    accepted_at: MomentAnswer
    repeated: bool = False
    """The request was a repeat: the order stands as first accepted."""
    fills: tuple[FillAnswer, ...] = ()
    """Of this answer's own moment; `GET /v1/fills` has all."""


class CancelAnswer(_Answer, frozen=True):
    """DELETE /v1/orders/... and /v1/blocks/..."""

    order_id: OrderId
    contract: Symbol
    """Of a block or a range: its first hour."""
    cancelled: int
    """GPUs that were still open."""
    orders: int = 1
    """Of a range: how many of its hours were still open."""


class AmendRequest(_Request, frozen=True):
    """PATCH /v1/orders/...: the open quantity and the price that the order is to have."""

    qty: Qty
    """Open quantity from here on, whatever was filled before."""
    price: Usd
    valid_for_ms: ValidMs = 30_000


class AmendAnswer(_Answer, frozen=True):
    """The order as amended. Less at the same price keeps its place in the queue; otherwise it may have traded at once."""

    order_id: OrderId
    qty: int
    price: UsdAnswer
    kept_place: bool
    state: OrderState
    leaves: int
    fills: tuple[FillAnswer, ...] = ()


class MassCancelAnswer(_Answer, frozen=True):
    """DELETE /v1/orders."""

    cancelled: int
    """Orders and blocks."""


class BatchOutcome(_Answer, frozen=True):
    """What became of one order: one of the two is there."""

    order: OrderAnswer | None = None
    problem: Problem | None = None
    """As it would have been answered alone."""


class BatchAnswer(_Answer, frozen=True):
    """In the order of the request."""

    outcomes: tuple[BatchOutcome, ...]


class CancelAllAfterRequest(_Request, frozen=True):
    """PUT /v1/cancel-all-after: a dead man's switch. 0: off; else 1 to 86400."""

    after_seconds: Annotated[int, _number(0, 86_400)]


class CancelAllAfterAnswer(_Answer, frozen=True):
    """Everything of the account is cancelled then, unless it is renewed before. Empty: never."""

    at: str
    """Market time, of the shard that comes first."""


class RefusalAnswer(_Answer, frozen=True):
    """Why a part of something was refused, as a problem says it."""

    code: str
    title: str
    detail: str
    retryable: bool = False
    need: str | int | None = None
    have: str | int | None = None


class RangeRequest(_Request, frozen=True, kw_only=True):
    """POST /v1/ranges, and /v1/ranges/preview: the same order in many hours, each judged by itself."""

    class_id: ClassId = msgspec.field(name="class")
    hours: tuple[HourText, ...] = ()
    """Rising, 1 to 1024. Or `from` and `count`."""
    from_hour: HourOrNone = msgspec.field(name="from", default="")
    count: Annotated[int, _number(0, LEGS_MAX)] = 0
    side: SideName
    qty: Qty
    """In each hour."""
    price: Usd
    tif: TifName = "gtc"
    expires: MomentOrNone = ""
    post_only: bool = False
    running: bool = False
    self_trade: SelfTrade = "cancel_newest"
    client_order_id: ClientId = ""
    """Of the range; its orders are known by it."""
    valid_for_ms: ValidMs = 30_000
    launch: Launch = ""
    """As of an order."""


class LegAnswer(_Answer, frozen=True):
    """One hour of a range: an order, or why there is none. Neither: it was refused when the range was first sent."""

    contract: str
    order: OrderAnswer | None = None
    refusal: RefusalAnswer | None = None


class RangeAnswer(_Answer, frozen=True, kw_only=True):
    """One outcome per hour."""

    client_order_id: str
    class_id: str = msgspec.field(name="class")
    repeated: bool = False
    legs: tuple[LegAnswer, ...]


class BlockRequest(_Request, frozen=True, kw_only=True):
    """POST /v1/blocks, and /v1/blocks/preview: contiguous hours, one limit on the average price, all hours or none."""

    class_id: ClassId = msgspec.field(name="class")
    from_hour: HourText = msgspec.field(name="from")
    hours: Annotated[int, _number(1, 168)]
    side: SideName
    qty: Qty
    """In each hour."""
    min_qty: Size = 0
    """The least that it may trade at once; 0: all of it."""
    price: Usd
    """Limit on the average over the hours, USD per GPU-hour."""
    tif: TifName = "gtc"
    expires: MomentOrNone = ""
    client_order_id: ClientId = ""
    valid_for_ms: ValidMs = 30_000
    launch: Launch = ""
    """As of an order."""


class BlockHour(_Answer, frozen=True):
    """What a block has traded in one of its hours."""

    contract: str
    qty: int
    average: str
    notional: str
    fee: str


class BlockAnswer(_Answer, frozen=True, kw_only=True):
    """A block as it stands."""

    block_id: OrderId
    client_order_id: str
    class_id: str = msgspec.field(name="class")
    from_hour: str = msgspec.field(name="from")
    hours: int
    side: SideName
    qty: int
    min_qty: int
    price: UsdAnswer
    tif: TifName
    expires: str
    state: OrderState
    reason: str
    leaves: int
    filled: int
    """In each hour."""
    cancelled: int
    accepted_at: MomentAnswer
    repeated: bool = False
    average: str = ""
    """What it has paid or got per GPU-hour so far, rounded to a µUSD; empty: nothing has traded."""
    by_hour: tuple[BlockHour, ...] = ()
    """GET /v1/blocks/{id} only."""
    handovers: int | None = None
    """GET /v1/blocks/{id} only, of what was bought and is still held: how many times, from one of its hours to the next, at
    least one machine must be handed over, as whoever owes it changes."""
    fills: tuple[FillAnswer, ...] = ()
    """Of this answer's own moment."""


class QuoteRequest(_Request, frozen=True):
    """One hour of a quote. Sizes are open quantity; 0 takes the side away."""

    hour: HourText
    bid: UsdOrNone = ""
    bid_qty: Size = 0
    ask: UsdOrNone = ""
    ask_qty: Size = 0


class QuotesRequest(_Request, frozen=True):
    """PUT /v1/quotes/{class}: hours rising, 1 to 512; hours that are not named stay as they are."""

    quotes: tuple[QuoteRequest, ...]
    number: Whole | None = None
    """Higher than the last of the account and class: a stale command changes nothing. Left out: the door takes the time."""
    valid_for_ms: ValidMs = 30_000


class QuoteOutcomeAnswer(_Answer, frozen=True):
    """What is open in one hour now, or why there is no quote in it any more. Empty and 0: nothing on that side."""

    contract: str
    hour: str
    bid_order: str = ""
    bid: str = ""
    bid_qty: int = 0
    ask_order: str = ""
    ask: str = ""
    ask_qty: int = 0
    refusal: RefusalAnswer | None = None


class QuotesAnswer(_Answer, frozen=True):
    """One outcome per hour."""

    class_id: str = msgspec.field(name="class")
    number: int
    """The last that is used up: go on above it."""
    outcomes: tuple[QuoteOutcomeAnswer, ...]


class QuotedAnswer(_Answer, frozen=True):
    """GET /v1/quotes: the last command of the account in a class. What of it is open, the private feed says."""

    class_id: str = msgspec.field(name="class")
    number: int
    hours: int
    """That had a quote after it."""
    refused: int
    updated_at: str


# --- Previews: what an order would do now; nothing changes --------------------------------------------------


class LevelPreview(_Answer, frozen=True):
    """What would be traded at one price."""

    price: str
    qty: int
    notional: str


class FundsPreview(_Answer, frozen=True):
    """What a bid asks of the account."""

    needs: str
    """That must be free for it to be accepted."""
    available: str
    """In the trading balance, as settled."""
    wallet: str
    transfer: str
    """That would be moved from the wallet."""


class PreviewAnswer(_Answer, frozen=True, kw_only=True):
    """POST /v1/orders/preview: as the public book stands. Own orders in it are not told apart."""

    contract: str
    fills: int
    """GPUs that would trade at once."""
    levels: tuple[LevelPreview, ...] = ()
    average: str = ""
    """Per GPU-hour, rounded to a µUSD."""
    minutes: int = 60
    """That would be bought: less in a running hour."""
    notional: str = "0.00"
    fee: str = "0.00"
    """A µUSD more where a price is made of several orders."""
    total: str = "0.00"
    """A buyer pays it, a seller gets it once the hour is delivered."""
    rests: int = 0
    """GPUs that would wait in the book."""
    hold: str = "0.00"
    """What they would hold."""
    funds: FundsPreview | None = None
    """Of bids."""
    refusal: RefusalAnswer | None = None
    """Certain already, as far as it is settled. None: nothing is known that speaks against it."""
    notes: tuple[str, ...] = ()


class RangePreviewAnswer(_Answer, frozen=True, kw_only=True):
    """POST /v1/ranges/preview: each hour by itself, and all of them together."""

    class_id: str = msgspec.field(name="class")
    legs: tuple[PreviewAnswer, ...]
    fills: int
    """GPU-hours that would trade at once."""
    average: str
    notional: str
    fee: str
    total: str
    worst: str
    """The hour with the worst average of those that would trade; empty: none would."""
    rests: int
    funds: FundsPreview | None = None
    refusal: RefusalAnswer | None = None
    """Of the range as a whole."""


class HandoversPreview(_Answer, frozen=True):
    """An estimate: books are anonymous. How often a machine would be handed over; known exactly after the purchase."""

    least: int
    most: int
    likely: int
    basis: str
    """How `likely` is estimated."""
    estimate: Literal[True] = True


class BlockPreviewAnswer(_Answer, frozen=True, kw_only=True):
    """POST /v1/blocks/preview."""

    class_id: str = msgspec.field(name="class")
    from_hour: str = msgspec.field(name="from")
    hours: int
    fills: int
    """GPUs in each hour that would trade at once; all hours or none."""
    from_blocks: int = 0
    """Of them from blocks of the very same hours, the others from the books of the hours."""
    average: str = ""
    notional: str = "0.00"
    fee: str = "0.00"
    total: str = "0.00"
    by_hour: tuple[BlockHour, ...] = ()
    worst: str = ""
    """The hour with the worst average."""
    rests: int = 0
    hold: str = "0.00"
    funds: FundsPreview | None = None
    handovers: HandoversPreview | None = None
    """Of a purchase."""
    refusal: RefusalAnswer | None = None


# --- Market -----------------------------------------------------------------------------------------------


class TimeAnswer(_Answer, frozen=True):
    """GET /v1/time."""

    now: MomentAnswer
    market: MomentAnswer
    """The same as `now`, but for a sandbox that lets time run faster."""
    rate: int


class ShardStatus(_Answer, frozen=True):
    """One shard as this gateway sees it."""

    shard: int
    seq: int
    settled_seq: int
    settlement_lag_ms: int


class StatusAnswer(_Answer, frozen=True):
    """GET /v1/status."""

    accepting_orders: bool
    sandbox: bool
    """Money and machines are simulated."""
    shards: tuple[ShardStatus, ...]


class ClassAnswer(_Answer, frozen=True):
    """A listed class. `specification` only in GET /v1/classes/{id}."""

    class_id: str = msgspec.field(name="class")
    title: str
    shard: int
    lot: int
    tick: str
    list_price: str
    reference: str
    """What the collar is made of; an hour may have one of its own."""
    collar_low: str
    collar_high: str
    buyer_maker_bp: int
    buyer_taker_bp: int
    seller_maker_bp: int
    seller_taker_bp: int
    horizon_hours: int
    gate_minutes: int
    cover_minutes: int
    """Before the hour, as the gate: promises not covered are bought in then."""
    state: MarketState
    specification: str = ""


class ContractAnswer(_Answer, frozen=True):
    """One hour of a class. Prices: GET /v1/classes/{class}/grid."""

    contract: Symbol
    class_id: str = msgspec.field(name="class")
    hour: str
    """Begin of delivery."""
    phase: Literal["forward", "running", "closed", "ended"]
    state: MarketState
    collar_low: UsdAnswer
    collar_high: UsdAnswer


class TradeAnswer(_Answer, frozen=True):
    """One public trade."""

    trade: str
    contract: Symbol
    price: UsdAnswer
    qty: int
    maker_side: Literal["buy", "sell"]
    at: MomentAnswer


class OfferAnswer(_Answer, frozen=True):
    """What a cloud lists; listed is not available."""

    class_id: str = msgspec.field(name="class")
    cloud: str
    region: str
    instance_type: str
    kind: str
    gpus: int
    price: str
    """USD per GPU-hour."""
    source: str
    as_of: str
    seen_at: str


class ReferenceAnswer(_Answer, frozen=True):
    """Per class, over the firm offers of the newest poll."""

    class_id: str = msgspec.field(name="class")
    cheapest: str
    median: str
    clouds: int
    offers: int


class PollAnswer(_Answer, frozen=True):
    """The newest poll of one source: rows = mapped + refused."""

    source: str
    rows: int
    mapped: int
    refused: int
    reasons: dict[str, int]
    seen_at: str


class VolumeRow(_Answer, frozen=True):
    """What was traded; each fill counts once. The desk's: fills with the desk on either side."""

    class_id: str = msgspec.field(name="class")
    """Empty: all classes."""
    gpu_minutes: int
    """60 are a GPU-hour; what was bought in a running hour has only the minutes that were left."""
    notional: str
    desk_gpu_minutes: int
    desk_notional: str
    desk_share_bp: int
    """Of the GPU-minutes, to the nearest basis point."""


class VolumePeriod(_Answer, frozen=True):
    """So many whole hours of the market, and the one that runs."""

    hours: int
    since: str
    total: VolumeRow
    classes: tuple[VolumeRow, ...]
    """By id; those in which nothing was traded are left out."""


class VolumeAnswer(_Answer, frozen=True):
    """GET /v1/volume: how much was traded, and the desk's part of it."""

    settled_to: str
    """Market time: later trades may be missing. Empty: not known yet."""
    periods: tuple[VolumePeriod, ...]
    """The last 24 hours and the last 168."""


class SupplyAnswer(_Answer, frozen=True):
    """GET /v1/supply."""

    references: tuple[ReferenceAnswer, ...]
    offers: tuple[OfferAnswer, ...]
    polls: tuple[PollAnswer, ...]


# --- Account ----------------------------------------------------------------------------------------------


class AccountAnswer(_Answer, frozen=True):
    """GET /v1/account."""

    account: int
    owner: int
    name: str
    role: AccountRole
    scopes: tuple[str, ...]


class TradingAnswer(_Answer, frozen=True):
    """The trading balance in one shard: available = balance − holds − collateral."""

    shard: int
    balance: UsdAnswer
    holds: UsdAnswer
    """For open bids and buy blocks. Quotes are not settled one by one: what their bids hold, the private feed says."""
    collateral: UsdAnswer
    """For promises and machines promised as ready."""
    available: UsdAnswer
    quoted: bool = False
    """The account has quotes here, so `holds` may be more and `available` less."""


class BalanceAnswer(_Answer, frozen=True):
    """GET /v1/balance."""

    account: int
    wallet: UsdAnswer
    in_transit: UsdAnswer
    """On the way from the wallet to a shard."""
    payouts: UsdAnswer
    """Asked to leave, not paid yet."""
    waiting_collateral: UsdAnswer
    """Of promises of ended hours, until delivery is settled."""
    trading: tuple[TradingAnswer, ...]


class PositionAnswer(_Answer, frozen=True):
    """Hours held and owed in one contract, until they are settled."""

    contract: Symbol
    hour: str
    phase: Literal["forward", "running", "closed", "ended"]
    held: int
    owed: int
    cost: UsdAnswer
    """Of what is held; comes back if it is not delivered."""
    proceeds: UsdAnswer
    """Of what is owed; comes when it is delivered."""
    running: int = 0
    """Of `held`: bought in the running hour, for the rest of it; it is not resold."""


class LineAnswer(_Answer, frozen=True):
    """One line of an entry that touches the account."""

    entry: str
    """`source-shard-seq-index`."""
    what: str
    kind: str
    """wallet, payout, transit, trading, collateral."""
    amount: UsdAnswer
    at: MomentAnswer


class TransferRequest(_Request, frozen=True):
    """POST /v1/transfers. Name the shard, or a class that trades there, and not both."""

    direction: Literal["to_trading", "to_wallet"]
    amount: Usd
    shard: Annotated[int, _number(0, SHARDS_MAX - 1)] | None = None
    class_id: ClassIdOrNone = msgspec.field(name="class", default="")


class WithdrawalRequest(_Request, frozen=True):
    """POST /v1/withdrawals."""

    amount: Usd
    destination: str


class WithdrawalAnswer(_Answer, frozen=True):
    """A payout."""

    payout: int
    amount: str
    destination: str
    state: Literal["requested", "sent", "paid", "returned"]
    created_at: str
    updated_at: str
    simulated: bool = False
    """A sandbox's payout: no money moves."""


class CapacityRequest(_Request, frozen=True):
    """PUT /v1/capacity: an absolute target for `hours` hours from `from`; the same version again changes nothing."""

    class_id: ClassId = msgspec.field(name="class")
    from_hour: HourText = msgspec.field(name="from")
    hours: Annotated[int, _number(1, LEGS_MAX)]
    ground: GroundName
    qty: Size
    version: Whole
    collateral_price: Usd = "0"
    """`promised`, and a market maker's `ready`: at least the collar's upper bound."""


class CapacityAnswer(_Answer, frozen=True):
    """Backing in one contract on one ground."""

    contract: str
    ground: GroundName
    qty: int
    owed: int
    collateral_price: str
    version: int


class RequestAnswer(_Answer, frozen=True):
    """A request that is not an order. `pending`: ask again at GET /v1/requests/{id}."""

    request_id: str
    state: Literal["pending", "done", "refused"]
    outcome: dict[str, int | str | bool]


# --- Keys -------------------------------------------------------------------------------------------------


class KeyRequest(_Request, frozen=True):
    """POST /v1/keys: a further key of the same account, with no more scopes than the one that asks."""

    scopes: tuple[Scope, ...]
    label: Annotated[str, Meta(max_length=100)] = ""
    expires_in_s: Annotated[int, Meta(ge=0, le=LIFE_S_MAX)] = 0
    """0: never."""
    networks: tuple[str, ...] = ()
    """CIDR notation; none: any."""


class OperatorKeyRequest(KeyRequest, frozen=True, kw_only=True):
    """POST /v1/admin/keys: a key of any account; account 0: an operator without one."""

    account: Natural
    owner: Natural = 0


class KeyAnswer(_Answer, frozen=True):
    """A key, without its secrets."""

    key_id: str
    account: int
    scopes: tuple[str, ...]
    label: str
    expires_at: str
    networks: tuple[str, ...]


class NewKeyAnswer(_Answer, frozen=True):
    """A key with its secrets: shown this once."""

    key: KeyAnswer
    secret: str
    """base64, for HMAC-SHA256 signatures."""
    bearer: str


# --- Operators --------------------------------------------------------------------------------------------


class AccountRequest(_Request, frozen=True):
    """POST /v1/admin/accounts."""

    name: str
    owner: Natural = 0
    """0: a new owner."""
    role: AccountRole = "member"
    desk: bool = False


class RoleRequest(_Request, frozen=True):
    """PATCH /v1/admin/accounts/{n}."""

    role: AccountRole


class ClassRequest(_Request, frozen=True):
    """POST /v1/admin/classes: the specification file's text."""

    shard: Annotated[int, _number(0, SHARDS_MAX - 1)]
    specification: str


class DepositRequest(_Request, frozen=True):
    """POST /v1/admin/deposits: money that has arrived; unique by (provider, provider_ref)."""

    account: Natural
    amount: Usd
    provider: str
    provider_ref: str


class StateRequest(_Request, frozen=True):
    """POST /v1/admin/states: halt, restrict or open a class or one of its contracts."""

    class_id: ClassId = msgspec.field(name="class")
    state: MarketState
    reason: Annotated[str, Meta(max_length=200)]
    hour: HourOrNone = ""


class StateAnswer(_Answer, frozen=True):
    """In force."""

    class_id: str = msgspec.field(name="class")
    hour: str
    state: str


class EngineVersionRequest(_Request, frozen=True):
    """POST /v1/admin/engine-version: the rules of another engine version, for one shard, from the next record on."""

    shard: Natural
    version: Natural


class EngineVersionAnswer(_Answer, frozen=True):
    """In force from the next record on."""

    shard: int
    version: int


class DeliveryRequest(_Request, frozen=True):
    """POST /v1/admin/deliveries: a simulated delivery record; no machine is looked at."""

    contract: Symbol
    simulated: Literal[True]
    title: Natural = 0
    """0: every title of the contract without a record of its own."""
    undelivered_minutes: Annotated[int, _number(0, 60)] = 0


class DeliveryAnswer(_Answer, frozen=True):
    """The record is in the log; settlement pays when the hour has ended."""

    contract: str
    record_id: str
    simulated: bool


class PromisedAnswer(_Answer, frozen=True):
    """GET /v1/admin/promises: what a market maker owes as promised in an hour that has not begun."""

    account: int
    contract: str
    hour: str
    owed: int
    collateral_price: str
    declared: int
    """Machines procured for it in the hour so far."""


class UncoveredAnswer(_Answer, frozen=True):
    """GET /v1/admin/uncovered: a title of a market maker's, in an hour that has begun, with no machine behind it."""

    account: int
    contract: str
    hour: str
    title: int
    ground: Literal["promised", "ready"]
    """`ready`: a machine can be procured for it while its hour lasts. `promised`: its cover deadline is over."""
    qty: int
    minutes: int
    """That were sold."""
    ended: bool
    """Its hour is."""


class UndeliveredAnswer(_Answer, frozen=True):
    """GET /v1/admin/undelivered: an ended hour with titles of which no delivery record speaks."""

    contract: str
    hour: str
    titles: int


class ProcureRequest(_Request, frozen=True):
    """POST /v1/admin/procure: machines bought for an account, whose wallet pays. Simulated: no cloud is asked."""

    account: Natural
    class_id: ClassId = msgspec.field(name="class")
    from_hour: HourText = msgspec.field(name="from")
    hours: Annotated[int, _number(1, LEGS_MAX)]
    qty: Qty
    """In each hour, on top of what is declared there."""
    cost: Usd
    """For all of it, USD."""
    provider: str = "simulated-cloud"
    title: Natural = 0
    """What was sold as ready in the one hour named, all of it; 0: machines of hours to come."""


class CorrectionRequest(_Request, frozen=True):
    """POST /v1/admin/corrections/approval: a clear error put right in cash, as the first of two operators wants it."""

    trade: Annotated[str, _text(TRADE)]
    """`shard-number`, as fills and trades have it."""
    payer: Natural
    payee: Natural
    amount: Usd
    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    """Public."""


class ApprovalAnswer(_Answer, frozen=True):
    """To be handed to the second operator, who sends it with the very same correction."""

    approval: str
    operator: int
    expires_at: str


class ApprovedCorrectionRequest(CorrectionRequest, frozen=True, kw_only=True):
    """POST /v1/admin/corrections, by the second operator."""

    approval: Annotated[str, Meta(max_length=1_000)]


class CorrectionAnswer(_Answer, frozen=True):
    """A correction in cash. Trades themselves are final."""

    trade: str
    amount: str
    reason: str
    at: str


class PayoutRequest(_Request, frozen=True):
    """POST /v1/admin/payouts/{payout}."""

    state: PayoutReport
    provider: str
