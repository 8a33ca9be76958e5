"""What is asked of settlement: bodies of the topic `requests` (one partition).

Written by: gateways. Read by: settlement. Order: total. Delivery: at least once; a repeat is known by its
`request_id` (the same body answers with the first outcome, another body is refused: `request_reused`).
Record: value = one MessagePack array `[tag, field, ...]`, no frame.

Money, backing, accounts and classes share one topic so that a promise can never overtake the money that
stands behind it. The outcome of a request is a row of `settlement.requests`: pending (its message is on the way to a
shard), done, or refused with a code; gateways read it there.
"""

from __future__ import annotations

from msgspec import Struct

from schemas.commands import Fees
from schemas.units import BasisPoints, Gpus, Hour, Micros, Millis, Price


class _Request(Struct, array_like=True, frozen=True, gc=False):
    """One request. `request_id`: 1-64 printable ASCII, unique per requester for ever."""


class OpenAccount(_Request, frozen=True, tag=1):
    """Open an account with a wallet, and in every shard. Outcome: `account`."""

    request_id: str
    owner: int
    """0: a new owner with the account's own number."""
    name: str
    role: int
    fee_plan: int = 0
    desk: bool = False
    """The aggregator's own trading account: its fills are marked `counterparty: desk`."""


class ListClass(_Request, frozen=True, tag=2):
    """List a class into a shard. Outcome: `class_no`. The same specification again changes nothing."""

    request_id: str
    shard: int
    class_id: str
    specification: bytes
    """The published contract specification, as it is in its data file (TOML)."""
    # From here on as in `commands.SetClass`, which tells the shard.
    lot: Gpus
    tick: Price
    list_price: Price
    fees: Fees
    horizon_hours: int = 168
    gate_ms: Millis = 300_000
    cover_ms: Millis = 1_800_000
    running_close_ms: Millis = 600_000
    collar_low_bp: BasisPoints = 5_000
    collar_high_bp: BasisPoints = 20_000
    first_hour: Hour = 0


class Deposit(_Request, frozen=True, tag=3):
    """Money has arrived from outside. Unique by (provider, provider_ref), whatever the request id."""

    request_id: str
    account: int
    amount: Micros
    provider: str
    """`simulated-faucet` in a sandbox; else the payment adapter's name."""
    provider_ref: str


class Withdraw(_Request, frozen=True, tag=4):
    """Wallet → payout. Outcome: `payout`, whose state goes requested → sent → paid | returned."""

    request_id: str
    account: int
    amount: Micros
    destination: str


class PayoutMoved(_Request, frozen=True, tag=5):
    """The payment adapter reports: `sent`, `paid` or `returned` (the money is in the wallet again)."""

    request_id: str
    payout: int
    state: str
    provider: str


class ToTrading(_Request, frozen=True, tag=6):
    """Wallet → trading balance in a shard. Done when the engine's `Credited` is settled."""

    request_id: str
    account: int
    shard: int
    amount: Micros


class FromTrading(_Request, frozen=True, tag=7):
    """Trading balance → wallet: what is available of `amount`. Outcome: `amount` moved."""

    request_id: str
    account: int
    shard: int
    amount: Micros


class Back(_Request, frozen=True, tag=8):
    """Absolute backing of hours on a ground (`commands.SetBacking`). `version` rises per account, class, ground."""

    request_id: str
    account: int
    class_no: int
    hours: tuple[Hour, ...]
    ground: int
    qty: Gpus
    collateral_price: Price
    version: int


class SetAccountRole(_Request, frozen=True, tag=9):
    """Change role and fee plan of an account, in every shard."""

    request_id: str
    account: int
    role: int
    fee_plan: int


class Procure(_Request, frozen=True, tag=10):
    """Machines bought for an account (operators only): its wallet pays, and its DECLARED backing of the hours rises by `qty`.

    In the engine they stand behind what the account has promised, oldest first. All hours or none; a shard's refusal gives
    the cost back. The hours' DECLARED backing must be equal before. Outcome: `declared`, the backing of each hour afterwards.

    With a `title` they are for that one, which the account has sold as ready in the one hour named: `qty` is all of it, it is
    paid for once, and the shard is told nothing, as what was sold as ready stays so.
    """

    request_id: str
    account: int
    class_no: int
    hours: tuple[Hour, ...]
    qty: Gpus
    cost: Micros
    """For all of it."""
    provider: str
    """`simulated-cloud`: no cloud is asked yet, and only names that begin with `simulated` are taken."""
    title: int = 0


Request = (
    OpenAccount
    | ListClass
    | Deposit
    | Withdraw
    | PayoutMoved
    | ToTrading
    | FromTrading
    | Back
    | SetAccountRole
    | Procure
)
