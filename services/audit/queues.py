"""In which order titles come: oldest first, on the holder's side and on the obligor's. Pure.

Written from docs/decisions/002-ledger.md, Titles 2 to 5. Each step says whether it took the title whose turn it was; a title
that is not where it should be is no reason to stop: the queues go on, so that one fault is told once.
"""

from __future__ import annotations

from collections import defaultdict

from schemas.commands import Ground

Account = int
Contract = int
Number = int


class Queues:
    """Numbers of titles, oldest first."""

    def __init__(self) -> None:
        self.held: defaultdict[tuple[Account, Contract], list[Number]] = defaultdict(list)
        self.owed: defaultdict[tuple[Account, Contract, int], list[Number]] = defaultdict(list)
        """By ground."""

    def sold(self, seller: Account, contract: Contract, source: Number, piece: Number) -> bool:
        """A title held (0: a new one, which is right only when nothing is held) leaves the seller, whole or as `piece`."""
        held = self.held[seller, contract]
        if source == 0:
            return not held
        in_turn = held[:1] == [source]
        if source == piece and source in held:
            held.remove(source)
        return in_turn

    def bought(self, buyer: Account, contract: Contract, title: Number) -> bool:
        """The buyer holds it from now on; right only when he owes nothing."""
        self.held[buyer, contract].append(title)
        return self.next_owed(buyer, contract) == 0

    def owes(self, obligor: Account, contract: Contract, ground: int, title: Number) -> None:
        """A new title, or one that comes over from another ground."""
        self.owed[obligor, contract, ground].append(title)

    def next_owed(self, obligor: Account, contract: Contract) -> Number:
        """The one that a purchase closes first: promised before declared; 0: none."""
        for ground in (Ground.PROMISED, Ground.DECLARED):
            if queue := self.owed[obligor, contract, ground]:
                return queue[0]
        return 0

    def split_owed(self, obligor: Account, contract: Contract, ground: int, title: Number, piece: Number) -> None:
        """The piece stands right behind the rest among what the obligor owes."""
        _behind(self.owed[obligor, contract, ground], title, piece)

    def split_held(self, holder: Account, contract: Contract, title: Number, piece: Number) -> None:
        """The same among what the holder has."""
        _behind(self.held[holder, contract], title, piece)

    def settled(self, obligor: Account, contract: Contract, ground: int, title: Number) -> None:
        """The obligor owes it no more."""
        queue = self.owed[obligor, contract, ground]
        if title in queue:
            queue.remove(title)

    def replaced(self, obligor: Account, contract: Contract, ground: int, old: Number, new: Number) -> None:
        """Another title takes the very place of `old`."""
        queue = self.owed[obligor, contract, ground]
        if old in queue:
            queue[queue.index(old)] = new

    def ended(self, contract: Contract) -> None:
        """The hour is over."""
        for held in [key for key in self.held if key[1] == contract]:
            del self.held[held]
        for owed in [key for key in self.owed if key[1] == contract]:
            del self.owed[owed]


def _behind(queue: list[Number], title: Number, piece: Number) -> None:
    if title in queue:
        queue.insert(queue.index(title) + 1, piece)
