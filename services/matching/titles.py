"""Who owes and who holds each hour of one contract, and what escrow stands between them.

Pure. Quantities in GPUs, money in µUSD. The rules are docs/decisions/002-ledger.md, 2 to 7; the lists of gains and losses
are settlement's: the engine needs only the first claim of each, proceeds and cost.

A title stands in two queues, its holder's and its obligor's, and a market that trades for days cuts titles into many
pieces: everything done to a queue takes the same time however long it is. So the queues are linked through the titles
themselves. Whoever takes a title out of a queue also takes off its links: such cycles are never freed otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from schemas.commands import Ground
from schemas.events import TitleMove
from schemas.units import BasisPoints, Gpus, Micros, promise_collateral

FORWARD_GROUNDS = (Ground.DECLARED, Ground.PROMISED)
_DECLARED, _PROMISED = int(Ground.DECLARED), int(Ground.PROMISED)


class Title(Struct, gc=False, eq=False):
    """`qty` GPUs of one contract that `obligor` owes and `holder` has. Identity is equality."""

    number: int
    obligor: int
    holder: int
    ground: int
    qty: Gpus
    minutes: int
    escrow: Micros
    proceeds: Micros
    cost: Micros
    next_held: Title | None = None
    """The next younger one of its holder."""
    last_owed: Title | None = None
    """The next older one of its obligor, on its ground."""
    next_owed: Title | None = None
    """The next younger one."""

    def cut(self, number: int, qty: Gpus) -> Title:
        """Cut `qty` off as title `number`, which stands in no queue yet; the rest keeps the rounding's difference."""
        total = self.qty
        assert 0 < qty < total
        escrow = self.escrow * qty // total
        proceeds = self.proceeds * qty // total
        cost = self.cost * qty // total
        self.qty = total - qty
        self.escrow -= escrow
        self.proceeds -= proceeds
        self.cost -= cost
        return Title(number, self.obligor, self.holder, self.ground, qty, self.minutes, escrow, proceeds, cost)

    def unlink(self) -> None:
        """It leaves its queues together with everything else in them."""
        self.next_held = self.last_owed = self.next_owed = None


class Held:
    """What one account holds in one contract, oldest first. Sold from the front."""

    __slots__ = ("first", "last", "qty")

    def __init__(self) -> None:
        self.first: Title | None = None
        self.last: Title | None = None
        self.qty: Gpus = 0

    def __iter__(self) -> Iterator[Title]:
        title = self.first
        while title is not None:
            yield title
            title = title.next_held

    def append(self, title: Title) -> None:
        """The youngest."""
        if self.last is None:
            self.first = title
        else:
            self.last.next_held = title
        self.last = title
        self.qty += title.qty

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


class Backing:
    """What an account may owe in one contract on one ground, and what it owes, oldest first."""

    __slots__ = ("collateral_price", "first", "ground", "last", "owed_qty", "qty", "version")

    def __init__(self, ground: int) -> None:
        self.ground = ground
        self.qty: Gpus = 0
        self.collateral_price = 0
        self.version = 0
        self.first: Title | None = None
        self.last: Title | None = None
        self.owed_qty: Gpus = 0

    @property
    def unsold(self) -> Gpus:
        """What may still be sold on it."""
        return self.qty - self.owed_qty if self.qty > self.owed_qty else 0

    def owed(self) -> Iterator[Title]:
        """Oldest first."""
        title = self.first
        while title is not None:
            yield title
            title = title.next_owed

    def append(self, title: Title) -> None:
        """The youngest."""
        title.last_owed = self.last
        if self.last is None:
            self.first = title
        else:
            self.last.next_owed = title
        self.last = title
        self.owed_qty += title.qty

    def insert(self, rest: Title, piece: Title) -> None:
        """A piece just cut from `rest` takes its place right behind it."""
        after = rest.next_owed
        piece.last_owed, piece.next_owed = rest, after
        rest.next_owed = piece
        if after is None:
            self.last = piece
        else:
            after.last_owed = piece

    def remove(self, title: Title) -> None:
        """It is owed no more, or by somebody else."""
        before, after = title.last_owed, title.next_owed
        if before is None:
            self.first = after
        else:
            before.next_owed = after
        if after is None:
            self.last = before
        else:
            after.last_owed = before
        title.last_owed = title.next_owed = None
        self.owed_qty -= title.qty

    def replace(self, title: Title, by: Title) -> None:
        """`by`, of the same quantity and in no queue of an obligor, takes the place of `title`."""
        assert title.qty == by.qty
        before, after = title.last_owed, title.next_owed
        by.last_owed, by.next_owed = before, after
        if before is None:
            self.first = by
        else:
            before.next_owed = by
        if after is None:
            self.last = by
        else:
            after.last_owed = by
        title.last_owed = title.next_owed = None


class Position:
    """One account in one contract."""

    __slots__ = ("collateral", "declared", "held", "open_asks", "promised")

    def __init__(self) -> None:
        self.held = Held()
        self.declared = Backing(_DECLARED)
        self.promised = Backing(_PROMISED)
        self.open_asks: Gpus = 0
        self.collateral: Micros = 0

    def on(self, ground: int) -> Backing:
        """The backing of a forward ground."""
        return self.declared if ground == _DECLARED else self.promised

    @property
    def capacity(self) -> Gpus:
        """What may stand in open asks: held + unsold backing."""
        capacity = self.held.qty
        for backing in (self.declared, self.promised):
            if backing.qty > backing.owed_qty:
                capacity += backing.qty - backing.owed_qty
        return capacity

    @property
    def owed_qty(self) -> Gpus:
        """GPUs owed, on either ground."""
        return self.declared.owed_qty + self.promised.owed_qty

    def oldest_owed(self) -> Title | None:
        """The title that a purchase closes first: promised ones before declared ones."""
        return self.promised.first or self.declared.first

    def collateral_due(self, rate: BasisPoints) -> Micros:
        """max(backing, owed as promised) × collateral per GPU-hour."""
        promised = self.promised
        return max(promised.qty, promised.owed_qty) * promise_collateral(promised.collateral_price, rate)


class Register:
    """All titles and positions of one contract."""

    __slots__ = ("closed_escrow", "escrow", "positions", "title_last", "titles")

    def __init__(self) -> None:
        self.positions: dict[int, Position] = {}
        self.titles: dict[int, Title] = {}
        self.escrow: Micros = 0
        """Of all titles, bought-back ones included."""
        self.closed_escrow: Micros = 0
        self.title_last = 0
        """The last number used in the shard; holds while `trade` works."""

    def of(self, account: int) -> Position:
        """The account's position, a new one if it has none."""
        position = self.positions.get(account)
        if position is None:
            position = self.positions[account] = Position()
        return position

    def trade(
        self, buyer: int, seller: int, qty: Gpus, minutes: int, net: Micros, fees: Micros, title_last: int
    ) -> tuple[tuple[TitleMove, ...], int]:
        """Move `qty` from seller to buyer, piece by piece; (the moves, last title number used)."""
        selling, buying = self.of(seller), self.of(buyer)
        self.title_last = title_last
        moves: list[TitleMove] = []
        done = net_before = fees_before = 0
        while done < qty:
            source = selling.held.first
            target = buying.oldest_owed()
            if source is None:
                owing = _next_backing(selling)
                k = owing.qty - owing.owed_qty
            else:
                owing = self.positions[source.obligor].on(source.ground)
                k = source.qty
            if k > qty - done:
                k = qty - done
            if target is not None and k > target.qty:
                k = target.qty
            # `units.portion`, written out: what came before is known from the last piece.
            done += k
            net_after, fees_after = net * done // qty, fees * done // qty
            piece_net = net_after - net_before
            cost = piece_net + fees_after - fees_before
            net_before, fees_before = net_after, fees_after
            if source is None:
                moves.append(self._sell_new(owing, seller, buyer, k, minutes, piece_net, cost, buying, target))
            else:
                moves.append(self._resell(source, owing, selling, buyer, k, piece_net, cost, buying, target))
        return tuple(moves), self.title_last

    def _sell_new(
        self,
        owing: Backing,
        seller: int,
        buyer: int,
        k: Gpus,
        minutes: int,
        net: Micros,
        cost: Micros,
        buying: Position,
        target: Title | None,
    ) -> TitleMove:
        """A title that the seller owes from here on."""
        number = self.title_last = self.title_last + 1
        ground = owing.ground
        title = Title(number, seller, buyer, ground, k, minutes, cost, net, cost)
        self.escrow += cost
        if target is None:
            self.titles[number] = title
            buying.held.append(title)
            owing.append(title)
            return TitleMove(0, number, ground, k, net, cost, 0)
        ended, released = self._close(target, buying, k, cost)
        ended.escrow += cost - released
        ended.obligor, ended.ground, ended.proceeds = seller, ground, net
        owing.append(ended)
        return TitleMove(0, number, ground, k, net, cost, 0, target.number, ended.number, released)

    def _resell(
        self,
        source: Title,
        owing: Backing,
        selling: Position,
        buyer: int,
        k: Gpus,
        net: Micros,
        cost: Micros,
        buying: Position,
        target: Title | None,
    ) -> TitleMove:
        """The oldest title that the seller holds, or a piece of it, changes its holder."""
        if source.qty == k:
            title = source
            selling.held.pop(source)
        else:
            number = self.title_last = self.title_last + 1
            title = self.titles[number] = source.cut(number, k)
            selling.held.qty -= k
            owing.insert(source, title)
        released_seller = net if net < title.cost else title.cost
        title.escrow += cost - released_seller
        self.escrow += cost - released_seller
        title.cost = cost
        if target is None:
            title.holder = buyer
            buying.held.append(title)
            return TitleMove(source.number, title.number, 0, k, net, cost, released_seller)
        del self.titles[title.number]
        if target is source:
            released = self._buy_back(title, owing, cost)
            return TitleMove(
                source.number, title.number, 0, k, net, cost, released_seller, title.number, title.number, released
            )
        ended, released = self._close(target, buying, k, cost)
        ended.escrow += title.escrow - released
        ended.obligor, ended.ground, ended.proceeds = title.obligor, title.ground, title.proceeds
        owing.replace(title, ended)
        return TitleMove(
            source.number, title.number, 0, k, net, cost, released_seller, target.number, ended.number, released
        )

    def _close(self, target: Title, buying: Position, k: Gpus, cost: Micros) -> tuple[Title, Micros]:
        """The buyer owed `target`, and owes `k` of it no more: (what somebody else takes over, released to the buyer)."""
        owing = buying.on(target.ground)
        if target.qty == k:
            ended = target
            owing.remove(target)
        else:
            number = self.title_last = self.title_last + 1
            ended = self.titles[number] = target.cut(number, k)
            self.positions[target.holder].held.insert(target, ended)
            owing.owed_qty -= k
        released = ended.proceeds if ended.proceeds < cost else cost
        self.escrow -= released
        return ended, released

    def _buy_back(self, title: Title, owing: Backing, cost: Micros) -> Micros:
        """The buyer's own promise comes back to him: nobody owes and nobody holds it any more. What is released."""
        released = min(title.proceeds, cost)
        owing.remove(title)
        title.escrow -= released
        self.escrow -= released
        self.closed_escrow += title.escrow
        return released

    def cover(self, account: int, title_last: int) -> tuple[list[tuple[int, int, Gpus]], int]:
        """Declared backing takes over titles owed as promised, oldest first.

        Returns (title, the piece taken over, its quantity) of each, and the last title number used.
        """
        position = self.positions[account]
        declared, promised = position.declared, position.promised
        covered: list[tuple[int, int, Gpus]] = []
        while (title := promised.first) is not None and declared.unsold:
            source, qty = title.number, min(title.qty, declared.unsold)
            if qty < title.qty:
                title_last += 1
                piece = self.titles[title_last] = title.cut(title_last, qty)
                promised.owed_qty -= qty
                self.positions[title.holder].held.insert(title, piece)
                title = piece
            else:
                promised.remove(title)
            title.ground = _DECLARED
            declared.append(title)
            covered.append((source, title.number, qty))
        return covered, title_last


def _next_backing(selling: Position) -> Backing:
    if selling.declared.unsold:
        return selling.declared
    assert selling.promised.unsold, "C2: an ask without backing was filled"
    return selling.promised
