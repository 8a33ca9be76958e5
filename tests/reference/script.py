"""Turns intents into records of `commands`, through the bytes of the log: the only memory of a flow.

It keeps what an intent needs to become a command: time, offsets, outbox numbers, versions, what was sent. No engine is
looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from schemas import commands as cmd
from schemas.codec import FRAME_FORMAT, Malformed, decode_frame
from schemas.commands import Command, Ground, Role, SetBacking, SetClass, Side, State, Tif
from schemas.ids import class_no_of, contract_of, order_id
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE, Hour, Millis
from tests.reference.faults import BACKING_FAULTS, BAD_BODIES, BOUNDS, OTHER_VALUES, PLACE_FAULTS, UNSOUND_CLASSES
from tests.reference.flow import FrameIntent
from tests.reference.world import (
    CLASSES,
    MEMBERS,
    NEW_CLASS,
    OPENING_BACKING,
    OPERATOR,
    T0_MS,
    Member,
    cap_of,
    rules_of,
    start_of,
)

BEFORE_THE_HOUR_MS: dict[str, Millis] = {"gate": 300_000, "hour": 0, "early gate": MS_PER_HOUR}
_SELLERS = {account for account, *_ in OPENING_BACKING}
CLIENT_ID_MS: Millis = 900_000


class Record(NamedTuple):
    """One record of `commands`, decoded."""

    offset: int
    stamp_ms: Millis
    commands: Sequence[Command | Malformed]
    quarantined: bool = False


def play(frames: Iterable[FrameIntent], shard: int = 0, rate: int = 1) -> Iterator[Record]:
    """The shard's opening, and then a record a frame."""
    script = Script(shard, rate)
    yield from script.opening()
    for frame in frames:
        yield script.record(frame)


class Script:
    """One flow."""

    def __init__(self, shard: int = 0, rate: int = 1) -> None:
        self.shard = shard
        self.rate = rate
        self.stamp_ms = T0_MS
        self.time_ms = T0_MS
        """Market time as the engine must see it."""
        self.offset = 0
        self.outbox = 0
        self.drawn = 0
        self.roles = {number: member.role for number, member in MEMBERS.items()}
        self.placed: list[tuple[int, cmd.PlaceOrder]] = []
        """(order, body) of every order sent, accepted or not."""
        self.sent_ms: dict[str, Millis] = {}
        """Client id → when an order was sent under it."""
        self.awaited: cmd.PlaceOrder | None = None
        """Time has just passed to the end of its client id's use."""
        self.backed: list[SetBacking] = []
        self.versions: dict[tuple[int, int, int], int] = {}
        """(account, class, ground) → the last version sent."""
        self._index = 0

    def opening(self) -> list[Record]:
        """The shard's start, and a record of settlement's: classes, accounts with money, backing."""
        commands: list[Command] = [replace(rules, outbox=self._next_outbox()) for rules in CLASSES.values()]
        for number, member in MEMBERS.items():
            commands.append(cmd.SetAccount(self._next_outbox(), number, member.owner, member.role, 0))
            commands.append(cmd.Credit(self._next_outbox(), number, member.cash))
        commands += [
            self._backing("next", account, class_no, 0, 2, ground, lots, "cap", "next", "")
            for account, class_no, ground, lots in OPENING_BACKING
        ]
        return [self._record([start_of(self.shard, self.rate)]), self._record(commands)]

    def record(self, frame: FrameIntent) -> Record:
        """The next record."""
        alone = frame.intents[0] if len(frame.intents) == 1 else None
        if alone is not None and alone.kind == "tick":
            tick = self._tick(**alone.picks)
            self.time_ms = max(self.time_ms, self._market(tick.until_ms))
            self.stamp_ms = max(self.stamp_ms, tick.until_ms)
            return self._record([tick])
        if alone is not None and alone.kind == "quarantined":
            return self._record([])._replace(quarantined=True)
        self.stamp_ms += frame.step_ms
        target = min(self._market(self.stamp_ms), self.time_ms + 60_000 * self.rate)
        self.time_ms = max(self.time_ms, target)
        bodies = []
        for self._index, intent in enumerate(frame.intents):
            bodies.append(_MAKERS[intent.kind](self, **intent.picks))
        return self._record(bodies)

    def _record(self, bodies: Sequence[Any]) -> Record:
        """What a reader of the log finds."""
        commands: Sequence[Command | Malformed] = ()
        if bodies:
            commands = decode_frame(msgspec.msgpack.encode((FRAME_FORMAT, 1, self.offset, bodies))).commands
        record = Record(self.offset, self.stamp_ms, commands)
        self.offset += 1
        return record

    def _market(self, stamp_ms: Millis) -> Millis:
        return T0_MS + self.rate * (stamp_ms - T0_MS)

    def _hour(self, later: int) -> Hour:
        return self.time_ms // MS_PER_HOUR + later

    def _open_hour(self, class_no: int, later: int) -> Hour:
        """0: the first hour whose gate is open."""
        rules = rules_of(class_no)
        return max((self.time_ms + rules.gate_ms) // MS_PER_HOUR + 1, rules.first_hour) + later

    def _next_outbox(self, which: str = "next") -> int:
        if which != "next":
            return self.outbox + (0 if which == "repeat" else 2)
        self.outbox += 1
        return self.outbox

    # --- Members -------------------------------------------------------------------------------------------

    def _place(
        self, account: int, class_no: int, hour: int, side: str | int, lots: int, ticks: int, tif: int, flags: int, client: str,
        valid_ms: Millis, fault: str,
    ) -> cmd.PlaceOrder:  # fmt: skip
        self.drawn += 1
        rules = rules_of(class_no)
        if side == "natural":
            side = Side.SELL if account in _SELLERS else Side.BUY
        price = (rules.list_price // rules.tick + ticks) * rules.tick
        if flags & cmd.Flag.POST_ONLY:
            tif = Tif.GTC
        body = cmd.PlaceOrder(
            account, contract_of(class_no, self._open_hour(class_no, hour)), side, lots * rules.lot, price, tif, flags,
            f"c{self.drawn}" if client else "", self.time_ms + valid_ms,
        )  # fmt: skip
        if fault:
            body = replace(body, **PLACE_FAULTS[fault](body, self.time_ms, rules))
        self._sent(body)
        return body

    def _sent(self, body: cmd.PlaceOrder) -> None:
        self.placed.append((order_id(self.shard, self.offset, self._index), body))
        self.sent_ms.setdefault(body.client_id, self.time_ms)

    def _place_again(self, back: int, change: str) -> cmd.PlaceOrder | list[int]:
        """An order once more, under its own client id, as it was or with one difference."""
        named = [body for _, body in self.placed[-200:] if body.client_id]
        if not named:
            return BAD_BODIES["unknown tag"]
        body = self.awaited or named[-min(back, len(named))]
        self.awaited = None
        body = replace(body, valid_until_ms=self.time_ms + 30_000)
        if change == "hour":
            # The same wish for the hour that is open now: another order, once the id is free.
            class_no = class_no_of(body.contract) % len(CLASSES) + 1
            body = replace(body, contract=contract_of(class_no, self._open_hour(class_no, 0)))
        elif change:
            other = {"side": 3 - body.side, "tif": 5 - body.tif, "account": body.account % len(MEMBERS) + 1}
            body = replace(body, **{change: other.get(change, getattr(body, change) + 1)})
        if change:
            self._sent(body)
        return body

    def _cancel(self, back: int, by: str, account: str | int, valid_ms: Millis, fault: str) -> cmd.CancelOrder:
        order, body = self.placed[-min(back, len(self.placed))] if self.placed else (0, None)
        client_id = body.client_id if body else "none"
        if account == "own":
            account = body.account if body else 1
        number = {"order 0": 0, "order -1": -1, "order huge": 2**64 - 1}.get(fault, order if by == "id" else 0)
        assert isinstance(account, int)
        return cmd.CancelOrder(account, number, client_id, self.time_ms + valid_ms)

    def _not_offered(self, which: str) -> Command:
        hour, valid = self._hour(2), self.time_ms + 30_000
        hours = (hour, hour + 1)
        every: dict[str, Command] = {
            "range": cmd.PlaceRange(1, 1, hours, 1, 1, 10, Tif.GTC, 0, "range", valid),
            "block": cmd.PlaceBlock(2, 1, hour, 2, 1, 1, 1, 10, Tif.GTC, 0, "block", valid),
            "quotes": cmd.PutQuotes(3, 1, 1, (cmd.QuoteHour(hour, 9, 1, 11, 1),), valid),
            "amend": cmd.AmendOrder(4, 77, "amend", 1, 10, valid),
            "mass": cmd.MassCancel(5, 1, 0, 0, valid),
            "after": cmd.CancelAllAfter(6, 1_000, valid),
            "correct": cmd.CorrectCash(OPERATOR, OPERATOR + 1, 1, 2, 5, 1, "simulated"),
            "reference": cmd.MoveReference(1, 0, 12, "simulated"),
        }
        return every[which]

    # --- Settlement ----------------------------------------------------------------------------------------

    def _account(self, outbox: str, account: int, role: str | int, fault: str) -> cmd.SetAccount:
        member = MEMBERS.get(account, Member("", account, Role.MEMBER, 0))
        own = member.role if role == "own" else int(role)
        body = cmd.SetAccount(self._next_outbox(outbox), account, member.owner, own, 0)
        faults: dict[str, dict[str, int]] = {
            "owner": {"owner": member.owner + 1}, "owner 0": {"owner": 0}, "fee plan": {"fee_plan": 1},
            "account 0": {"account": 0}, "account -1": {"account": -1},
        }  # fmt: skip
        if not fault and outbox == "next" and own in {0, 1, 2}:
            self.roles[account] = Role(own)
        return replace(body, **faults.get(fault, {}))

    def _credit(self, outbox: str, account: int, amount: int) -> cmd.Credit:
        return cmd.Credit(self._next_outbox(outbox), account, amount)

    def _sweep(self, outbox: str, account: int, amount: int) -> cmd.Sweep:
        return cmd.Sweep(self._next_outbox(outbox), account, amount)

    def _backing(
        self, outbox: str, account: int, class_no: int, hour: int, hours: int, ground: str | int, lots: int, price: str | int,
        version: str | int, fault: str,
    ) -> SetBacking:  # fmt: skip
        rules = rules_of(class_no)
        if ground == "role":
            ground = Ground.PROMISED if self.roles.get(account) == Role.MARKET_MAKER else Ground.DECLARED
        cap = cap_of(rules)
        price = {"cap": cap, "cap + 1": cap + 1, "cap - 1": cap - 1}.get(str(price), price)
        if ground == Ground.DECLARED and price != -1:
            price = 0
        assert isinstance(ground, int)
        assert isinstance(price, int)
        key = (account, class_no, ground)
        last = self.versions.get(key, 0)
        number = {"next": last + 1, "same": last, "skip": last + 3}.get(str(version), version)
        assert isinstance(number, int)
        first = self._open_hour(class_no, hour)
        listed = tuple(range(first, first + hours))
        body = SetBacking(self._next_outbox(outbox), account, class_no, listed, ground, lots * rules.lot, price, number)
        if fault:
            return replace(body, **BACKING_FAULTS[fault](body))
        if outbox == "next":
            self.versions[key] = max(last, number)
            self.backed.append(body)
        return body

    def _backing_again(self, outbox: str, back: int) -> SetBacking | list[int]:
        if not self.backed:
            return BAD_BODIES["unknown tag"]
        return replace(self.backed[-min(back, len(self.backed))], outbox=self._next_outbox(outbox))

    def _cover(self, account: int, class_no: int, hour: int, lots: int) -> Command:
        """A market maker declares machines: his account is a provider's for as long as that takes."""
        if self.roles[account] != Role.PROVIDER:
            return self._account("next", account, Role.PROVIDER, "")
        return self._backing("next", account, class_no, hour, 1, Ground.DECLARED, lots, 0, "next", "")

    def _class(self, outbox: str, class_no: int, fault: str, which: int) -> SetClass:
        known = CLASSES[class_no]
        unsound = replace(NEW_CLASS, class_no=6, class_id="SIX")
        unsound = replace(unsound, **UNSOUND_CLASSES[which % len(UNSOUND_CLASSES)])
        body = {
            "": known,
            "new": NEW_CLASS,
            "other values": replace(known, **OTHER_VALUES[which % len(OTHER_VALUES)]),
            "id of another": replace(NEW_CLASS, class_no=5, class_id=known.class_id),
            "out of range": unsound,
            "at the bounds": replace(NEW_CLASS, **BOUNDS),
        }[fault]  # fmt: skip
        return replace(body, outbox=self._next_outbox(outbox))

    # --- Operators, the shard's shell, and nobody ------------------------------------------------------------

    def _state(self, class_no: int, hour: int | None, state: int) -> cmd.SetState:
        return cmd.SetState(OPERATOR, class_no, cmd.ALL_HOURS if hour is None else self._hour(hour), state, "simulated")

    def _all_open(self, class_no: int) -> cmd.SetState:
        return self._state(class_no, None, State.OPEN)

    def _engine_version(self, version: int) -> cmd.SetEngineVersion:
        return cmd.SetEngineVersion(OPERATOR, version)

    def _start(self) -> cmd.StartShard:
        return start_of(self.shard, self.rate)

    def _malformed(self, how: str) -> Any:
        return BAD_BODIES[how]

    def _tick(self, to: str, by_ms: Millis) -> cmd.Tick:
        """Time passes to a moment of market time, exactly or nearly."""
        fleeting = [body for _, body in self.placed[-60:] if body.client_id and body.tif == Tif.IOC]
        if to == "client id" and fleeting:
            self.awaited = fleeting[-1]
            target = self.sent_ms[fleeting[-1].client_id] + CLIENT_ID_MS
        elif to in BEFORE_THE_HOUR_MS:
            before = BEFORE_THE_HOUR_MS[to]
            target = ((self.time_ms + before) // MS_PER_HOUR + 1) * MS_PER_HOUR - before
        else:
            step = {"long": 12 * MS_PER_HOUR, "yesterday": -24 * MS_PER_HOUR}.get(to, MS_PER_MINUTE)
            target = self.time_ms + step
        return cmd.Tick(T0_MS + -(-(target + by_ms - T0_MS) // self.rate))


_MAKERS: dict[str, Callable[..., Any]] = {
    "place": Script._place,
    "place again": Script._place_again,
    "cancel": Script._cancel,
    "account": Script._account,
    "credit": Script._credit,
    "sweep": Script._sweep,
    "backing": Script._backing,
    "backing again": Script._backing_again,
    "cover": Script._cover,
    "class": Script._class,
    "state": Script._state,
    "all open": Script._all_open,
    "engine version": Script._engine_version,
    "start": Script._start,
    "tick": Script._tick,
    "malformed": Script._malformed,
    "not offered": Script._not_offered,
}
"""An intent's kind → what makes a body of it."""
