"""Golden logs: for each engine version a log that was recorded once, and must give the same bytes for ever.

    python -m tests.matching.golden 2           records the logs of version 2, if there are none
    python -m tests.matching.golden --snapshot  adds the state's hash in a new snapshot format; chains must still match

`golden/v1/clock.commands.gz` holds records of `commands` as MessagePack documents [offset, stamp, value], one after the
other; `clock.events.gz` the bodies of `events` they caused; `clock.toml` what must come out: counts, chain, hash of the
state. `sandbox` is the same for a shard whose time runs sixty times as fast. A recorded log is never recorded again: a
difference means that replaying real logs would contradict what was said, and asks for a new engine version.
"""

from __future__ import annotations

import gzip
import random
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import decode_frame, decode_record
from schemas.commands import Fees, Flag, Ground, Role, State, Tif
from schemas.events import Code, Reason
from schemas.ids import contract_of, order_id
from schemas.units import MS_PER_HOUR
from services.matching.engine import Engine
from services.matching.replica import Replica
from services.matching.snapshot import SNAPSHOT_FORMAT, state_hash
from services.runtime.log import Record
from services.runtime.positions import record_hash

FOLDER: Final = Path(__file__).parent / "golden"
LOGS: Final = {"clock": 1, "sandbox": 60}
"""Name → rate."""
COMMANDS: Final = {"clock": 4_000, "sandbox": 1_500}
SHARD: Final = 7
T0_MS: Final = 498_741 * MS_PER_HOUR + 600_000
BROKEN: Final = b"\xc1 not a frame"
pack = msgspec.msgpack.encode


class Log(NamedTuple):
    """A recorded log, and what must come out of it."""

    commands: list[Record]
    bodies: list[bytes]
    """Of `events`."""
    quarantine: dict[int, bytes]
    expected: dict[str, Any]


def versions() -> list[int]:
    """Those with golden logs."""
    return sorted(int(path.name[1:]) for path in FOLDER.iterdir())


def load(version: int, name: str) -> Log:
    """Read one log."""
    stem = FOLDER / f"v{version}" / name
    expected = tomllib.loads(stem.with_suffix(".toml").read_text(encoding="utf-8"))
    quarantine = {int(offset): bytes.fromhex(found) for offset, found in expected["quarantine"].items()}
    commands = [Record(*row) for row in _documents(stem.with_suffix(".commands.gz"))]
    return Log(commands, list(_documents(stem.with_suffix(".events.gz"))), quarantine, expected)


def _documents(path: Path) -> Iterator[Any]:
    stream = gzip.decompress(path.read_bytes())
    return iter(msgspec.msgpack.decode(stream))


# --- Recording -------------------------------------------------------------------------------------------------

OWNERS = {1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 6, 7: 7, 8: 8}
ROLES = {1: Role.PROVIDER, 3: Role.MARKET_MAKER, 4: Role.PROVIDER, 5: Role.MARKET_MAKER}
OPERATOR, STRANGER = 900, 99
CLASSES = {
    # A few µUSD and high fees: every division leaves a remainder. A lot of four, a narrow collar. Prices as they are.
    1: cmd.SetClass(0, 1, "TINY.PRICES", 1, 1, 10, Fees(30, 900, 50, 1_000), horizon_hours=4),
    2: cmd.SetClass(0, 2, "LOT.X4", 4, 50, 1_000, Fees(), 3, MS_PER_HOUR, 0, 0, 8_333, 12_345),
    3: cmd.SetClass(0, 3, "REAL.PRICES.US", 1, 5_000, 2_000_000, Fees(5, 10, 0, 50), 3, 0, 0, MS_PER_HOUR - 1),
}


class Day:
    """Draws records, one after the other, looking at the engine that answers them."""

    def __init__(self, name: str, version: int, seed: str = "golden") -> None:
        self.chance = random.Random(f"{seed}/{version}/{name}")
        self.rate = LOGS[name]
        self.version = version
        self.replica = Replica(SHARD, Engine())
        self.stamp_ms = T0_MS
        self.commands: list[Record] = []
        self.bodies: list[bytes] = []
        self.quarantine: dict[int, bytes] = {}
        self.seen: Counter[str] = Counter()
        self.outbox = 0
        self.offset = 0
        self.placed: list[tuple[int, cmd.PlaceOrder]] = []
        self.versions: Counter[tuple[int, int, int]] = Counter()
        self._index = 0
        """Of the body that is being drawn, in its frame."""

    # --- Writing ---

    def write(self, *bodies: Any) -> None:
        """One frame, as its writer packs it: bodies may be anything."""
        self._append(pack((1, self.chance.choice([1, 2, 2**32 + 5]), len(self.commands), bodies)))

    def _append(self, value: bytes) -> None:
        record = Record(self.offset, self.stamp_ms, value)
        self.commands.append(record)
        for sealed in self.replica.apply(record, self.quarantine):
            self.bodies.append(sealed.body)
            for event in decode_record(sealed.body).events:
                self._note(event)
        self.offset += self.chance.choice([1] * 40 + [2])  # brokers spend some offsets themselves

    def _note(self, event: ev.Event) -> None:
        self.seen[type(event).__name__] += 1
        if isinstance(event, (ev.Rejected, ev.OutboxRejected)):
            self.seen[f"code {Code(event.code).name}"] += 1
        if isinstance(event, ev.OrderCancelled):
            self.seen[f"reason {Reason(event.reason).name}"] += 1
        if isinstance(event, ev.Filled):
            for move in event.moves:
                self.seen[f"move {kind_of(move)}"] += 1

    def banned(self) -> None:
        """A broken record that an operator has taken out."""
        self.quarantine[self.offset] = record_hash(BROKEN)
        self._append(BROKEN)

    # --- Drawing ---

    def record(self, commands: int) -> None:
        """The whole day."""
        self.write(cmd.StartShard(SHARD, self.version, T0_MS, self.rate, self.rate > 1))
        for rules in CLASSES.values():
            self.write(msgspec.structs.replace(rules, outbox=self._next()))
        for account, owner in OWNERS.items():
            self.write(cmd.SetAccount(self._next(), account, owner, ROLES.get(account, Role.MEMBER), 0))
            self.write(cmd.Credit(self._next(), account, self.chance.choice([3_000, 60_000_000, 900_000_000])))
        while self.replica.commands < commands:
            self._step()
        self.banned()
        self.write(*self._frame(512, self._order))
        self.write(cmd.Tick(self.stamp_ms + MS_PER_HOUR // self.rate))

    def _step(self) -> None:
        chance = self.chance
        self.stamp_ms += chance.choice([0, 0, 1, 200, 1_000, 7_000, 7_000, 20_000, 90_000, -5_000]) // self.rate
        if chance.random() < 0.02:
            self._pass_time()
        self.write(*self._frame(chance.choice([1, 1, 1, 2, 3, 9]), self._any))

    def _frame(self, count: int, make: Callable[[], Any]) -> list[Any]:
        bodies = []
        for self._index in range(count):
            bodies.append(make())
        return bodies

    def _pass_time(self) -> None:
        now = self.replica.engine.time_ms
        ends = [(now // MS_PER_HOUR + 1) * MS_PER_HOUR - before for before in (300_000, 0, MS_PER_HOUR - 1)]
        to = self.chance.choice([*ends, now + 60_000]) + self.chance.choice([-1, 0, 1])
        self.stamp_ms = max(self.stamp_ms, T0_MS + -(-(to - T0_MS) // self.rate))
        self.write(cmd.Tick(self.stamp_ms))

    def _any(self) -> Any:
        kinds = [(self._order, 100), (self._again, 8), (self._cancel, 14), (self._backing, 26), (self._money, 8),
                 (self._role, 8), (self._state, 4), (self._class, 3), (self._rare, 6)]  # fmt: skip
        (make,) = self.chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        return make()

    def _hour(self, class_no: int) -> int:
        now = self.replica.engine.time_ms + CLASSES[class_no].gate_ms
        return now // MS_PER_HOUR + 1 + self.chance.choice([0] * 30 + [1] * 10 + [2, -1, 9])

    def _order(self) -> Any:
        chance, now = self.chance, self.replica.engine.time_ms
        class_no = chance.choice([1, 1, 1, 2, 3])
        rules = CLASSES[class_no]
        flags = chance.choice([0] * 8 + [Flag.CANCEL_OLDEST] * 3 + [Flag.POST_ONLY])
        tif = Tif.GTC if flags & Flag.POST_ONLY else chance.choice([Tif.GTC] * 8 + [Tif.IOC] * 2 + [Tif.FOK] * 2)
        account = chance.choice([*OWNERS] * 12 + [STRANGER])
        body = cmd.PlaceOrder(
            account,
            contract_of(class_no, self._hour(class_no)),
            chance.choice([1, 2, 2] if account in ROLES else [1, 1, 2]),
            rules.lot * chance.choice([1, 2, 3, 5, 9]),
            rules.list_price + rules.tick * chance.choice([0, 0, 1, -1, 2, -2, 3, -3]),
            tif,
            flags,
            chance.choice(["", f"c{len(self.placed)}", f"c{len(self.placed)}"]),
            now + chance.choice([600_000] * 12 + [0]),
        )
        if chance.random() < 0.12:
            body = msgspec.structs.replace(body, **chance.choice(_faults(body, now)))
        self.placed.append((order_id(SHARD, self.offset, self._index), body))
        return body

    def _again(self) -> Any:
        named = [body for _, body in self.placed[-60:] if body.client_id]
        if not named:
            return [999]
        body = msgspec.structs.replace(self.chance.choice(named), valid_until_ms=self.replica.engine.time_ms + 30_000)
        return body if self.chance.random() < 0.7 else msgspec.structs.replace(body, qty=body.qty + 4)

    def _cancel(self) -> Any:
        number, body = self.chance.choice(self.placed[-30:] or [(0, None)])
        account = body.account if body and self.chance.random() < 0.9 else self.chance.choice([1, STRANGER])
        by_id = self.chance.random() < 0.6
        valid = self.replica.engine.time_ms + self.chance.choice([600_000] * 12 + [-1, 900_000])
        return cmd.CancelOrder(account, number if by_id else 0, body.client_id if body else "", valid)

    def _next(self) -> int:
        if self.outbox and self.chance.random() < 0.03:
            return self.outbox + self.chance.choice([0, 2])
        self.outbox = self.replica.engine.outbox_last + 1 + self._unsent()
        return self.outbox

    def _unsent(self) -> int:
        """Numbers given in the frame that is being drawn."""
        return max(0, self.outbox - self.replica.engine.outbox_last)

    def _backing(self) -> Any:
        chance = self.chance
        account, class_no = chance.choice([1, 3, 4, 5] * 6 + [6, STRANGER]), chance.choice([1, 1, 2, 3])
        known = self.replica.engine.accounts.get(account)
        role = known.role if known else Role.MEMBER
        ground = Ground.DECLARED if role == Role.PROVIDER else Ground.PROMISED
        ground = chance.choice([int(ground)] * 25 + [1, 2, 3, 0])
        rules = CLASSES[class_no]
        cap = rules.list_price * rules.collar_high_bp // 10_000
        price = (
            chance.choice([cap] * 9 + [cap + 1, cap - 1, 10**10 + 1])
            if ground == Ground.PROMISED
            else chance.choice([0] * 20 + [1])
        )
        key = (account, class_no, ground)
        self.versions[key] += chance.choice([0, 1, 1, 1, 1, 1, 1, 3])
        first = self._hour(class_no)
        hours = chance.choice([(first,)] * 4 + [(first, first + 1)] * 2 + [(), (first, first), (first, 2**24 + first)])
        qty = rules.lot * chance.choice([0, 1, 4, 8, 9, 15, 30]) + chance.choice([0] * 30 + [-1, 1])
        return cmd.SetBacking(self._next(), account, class_no, hours, ground, qty, price, max(1, self.versions[key]))

    def _money(self) -> Any:
        kind = self.chance.choice([cmd.Credit, cmd.Sweep])
        amount = self.chance.choice([1, 1_000, 100_000, 30_000_000] * 4 + [0, -1, 10**16 + 1])
        return kind(self._next(), self.chance.choice([*OWNERS, STRANGER]), amount)

    def _role(self) -> Any:
        """Market makers become providers and back: their machines take promises over."""
        account = self.chance.choice([3, 5, 3, 5, 1, 6])
        owner = OWNERS[account] + self.chance.choice([0] * 15 + [1])
        role = self.chance.choice([1, 2, 1, 2, 1, 2, 1, 2, 0, 3])
        return cmd.SetAccount(
            self._next(), self.chance.choice([account] * 20 + [0]), owner, role, self.chance.choice([0] * 20 + [1])
        )

    def _state(self) -> Any:
        class_no = self.chance.choice([1, 2, 3])
        state = self.chance.choice([State.OPEN] * 14 + [State.POST_ONLY] * 2 + [State.CANCEL_ONLY, State.HALTED, 0])
        hour = self.chance.choice([0, 0, self._hour(class_no), -1])
        return cmd.SetState(OPERATOR, self.chance.choice([class_no] * 12 + [9]), hour, state, "drawn")

    def _class(self) -> Any:
        rules = self.chance.choice([*CLASSES.values()])
        fault = self.chance.choice([{}, {}, {"lot": rules.lot + 1}, {"class_no": 8}])
        return msgspec.structs.replace(rules, outbox=self._next(), **fault)

    def _rare(self) -> Any:
        hour, valid = self._hour(1), self.replica.engine.time_ms + 30_000
        return self.chance.choice([
            cmd.PlaceRange(1, 1, (hour, hour + 1), 1, 1, 10, Tif.GTC, 0, "range", valid),
            cmd.PlaceBlock(2, 1, hour, 2, 1, 1, 1, 10, Tif.GTC, 0, "block", valid),
            cmd.PutQuotes(3, 1, 1, (cmd.QuoteHour(hour, 9, 1, 11, 1),), valid),
            cmd.AmendOrder(4, 77, "amend", 1, 10, valid),
            cmd.MassCancel(5, 1, 0, 0, valid),
            cmd.CancelAllAfter(6, 1_000, valid),
            cmd.CorrectCash(OPERATOR, OPERATOR + 1, 1, 2, 5, 1, "simulated"),
            cmd.MoveReference(1, 0, 12, "simulated"),
            cmd.SetEngineVersion(OPERATOR, self.version),
            cmd.SetEngineVersion(OPERATOR, 0),
            cmd.StartShard(SHARD, self.version, T0_MS),
            cmd.Tick(self.stamp_ms),
            [999, 1],
            [41, "soon"],
            [20, OPERATOR, 1, 0, 2, msgspec.Raw(b"\xa1\xff")],
            "not a body",
        ])  # fmt: skip


def _faults(body: cmd.PlaceOrder, now: int) -> list[dict[str, Any]]:
    return [
        {"side": 0}, {"side": 3}, {"tif": 0}, {"tif": 5}, {"tif": Tif.GTD}, {"expires_ms": 1}, {"flags": Flag.RUNNING},
        {"flags": -1}, {"flags": 8}, {"qty": 0}, {"qty": -body.qty}, {"qty": body.qty * 4 + 1}, {"qty": 1_000_004},
        {"qty": 900_000}, {"price": 0}, {"price": -body.price}, {"price": body.price + 1}, {"price": body.price * 40},
        {"price": body.price // 50 * 20}, {"valid_until_ms": now - 1}, {"valid_until_ms": now + 900_000},
        {"client_id": "a b"}, {"client_id": "x" * 37}, {"contract": contract_of(9, 5)}, {"contract": -1},
        {"contract": 2**64 - 1},
    ]  # fmt: skip


def kind_of(move: ev.TitleMove) -> str:
    """What a move did: to the title sold, to the title closed."""
    source = "new" if not move.source else "whole" if move.source == move.title else "piece"
    if not move.closes:
        return source
    return source + ("/own" if move.closes == move.title else "/whole" if move.closes == move.closed else "/piece")


def record(version: int) -> None:
    """Write the logs of a version that has none."""
    folder = FOLDER / f"v{version}"
    if folder.exists():
        sys.exit(f"{folder} is there: a golden log is recorded once")
    folder.mkdir(parents=True)
    for name in LOGS:
        day = Day(name, version)
        day.record(COMMANDS[name])
        rows = [(one.offset, one.time_ms, one.value) for one in day.commands]
        (folder / f"{name}.commands.gz").write_bytes(gzip.compress(pack(rows), mtime=0))
        (folder / f"{name}.events.gz").write_bytes(gzip.compress(pack(day.bodies), mtime=0))
        (folder / f"{name}.toml").write_text(_expected(version, name, day), encoding="utf-8")


def _expected(version: int, name: str, day: Day) -> str:
    replica = day.replica
    events = sum(count for what, count in day.seen.items() if " " not in what)
    asked: Counter[str] = Counter()
    for one in day.commands:
        if one.offset not in day.quarantine:
            asked.update(type(command).__name__ for command in decode_frame(one.value).commands)
    return "\n".join([
        f"# Recorded once by `python -m tests.matching.golden {version}`. Never changed: see tests/matching/golden.py.",
        f"engine_version = {version}",
        f"rate = {LOGS[name]}",
        f"records = {len(day.commands)}",
        f"commands = {replica.commands}",
        f"seq = {replica.seq}",
        f"events = {events}",
        f'chain = "{replica.chain.hex()}"',
        "",
        "# Snapshot format: hash of the state after the last record.",
        "[state_hash]",
        f'{SNAPSHOT_FORMAT} = "{state_hash(replica.engine).hex()}"',
        "",
        "# Offset: hash of the record there.",
        "[quarantine]",
        *(f'{offset} = "{found.hex()}"' for offset, found in day.quarantine.items()),
        "",
        "[asked]",
        *(f"{kind} = {count}" for kind, count in sorted(asked.items())),
        "",
        "[said]",
        *(f'"{what}" = {count}' for what, count in sorted(day.seen.items())),
        "",
    ])  # fmt: skip


def add_snapshot_format() -> None:
    """Where the snapshot's bytes have a new format, write down its hashes beside the old ones."""
    for version in versions():
        for name in LOGS:
            log = load(version, name)
            replica = Replica(SHARD, Engine())
            for one in log.commands:
                replica.apply(one, log.quarantine)
            assert replica.chain.hex() == log.expected["chain"], (
                "the events have changed as well: this is a new version"
            )
            if str(SNAPSHOT_FORMAT) in log.expected["state_hash"]:
                continue
            path = FOLDER / f"v{version}" / f"{name}.toml"
            line = f'[state_hash]\n{SNAPSHOT_FORMAT} = "{state_hash(replica.engine).hex()}"\n'
            path.write_text(path.read_text(encoding="utf-8").replace("[state_hash]\n", line), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--snapshot"]:
        add_snapshot_format()
    else:
        record(int(sys.argv[1]))
