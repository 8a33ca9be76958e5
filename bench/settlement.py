"""Fills settled per second, from bytes of `events` to the end of the transaction, on the machine's Postgres.

Target: half of what a bare loop does that only copies the same postings and updates the same balances, with as many fills in a
transaction. It knows its rows beforehand: nothing is decoded, checked, projected, or remembered.

Ours: settlement's own reader, state and store, over records in memory; one batch is on its way to the database while the next
is made. Timed, on the wall clock: from the first record to the end of the last transaction. Both on uvloop, without automatic
garbage collection, as the process runs. In the line, processor time per fill: `cpu_us_*` of this process, `postgres_us_*` of the
database's. The ratio is about wall time: on a machine that has other work the two halves of ours cannot overlap.

Afterwards the last records come again and change nothing; sums, fees and fills are read from the tables.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import asyncpg
import msgspec
import uvloop

from bench.logs import Stored
from bench.measure import Run, done, options, report, rounds, run_side
from schemas import commands as cmd
from schemas import requests as rq
from schemas.codec import CHAIN_START, Frame, decode_frame, encode_frame, epoch_header, seal
from schemas.commands import Command, Ground, PlaceOrder, Role, Side, StartShard, Tif
from schemas.events import Filled
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR
from services.matching.engine import Engine
from services.runtime.collector import Collector
from services.runtime.infra import any_postgres, open_folder
from services.runtime.log import Record
from services.runtime.postgres import migrate, open_pool
from services.runtime.status import Status
from services.runtime.supervise import WallClock
from services.settlement import requests
from services.settlement.__main__ import MIGRATIONS
from services.settlement.postgres_store import BalanceWriter, PostgresStore
from services.settlement.rows import Cursor
from services.settlement.shell import EventsReader, Fetch
from services.settlement.state import Batch, State, decode_outbox

FILLS = 30_000
ACCOUNTS = 200
HOURS = 24
PER_FRAME = 64
T0_MS = 1_790_000_000_000 // MS_PER_HOUR * MS_PER_HOUR
FIRST_HOUR = T0_MS // MS_PER_HOUR + 2
DSN = "BENCH_POSTGRES"


class Recorded(Stored):
    """`events` of one shard: what the engine said, sealed as its shell does."""

    def __init__(self) -> None:
        super().__init__("events")
        self.engine = Engine()
        self.fills: list[Filled] = []
        self._seq, self._chain = 0, CHAIN_START
        self._offset = count()

    def say(self, commands: list[Command]) -> None:
        frame = decode_frame(encode_frame(1, 1, commands))
        offset = next(self._offset)
        events = self.engine.apply(offset, T0_MS + offset, frame.commands)
        self.fills += [event for event in events if isinstance(event, Filled)]
        for sealed in seal(0, self._seq, self._chain, offset, self.engine.time_ms, Frame(1, 1, ()), events):
            self._seq, self._chain = sealed.seq, sealed.chain
            headers = [*sealed.headers, epoch_header(1)]
            self.records.append(Record(len(self.records), T0_MS, sealed.body, headers))


def opening() -> Iterator[rq.Request]:
    """A class, and rich providers with backing in every hour."""
    yield rq.ListClass("class", 0, "BENCH.80.US", b"", 1, 1_000, 2_000_000, cmd.Fees(0, 0, 50, 50), HOURS + 2)
    hours = tuple(range(FIRST_HOUR, FIRST_HOUR + HOURS))
    for account in range(1, ACCOUNTS + 1):
        yield rq.OpenAccount(f"open-{account}", 0, f"bench {account}", Role.PROVIDER)
        yield rq.Deposit(f"deposit-{account}", account, 10**13, "simulated-faucet", f"{account}")
        yield rq.ToTrading(f"to-{account}", account, 0, 10**13)
        yield rq.Back(f"back-{account}", account, 1, hours, Ground.DECLARED, 1_000_000, 0, 1)


def orders(rng: random.Random) -> Iterator[PlaceOrder]:
    """Half of the members sell their machines' hours, four in ten buy hours to use, one in ten trades both ways.

    Limit orders of 1 to 8 GPUs around one price, about one fill each; three in ten are IOC.
    """
    for number in count():
        account = rng.randint(1, ACCOUNTS)
        kind = account % 10
        side = Side.SELL if kind < 5 or (kind == 9 and rng.random() < 0.5) else Side.BUY
        price = 2_000_000 + 1_000 * (rng.randint(-4, 6) if side == Side.BUY else rng.randint(-6, 4))
        contract = contract_of(1, FIRST_HOUR + rng.randrange(HOURS))
        tif = Tif.IOC if rng.random() < 0.3 else Tif.GTC
        yield PlaceOrder(account, contract, side, rng.randint(1, 8), price, tif, 0, f"o{number}", T0_MS + 500_000)


class Settling:
    """Settlement's own reader, state and store over recorded records."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.log = Recorded()
        self.state = State(1)
        self.reader: EventsReader | None = None

    async def open(self) -> None:
        """The opening, settled and committed: not measured."""
        self.state = State(1, await self.store.load())
        self.reader = EventsReader(self.state, Fetch(WallClock(), Status("bench")), self.log, WallClock())  # type: ignore[arg-type]
        known = requests.Known({}, set())
        for offset, request in enumerate(opening()):
            asked = requests.decode(offset, T0_MS, msgspec.msgpack.encode(request))
            assert not requests.take(self.state, asked, known)
            await self.store.commit(self.state.take(Cursor("requests", 0, offset + 1, b"h", 0, b"", T0_MS)))
        self.log.say([StartShard(0, 1, T0_MS)])
        messages = [decode_outbox(row.body) for row in self.state.shards[0].unconfirmed.values()]
        for first in range(0, len(messages), PER_FRAME):
            self.log.say(messages[first : first + PER_FRAME])
        await settle(self)

    def trade(self) -> None:
        """Record the flow."""
        flow = orders(random.Random("settlement"))
        while len(self.log.fills) < FILLS:
            self.log.say([next(flow) for _ in range(PER_FRAME)])

    async def batches(self):  # noqa: ANN201 # an async generator of batches
        assert self.reader is not None
        while (batch := await self.reader.turn()) is not None:
            yield batch


class Meter:
    """Seconds of what happens inside: on the clock, of our own processor time, and of the database's processes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.seconds: tuple[float, ...] = ()

    async def __aenter__(self) -> None:
        Collector().freeze()
        self._before = (await self._postgres(), time.process_time(), time.perf_counter())

    async def __aexit__(self, *_: object) -> None:
        clock, own = time.perf_counter(), time.process_time()
        after = (await self._postgres(), own, clock)
        self.seconds = tuple(now - then for now, then in zip(after, self._before, strict=True))

    async def _postgres(self) -> float:
        pids = await self._pool.fetch("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        return sum(processor_s(row["pid"]) for row in pids)


def processor_s(pid: int) -> float:
    """Processor time of a process of this machine, as Linux counts it."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


async def ours(settling: Settling, meter: Meter) -> None:
    async with meter:
        await settle(settling)
    # A log may bring records twice.
    again = settling.log.records[-20:]
    first = len(settling.log.records)
    settling.log.records += [record._replace(offset=first + n) for n, record in enumerate(again)]
    await settle(settling)


async def settle(settling: Settling) -> None:
    """All there is, durable when it returns."""
    async for batch in settling.batches():
        await settling.store.commit(batch)
    await settling.store.flush()


async def peer(settling: Settling, meter: Meter, dsn: str) -> None:
    batches: list[Batch] = [batch async for batch in settling.batches()]
    connection = await asyncpg.connect(dsn)
    balances = BalanceWriter()
    async with meter:
        for batch in batches:
            postings = batch.posted.postings
            async with connection.transaction():
                await connection.copy_records_to_table("postings", schema_name="settlement", records=postings)
                await balances.write(connection, batch.posted.balances)
    await connection.close()


async def side(name: str) -> None:
    dsn = os.environ[DSN]
    pool = await open_pool(dsn)
    await migrate(pool, "settlement", MIGRATIONS)
    store = PostgresStore(dsn)
    settling = Settling(store)
    await settling.open()
    settling.trade()
    meter = Meter(pool)
    await (ours(settling, meter) if name == "ours" else peer(settling, meter, dsn))
    postgres, own, elapsed = meter.seconds
    fills = settling.log.fills
    await check(pool, fills, projected=name == "ours")
    store.close()
    await pool.close()
    done(len(fills) / elapsed, fills=len(fills), cpu_us=own / len(fills) * 1e6, postgres_us=postgres / len(fills) * 1e6)


async def check(pool: asyncpg.Pool, fills: list[Filled], *, projected: bool) -> None:
    """What a figure is worth nothing without."""
    fees = sum(fill.seller_fee + fill.buyer_fee for fill in fills)
    assert fees > 0, "no fees were charged"
    rest = await pool.fetchval(
        "SELECT count(*) FROM (SELECT asset FROM settlement.balances GROUP BY asset HAVING sum(amount) <> 0) x"
    )
    traded = await pool.fetchval("SELECT count(*) FROM settlement.balances WHERE kind = 11")
    assert rest == 0, "positions or money do not sum to zero"
    assert traded > 0, "nothing was traded"
    if projected:
        row = await pool.fetchrow("SELECT count(*), sum(seller_fee + buyer_fee) FROM settlement.fills")
        assert tuple(row) == (len(fills), fees), f"{row}: {len(fills)} fills with fees of {fees} were recorded"
        waiting = await pool.fetchval("SELECT sum(fees) FROM settlement.titles")
        assert waiting == fees, f"{waiting} of {fees} µUSD in fees wait in escrow"


def main() -> None:
    given = options(__doc__)
    if given.side:
        uvloop.run(side(given.side))
        return
    with open_folder() as home, any_postgres()(home / "postgres") as postgres:
        names = (f"bench{number}" for number in count())

        def run(name: str) -> Run:
            """Each run has a database of its own."""
            return run_side("settlement", name, env={**os.environ, DSN: postgres.create_database(next(names))})

        mine, theirs = rounds("settlement", given.rounds, run)
        (fills,) = {run["fills"] for run in (*mine, *theirs)}
        spent = {
            f"{what}_{name}": round(statistics.median(run[what] for run in runs), 1)
            for what in ("cpu_us", "postgres_us")
            for name, runs in (("ours", mine), ("peer", theirs))
        }
        report("settlement", "fills/s", mine, theirs, fills=fills, **spent)


if __name__ == "__main__":
    main()
