"""Titles and the claims on their escrow: `docs/decisions/002-ledger.md`, section Titles, applied step by step. Pure.

The engine decides and says every number of a move. This book keeps who has which claim and works each number out again: a
difference is a `Contradiction`, because from there on nobody knows whose the money is.

For each title, at every moment (C6): escrow = proceeds + gains + fees (if delivered) = cost + losses (if not).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from schemas.events import Filled, TitleCovered, TitleEnded, TitleMove
from schemas.units import Gpus, Micros, portion
from services.settlement.backing import READY, BackingBook
from services.settlement.changes import Changes
from services.settlement.ledger import Contradiction
from services.settlement.rows import Claim, Title

NOBODY_ELSE: Final[Mapping[int, int]] = {}


class TitleBook:
    """Titles of one shard that are not paid out yet."""

    def __init__(self, shard: int, changes: Changes, backing: BackingBook) -> None:
        self.shard = shard
        self.titles: dict[int, Title] = {}
        self.claims: dict[int, dict[int, Claim]] = {}
        """Title → account → claim; most titles have none."""
        self.of_contract: dict[int, set[int]] = {}
        self._owe = backing.owe
        self._changes = changes

    def load(self, titles: Iterable[Title], claims: Iterable[Claim]) -> None:
        """Take up what a database held."""
        for title in titles:
            self._put(title)
            self.claims[title.title] = {}
        for claim in claims:
            self.claims[claim.title][claim.account] = claim
        self.claims = {number: of_title for number, of_title in self.claims.items() if of_title}
        for title in self.titles.values():
            self.check(title)

    # --- A fill ------------------------------------------------------------------------------------------------

    def fill(self, fill: Filled, *, running: bool) -> tuple[Micros, Micros, Micros]:
        """Apply every move of a fill. `running`: of the contract's running phase. Raises Contradiction.

        Returns cash summed over the moves: what the buyer pays into escrow, what is released from it to the seller, to the buyer.
        """
        net_all = fill.notional - fill.seller_fee
        fees_all = fill.seller_fee + fill.buyer_fee
        done = cost = to_seller = to_buyer = 0
        for move in fill.moves:
            if move.qty == fill.qty:
                net, fees = net_all, fees_all  # nearly every fill; the portions of a whole are the whole
            else:
                net = portion(net_all, done, move.qty, fill.qty)
                fees = portion(fees_all, done, move.qty, fill.qty)
            done += move.qty
            if move.qty <= 0 or done > fill.qty or move.net != net or move.cost != net + fees:
                raise Contradiction(
                    f"trade {fill.trade}: {move} of {fill.qty}, net {net} and cost {net + fees} are due"
                )
            if (move.ground == READY) is not running:
                raise Contradiction(f"trade {fill.trade}: {move} on this ground, running is {running}")
            title = self._sell(fill, move, fees)
            if move.closes:
                if running:
                    raise Contradiction(f"trade {fill.trade}: {move} closes a title with a running one")
                title = self._buy_back(fill, move, title)
            self.check(title)
            cost += move.cost
            to_seller += move.released_seller
            to_buyer += move.released_buyer
        if done != fill.qty:
            raise Contradiction(f"trade {fill.trade}: moves of {done} GPUs for a fill of {fill.qty}")
        return cost, to_seller, to_buyer

    def _sell(self, fill: Filled, move: TitleMove, fees: Micros) -> Title:
        """Rule 4: a new title, or a piece of one that the seller holds, goes to the buyer."""
        if move.source == 0:
            if move.released_seller:
                raise Contradiction(f"trade {fill.trade}: a new title releases {move.released_seller}")
            title = Title(
                fill.contract,
                move.title,
                self.shard,
                fill.seller,
                fill.buyer,
                move.ground,
                move.qty,
                fill.minutes,
                move.cost,
                move.net,
                move.cost,
                fees,
                "live",
            )
            self._add(title)
            self._owe(fill.seller, fill.contract, move.ground, move.qty)
            return title
        title = self._cut(fill.contract, move.source, move.title, move.qty)
        released = min(move.net, title.cost)
        if title.holder != fill.seller or title.minutes != fill.minutes or move.released_seller != released:
            raise Contradiction(f"trade {fill.trade}: {move} of {title}, {released} is due to the seller")
        self._claim(title.title, fill.seller, move.net - released, title.cost - released)
        title.escrow += move.cost - released
        title.cost = move.cost
        title.fees += fees
        title.holder = fill.buyer
        self._changed(title)
        return title

    def _buy_back(self, fill: Filled, move: TitleMove, bought: Title) -> Title:
        """Rule 5: the buyer owed `move.closes`; the obligor of the bought title takes his place there."""
        own = move.closes == move.title
        owed = bought if own else self._cut(fill.contract, move.closes, move.closed, move.qty)
        released = min(owed.proceeds, move.cost)
        if owed.obligor != fill.buyer or owed.qty != bought.qty or move.released_buyer != released:
            raise Contradiction(f"trade {fill.trade}: {move} closes {owed}, {released} is due to the buyer")
        if own and move.closed != move.closes:
            raise Contradiction(f"trade {fill.trade}: {move} buys back {move.closes} and keeps {move.closed}")
        self._owe(fill.buyer, fill.contract, owed.ground, -owed.qty)
        gain, loss = owed.proceeds - released, move.cost - released
        if own:
            owed.escrow -= released
            owed.proceeds = owed.cost = 0
            owed.obligor = owed.holder = 0
            owed.state = "closed"
        else:
            owed.escrow += bought.escrow - released
            owed.proceeds, owed.fees = bought.proceeds, owed.fees + bought.fees
            owed.obligor, owed.ground = bought.obligor, bought.ground
            for claim in self._drop(bought):
                self._claim(owed.title, claim.account, claim.gain, claim.loss)
        self._claim(owed.title, fill.buyer, gain, loss)
        self._changed(owed)
        return owed

    # --- Other moves -------------------------------------------------------------------------------------------

    def cover(self, event: TitleCovered) -> None:
        """A title, or a piece split off, moves to another ground. Raises Contradiction."""
        title = self._cut(event.contract, event.source, event.title, event.qty)
        self._owe(title.obligor, title.contract, title.ground, -title.qty)
        title.ground = event.ground
        self._owe(title.obligor, title.contract, title.ground, title.qty)
        self._changed(title)
        self.check(title)
        if event.source != event.title:
            self.check(self.titles[event.source])

    def end(self, event: TitleEnded) -> None:
        """The title's hour is over; the engine says all it knows of it. Raises Contradiction."""
        title = self._live(event.contract, event.title)
        ours = (
            title.obligor,
            title.holder,
            title.ground,
            title.qty,
            title.minutes,
            title.proceeds,
            title.cost,
            title.escrow,
        )
        said = (
            event.obligor,
            event.holder,
            event.ground,
            event.qty,
            event.minutes,
            event.proceeds,
            event.cost,
            event.escrow,
        )
        if ours != said:
            raise Contradiction(f"title {title.title} ends as {said}, ours is {ours}")
        title.state = "ended"
        self._changed(title)

    def end_contract(self, contract: int) -> tuple[int, Micros]:
        """(titles that ended, escrow with that of closed titles). Raises Contradiction when one is still live."""
        titles = self.of(contract)
        for title in titles:
            if title.state == "live":
                raise Contradiction(f"contract {contract} has ended, its title {title.title} has not")
        ended = sum(title.state == "ended" for title in titles)
        for title in titles:
            if title.state == "closed":
                title.state = "ended"
                self._changed(title)
        return ended, sum(title.escrow for title in titles)

    def of(self, contract: int) -> list[Title]:
        """Titles of a contract that are not paid out, by number."""
        return [self.titles[number] for number in sorted(self.of_contract.get(contract, ()))]

    def settle(self, title: Title) -> None:
        """It has been paid out: it keeps its row, and leaves the memory."""
        assert title.state == "ended", f"{title} is paid out"
        title.state = "settled"
        self._changed(title)
        self._forget(title)
        self.claims.pop(title.title, None)

    def claims_of(self, title: Title) -> list[Claim]:
        """Gains and losses on the title, by account."""
        of_title = self.claims.get(title.title, {})
        return [of_title[account] for account in sorted(of_title)]

    def check(self, title: Title) -> None:
        """C6."""
        if title.title in self.claims:
            gains = sum(claim.gain for claim in self.claims[title.title].values())
            losses = sum(claim.loss for claim in self.claims[title.title].values())
        else:
            gains = losses = 0
        if_delivered, if_not = title.proceeds + gains + title.fees, title.cost + losses
        assert title.escrow == if_delivered == if_not, f"C6: {title} has claims of {if_delivered} and {if_not}"
        assert min(title.proceeds, title.cost, title.fees) >= 0, f"C6: {title} has a negative claim"

    # --- Helpers -----------------------------------------------------------------------------------------------

    def _cut(self, contract: int, number: int, piece: int, qty: Gpus) -> Title:
        """Rule 3: the title itself when `piece` is its number, else a piece of `qty` split off under that number."""
        title = self._live(contract, number)
        if piece == number:
            if title.qty != qty:
                raise Contradiction(f"title {number} has {title.qty} GPUs, the whole of it would be {qty}")
            return title
        if not 0 < qty < title.qty:
            raise Contradiction(f"title {number} has {title.qty} GPUs, a piece of {qty} was split off")
        return self._split(title, piece, qty)

    def _split(self, title: Title, piece: int, k: Gpus) -> Title:
        """Every claim gives the piece its share by prefix sums, so that both of its lists sum to floor(e × k / q)."""
        q = title.qty
        claims = self.claims_of(title)
        if_delivered = _shares([title.proceeds, *(claim.gain for claim in claims), title.fees], k, q)
        if_not = _shares([title.cost, *(claim.loss for claim in claims)], k, q)
        new = Title(
            title.contract,
            piece,
            title.shard,
            title.obligor,
            title.holder,
            title.ground,
            k,
            title.minutes,
            title.escrow * k // q,
            if_delivered[0],
            if_not[0],
            if_delivered[-1],
            title.state,
        )
        self._add(new)
        for claim, gain, loss in zip(claims, if_delivered[1:-1], if_not[1:], strict=True):
            self._claim(piece, claim.account, gain, loss)
            self._claim(title.title, claim.account, -gain, -loss)
        title.qty -= k
        title.escrow -= new.escrow
        title.proceeds -= new.proceeds
        title.cost -= new.cost
        title.fees -= new.fees
        self._changed(title)
        self.check(title)
        self.check(new)
        return new

    def _live(self, contract: int, number: int) -> Title:
        title = self.titles.get(number)
        if title is None or title.contract != contract or title.state != "live":
            raise Contradiction(f"title {number} of contract {contract} is not live here: {title}")
        return title

    def _claim(self, number: int, account: int, gain: Micros, loss: Micros) -> None:
        """Add to an account's claim on a title; a claim of nothing has no row."""
        if gain == 0 and loss == 0:
            return
        of_title = self.claims.setdefault(number, {})
        claim = of_title.get(account)
        key = (self.shard, number, account)
        if claim is None:
            claim = of_title[account] = Claim(self.shard, number, account, gain, loss)
            self._changes.claims.create(key, claim)
        else:
            claim.gain += gain
            claim.loss += loss
            self._changes.claims.change(key, claim)
        assert min(claim.gain, claim.loss) >= 0, f"C6: {claim}"
        if claim.gain == 0 and claim.loss == 0:
            self._changes.claims.remove(key)
            del of_title[account]
            if not of_title:
                del self.claims[number]

    def _add(self, title: Title) -> None:
        if title.title in self.titles:
            raise Contradiction(f"title {title.title} is given twice")
        self._put(title)
        self._changes.titles.create((title.contract, title.title), title)

    def _put(self, title: Title) -> None:
        self.titles[title.title] = title
        of_contract = self.of_contract.get(title.contract)
        if of_contract is None:
            of_contract = self.of_contract[title.contract] = set()
        of_contract.add(title.title)

    def _changed(self, title: Title) -> None:
        self._changes.titles.change((title.contract, title.title), title)

    def _drop(self, title: Title) -> list[Claim]:
        """A title that another has taken up: no row stays. Its claims, to be added there."""
        claims = self.claims_of(title)
        self.claims.pop(title.title, None)
        for claim in claims:
            self._changes.claims.remove((self.shard, title.title, claim.account))
        self._changes.titles.remove((title.contract, title.title))
        self._forget(title)
        return claims

    def _forget(self, title: Title) -> None:
        del self.titles[title.title]
        numbers = self.of_contract[title.contract]
        numbers.remove(title.title)
        if not numbers:
            del self.of_contract[title.contract]


def _shares(amounts: list[int], k: int, q: int) -> list[int]:
    """The share k / q of each amount: differences of floor(prefix sum × k / q)."""
    shares, prefix, given = [], 0, 0
    for amount in amounts:
        prefix += amount
        up_to_here = prefix * k // q
        shares.append(up_to_here - given)
        given = up_to_here
    return shares


def pay_out(
    title: Title, claims: list[Claim], undelivered: int, refunds: Mapping[int, int] = NOBODY_ELSE
) -> dict[int, Micros]:
    """Rule 6: account (0: treasury) → µUSD out of the title's escrow, when so many of its minutes were not delivered.

    `refunds`: who went without, with GPU-minutes, where it was not the holder, as machines were exchanged. They share the
    holder's claim by these; each of them has paid as much for his own title (decision 015).
    """
    m = title.minutes
    u = 0 if title.obligor == 0 else undelivered
    assert 0 <= u <= m, f"{undelivered} minutes of {title} not delivered"
    paid: dict[int, Micros] = {}

    def pay(account: int, amount: Micros) -> None:
        paid[account] = paid.get(account, 0) + amount

    pay(title.obligor, title.proceeds * (m - u) // m)
    back = title.cost * u // m
    without = sorted(refunds.items()) or [(title.holder, 1)]
    weights = [minutes for _, minutes in without]
    for (account, _), share in zip(without, _shares(weights, back, sum(weights)), strict=True):
        pay(account, share)
    for claim in claims:
        pay(claim.account, claim.gain * (m - u) // m)
        pay(claim.account, claim.loss * u // m)
    pay(0, title.fees * (m - u) // m)
    pay(title.holder, title.escrow - sum(paid.values()))
    assert sum(paid.values()) == title.escrow, f"C6: {paid} of {title}"
    assert min(paid.values()) >= 0, f"C6: {paid} of {title}"
    return {account: amount for account, amount in paid.items() if amount}
