"""What a flow remembers of itself: what an intent needs to become a command, and nothing that an engine knows."""

from __future__ import annotations

from typing import NamedTuple

from schemas import commands as cmd
from schemas.commands import SetBacking
from schemas.ids import order_id
from schemas.units import MS_PER_HOUR, Gpus, Hour, Millis, Price
from tests.reference.world import MEMBERS, T0_MS, rules_of

Named = cmd.PlaceOrder | cmd.PlaceRange | cmd.PlaceBlock
"""Bodies that may have a client id."""


class Setting(NamedTuple):
    """How a shard is started."""

    shard: int = 0
    rate: int = 1
    version: int = 1
    retries_max: int = 64
    """The bound of block retries per record; of the engine's version, and smaller where it is to be reached."""


class Sent(NamedTuple):
    """An order that somebody sent, accepted or not: enough to cancel or amend it."""

    number: int
    account: int
    client_id: str
    class_no: int
    qty: Gpus
    price: Price
    rests: bool = True
    """It may have come to rest."""


class Memory:
    """Of one flow."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.stamp_ms = T0_MS
        self.time_ms = T0_MS
        """Market time as the engine must see it."""
        self.offset = 0
        self.outbox = 0
        self.drawn = 0
        self.roles = {number: member.role for number, member in MEMBERS.items()}
        self.sent: list[Sent] = []
        """Orders, blocks, legs and quotes."""
        self.named: list[Named] = []
        """Those with a client id."""
        self.sent_ms: dict[str, Millis] = {}
        """Client id → when something was sent under it."""
        self.awaited: Named | None = None
        """Time has just passed to the end of its client id's use."""
        self.moments_ms: dict[str, Millis] = {}
        """What was asked for last that time brings: an expiry, a dead man's switch, a reopening."""
        self.quote_numbers: dict[tuple[int, int], int] = {}
        self.backed: list[SetBacking] = []
        self.approval = "a"
        """The last one that was given."""
        self.versions: dict[tuple[int, int, int], int] = {}
        """(account, class, ground) → the last version sent."""
        self.index = 0
        """Of the command at hand in its frame."""

    def hour(self, later: int) -> Hour:
        return self.time_ms // MS_PER_HOUR + later

    def open_hour(self, class_no: int, later: int) -> Hour:
        """0: the first hour whose gate is open; -1: the one that runs, if any does."""
        rules = rules_of(class_no)
        return max((self.time_ms + rules.gate_ms) // MS_PER_HOUR + 1, rules.first_hour) + later

    def next_outbox(self, which: str = "next") -> int:
        if which != "next":
            return self.outbox + (0 if which == "repeat" else 2)
        self.outbox += 1
        return self.outbox

    def order_id(self, leg: int = 0) -> int:
        """Of the command at hand."""
        return order_id(self.setting.shard, self.offset, self.index, leg)

    def remember(self, body: Named) -> None:
        """Something was sent under a client id."""
        if body.client_id:
            self.named.append(body)
        self.sent_ms.setdefault(body.client_id, self.time_ms)
        if self.time_ms < body.expires_ms < self.time_ms + MS_PER_HOUR:
            self.moments_ms["expiry"] = body.expires_ms
