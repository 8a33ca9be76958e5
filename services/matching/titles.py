"""Who owes and who holds each hour of one contract, and what escrow stands between them.

Pure. Quantities in GPUs, money in µUSD. The rules are docs/decisions/002-ledger.md, 2 to 7; the lists of gains and losses
are settlement's: the engine needs only the first claim of each, proceeds and cost. Titles stand in `queues`.
"""

from __future__ import annotations

from typing import Any, Final

from schemas.events import TitleMove
from schemas.units import BasisPoints, Gpus, Micros
from services.matching.literals import DECLARED, PROMISED, READY
from services.matching.native import mypyc_attr
from services.matching.queues import Backing, Held, Title

_TitleMove: Final = TitleMove
"""As a constant: a compiled build looks other modules' names up each time."""


@mypyc_attr(acyclic=True)
class Position:
    """One account in one contract."""

    __slots__ = ("collateral", "declared", "held", "open_asks", "promised", "ready", "running")

    def __init__(self, account: int) -> None:
        self.held = Held(account)
        self.running = Held(account)
        """Bought in the running phase: not sold again, and no part of the position that orders close."""
        self.ready = Backing(account, READY)
        self.declared = Backing(account, DECLARED)
        self.promised = Backing(account, PROMISED)
        self.open_asks: Gpus = 0
        self.collateral: Micros = 0

    def on(self, ground: int) -> Backing:
        """The backing of a ground."""
        if ground == DECLARED:
            return self.declared
        return self.promised if ground == PROMISED else self.ready

    def capacity(self) -> Gpus:
        """What may stand in open asks of the forward phase: held + unsold backing."""
        return self.held.qty + self.declared.unsold() + self.promised.unsold()

    def owed_qty(self) -> Gpus:
        """GPUs owed of the forward phase, on either ground."""
        return self.declared.owed_qty + self.promised.owed_qty

    def collateral_due(self, rate: BasisPoints) -> Micros:
        """max(backing, owed) × collateral per GPU-hour, of what was promised for later and for at once."""
        return self.promised.collateral_due(rate) + self.ready.collateral_due(rate)


class Register:
    """All titles and positions of one contract."""

    __slots__ = ("closed_escrow", "escrow", "paid", "positions", "received", "title_last")

    def __init__(self) -> None:
        self.positions: dict[int, Position] = {}
        self.escrow: Micros = 0
        """Of all titles, bought-back ones included."""
        self.closed_escrow: Micros = 0
        # What the last `trade` said besides its moves.
        self.title_last = 0
        """The last title number used in the shard."""
        self.paid: Micros = 0
        """By the buyer: cost − released."""
        self.received: Micros = 0
        """By the seller, at once."""

    def of(self, account: int) -> Position:
        """The account's position, a new one if it has none."""
        position = self.positions.get(account)
        if position is None:
            position = self.positions[account] = Position(account)
        return position

    def clear(self) -> None:
        """The hour has ended, and its titles with it: nothing refers in circles any more."""
        for position in self.positions.values():
            position.held.clear()
            position.running.clear()
            position.declared.clear()
            position.promised.clear()
            position.ready.clear()

    def titles(self) -> list[Title]:
        """What somebody holds, by number."""
        held = [t for position in self.positions.values() for queue in (position.held, position.running) for t in queue]
        return sorted(held, key=lambda t: t.number)

    def trade(
        self,
        buying: Position,
        selling: Position,
        qty: Gpus,
        minutes: int,
        net: Micros,
        fees: Micros,
        title_last: int,
    ) -> tuple[TitleMove, ...]:
        """Move `qty` from seller to buyer, piece by piece: the moves. Also sets `title_last`, `paid`, `received`."""
        self.title_last = title_last
        self.paid = net + fees
        self.received = 0
        moves: list[TitleMove] = []
        done = net_before = fees_before = 0
        while done < qty:
            source = selling.held.first
            if source is None:
                owing = _next_backing(selling)
                k = owing.qty - owing.owed_qty
            else:
                owing = source.owing
                k = source.qty
            if k > qty - done:
                k = qty - done
            # What the buyer owes is closed first: promised titles before declared ones.
            target = buying.promised.first
            if target is None:
                target = buying.declared.first
            if target is not None and k > target.qty:
                k = target.qty
            # `units.portion`, written out: what went before is known from the last piece.
            done += k
            net_after, fees_after = net * done // qty, fees * done // qty
            piece_net = net_after - net_before
            cost = piece_net + fees_after - fees_before
            net_before, fees_before = net_after, fees_after
            if source is None:
                moves.append(self._sell_new(owing, buying, target, k, minutes, piece_net, cost))
            else:
                moves.append(self._resell(source, owing, selling, buying, target, k, piece_net, cost))
        return tuple(moves)

    def trade_running(
        self,
        buying: Position,
        selling: Position,
        qty: Gpus,
        minutes: int,
        net: Micros,
        fees: Micros,
        title_last: int,
    ) -> tuple[TitleMove, ...]:
        """The rest of the hour, of what is ready: a title of its own, which closes nothing. Says what `trade` says."""
        number = self.title_last = title_last + 1
        cost = self.paid = net + fees
        self.received = 0
        self.escrow += cost
        owing = selling.ready
        assert owing.unsold() >= qty, "C2: a running ask without backing was filled"
        title = Title(number, owing, buying.running, qty, minutes, cost, net, cost)
        buying.running.append(title)
        owing.append(title)
        return (_TitleMove(0, number, READY, qty, net, cost, 0),)

    def _sell_new(
        self, owing: Backing, buying: Position, target: Title | None, k: Gpus, minutes: int, net: Micros, cost: Micros
    ) -> TitleMove:
        """A title that the seller owes from here on."""
        number = self.title_last = self.title_last + 1
        self.escrow += cost
        if target is None:
            title = Title(number, owing, buying.held, k, minutes, cost, net, cost)
            buying.held.append(title)
            owing.append(title)
            return _TitleMove(0, number, owing.ground, k, net, cost, 0)
        closes: Any = target.number
        ended, released = self._close(target, k, cost, cost, net, None)
        owing.append(ended)
        closed: Any = closes if ended is target else ended.number
        return _TitleMove(0, number, owing.ground, k, net, cost, 0, closes, closed, released)

    def _resell(
        self,
        source: Title,
        owing: Backing,
        selling: Position,
        buying: Position,
        target: Title | None,
        k: Gpus,
        net: Micros,
        cost: Micros,
    ) -> TitleMove:
        """The oldest title that the seller holds, or a piece of it, changes its holder."""
        # `Any`: what is said twice is an object once. A compiled build would make one for each time.
        whole = source.qty == k
        sold: Any = source.number
        number: Any = sold
        if whole:
            selling.held.pop(source)
            escrow, proceeds, paid = source.escrow, source.proceeds, source.cost
        else:
            selling.held.qty -= k
            number = self.title_last = self.title_last + 1
            escrow, proceeds, paid = source.take(k)
        released_seller = net if net < paid else paid
        self.received += released_seller
        self.escrow += cost - released_seller
        escrow += cost - released_seller
        if target is None:
            if whole:
                title = source
                title.escrow, title.cost = escrow, cost
            else:
                title = Title(number, owing, buying.held, k, source.minutes, escrow, proceeds, cost)
                owing.insert(source, title)
            buying.held.append(title)
            return _TitleMove(sold, number, 0, k, net, cost, released_seller)
        if target is source:
            # The buyer's own promise comes back to him: nobody owes and nobody holds it any more.
            released = self._release(proceeds, cost)
            self.closed_escrow += escrow - released
            if whole:
                owing.remove(source)
            else:
                owing.owed_qty -= k
            return _TitleMove(sold, number, 0, k, net, cost, released_seller, number, number, released)
        closes: Any = target.number
        ended, released = self._close(target, k, cost, escrow, proceeds, source if whole else None)
        if not whole:
            owing.insert(source, ended)
        elif ended is target:
            owing.replace(source, ended)
        closed: Any = closes if ended is target else ended.number
        return _TitleMove(sold, number, 0, k, net, cost, released_seller, closes, closed, released)

    def _close(
        self, target: Title, k: Gpus, cost: Micros, escrow: Micros, proceeds: Micros, given: Title | None
    ) -> tuple[Title, Micros]:
        """The buyer owed `target`, and owes `k` of it no more: (what somebody else takes over, released to him).

        It takes over `escrow` and `proceeds` of what the buyer gets for it. It is in no queue of an obligor yet, or is
        `given`, a whole title that the buyer gets: that stays where it is owed and becomes the piece split off.
        """
        if target.qty == k:
            ended = target
            target.owing.remove(target)
            released = self._release(target.proceeds, cost)
            target.escrow += escrow - released
            target.proceeds = proceeds
        else:
            number = self.title_last = self.title_last + 1
            target.owing.owed_qty -= k
            before, claim, paid = target.take(k)
            released = self._release(claim, cost)
            escrow += before - released
            if given is None:
                ended = Title(number, target.owing, target.holding, k, target.minutes, escrow, proceeds, paid)
            else:
                ended = given
                ended.number, ended.holding, ended.minutes = number, target.holding, target.minutes
                ended.escrow, ended.cost = escrow, paid
            target.holding.insert(target, ended)
        return ended, released

    def _release(self, proceeds: Micros, cost: Micros) -> Micros:
        """What the buyer gets back of the proceeds of a title that he owes no more."""
        released = proceeds if proceeds < cost else cost
        self.escrow -= released
        self.paid -= released
        return released

    def cover(self, account: int, title_last: int) -> list[tuple[int, int, Gpus]]:
        """Declared backing takes over titles owed as promised, oldest first: (title, piece taken over, its quantity).

        Also sets `title_last`.
        """
        position = self.positions[account]
        declared, promised = position.declared, position.promised
        covered: list[tuple[int, int, Gpus]] = []
        self.title_last = title_last
        while (title := promised.first) is not None and declared.unsold():
            source, qty = title.number, min(title.qty, declared.unsold())
            if qty < title.qty:
                number = self.title_last = self.title_last + 1
                escrow, proceeds, cost = title.take(qty)
                piece = Title(number, declared, title.holding, qty, title.minutes, escrow, proceeds, cost)
                title.holding.insert(title, piece)
                promised.owed_qty -= qty
                title = piece
            else:
                promised.remove(title)
            declared.append(title)
            covered.append((source, title.number, qty))
        return covered


def _next_backing(selling: Position) -> Backing:
    if selling.declared.qty > selling.declared.owed_qty:
        return selling.declared
    assert selling.promised.unsold(), "C2: an ask without backing was filled"
    return selling.promised
