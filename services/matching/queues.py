"""A title, and the two queues that it stands in: its holder's (`Held`) and its obligor's (`Backing`), oldest first.

Pure. Quantities in GPUs, money in µUSD. A market that trades for days cuts titles into many pieces, so whatever is done to a
queue takes the same time however long it is: the queues are linked through the titles themselves. Whoever takes a title out takes
off its links, because such cycles are never freed.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.units import BasisPoints, Gpus, Micros, Price, promise_collateral
from services.matching.native import mypyc_attr


@mypyc_attr(acyclic=True)
class Title:
    """`qty` GPUs of one contract that an obligor owes and a holder has."""

    __slots__ = (
        "cost", "escrow", "holding", "minutes", "next_held", "next_owed", "number", "owing", "previous_owed", "proceeds", "qty",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        owing: Backing,
        holding: Held,
        qty: Gpus,
        minutes: int,
        escrow: Micros,
        proceeds: Micros,
        cost: Micros,
    ) -> None:
        self.number = number
        self.owing = owing
        """The obligor's queue, on the title's ground."""
        self.holding = holding
        """The holder's queue."""
        self.qty = qty
        self.minutes = minutes
        self.escrow = escrow
        self.proceeds = proceeds
        self.cost = cost
        self.next_held: Title | None = None
        """The next younger one of its holder."""
        self.previous_owed: Title | None = None
        """The next older one of its obligor, on its ground."""
        self.next_owed: Title | None = None
        """The next younger one."""

    def take(self, qty: Gpus) -> tuple[Micros, Micros, Micros]:
        """Take `qty` off: its (escrow, proceeds, cost). The rest keeps the rounding's difference."""
        total = self.qty
        assert 0 < qty < total
        escrow = self.escrow * qty // total
        proceeds = self.proceeds * qty // total
        cost = self.cost * qty // total
        self.qty = total - qty
        self.escrow -= escrow
        self.proceeds -= proceeds
        self.cost -= cost
        return escrow, proceeds, cost

    @property
    def obligor(self) -> int:
        """The account that owes it."""
        return self.owing.account

    @property
    def holder(self) -> int:
        """The account that has it."""
        return self.holding.account

    @property
    def ground(self) -> int:
        """`Ground` on which it is owed."""
        return self.owing.ground


@mypyc_attr(acyclic=True)
class Held:
    """What one account holds in one contract, oldest first. Sold from the front."""

    __slots__ = ("account", "first", "last", "qty")

    def __init__(self, account: int) -> None:
        self.account = account
        self.first: Title | None = None
        self.last: Title | None = None
        self.qty: Gpus = 0

    def __iter__(self) -> Iterator[Title]:
        """Oldest first."""
        title = self.first
        while title is not None:
            yield title
            title = title.next_held

    def append(self, title: Title) -> None:
        """The youngest."""
        title.holding = self
        if self.last is None:
            self.first = title
        else:
            self.last.next_held = title
        self.last = title
        self.qty += title.qty

    def clear(self) -> None:
        """All titles end at once."""
        for title in list(self):
            title.next_held = None
        self.first = self.last = None

    def pop(self, title: Title) -> None:
        """The oldest, which is `title`, is sold."""
        assert title is self.first
        self.first = title.next_held
        title.next_held = None
        if self.first is None:
            self.last = None
        self.qty -= title.qty

    def insert(self, rest: Title, piece: Title) -> None:
        """A piece just cut from `rest` takes its place right behind it."""
        piece.next_held = rest.next_held
        rest.next_held = piece
        if self.last is rest:
            self.last = piece


@mypyc_attr(acyclic=True)
class Backing:
    """What an account may owe in one contract on one ground, and what it owes, oldest first."""

    __slots__ = ("account", "collateral_price", "first", "ground", "last", "owed_qty", "qty", "version")

    def __init__(self, account: int, ground: int) -> None:
        self.account = account
        self.ground = ground
        self.qty: Gpus = 0
        self.collateral_price = 0
        self.version = 0
        self.first: Title | None = None
        self.last: Title | None = None
        self.owed_qty: Gpus = 0

    def unsold(self) -> Gpus:
        """What may still be sold on it."""
        return self.qty - self.owed_qty if self.qty > self.owed_qty else 0

    def collateral_due(self, rate: BasisPoints) -> Micros:
        """What stands behind it: 0 where it is not promised."""
        return self.collateral_if(self.qty, self.collateral_price, rate) if self.collateral_price else 0

    def collateral_if(self, qty: Gpus, collateral_price: Price, rate: BasisPoints) -> Micros:
        """What would stand behind it, were these its quantity and collateral price."""
        return max(qty, self.owed_qty) * promise_collateral(collateral_price, rate)

    def __iter__(self) -> Iterator[Title]:
        """What is owed, oldest first."""
        title = self.first
        while title is not None:
            yield title
            title = title.next_owed

    def append(self, title: Title) -> None:
        """The youngest."""
        title.owing = self
        title.previous_owed = self.last
        if self.last is None:
            self.first = title
        else:
            self.last.next_owed = title
        self.last = title
        self.owed_qty += title.qty

    def clear(self) -> None:
        """All titles end at once."""
        for title in list(self):
            title.previous_owed = title.next_owed = None
        self.first = self.last = None

    def insert(self, rest: Title, piece: Title) -> None:
        """A piece of `rest`, in no queue of an obligor, takes its place right behind it: what is owed stays the same."""
        piece.owing = self
        after = rest.next_owed
        piece.previous_owed, piece.next_owed = rest, after
        rest.next_owed = piece
        if after is None:
            self.last = piece
        else:
            after.previous_owed = piece

    def remove(self, title: Title) -> None:
        """It is owed no more, or by somebody else."""
        before, after = title.previous_owed, title.next_owed
        if before is None:
            self.first = after
        else:
            before.next_owed = after
        if after is None:
            self.last = before
        else:
            after.previous_owed = before
        title.previous_owed = title.next_owed = None
        self.owed_qty -= title.qty

    def replace(self, title: Title, by: Title) -> None:
        """`by`, of the same quantity and in no queue of an obligor, takes the place of `title`."""
        assert title.qty == by.qty
        by.owing = self
        before, after = title.previous_owed, title.next_owed
        by.previous_owed, by.next_owed = before, after
        if before is None:
            self.first = by
        else:
            before.next_owed = by
        if after is None:
            self.last = by
        else:
            after.previous_owed = by
        title.previous_owed = title.next_owed = None
