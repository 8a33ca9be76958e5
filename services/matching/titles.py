"""Who owes and who holds each hour of one contract, and what escrow stands between them.

Pure. Quantities in GPUs, money in µUSD. The rules are docs/decisions/002-ledger.md, 2 to 7; the lists of gains and losses are
settlement's: the engine needs only the first claim of each, proceeds and cost.
"""

from __future__ import annotations

from schemas.commands import Ground
from schemas.events import TitleMove
from schemas.units import BasisPoints, Gpus, Micros, portion, promise_collateral

FORWARD_GROUNDS = (Ground.DECLARED, Ground.PROMISED)


class Title:
    """`qty` GPUs of one contract that `obligor` owes and `holder` has. Identity is equality."""

    __slots__ = ("cost", "escrow", "ground", "holder", "minutes", "number", "obligor", "proceeds", "qty")

    def __init__(
        self,
        number: int,
        obligor: int,
        holder: int,
        ground: int,
        qty: Gpus,
        minutes: int,
        escrow: Micros,
        proceeds: Micros,
        cost: Micros,
    ) -> None:
        self.number = number
        self.obligor = obligor
        self.holder = holder
        self.ground = ground
        self.qty = qty
        self.minutes = minutes
        self.escrow = escrow
        self.proceeds = proceeds
        self.cost = cost

    def cut(self, number: int, qty: Gpus) -> Title:
        """Cut `qty` off as title `number`; the rest keeps the rounding's difference."""
        assert 0 < qty < self.qty
        escrow, proceeds, cost = (x * qty // self.qty for x in (self.escrow, self.proceeds, self.cost))
        self.qty -= qty
        self.escrow -= escrow
        self.proceeds -= proceeds
        self.cost -= cost
        return Title(number, self.obligor, self.holder, self.ground, qty, self.minutes, escrow, proceeds, cost)


class Backing:
    """What an account may owe in one contract on one ground, and what it does."""

    __slots__ = ("collateral_price", "owed", "owed_qty", "qty", "version")

    def __init__(self) -> None:
        self.qty: Gpus = 0
        self.collateral_price = 0
        self.version = 0
        self.owed: list[Title] = []
        """Oldest first."""
        self.owed_qty: Gpus = 0

    @property
    def unsold(self) -> Gpus:
        """What may still be sold on it."""
        return max(0, self.qty - self.owed_qty)


class Position:
    """One account in one contract."""

    __slots__ = ("collateral", "declared", "held", "held_qty", "open_asks", "promised")

    def __init__(self) -> None:
        self.held: list[Title] = []
        """Oldest first."""
        self.held_qty: Gpus = 0
        self.declared = Backing()
        self.promised = Backing()
        self.open_asks: Gpus = 0
        self.collateral: Micros = 0

    def on(self, ground: int) -> Backing:
        """The backing of a forward ground."""
        return self.declared if ground == Ground.DECLARED else self.promised

    @property
    def capacity(self) -> Gpus:
        """What may stand in open asks: held + unsold backing."""
        return self.held_qty + self.declared.unsold + self.promised.unsold

    @property
    def owed_qty(self) -> Gpus:
        """GPUs owed, on either ground."""
        return self.declared.owed_qty + self.promised.owed_qty

    def collateral_due(self, rate: BasisPoints) -> Micros:
        """max(backing, owed as promised) × collateral per GPU-hour."""
        promised = self.promised
        return max(promised.qty, promised.owed_qty) * promise_collateral(promised.collateral_price, rate)


class Register:
    """All titles and positions of one contract."""

    __slots__ = ("closed_escrow", "escrow", "positions", "titles")

    def __init__(self) -> None:
        self.positions: dict[int, Position] = {}
        self.titles: dict[int, Title] = {}
        self.escrow: Micros = 0
        """Of all titles, bought-back ones included."""
        self.closed_escrow: Micros = 0

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
        moves: list[TitleMove] = []
        done = 0
        while done < qty:
            source = selling.held[0] if selling.held else None
            backing, ground = (None, 0) if source else _next_ground(selling)
            target = _oldest_owed(buying)
            k = min(qty - done, source.qty if source else backing.unsold, target.qty if target else qty)  # type: ignore[union-attr]  # one of both
            piece_net = portion(net, done, k, qty)
            cost = piece_net + portion(fees, done, k, qty)
            released_seller = 0
            if source is None:
                title_last += 1
                title = Title(title_last, seller, buyer, ground, k, minutes, cost, piece_net, cost)
                self.escrow += cost
            else:
                if source.qty == k:
                    title = source
                    del selling.held[0]
                else:
                    title_last += 1
                    title = self._cut_owed(source, title_last, k)
                selling.held_qty -= k
                released_seller = min(piece_net, title.cost)
                title.escrow += cost - released_seller
                title.cost = cost
                self.escrow += cost - released_seller
            if target is None:
                self._hold(title, buyer, buying, new=source is None, selling=selling)
                moves.append(
                    TitleMove(source.number if source else 0, title.number, ground, k, piece_net, cost, released_seller)
                )
            else:
                own = target is source
                released, closed, title_last = self._close(
                    title, target, buying, selling, k, cost, title_last, own=own, new=source is None
                )
                closes = title.number if own else target.number
                moves.append(
                    TitleMove(
                        source.number if source else 0,
                        title.number,
                        ground,
                        k,
                        piece_net,
                        cost,
                        released_seller,
                        closes,
                        closed,
                        released,
                    )
                )
            done += k
        return tuple(moves), title_last

    def _hold(self, title: Title, buyer: int, buying: Position, *, new: bool, selling: Position) -> None:
        title.holder = buyer
        self.titles[title.number] = title
        buying.held.append(title)
        buying.held_qty += title.qty
        if new:
            backing = selling.on(title.ground)
            backing.owed.append(title)
            backing.owed_qty += title.qty

    def _cut_owed(self, title: Title, number: int, qty: Gpus) -> Title:
        """A piece of a title whose holder is about to change: right behind the rest in its obligor's queue."""
        piece = title.cut(number, qty)
        owed = self.positions[title.obligor].on(title.ground).owed
        owed.insert(owed.index(title) + 1, piece)
        self.titles[number] = piece
        return piece

    def _close(
        self,
        title: Title,
        target: Title,
        buying: Position,
        selling: Position,
        k: Gpus,
        cost: Micros,
        title_last: int,
        *,
        own: bool,
        new: bool,
    ) -> tuple[Micros, int, int]:
        """The buyer owed `target`: `title` takes its place. (released to the buyer, title that lives on, last number)."""
        backing = buying.on(target.ground)
        if own:
            # `title` is the target or the piece just cut from it.
            released = min(title.proceeds, cost)
            backing.owed.remove(title)
            backing.owed_qty -= k
            self.titles.pop(title.number)
            title.escrow -= released
            self.escrow -= released
            self.closed_escrow += title.escrow
            return released, title.number, title_last
        if target.qty == k:
            ended = target
            del backing.owed[0]
        else:
            title_last += 1
            ended = target.cut(title_last, k)
            held = self.positions[target.holder].held
            held.insert(held.index(target) + 1, ended)
            self.titles[title_last] = ended
        backing.owed_qty -= k
        released = min(ended.proceeds, cost)
        ended.escrow += title.escrow - released
        self.escrow -= released
        ended.obligor, ended.ground, ended.proceeds = title.obligor, title.ground, title.proceeds
        place = self.positions[title.obligor].on(title.ground) if not new else selling.on(title.ground)
        if new:
            place.owed.append(ended)
            place.owed_qty += k
        else:
            place.owed[place.owed.index(title)] = ended
            del self.titles[title.number]
        return released, ended.number, title_last


def _next_ground(selling: Position) -> tuple[Backing, int]:
    if selling.declared.unsold:
        return selling.declared, Ground.DECLARED
    assert selling.promised.unsold, "C2: an ask without backing was filled"
    return selling.promised, Ground.PROMISED


def _oldest_owed(buying: Position) -> Title | None:
    if buying.promised.owed:
        return buying.promised.owed[0]
    return buying.declared.owed[0] if buying.declared.owed else None
