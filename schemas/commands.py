"""What is asked of a shard: bodies of the topic `commands`.

Written by: gateways (members, operators), settlement's outbox, the shard's active matching shell (ticks, references of collars);
the first record by whoever created the topic.
Read by: matching (active and follower, replay), audit.
Order: total within a shard (one partition each). Delivery: at least once; see `schemas.codec` for frames.

Every body is a MessagePack array `[tag, field, ...]`. Tags are never re-used, fields are only appended,
with a default, and never change meaning. Bodies carry no limits in their types: the engine checks
values and answers with a rejection, so that a bad value is an ordinary, replayable outcome.

Account numbers come from the caller's key, never from a request body.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from msgspec import Struct

from schemas.units import BasisPoints, Gpus, Hour, Micros, Millis, Price


class Side(IntEnum):
    """Side of an order."""

    BUY = 1
    SELL = 2


class Tif(IntEnum):
    """How long an order lives."""

    GTC = 1
    """To the end of its phase."""
    GTD = 2
    """To `expires_ms`, at most to the end of its phase."""
    IOC = 3
    """What can be filled at once; the rest is cancelled."""
    FOK = 4
    """All at once or nothing."""


class Flag(IntEnum):
    """Bits of `flags`."""

    POST_ONLY = 1
    """Rejected where it would trade at once."""
    RUNNING = 2
    """On an ask: stays in the book through gate closure, as far as it is backed as `READY` then."""
    CANCEL_OLDEST = 4
    """Self-trade prevention cancels the resting order instead of the newest."""


class Role(IntEnum):
    """What an account may do beyond trading what it holds."""

    MEMBER = 0
    PROVIDER = 1
    """May declare machines (ground `DECLARED`)."""
    MARKET_MAKER = 2
    """May promise against collateral (ground `PROMISED`), on one set of terms for all."""


class Ground(IntEnum):
    """What stands behind an ask for an hour that the seller does not hold."""

    DECLARED = 1
    """A provider's machines."""
    PROMISED = 2
    """Cash collateral."""
    READY = 3
    """There at once in the running hour: a provider's idle machines, or a market maker's promise against collateral."""


class State(IntEnum):
    """What a class lets its members do."""

    OPEN = 1
    POST_ONLY = 2
    """Orders gather and none trades: how a new hour opens, and one that was halted."""
    CANCEL_ONLY = 3
    HALTED = 4
    """No trading; time, gates, expiry and delivery go on; cancels pass."""


ALL_HOURS: Final = 0
"""In `hour`: the whole class. Hour 0 began in 1970 and is never listed."""


class _Body(Struct, array_like=True, frozen=True, gc=False):
    """One command. `gc=False`: bodies never take part in reference cycles."""


# --- Members (gateways) -----------------------------------------------------------------------------------


class PlaceOrder(_Body, frozen=True, tag=1):
    """Buy or sell `qty` GPUs of one contract at `price` or better."""

    account: int
    contract: int
    side: int
    """`Side`; so in every body."""
    qty: Gpus
    price: Price
    tif: int
    """`Tif`."""
    flags: int
    """Bits of `Flag`."""
    client_id: str
    """The account's own id, 1-36 printable ASCII; empty: none."""
    valid_until_ms: Millis
    """Rejected (`too_late`) when the record's time is past this. At most 10 minutes ahead."""
    expires_ms: Millis = 0
    """GTD only."""


class CancelOrder(_Body, frozen=True, tag=2):
    """Cancel one resting order, by its id, or by the account's own id when `order` is 0."""

    account: int
    order: int
    client_id: str
    valid_until_ms: Millis


class PlaceRange(_Body, frozen=True, tag=3):
    """The same order in many hours; leg i is the i-th hour. One outcome per leg in one event."""

    account: int
    class_no: int
    hours: tuple[Hour, ...]
    side: int
    qty: Gpus
    price: Price
    tif: int
    flags: int
    client_id: str
    valid_until_ms: Millis
    expires_ms: Millis = 0


class PlaceBlock(_Body, frozen=True, tag=4):
    """Contiguous hours, equal quantity, one limit on the average price, all hours or none."""

    account: int
    class_no: int
    first_hour: Hour
    hours: int
    side: int
    qty: Gpus
    qty_min: Gpus
    """At least this much or nothing; default: `qty`."""
    price: Price
    """Limit on the average over the hours, µUSD per GPU-hour."""
    tif: int
    flags: int
    client_id: str
    valid_until_ms: Millis
    expires_ms: Millis = 0


class QuoteHour(Struct, array_like=True, frozen=True, gc=False):
    """One hour of a quote. A size of 0 takes the side away."""

    hour: Hour
    bid: Price
    bid_qty: Gpus
    ask: Price
    ask_qty: Gpus


class PutQuotes(_Body, frozen=True, tag=5):
    """A market maker's two-sided prices for many hours; per hour all or nothing; post-only."""

    account: int
    class_no: int
    number: int
    """Rises with each command of the account and class; a stale one is rejected."""
    quotes: tuple[QuoteHour, ...]
    valid_until_ms: Millis
    budget_qty: Gpus = 0
    """Reserved: all quotes of the class together trade at most this much until renewed; 0: no budget."""
    budget_notional: Micros = 0
    """Reserved: the same in money."""
    protect_qty: Gpus = 0
    """Reserved, market-maker protection: all quotes go when more than this trades within the window."""
    protect_window_ms: Millis = 0
    """Reserved: the window of `protect_qty`."""


class AmendOrder(_Body, frozen=True, tag=6):
    """New open quantity and price. Less at the same price keeps its place in the queue."""

    account: int
    order: int
    client_id: str
    qty: Gpus
    price: Price
    valid_until_ms: Millis


class MassCancel(_Body, frozen=True, tag=7):
    """Cancel every resting order and block of the account that matches; a field of 0 matches everything."""

    account: int
    class_no: int
    hour: Hour
    side: int
    valid_until_ms: Millis


class CancelAllAfter(_Body, frozen=True, tag=8):
    """A dead man's switch: cancel everything of the account unless renewed within `after_ms`; 0: off."""

    account: int
    after_ms: Millis
    valid_until_ms: Millis


# --- Operators (gateways, scope `operator`) ---------------------------------------------------------------


class SetState(_Body, frozen=True, tag=20):
    """Halt, restrict or open a class or one of its contracts."""

    operator: int
    class_no: int
    hour: Hour
    state: int
    """`State`."""
    reason: str


class CorrectCash(_Body, frozen=True, tag=21):
    """Correct a clear error in cash between two accounts, by two operators of different owners."""

    operator: int
    second_operator: int
    payer: int
    payee: int
    amount: Micros
    trade: int
    reason: str
    approval: str = ""
    """Of the first operator; 1 to 36 printable characters. A correction under it is made once."""
    valid_until_ms: Millis = 0
    """Until when the approval is good, and is remembered once it is used."""


class SetEngineVersion(_Body, frozen=True, tag=22):
    """From the next record on, the rules and bytes of engine version `version` apply."""

    operator: int
    version: int


# --- Settlement's outbox: `outbox` is dense per shard, from 1 ---------------------------------------------


class SetAccount(_Body, frozen=True, tag=30):
    """Open an account in the shard, or change its role and fee plan. The owner never changes."""

    outbox: int
    account: int
    owner: int
    role: int
    """`Role`."""
    fee_plan: int
    """0: the class's own rates."""


class Credit(_Body, frozen=True, tag=31):
    """Transit → trading balance: money that has left the wallet arrives in the shard (docs/decisions/002-ledger.md)."""

    outbox: int
    account: int
    amount: Micros


class Sweep(_Body, frozen=True, tag=32):
    """Trading balance → wallet: as much of `amount` as is available, possibly nothing."""

    outbox: int
    account: int
    amount: Micros


class SetBacking(_Body, frozen=True, tag=33):
    """Absolute target of what the account may owe in each hour on one ground."""

    outbox: int
    account: int
    class_no: int
    hours: tuple[Hour, ...]
    ground: int
    """`Ground`."""
    qty: Gpus
    """Sold and unsold together."""
    collateral_price: Price
    """`PROMISED`, and a market maker's `READY`: at least the collar's cap; else 0."""
    version: int
    """Rises per (account, contract, ground); the same version again changes nothing."""


class Fees(Struct, array_like=True, frozen=True, gc=False):
    """Basis points of the notional, by side and role in the fill."""

    buyer_maker: BasisPoints = 0
    buyer_taker: BasisPoints = 0
    seller_maker: BasisPoints = 50
    seller_taker: BasisPoints = 50


class SetClass(_Body, frozen=True, tag=34):
    """List a class into this shard: the engine's part of its contract specification, never changed."""

    outbox: int
    class_no: int
    class_id: str
    lot: Gpus
    tick: Price
    list_price: Price
    """Reference of the collar until references move it."""
    fees: Fees
    horizon_hours: int = 168
    gate_ms: Millis = 300_000
    """Gate closure before the hour begins."""
    cover_ms: Millis = 1_800_000
    """Cover deadline before the hour begins."""
    running_close_ms: Millis = 600_000
    """Running close before the hour ends."""
    collar_low_bp: BasisPoints = 5_000
    collar_high_bp: BasisPoints = 20_000
    first_hour: Hour = 0
    """Nothing before this hour is listed; 0: from the hour that runs."""


# --- The shard's own shell --------------------------------------------------------------------------------


class StartShard(_Body, frozen=True, tag=40):
    """The first record of `commands`: offset 0, alone in its frame, written when the topic is created."""

    shard: int
    engine_version: int
    t0_ms: Millis
    """Market time = t0 + rate × (stamp − t0)."""
    rate: int = 1
    """Above 1 only in a sandbox."""
    sandbox: bool = False


class Tick(_Body, frozen=True, tag=41):
    """Lets time pass to `until_ms` (market time before the rate is applied: a stamp), nothing else."""

    until_ms: Millis


class MoveReference(_Body, frozen=True, tag=42):
    """New reference of a collar."""

    class_no: int
    hour: Hour
    """`ALL_HOURS`: every contract of the class."""
    price: Price
    source: str


Command = (
    PlaceOrder
    | CancelOrder
    | PlaceRange
    | PlaceBlock
    | PutQuotes
    | AmendOrder
    | MassCancel
    | CancelAllAfter
    | SetState
    | CorrectCash
    | SetEngineVersion
    | SetAccount
    | Credit
    | Sweep
    | SetBacking
    | SetClass
    | StartShard
    | Tick
    | MoveReference
)
"""Every body. `match` on it and close with `assert_never`: mypy then lists the commands you forgot."""

OutboxCommand = SetAccount | Credit | Sweep | SetBacking | SetClass
