"""A day of an exchange with two shards, lived by production code, for auditors to look at.

Engine and codec say what happens; settlement's own shell reads it and stores it in a real Postgres. Only the logs are lists.
The members draw from one seed; nothing fails here.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec

from schemas import requests as rq
from schemas.codec import WRITER_GATEWAY_MIN, WRITER_OPERATOR, WRITER_SHELL, decode_record, encode_frame, epoch_header
from schemas.commands import (
    AmendOrder,
    Command,
    CorrectCash,
    Flag,
    Ground,
    MoveReference,
    PlaceBlock,
    PlaceOrder,
    PlaceRange,
    PutQuotes,
    QuoteHour,
    Role,
    SetEngineVersion,
    SetState,
    Side,
    StartShard,
    State,
    Tick,
    Tif,
)
from schemas.delivery import Delivered, Refund
from schemas.events import Event, TitleEnded
from schemas.ids import class_no_of, contract_of, hour_of
from schemas.leases import LeaseServes, Served, TitleCounted
from schemas.rentals_log import OrderSent, RentalMade, RentalRecord, RentalStopped, RouterBegan, Terms
from schemas.units import MS_PER_HOUR
from services.audit.report import Findings
from services.audit.run import audit
from services.matching import snapshot as engine_bytes
from services.matching.engine import Engine
from services.matching.quarantine import QuarantineReader, ban
from services.matching.replica import Replica
from services.matching.store import FILE_FORMAT, FileSnapshotStore, Snapshot
from services.runtime.log import Outgoing, OutOfRange, Record
from services.runtime.positions import record_hash
from services.runtime.postgres import migrate, migrate_runtime, open_pool
from services.runtime.status import Status
from services.settlement.__main__ import MIGRATIONS
from services.settlement.payments import SimulatedPayments
from services.settlement.postgres_store import PostgresStore
from services.settlement.shell import Logs, Settlement
from tests.audit.bank import Bank, outgoing
from tests.audit.flow import OPERATOR, Members

T0_MS = 1_790_000_000_000 // MS_PER_HOUR * MS_PER_HOUR
RATE = 120
SHARDS = 2
CLASSES = {0: {1: (1, 10, 2_000), 2: (2, 10, 4_000)}, 1: {3: (1, 50, 10_000)}}
UNDELIVERED = 3
"""A class of which nobody says what was delivered, so that its escrow and collateral wait."""
WRITER = WRITER_GATEWAY_MIN + 1

Key = tuple[str, int]


class ListLog:
    """`services.runtime.log.Log` over a list that begins at offset `first`."""

    def __init__(self, topic: str, partition: int, records: list[Record], now_ms: list[int], first: int = 0) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.first = first
        self._now_ms = now_ms

    async def bounds(self) -> tuple[int, int]:
        return self.first, self.first + len(self.records)

    async def read(self, offset: int, *, count: int = 500, wait_ms: int = 0) -> list[Record]:  # noqa: ARG002 # it is there, or not
        place = offset - self.first
        if not 0 <= place <= len(self.records):
            raise OutOfRange(f"{self.topic}/{self.partition}: {offset}")
        return self.records[place : place + count]

    async def append(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            offset = self.first + len(self.records)
            self.records.append(Record(offset, self._now_ms[0], record.value, tuple(record.headers), record.key))


class Topics:
    """All logs of an exchange, as an auditor asks for them."""

    def __init__(self, records: dict[Key, list[Record]] | None = None) -> None:
        self.records: defaultdict[Key, list[Record]] = defaultdict(list, records or {})
        self.now_ms = [T0_MS]
        self._first: dict[Key, int] = {}

    def log(self, topic: str, partition: int = 0) -> ListLog:
        key = (topic, partition)
        return ListLog(topic, partition, self.records[key], self.now_ms, self._first.get(key, 0))

    async def has(self, topic: str) -> bool:  # noqa: ARG002 # of each there is at least an empty one
        return True

    def cut(self, topic: str, partition: int, before: int) -> None:
        """What came before is on the broker no more."""
        del self.records[topic, partition][:before]
        self._first[topic, partition] = before

    def copy(self) -> Topics:
        copied = Topics({key: list(records) for key, records in self.records.items()})
        copied.now_ms = list(self.now_ms)
        return copied


class _OneConnection:
    """As much of a pool as an auditor uses: whatever he reads, he reads in the transaction of this one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        yield self._connection


class Copy:
    """What is left of a day, to be spoilt and audited: logs and snapshots of its own, and a transaction that is undone."""

    def __init__(self, topics: Topics, dsn: str, folder: Path) -> None:
        self.topics = topics
        self.folder = folder
        self.dsn = dsn
        self._statements: list[str] = []

    def sql(self, *statements: str) -> None:
        """Before the audit, by somebody who may do everything, past triggers too; the last one must change something."""
        self._statements += statements

    def audit(self, archive: Path | None = None) -> Findings:
        return asyncio.run(self._audit(archive))

    async def _audit(self, archive: Path | None) -> Findings:
        connection = await asyncpg.connect(self.dsn)
        try:
            transaction = connection.transaction(isolation="repeatable_read")
            await transaction.start()
            await connection.execute("SET LOCAL session_replication_role = replica; SET LOCAL search_path = settlement")
            for statement in self._statements:
                said = await connection.execute(statement)
                assert not said.endswith(" 0"), f"{statement} changed nothing: {said}"
            pool = _OneConnection(connection)
            return await audit(self.topics, pool, SHARDS, self.folder, lambda _: None, archive=archive)
        finally:
            await connection.close()  # what was not committed is gone

    def events(self, shard: int) -> list[Event]:
        """What was said, in order."""
        return [event for r in self.topics.records["events", shard] for event in decode_record(r.value).events]

    def broken(self) -> dict[str, list[str]]:
        """Invariant -> breaches."""
        return {finding.name: finding.breaches for finding in self.audit() if finding.broken}


class _Clock:
    """Nobody waits for anything here but for others to go on."""

    def __init__(self, now_ms: list[int]) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms[0]

    def elapsed_ms(self) -> int:
        return self.now_ms()

    async def sleep_ms(self, duration_ms: int) -> None:  # noqa: ARG002 # see above
        await asyncio.sleep(0)


class Day:
    """What is left of it: `topics`, the database `dsn`, and snapshots in `folder`."""

    def __init__(self, dsn: str, folder: Path, seed: str) -> None:
        self.dsn = dsn
        self.folder = folder
        self.topics = Topics()
        self._chance = random.Random(seed)
        self._bank = Bank(self._chance, CLASSES, RATE, T0_MS)
        self._members = [Members(self._chance, CLASSES[shard], RATE, T0_MS) for shard in range(SHARDS)]
        self._replicas = [Replica(shard, Engine()) for shard in range(SHARDS)]
        self._banned = [QuarantineReader(self.topics.log("quarantine"), shard) for shard in range(SHARDS)]
        self._frames = 0
        self._settlement: Settlement | None = None

    # --- Time and records ------------------------------------------------------------------------------

    @property
    def market_ms(self) -> int:
        return T0_MS + RATE * (self.topics.now_ms[0] - T0_MS)

    @property
    def hour(self) -> int:
        return self.market_ms // MS_PER_HOUR

    async def pass_ms(self, market_ms: int) -> None:
        """Time passes, and each shard is told."""
        self.topics.now_ms[0] += market_ms // RATE
        for shard in range(SHARDS):
            await self.frame(shard, [Tick(self.topics.now_ms[0])], WRITER_SHELL)

    async def frame(self, shard: int, commands: list[Command], writer: int = WRITER) -> None:
        self._frames += 1
        await self.topics.log("commands", shard).append([Outgoing(encode_frame(writer, self._frames, commands))])

    async def ask(self, *requests: rq.Request) -> None:
        await self.topics.log("requests").append([outgoing(request) for request in requests])

    async def order(
        self,
        account: int,
        contract: int,
        side: Side,
        qty: int,
        price: int,
        client_id: str = "",
        tif: Tif = Tif.GTC,
        flags: int = 0,
    ) -> None:
        shard = next(shard for shard, classes in CLASSES.items() if class_no_of(contract) in classes)
        valid = self.market_ms + 300_000
        await self.frame(shard, [PlaceOrder(account, contract, side, qty, price, tif, flags, client_id, valid)])

    # --- Who lives it ----------------------------------------------------------------------------------

    async def live(self) -> None:
        """From the first record to the evening."""
        pool = await open_pool(self.dsn)
        await migrate_runtime(pool)
        await migrate(pool, "settlement", MIGRATIONS)
        await pool.close()
        store = PostgresStore(self.dsn)
        tasks = await self._start(store)
        try:
            await self._day()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            store.close()

    async def _start(self, store: PostgresStore) -> list[asyncio.Task[None]]:
        topics = self.topics
        logs = Logs(
            [topics.log("events", shard) for shard in range(SHARDS)],
            topics.log("requests"),
            topics.log("delivery"),
            lambda shard: topics.log("commands", shard),
            lambda: topics.log("requests"),
        )
        self._settlement = Settlement(SHARDS, store, logs, _Clock(topics.now_ms), Status("settlement"))
        await self._settlement.start()
        return [
            asyncio.create_task(self._settlement.settle()),
            *(asyncio.create_task(self._settlement.send(shard)) for shard in range(SHARDS)),
            asyncio.create_task(self._settlement.pay(SimulatedPayments())),
        ]

    async def match(self) -> None:
        """Each shard answers what it was asked."""
        for shard, replica in enumerate(self._replicas):
            commands = self.topics.records["commands", shard]
            await self._banned[shard].refresh()
            for record in commands[replica.next_offset :]:
                sealed = replica.apply(record, self._banned[shard].banned)
                said = [Outgoing(one.body, [*one.headers, epoch_header(1)]) for one in sealed]
                await self.topics.log("events", shard).append(said)
                for one in sealed:
                    for event in decode_record(one.body).events:
                        self._members[shard].heard(event)

    async def settle(self) -> None:
        """Until everything is answered, settled, and confirmed."""
        for _ in range(20_000):
            await self.match()
            if self._is_settled():
                return
            await asyncio.sleep(0)
        raise AssertionError("settlement does not come to an end")

    def _is_settled(self) -> bool:
        assert self._settlement is not None
        state = self._settlement.state
        logs = [("events", shard) for shard in range(SHARDS)] + [("requests", 0), ("delivery", 0)]
        read = all(state.cursor(*log).next_offset == len(self.topics.records[log]) for log in logs)
        sent = not any(shard.unconfirmed for shard in state.shards)
        return read and sent and not state.payouts

    # --- What happens ----------------------------------------------------------------------------------

    async def _day(self) -> None:
        for shard, version in ((0, 2), (1, 1)):
            await self.frame(shard, [StartShard(shard, version, T0_MS, RATE, sandbox=True)], WRITER_OPERATOR)
        await self.ask(*self._bank.opening())
        await self.settle()
        for morning in range(6):
            await self._trade(frames=30)
            await self.settle()
            if morning == 1:
                await self.frame(1, [SetEngineVersion(OPERATOR, 2)], WRITER_OPERATOR)
            if morning == 2:
                await self._misfortune()
                await self._take_snapshots()
            await self.pass_ms(MS_PER_HOUR // 2)
        await self._story()
        await self._trade(frames=40)
        await self.settle()
        await self._evening()
        await self._machines()

    async def _rental(self, hour: int) -> None:
        """What the router would have recorded and sent: account 6 rents two GPUs, stops, and sells them again."""
        contract = contract_of(1, hour)
        terms = Terms(("SIM.1",), 2, 2_100, 10_000, hour, 1, 1, "sell", "default", "")
        await self.ask(rq.Back("rental", 4, 1, (hour,), Ground.DECLARED, 10, 0, 2_000))
        await self.settle()
        await self.order(4, contract, Side.SELL, 2, 2_000)
        at = (1, self.market_ms)
        await self._rents(RouterBegan(*at), RentalMade(*at, 1, 6, "key", terms))
        await self._rents(OrderSent(*at, 1, 0, contract, Side.BUY, 2, 2_100))
        await self.order(6, contract, Side.BUY, 2, 2_100, "r1-0", Tif.FOK)
        await self._rents(RentalStopped(*at, 1, "sell"), OrderSent(*at, 1, 1, contract, Side.SELL, 2, 1_900))
        await self.order(6, contract, Side.SELL, 2, 1_900, "r1-1")
        await self.order(8, contract, Side.BUY, 2, 1_900)
        await self.settle()

    async def _rents(self, *records: RentalRecord) -> None:
        await self.topics.log("rentals").append([Outgoing(msgspec.msgpack.encode(record)) for record in records])

    async def _machines(self) -> None:
        """What the delivery room would have recorded: each title of an hour that has ended had a machine of its own."""
        records: list[LeaseServes | TitleCounted] = []
        events = [event for shard in range(SHARDS) for event in self._said(shard) if isinstance(event, TitleEnded)]
        for lease, title in enumerate(events, start=1):
            begins_ms = hour_of(title.contract) * MS_PER_HOUR
            seats, of = tuple(range(title.qty)), (Served(title.title, title.qty),)
            records += [
                LeaseServes(
                    1, begins_ms, lease, title.holder, title.obligor, f"m{lease}", seats, title.contract, of, begins_ms,
                    begins_ms + MS_PER_HOUR,
                ),
                TitleCounted(1, begins_ms + MS_PER_HOUR, title.contract, title.title, title.minutes, 0, 0),
            ]  # fmt: skip
        await self.topics.log("leases").append([Outgoing(msgspec.msgpack.encode(record)) for record in records])

    def _said(self, shard: int) -> Iterator[Event]:
        for record in self.topics.records["events", shard]:
            yield from decode_record(record.value).events

    async def _trade(self, frames: int) -> None:
        chance = self._chance
        for _ in range(frames):
            self.topics.now_ms[0] += chance.randint(1, 40)
            shard = chance.randrange(SHARDS)
            await self.frame(shard, [self._members[shard].draw(self.topics.now_ms[0]) for _ in range(4)])
            await self.match()
            if chance.random() < 0.3:
                await self.ask(self._bank.draw(self.topics.now_ms[0]))
            delivered = self._bank.delivered(self.topics.now_ms[0])
            if chance.random() < 0.1 and class_no_of(delivered.contract) != UNDELIVERED:
                await self.topics.log("delivery").append([outgoing(delivered)])

    async def _misfortune(self) -> None:
        """A record that is no frame is taken out of the market; what is no request and no delivery is refused."""
        commands, events = (self.topics.log(topic, 1) for topic in ("commands", "events"))
        offset = len(commands.records)
        await commands.append([Outgoing(b"\xc1")])
        what = {"reason": "not a frame", "operator": "olga"}
        digest = record_hash(b"\xc1").hex()
        await ban(commands, events, self.topics.log("quarantine"), offset=offset, hash_hex=digest, **what)
        for topic in ("requests", "delivery"):
            await self.topics.log(topic).append([Outgoing(b"\xc1")])
        await self.settle()

    async def _take_snapshots(self) -> None:
        """As a follower does."""
        for replica in self._replicas:
            events = self.topics.records["events", replica.shard]
            stored = Snapshot(
                FILE_FORMAT,
                replica.shard,
                replica.next_offset,
                replica.position.last_hash,
                len(events),
                record_hash(events[-1].value),
                replica.seq,
                replica.chain,
                1,
                replica.engine.time_ms,
                engine_bytes.state_hash(replica.engine),
                engine_bytes.dump(replica.engine),
            )
            await FileSnapshotStore(self.folder, replica.shard).save(stored)

    async def _open_all(self) -> None:
        """Every class trades, whatever operators did to it before; a halt's reopening takes ninety seconds."""
        for shard, classes in CLASSES.items():
            await self.frame(shard, [SetState(OPERATOR, class_no, 0, State.OPEN, "the story") for class_no in classes])
        await self.pass_ms(120_000)
        await self.settle()

    async def _story(self) -> None:
        """An hour that ends with all that an auditor must see: promises, resales, titles bought back, delivery in part."""
        hour = self.hour + 2
        await self._open_all()
        await self.ask(
            rq.Back("story-1", 4, 1, (hour,), Ground.DECLARED, 40, 0, 1_000),
            rq.Back("story-2", 5, 2, (hour,), Ground.PROMISED, 40, 12_000, 1_000),
            rq.Back("story-3", 5, 3, (hour,), Ground.PROMISED, 40, 30_000, 1_000),
            rq.Back("story-3-again", 5, 3, (hour,), Ground.PROMISED, 40, 30_000, 1_000),
            rq.Withdraw("story-4", 6, 77, "home"),
            rq.Withdraw("story-5", 6, 78, "simulated:fail"),
        )
        await self.settle()
        for class_no, obligor, price in ((1, 4, 2_000), (2, 5, 4_000), (3, 5, 10_000)):
            contract = contract_of(class_no, hour)
            await self._deal(contract, obligor, 6, 6, price)
            # What account 6 has goes on, dearer to one and cheaper to the other; then the obligor buys some of it back.
            await self._deal(contract, 6, 7, 2, price + price // 10)
            await self._deal(contract, 6, 8, 2, price - price // 10)
            await self._deal(contract, 7, obligor, 2, price + price // 5)
        await self.settle()
        await self._declare_what_was_promised(contract_of(2, hour))
        await self._cover(hour)
        await self._blocks_and_quotes(hour)
        ran = False
        while self.hour <= hour:
            await self.pass_ms(MS_PER_HOUR // 2)
            await self.settle()
            if self.hour == hour and not ran:
                ran = True
                await self._run(hour)
        said = (
            self._handed_over(contract_of(1, hour)),
            Delivered(contract_of(1, hour), 0, 0, "simulated", "story-1"),
            Delivered(contract_of(2, hour), 0, 13, "simulated", "story-2"),
        )
        await self.topics.log("delivery").append([outgoing(record) for record in said])
        await self.settle()

    def _handed_over(self, contract: int) -> Delivered:
        """Of the largest title: a GPU of it had to be moved to, and two members sat on machines that were its obligor's."""
        ended = [event for event in self._said(0) if isinstance(event, TitleEnded) and event.contract == contract]
        title = max(ended, key=lambda event: event.qty)
        back = (Refund(6, 7), Refund(7, 2))
        return Delivered(contract, title.title, 13, "simulated", "story-0", moved=1, refunds=back)

    async def _declare_what_was_promised(self, contract: int) -> None:
        """Account 5 buys machines: as a provider it declares fewer than it owes, and they stand behind the oldest promises."""
        class_no, hour = class_no_of(contract), hour_of(contract)
        await self.ask(
            rq.SetAccountRole("provider", 5, Role.PROVIDER, 0),
            rq.Back("story-6", 5, class_no, (hour,), Ground.DECLARED, 2, 0, 1_000),
            rq.SetAccountRole("maker", 5, Role.MARKET_MAKER, 0),
        )
        await self.settle()

    async def _cover(self, hour: int) -> None:
        """Machines are bought for account 5, and some for an hour that is over; somebody offers what its deadline will buy in."""
        await self.ask(
            rq.Deposit("story-7", 5, 1_000_000, "simulated-faucet", "story-7"),
            rq.Procure("story-8", 5, 3, (hour,), 1, 5_000, "simulated-cloud"),
            rq.Back("story-9", 4, 2, (hour,), Ground.DECLARED, 10, 0, 1_000),
        )
        await self.settle()
        await self.ask(rq.Procure("story-10", 5, 3, (self.hour - 1,), 1, 7_000, "simulated-cloud"))
        await self.settle()
        await self.order(4, contract_of(2, hour), Side.SELL, 2, 4_400)
        good_ms = self.market_ms + 300_000
        await self.frame(0, [CorrectCash(1, 3, 6, 7, 5, 1, "a wrong price was typed", "approval-1", good_ms)])

    async def _blocks_and_quotes(self, hour: int) -> None:
        """In the two hours after the story's: a block takes hour orders, two blocks meet, one waits and is retried."""
        first = hour + 1
        await self.ask(
            rq.Back("story-11", 4, 1, (first, first + 1), Ground.DECLARED, 40, 0, 1_000),
            rq.Back("story-12", 8, 1, (first,), Ground.PROMISED, 10, 6_000, 1_000),
        )
        await self.settle()
        valid = self.market_ms + 300_000

        def block(account: int, side: Side, qty: int, price: int, qty_min: int = 1) -> PlaceBlock:
            return PlaceBlock(account, 1, first, 2, side, qty, qty_min, price, Tif.GTC, 0, "", valid)

        for of_hour in (first, first + 1):
            await self.order(4, contract_of(1, of_hour), Side.SELL, 3, 1_500)
        await self.frame(0, [block(6, Side.BUY, 2, 1_600), block(4, Side.SELL, 4, 2_300), block(7, Side.BUY, 2, 2_300)])
        await self.frame(0, [block(6, Side.BUY, 50, 1_400, 2)])
        for of_hour in (first, first + 1):
            await self.order(4, contract_of(1, of_hour), Side.SELL, 2, 1_300)
        quotes = (QuoteHour(first, 1_200, 2, 2_400, 2), QuoteHour(first + 900, 1_200, 2, 2_400, 2))
        again = (QuoteHour(first, 1_200, 1, 2_420, 2),)
        await self.frame(0, [PutQuotes(8, 1, 10**6, quotes, valid)])
        await self.frame(0, [PutQuotes(8, 1, 10**6 + 1, again, valid)])
        await self.frame(0, [PlaceRange(6, 1, (first, first + 900), Side.BUY, 1, 1_250, Tif.GTC, 0, "range", valid)])
        await self.frame(0, [PlaceRange(6, 1, (first, first + 900), Side.BUY, 1, 1_250, Tif.GTC, 0, "range", valid)])
        await self.order(6, contract_of(1, first + 1), Side.BUY, 3, 1_210, "larger")
        await self.frame(0, [AmendOrder(6, 0, "larger", 5, 1_220, valid), AmendOrder(6, 0, "larger", 2, 1_220, valid)])
        await self.frame(0, [MoveReference(1, first, 2_100, "simulated-index")])
        await self.settle()

    async def _run(self, hour: int) -> None:
        """Behind the gate: what is ready is sold by the minute, by a provider and against collateral."""
        await self.ask(
            rq.Back("story-13", 4, 1, (hour,), Ground.READY, 6, 0, 2_000),
            rq.Back("story-14", 5, 3, (hour,), Ground.READY, 6, 30_000, 2_000),
        )
        await self.settle()
        for class_no, seller, price in ((1, 4, 2_000), (3, 5, 10_000)):
            contract = contract_of(class_no, hour)
            await self.order(seller, contract, Side.SELL, 3, price, flags=Flag.RUNNING)
            await self.order(6, contract, Side.BUY, 2, price, tif=Tif.IOC)
        await self.settle()
        assert self._settlement is not None
        shards = self._settlement.state.shards
        (sold,) = [title for shard in shards for title in shard.titles.of(contract_of(3, hour)) if title.minutes < 60]
        await self.ask(
            rq.Procure("story-15", 5, 3, (hour,), 2, 9_000, "simulated-cloud", sold.title),
            rq.Procure("story-16", 5, 3, (hour,), 2, 9_000, "simulated-cloud", sold.title),
        )
        await self.settle()

    async def _deal(self, contract: int, seller: int, buyer: int, qty: int, price: int, name: str = "") -> None:
        """An ask, and a bid that takes it."""
        await self.order(seller, contract, Side.SELL, qty, price)
        await self.order(buyer, contract, Side.BUY, qty, price, name)

    async def _evening(self) -> None:
        """Orders rest, titles live, and money is on its way to a shard that has not answered yet."""
        hour = self.hour + 2
        contract = contract_of(1, hour)
        await self._open_all()
        await self.ask(rq.Back("evening", 4, 1, (hour,), Ground.DECLARED, 40, 0, 2_000))
        await self.settle()
        await self._rental(hour + 1)
        await self._deal(contract, 4, 6, 6, 2_000)
        await self._deal(contract, 6, 7, 2, 2_200, "evening")
        await self.order(7, contract, Side.BUY, 2, 2_200, "evening")  # the very same again
        await self._deal(contract, 6, 8, 2, 1_800)
        for account, side, qty, price in (
            (4, Side.SELL, 5, 2_500),
            (6, Side.SELL, 1, 2_500),
            (8, Side.BUY, 5, 1_500),
            (7, Side.BUY, 3, 1_500),
        ):
            await self.order(account, contract, side, qty, price)
        await self.settle()
        await self.ask(rq.Deposit("late-1", 6, 1_000, "simulated-faucet", "late"), rq.ToTrading("late-2", 6, 0, 1_000))
        assert self._settlement is not None
        shard = self._settlement.state.shards[0]
        for _ in range(2_000):
            await asyncio.sleep(0.001)
            if shard.unconfirmed and self._settlement.committed[0] == shard.outbox:
                return
        raise AssertionError("the transfer is not on its way")
