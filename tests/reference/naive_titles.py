"""Titles of one contract with every claim on their escrow: docs/decisions/002-ledger.md, "Titles", done slowly.

Pure. Nothing is kept that can be counted: what an account holds or owes is found anew by walking a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.commands import Ground
from schemas.events import TitleMove
from schemas.units import Gpus, Micros, portion

FORWARD = (Ground.DECLARED, Ground.PROMISED)
"""Grounds of new titles, in the order in which they are used up."""
GROUNDS = (*FORWARD, Ground.READY)
CLOSING = (Ground.PROMISED, Ground.DECLARED)
"""Grounds of owed titles, in the order in which they are bought back."""


@dataclass(eq=False)
class Title:
    """One title. Its escrow has two complete lists of owners, equal at every moment."""

    number: int
    obligor: int
    holder: int
    ground: int
    qty: Gpus
    escrow: Micros
    proceeds: Micros
    cost: Micros
    fees: Micros
    minutes: int = 60
    """What is left of the hour where it was sold while it ran."""
    gains: dict[int, Micros] = field(default_factory=dict)
    losses: dict[int, Micros] = field(default_factory=dict)

    def delivered(self) -> list[Micros]:
        """Claims if delivered, in their fixed order."""
        return [self.proceeds, *(self.gains[account] for account in sorted(self.gains)), self.fees]

    def not_delivered(self) -> list[Micros]:
        """Claims if not delivered, in their fixed order."""
        return [self.cost, *(self.losses[account] for account in sorted(self.losses))]

    def check(self) -> None:
        """C6: escrow = claims if delivered = claims if not; no claim is negative."""
        assert self.qty > 0, self
        assert self.escrow == sum(self.delivered()) == sum(self.not_delivered()), f"C6: {self}"
        assert min(self.delivered() + self.not_delivered()) >= 0, f"C6, a negative claim: {self}"

    def gain(self, account: int, amount: Micros) -> None:
        """Only if delivered."""
        self.gains[account] = self.gains.get(account, 0) + amount

    def lose(self, account: int, amount: Micros) -> None:
        """Only if not delivered."""
        self.losses[account] = self.losses.get(account, 0) + amount


@dataclass
class Released:
    """Cash that a fill frees at once, apart from what the buyer pays."""

    seller: Micros = 0
    buyer: Micros = 0


class Numbers:
    """Dense numbers from 1."""

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        self.last += 1
        return self.last


class Titles:
    """All titles of one contract."""

    def __init__(self) -> None:
        self.holding: list[Title] = []
        """Oldest first: who holds what is read off this list, first in first out."""
        self.owing: list[Title] = []
        """Oldest first within each ground: who owes what is read off this list."""
        self.closed: list[Title] = []
        """Bought back by their own obligor: no obligor and no holder are left."""
        self.running: list[Title] = []
        """Sold while the hour ran, on `READY`: nobody resells them and they close nothing, so they stand apart."""

    def held_by(self, account: int) -> list[Title]:
        return [title for title in self.holding if title.holder == account]

    def owed_by(self, account: int, ground: int) -> list[Title]:
        return [title for title in self.owing if title.obligor == account and title.ground == ground]

    def held(self, account: int) -> Gpus:
        return sum(title.qty for title in self.held_by(account))

    def owed(self, account: int, ground: int) -> Gpus:
        if ground == Ground.READY:
            return sum(title.qty for title in self.running if title.obligor == account)
        return sum(title.qty for title in self.owed_by(account, ground))

    def owes(self, ground: int) -> set[int]:
        """Accounts that owe on the ground."""
        return {title.obligor for title in self.owing + self.running if title.ground == ground}

    @property
    def alive(self) -> list[Title]:
        """All that somebody holds."""
        return self.holding + self.running

    def escrow(self) -> Micros:
        return sum(title.escrow for title in self.alive + self.closed)

    def check(self) -> None:
        """C1 and C6, and that nobody both holds and owes."""
        if not self.alive + self.owing + self.closed:
            return
        assert {id(title) for title in self.holding} == {id(title) for title in self.owing}, "C1: held is not owed"
        numbers = [title.number for title in self.alive + self.closed]
        assert len(numbers) == len(set(numbers)), f"a number twice: {numbers}"
        for title in self.alive + self.closed:
            title.check()
        assert all(title.ground in FORWARD and title.minutes == 60 for title in self.owing)
        assert all(t.ground == Ground.READY and t.obligor and t.holder and t.minutes for t in self.running)
        holders = {title.holder for title in self.holding}
        obligors = {title.obligor for title in self.owing}
        assert not holders & obligors, f"hold and owe at once: {holders & obligors}"
        assert 0 not in holders | obligors
        assert all((t.obligor, t.holder, t.proceeds, t.cost) == (0, 0, 0, 0) for t in self.closed)

    # --- Changes -------------------------------------------------------------------------------------------

    def split(self, title: Title, k: Gpus, numbers: Numbers) -> Title:
        """Cut k GPUs off; the piece has a new number and stands right behind the rest in both queues."""
        if k == title.qty:
            return title
        assert 0 < k < title.qty
        delivered, delivered_rest = _shares(title.delivered(), k, title.qty)
        failed, failed_rest = _shares(title.not_delivered(), k, title.qty)
        gainers, losers = sorted(title.gains), sorted(title.losses)
        piece = Title(
            number=numbers.next(),
            obligor=title.obligor,
            holder=title.holder,
            ground=title.ground,
            qty=k,
            escrow=title.escrow * k // title.qty,
            proceeds=delivered[0],
            cost=failed[0],
            fees=delivered[-1],
            gains=dict(zip(gainers, delivered[1:-1], strict=True)),
            losses=dict(zip(losers, failed[1:], strict=True)),
        )
        title.qty -= k
        title.escrow -= piece.escrow
        title.proceeds, title.cost, title.fees = delivered_rest[0], failed_rest[0], delivered_rest[-1]
        title.gains = dict(zip(gainers, delivered_rest[1:-1], strict=True))
        title.losses = dict(zip(losers, failed_rest[1:], strict=True))
        self.holding.insert(self.holding.index(title) + 1, piece)
        self.owing.insert(self.owing.index(title) + 1, piece)
        piece.check()
        title.check()
        return piece

    def move_to_declared(self, title: Title) -> None:
        """Machines stand behind a promise now: it is the youngest of what is owed on that ground."""
        title.ground = Ground.DECLARED
        self.owing.remove(title)
        self.owing.append(title)

    def trade_running(
        self, buyer: int, seller: int, qty: Gpus, minutes: int, net: Micros, fees: Micros, numbers: Numbers
    ) -> tuple[TitleMove, ...]:
        """One fill of the rest of an hour: always a new title, whatever buyer and seller have."""
        cost = net + fees
        title = Title(numbers.next(), seller, buyer, Ground.READY, qty, cost, net, cost, fees, minutes)
        self.running.append(title)
        title.check()
        return (TitleMove(0, title.number, Ground.READY, qty, net, cost, 0),)

    def trade(
        self,
        buyer: int,
        seller: int,
        qty: Gpus,
        net: Micros,
        fees: Micros,
        room: dict[int, Gpus],
        numbers: Numbers,
        released: Released,
    ) -> tuple[TitleMove, ...]:
        """One fill: the seller's titles meet the buyer's, piece by piece. `room`: GPUs of new titles per ground."""
        moves: list[TitleMove] = []
        done = 0
        while done < qty:
            sold = next(iter(self.held_by(seller)), None)
            owed = next((title for ground in CLOSING for title in self.owed_by(buyer, ground)), None)
            ground = 0 if sold else next(ground for ground in FORWARD if room[ground])
            k = min(qty - done, sold.qty if sold else room[ground])
            if owed:
                k = min(k, owed.qty)
            move = self._piece(
                buyer, seller, k, portion(net, done, k, qty), portion(fees, done, k, qty), sold, owed, ground, numbers
            )
            if not sold:
                room[ground] -= k
            released.seller += move.released_seller
            released.buyer += move.released_buyer
            moves.append(move)
            done += k
        return tuple(moves)

    def _piece(
        self,
        buyer: int,
        seller: int,
        k: Gpus,
        net: Micros,
        fees: Micros,
        sold: Title | None,
        owed: Title | None,
        ground: int,
        numbers: Numbers,
    ) -> TitleMove:
        cost = net + fees
        if sold is None:
            source, released_seller = 0, 0
            title = Title(numbers.next(), seller, buyer, ground, k, cost, net, cost, fees)
            self.owing.append(title)
            self.holding.append(title)
        else:
            source = sold.number
            title = self.split(sold, k, numbers)
            released_seller = self._resell(title, buyer, seller, net, fees)
        move = (source, title.number, ground, k, net, cost, released_seller)
        if owed is None:
            return TitleMove(*move)
        if owed is sold:
            return TitleMove(*move, title.number, title.number, self._close_own(title, buyer, cost))
        closes = owed.number
        survivor = self.split(owed, k, numbers)
        released_buyer = self._buy_back(title, survivor, buyer, cost)
        return TitleMove(*move, closes, survivor.number, released_buyer)

    def _resell(self, title: Title, buyer: int, seller: int, net: Micros, fees: Micros) -> Micros:
        released = min(net, title.cost)
        cost = net + fees
        title.escrow += cost - released
        title.gain(seller, net - released)
        title.lose(seller, title.cost - released)
        title.cost = cost
        title.fees += fees
        title.holder = buyer
        self.holding.remove(title)
        self.holding.append(title)
        title.check()
        return released

    def _buy_back(self, bought: Title, owed: Title, buyer: int, cost: Micros) -> Micros:
        """The bought title's obligor takes the buyer's place in the owed one; the bought one is gone."""
        released = min(owed.proceeds, cost)
        owed.escrow += bought.escrow - released
        owed.fees += bought.fees
        for account, amount in bought.gains.items():
            owed.gain(account, amount)
        for account, amount in bought.losses.items():
            owed.lose(account, amount)
        owed.gain(buyer, owed.proceeds - released)
        owed.lose(buyer, cost - released)
        owed.obligor, owed.ground, owed.proceeds = bought.obligor, bought.ground, bought.proceeds
        self.owing.remove(owed)
        self.owing[self.owing.index(bought)] = owed
        self.holding.remove(bought)
        owed.check()
        return released

    def _close_own(self, title: Title, buyer: int, cost: Micros) -> Micros:
        released = min(title.proceeds, cost)
        title.escrow -= released
        title.gain(buyer, title.proceeds - released)
        title.lose(buyer, cost - released)
        title.proceeds = title.cost = title.obligor = title.holder = 0
        self.holding.remove(title)
        self.owing.remove(title)
        self.closed.append(title)
        title.check()
        return released


def _shares(claims: list[Micros], k: Gpus, qty: Gpus) -> tuple[list[Micros], list[Micros]]:
    """What of each claim goes with the piece of k, and what stays: differences of the floors of prefix sums."""
    sums = [sum(claims[:i]) for i in range(len(claims) + 1)]
    piece = [sums[i + 1] * k // qty - sums[i] * k // qty for i in range(len(claims))]
    return piece, [claim - share for claim, share in zip(claims, piece, strict=True)]
