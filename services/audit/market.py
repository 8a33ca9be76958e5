"""What the log of a shard has made so far: orders, blocks, titles, money, backing, phases. Pure.

Nothing here judges: the themes (`books`, `blocks`, `quotes`, `fills`, `holdings`, `means`, `moments`) change it as the events
say, each holding what is said against what stood here before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field

from schemas import events as ev
from schemas.codec import Malformed
from schemas.commands import Command, Ground, Side, State
from schemas.ids import class_no_of, contract_of, format_order, hour_of
from schemas.units import MS_PER_HOUR, Gpus, Micros, Millis, Price
from services.audit.report import Findings
from services.audit.titles import Title

PHASES: Final = ("forward", "running", "closed", "ended")
FORWARD_GROUNDS: Final = (Ground.DECLARED, Ground.PROMISED)
WITH_COLLATERAL: Final = (Ground.PROMISED, Ground.READY)
MS_PER_MINUTE: Final = 60_000


class Contradiction(Exception):
    """The log speaks of something that it never made: nothing after it can be audited."""

    def __init__(self, name: str, breach: str) -> None:
        super().__init__(f"{name}: {breach}")
        self.name = name
        """The invariant that is broken."""
        self.breach = breach


class Order(Struct):
    """An accepted order of one hour."""

    order: int
    account: int
    contract: int
    side: int
    qty: Gpus
    price: Price
    tif: int
    flags: int
    maker_bp: int
    taker_bp: int
    leaves: Gpus
    expires_ms: Millis = 0
    quote: bool = False
    """A side of a market maker's quote: settlement has no row of it."""
    filled: Gpus = 0
    cancelled: Gpus = 0


class Block(Struct):
    """An accepted block."""

    order: int
    account: int
    class_no: int
    first_hour: int
    hours: int
    side: int
    qty: Gpus
    qty_min: Gpus
    price: Price
    tif: int
    maker_bp: int
    taker_bp: int
    leaves: Gpus
    expires_ms: Millis = 0
    filled: Gpus = 0
    cancelled: Gpus = 0

    @property
    def contracts(self) -> range:
        """Its hours."""
        first = contract_of(self.class_no, self.first_hour)
        return range(first, first + self.hours)

    @property
    def range(self) -> tuple[int, int, int]:
        """Blocks trade with each other when they agree in this."""
        return self.class_no, self.first_hour, self.hours


class Promise(Struct):
    """Backing of one account in one contract on one ground."""

    qty: Gpus = 0
    collateral_price: Price = 0
    version: int = 0


Minutes = defaultdict[tuple[int, bool], int]


def _minutes() -> Minutes:
    return defaultdict(int)


class Market(Struct):
    """One shard's."""

    found: Findings
    version: int = 1
    seq: int = 0
    time_ms: Millis = 0
    shard: int = -1
    offset: int = -1
    """Of the record of `commands` that is answered."""
    commands: list[Command | Malformed] = field(default_factory=list)
    """Of that record."""
    outbox: int = 0
    """The last number that was answered."""
    classes: dict[int, ev.ClassSet] = field(default_factory=dict)
    accounts: dict[int, ev.AccountSet] = field(default_factory=dict)
    phase: dict[int, str] = field(default_factory=dict)
    """contract -> one of PHASES."""
    states: dict[tuple[int, int], int] = field(default_factory=dict)
    """(class, hour; 0: the class) -> its own state, where it ever was another than open."""
    references: dict[tuple[int, int], Price] = field(default_factory=dict)
    """(class, hour; 0: the class) -> its own reference, where it was moved."""
    cash: defaultdict[int, Micros] = field(default_factory=lambda: defaultdict(int))
    orders: dict[int, Order] = field(default_factory=dict)
    blocks: dict[int, Block] = field(default_factory=dict)
    trades: dict[int, ev.Filled] = field(default_factory=dict)
    entering: dict[int, Order | Block] = field(default_factory=dict)
    """Newcomers of the command under way: they trade, and what is left of them will rest."""
    resting: defaultdict[int, dict[int, Order]] = field(default_factory=lambda: defaultdict(dict))
    """contract -> order id -> order, oldest first (a rest happens in log order)."""
    resting_blocks: defaultdict[tuple[int, int, int], dict[int, Block]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """Range -> order id -> block, oldest first."""
    bids_of: defaultdict[int, dict[int, Order]] = field(default_factory=lambda: defaultdict(dict))
    """account -> resting bids."""
    asks_of: defaultdict[tuple[int, int], dict[int, Order]] = field(default_factory=lambda: defaultdict(dict))
    """(account, contract) -> resting asks."""
    blocks_of: defaultdict[int, dict[int, Block]] = field(default_factory=lambda: defaultdict(dict))
    """account -> resting blocks."""
    titles: dict[int, Title] = field(default_factory=dict)
    titles_of: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """contract -> live and closed titles."""
    ended: dict[int, Title] = field(default_factory=dict)
    """Titles of ended hours, as they left the shard."""
    bought: defaultdict[int, Minutes] = field(default_factory=lambda: defaultdict(_minutes))
    """contract -> (account, running) -> GPU-minutes bought minus sold, by the fills alone."""
    held: defaultdict[tuple[int, int], Gpus] = field(default_factory=lambda: defaultdict(int))
    """(account, contract) -> GPUs held; what was bought running stands apart."""
    owed: defaultdict[tuple[int, int, int], Gpus] = field(default_factory=lambda: defaultdict(int))
    """(account, contract, ground)."""
    backing: defaultdict[tuple[int, int, int], Promise] = field(default_factory=lambda: defaultdict(Promise))
    collateral_contracts: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """account -> contracts in which it has backing or titles on a ground with collateral."""
    moved_collateral: dict[tuple[int, int], Micros] = field(default_factory=dict)
    """(contract, account) -> what left the shard at the hour's end."""
    failed: dict[tuple[int, int], Gpus] = field(default_factory=dict)
    """(contract, account) -> promised GPUs that were not bought in."""
    quotes: dict[tuple[int, int], ev.QuotesPut] = field(default_factory=dict)
    """(account, class) -> the last that it put."""
    corrections: dict[tuple[int, int], ev.CashCorrected] = field(default_factory=dict)
    approvals: dict[str, Millis] = field(default_factory=dict)
    """Of corrections that were made → until when each was good."""
    """(seq, place in the record)."""
    title_last: int = 0
    trade_last: int = 0
    touched: set[int] = field(default_factory=set)
    """Contracts whose book changed since the last outcome."""
    concerned: set[tuple[int, int]] = field(default_factory=set)
    """(account, contract) whose means changed since the last outcome."""

    # --- what the log must have said before -----------------------------------------------------------------

    def order(self, number: int) -> Order:
        """Raises Contradiction."""
        if number not in self.orders:
            raise Contradiction(
                "B6", f"seq {self.seq} speaks of order {format_order(number)}, which was never accepted"
            )
        return self.orders[number]

    def title(self, number: int) -> Title:
        """Raises Contradiction."""
        if number not in self.titles:
            raise Contradiction("C6", f"seq {self.seq} speaks of title {number}, which is not alive")
        return self.titles[number]

    def owner(self, account: int) -> int:
        """Raises Contradiction."""
        if account not in self.accounts:
            raise Contradiction("B7", f"seq {self.seq} speaks of account {account}, which was never set")
        return self.accounts[account].owner

    def spec(self, contract: int) -> ev.ClassSet:
        """Raises Contradiction."""
        if class_no_of(contract) not in self.classes:
            raise Contradiction("C3", f"seq {self.seq} speaks of contract {contract}, whose class was never set")
        return self.classes[class_no_of(contract)]

    # --- what follows from it ------------------------------------------------------------------------------

    def state(self, contract: int) -> int:
        """The stricter of the contract's and its class's."""
        class_no, hour = class_no_of(contract), hour_of(contract)
        return max(self.states.get((class_no, hour), State.OPEN), self.states.get((class_no, 0), State.OPEN))

    def collar(self, contract: int) -> tuple[Price, Price]:
        """Lowest and highest price, by the contract's own reference or its class's."""
        spec, class_no = self.spec(contract), class_no_of(contract)
        of_class = self.references.get((class_no, 0), spec.list_price)
        reference = self.references.get((class_no, hour_of(contract)), of_class)
        low, rest = divmod(reference * spec.collar_low_bp, 10_000)
        return low + (rest > 0), reference * spec.collar_high_bp // 10_000

    def minutes(self, contract: int) -> int:
        """What a fill conveys now: the whole hour, or whole minutes of what is left of it."""
        if self.phase.get(contract) != "running":
            return 60
        return min(60, ((hour_of(contract) + 1) * MS_PER_HOUR - self.time_ms) // MS_PER_MINUTE)

    def open_orders(self) -> Iterator[Order]:
        """What rests; in the middle of an output also newcomers, as far as they are open."""
        for book in self.resting.values():
            yield from book.values()
        for order in self.entering.values():
            if isinstance(order, Order) and order.leaves:
                yield order

    def open_any(self) -> Iterator[Order | Block]:
        """Orders and blocks."""
        yield from self.open_orders()
        yield from self.open_blocks()

    def open_blocks(self) -> Iterator[Block]:
        """The same of blocks."""
        for of_range in self.resting_blocks.values():
            yield from of_range.values()
        for block in self.entering.values():
            if isinstance(block, Block) and block.leaves:
                yield block

    def rivals(self, contract: int, side: int, price: Price) -> list[Order]:
        """Resting orders of a side that come before a price, and those at it, oldest first in each."""
        sign = 1 if side == Side.SELL else -1
        return [o for o in self.resting[contract].values() if o.side == side and sign * o.price <= sign * price]

    def escrows(self) -> dict[int, Micros]:
        """contract -> escrow of its titles."""
        total: defaultdict[int, Micros] = defaultdict(int)
        for title in self.titles.values():
            total[title.contract] += title.escrow
        return dict(total)
