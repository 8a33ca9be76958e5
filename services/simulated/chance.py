"""Chance that follows from a seed. Pure: the module `random` stays outside, and a draw can be made again by its name.

dice = Dice("7/demo-buyer")
dice.below(6)                       # the next draw
drawn("7", contract, "minutes")     # always the same one, also after a restart
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


def drawn(*names: object) -> int:
    """A number of 64 bits that belongs to these names."""
    return int.from_bytes(blake2b("/".join(map(str, names)).encode(), digest_size=8).digest())


class Dice:
    """One stream of draws. Two seeds, two streams: a member that draws once more does not change what another does."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._draws = 0

    def below(self, bound: int) -> int:
        """0 to `bound` - 1, each as likely (but for one in 2**64)."""
        assert bound > 0
        self._draws += 1
        return drawn(self._seed, self._draws) % bound

    def between(self, low: int, high: int) -> int:
        """Both ends included."""
        return low + self.below(high - low + 1)

    def near(self, bound: int) -> int:
        """0 to `bound` - 1, the low ones likelier."""
        return min(self.below(bound), self.below(bound))

    def pick(self, things: Sequence[T]) -> T:
        """One of them."""
        return things[self.below(len(things))]

    def weighed(self, weights: dict[T, int]) -> T:
        """One of the keys, as likely as it weighs; at least one weighs something."""
        place = self.below(sum(weights.values()))
        for thing, weight in weights.items():
            place -= weight
            if place < 0:
                return thing
        raise AssertionError("the weights add up to more than they are")
