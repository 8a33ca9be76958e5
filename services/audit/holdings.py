"""Titles: who owes and who holds an hour, and who owns its escrow. C1, C2, C6, D4, M6. Pure.

docs/decisions/002-ledger.md, Titles 1 to 7, step by step; a running title stands apart from all others.
"""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import Ground
from schemas.units import Gpus
from services.audit.arithmetic import share
from services.audit.market import WITH_COLLATERAL, Contradiction, Market
from services.audit.means import Means
from services.audit.queues import Queues
from services.audit.titles import Title, split


class Holdings:
    """Every title of a shard."""

    def __init__(self, market: Market, means: Means, queues: Queues) -> None:
        self.market = market
        self.found = market.found
        self._means = means
        self._queues = queues

    def filled(self, event: ev.Filled) -> None:
        """The moves of a trade."""
        running = self.market.phase.get(event.contract) == "running"
        minutes = event.qty * event.minutes
        self.market.bought[event.contract][event.buyer, running] += minutes
        self.market.bought[event.contract][event.seller, running] -= minutes
        done = 0
        for move in event.moves:
            if running:
                self._ready(event, move, done)
            else:
                self._move(event, move, done)
            done += move.qty
        self.found.expect("C1", done == event.qty, f"trade {event.trade}: moves of {done} for {event.qty}")

    def _ready(self, event: ev.Filled, move: ev.TitleMove, done: Gpus) -> None:
        """The rest of an hour: a new title of what is ready. It closes nothing, and nobody sells it on."""
        name = f"trade {event.trade}, title {move.title}"
        self._check_share(event, move, done, name)
        self.found.saw("C6", "titles")
        self.found.saw("C6", "running trades")
        apart = (move.source, move.closes, move.closed, move.released_buyer) == (0, 0, 0, 0)
        self.found.expect("C6", apart, f"{name}: {move} touches another title")
        self.market.cash[event.buyer] -= move.cost
        title = self._new_title(event, move, name)
        self.found.expect("C6", title.balanced, f"{name}: {title.escrow} != {title.if_delivered} or {title.if_not}")

    def _check_share(self, event: ev.Filled, move: ev.TitleMove, done: Gpus, name: str) -> None:
        net = share(event.notional - event.seller_fee, done, move.qty, event.qty)
        fees = share(event.seller_fee + event.buyer_fee, done, move.qty, event.qty)
        self.found.expect(
            "M6",
            (move.net, move.cost) == (net, net + fees),
            f"{name}: net {move.net}, cost {move.cost}; {net}, {fees} due",
        )

    def _move(self, event: ev.Filled, move: ev.TitleMove, done: Gpus) -> None:
        """docs/decisions/002-ledger.md, Titles 2 to 5."""
        name = f"trade {event.trade}, title {move.title}"
        self._check_share(event, move, done, name)
        self.found.saw("C6", "titles")
        self.market.cash[event.buyer] -= move.cost
        next_owed = self._queues.next_owed(event.buyer, event.contract)
        in_turn = self._queues.sold(event.seller, event.contract, move.source, move.title)
        self.found.expect("C6", in_turn, f"{name}: {move.source} is not the oldest that account {event.seller} holds")
        title = self._new_title(event, move, name) if move.source == 0 else self._resold(event, move, name)
        if move.closes:
            title = self._bought_back(event, move, title, next_owed)
        else:
            in_turn = self._queues.bought(event.buyer, event.contract, move.title)
            self.found.expect("C6", in_turn, f"{name}: account {event.buyer} owes, and closes nothing")
            title.holder = event.buyer
            self.market.held[event.buyer, event.contract] += move.qty
        self.found.expect("C6", title.balanced, f"{name}: {title.escrow} != {title.if_delivered} or {title.if_not}")

    def _new_title(self, event: ev.Filled, move: ev.TitleMove, name: str) -> Title:
        self._number(move.title, name)
        seller, contract = event.seller, event.contract
        running = self.market.phase.get(contract) == "running"
        declared, on_ground = (self._means.unsold(seller, contract, g) for g in (Ground.DECLARED, move.ground))
        first = Ground.READY if running else Ground.DECLARED
        fits = move.qty <= on_ground and (
            move.ground == first or (move.ground == Ground.PROMISED and not running and declared == 0)
        )
        self.found.expect("C2", fits, f"{name}: {move.qty} sold on ground {move.ground}, where {on_ground} were unsold")
        self.found.expect("C6", move.released_seller == 0, f"{name}: {move.released_seller} released for a new title")
        title = Title(
            contract,
            seller,
            event.buyer,
            move.ground,
            move.qty,
            event.minutes,
            move.cost,
            move.net,
            move.cost,
            move.cost - move.net,
        )
        self.market.titles[move.title] = title
        self.market.titles_of[contract].add(move.title)
        self.market.owed[seller, contract, move.ground] += move.qty
        self._queues.owes(seller, contract, move.ground, move.title)
        if move.ground in WITH_COLLATERAL:
            self.market.collateral_contracts[seller].add(contract)
        return title

    def _resold(self, event: ev.Filled, move: ev.TitleMove, name: str) -> Title:
        title = self._piece(move.source, move.title, move.qty, name)
        if move.title != move.source:
            self._queues.split_owed(title.obligor, title.contract, title.ground, move.source, move.title)
        fits = (title.holder, title.minutes) == (event.seller, event.minutes)
        self.found.expect("C6", fits, f"{name}: sold by {event.seller} for {event.minutes} minutes, it is {title}")
        released = min(move.net, title.cost)
        self.found.expect(
            "C6", move.released_seller == released, f"{name}: released {move.released_seller}, {released} due"
        )
        self.market.cash[event.seller] += released
        self.market.held[event.seller, event.contract] -= move.qty
        title.escrow += move.cost - released
        title.gains[event.seller] = title.gains.get(event.seller, 0) + move.net - released
        title.losses[event.seller] = title.losses.get(event.seller, 0) + title.cost - released
        title.cost = move.cost
        title.fees += move.cost - move.net
        return title

    def _bought_back(self, event: ev.Filled, move: ev.TitleMove, bought: Title, next_owed: int) -> Title:
        """`next_owed`: what the buyer owed first, before either title was cut."""
        name = f"trade {event.trade}, title {move.title}"
        own = move.closes == move.title
        wanted = move.source if own else move.closes
        self.found.expect("C6", wanted == next_owed, f"{name}: closes {wanted}, it is the turn of {next_owed}")
        ended = bought if own else self._piece(move.closes, move.closed, move.qty, name)
        self.found.expect("C6", ended.obligor == event.buyer, f"{name}: closes a title of {ended.obligor}")
        released = min(ended.proceeds, move.cost)
        self.found.expect(
            "C6", move.released_buyer == released, f"{name}: released {move.released_buyer}, {released} due"
        )
        self.market.cash[event.buyer] += released
        self.market.owed[event.buyer, event.contract, ended.ground] -= move.qty
        gain, loss = ended.proceeds - released, move.cost - released
        self._queues.settled(event.buyer, event.contract, ended.ground, move.closed)
        if own:
            ended.proceeds = ended.cost = 0
            ended.obligor = ended.holder = 0
            ended.closed = True
            ended.escrow -= released
        else:
            if move.closed != move.closes:
                self._queues.split_held(ended.holder, event.contract, move.closes, move.closed)
            self._queues.replaced(bought.obligor, event.contract, bought.ground, move.title, move.closed)
            _take_over(ended, bought)
            ended.escrow -= released
            del self.market.titles[move.title]
            self.market.titles_of[event.contract].remove(move.title)
        ended.gains[event.buyer] = ended.gains.get(event.buyer, 0) + gain
        ended.losses[event.buyer] = ended.losses.get(event.buyer, 0) + loss
        return ended

    def _piece(self, source: int, piece: int, qty: Gpus, name: str) -> Title:
        """The title itself when all of it moves, else a piece of `qty` under a new number."""
        title = self.market.title(source)
        if piece == source:
            self.found.expect("C6", title.qty == qty, f"{name}: moves {qty} of title {source} ({title.qty}) as a whole")
            return title
        self._number(piece, name)
        if not 0 < qty < title.qty:
            raise Contradiction("C6", f"{name}: cuts {qty} from title {source} of {title.qty}")
        cut = split(title, qty)
        self.market.titles[piece] = cut
        self.market.titles_of[title.contract].add(piece)
        return cut

    def _number(self, title: int, name: str) -> None:
        self.found.expect(
            "D4", title == self.market.title_last + 1, f"{name}: number {title} after {self.market.title_last}"
        )
        self.market.title_last = title

    def covered(self, event: ev.TitleCovered) -> None:
        """Machines stand behind what was promised, oldest first, as far as they go."""
        name = f"title {event.title}"
        whole = self.market.title(event.source)
        obligor, contract = whole.obligor, whole.contract
        oldest = self._queues.owed[obligor, contract, Ground.PROMISED][:1] == [event.source]
        fits = (
            oldest
            and event.ground == Ground.DECLARED
            and event.qty <= self._means.unsold(obligor, contract, event.ground)
        )
        self.found.expect("C2", fits, f"{name}: {event.qty} of title {event.source} go over to ground {event.ground}")
        title = self._piece(event.source, event.title, event.qty, name)
        if title is whole:
            self._queues.settled(obligor, contract, title.ground, event.source)
        else:
            self._queues.split_held(title.holder, contract, event.source, event.title)
        self.market.owed[obligor, contract, title.ground] -= event.qty
        title.ground = event.ground
        self.market.owed[obligor, contract, title.ground] += event.qty
        self._queues.owes(obligor, contract, title.ground, event.title)
        self.market.concerned.add((obligor, contract))


def _take_over(ended: Title, bought: Title) -> None:
    """The bought title's obligor stands in for the buyer, with all claims on both."""
    ended.escrow += bought.escrow
    ended.fees += bought.fees
    for mine, theirs in ((ended.gains, bought.gains), (ended.losses, bought.losses)):
        for account, amount in theirs.items():
            mine[account] = mine.get(account, 0) + amount
    ended.obligor, ended.ground, ended.proceeds = bought.obligor, bought.ground, bought.proceeds
