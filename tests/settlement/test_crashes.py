"""Settlement's own coroutines in a simulated world, killed at every await in turn: everything happens exactly once.

The logs, the clock and the shard (a real engine) are the world's; the store is `DictStore` with waits around each of its steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from schemas import requests as rq
from schemas.codec import CHAIN_START, WRITER_OPERATOR, Frame, decode_frame, encode_frame, epoch_header, seal
from schemas.commands import Fees, Ground, PlaceOrder, Role, Side, StartShard, Tick, Tif
from schemas.delivery import Delivered
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR
from services.matching.engine import Engine
from services.runtime.errors import Halt, Superseded
from services.runtime.lease import get_lease, keep_lease
from services.runtime.log import Outgoing
from services.runtime.status import Status
from services.settlement.ledger import CLEARING, TITLES, TREASURY
from services.settlement.payments import SimulatedPayments
from services.settlement.shell import LEASE_NAME, PAUSE_MS, Logs, Settlement
from services.settlement.state import Batch, Loaded, State
from services.settlement.store import Recall, Recalled, StoreAway
from tests.settlement.dict_store import DictStore
from tests.settlement.people import check
from tests.simulation.simlog import Topic
from tests.simulation.stores import SimLease
from tests.simulation.world import START_MS, Process, SimClock, Wait, World

HOUR = START_MS // MS_PER_HOUR + 2
CONTRACT = contract_of(1, HOUR)


class WaitingStore:
    """A connection to a store that outlives it; may be away, and may be killed before or after the commit itself."""

    def __init__(self, world: World, kept: DictStore) -> None:
        self.world = world
        self.kept = kept
        self.away_at = 0
        """Number of the commit whose outcome stays unknown; 0: none."""
        self.commits = 0

    async def load(self) -> Loaded:
        await self._wait()
        return self.kept.loaded()

    async def recall(self, ask: Recall) -> Recalled:
        await self._wait()
        return await self.kept.recall(ask)

    async def commit(self, batch: Batch) -> int:
        await Wait(self.world.now_ms + PAUSE_MS + 1)  # whoever sends has looked meanwhile
        self.commits += 1
        if self.commits == self.away_at and self.world.chance("away").random() < 0.5:
            raise StoreAway("simulated: not done")
        self.kept.commit_now(batch)
        await self._wait()
        if self.commits == self.away_at:
            raise StoreAway("simulated: done, and nobody said so")
        return self.kept.commits

    async def flush(self) -> int:
        await self._wait()
        return self.kept.commits

    async def _wait(self) -> None:
        await Wait(self.world.now_ms + 1)


class Exchange:
    """What outlives a settlement: topics, the database, the shard."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        # A broker without idempotent producers: what settlement sends may land twice.
        self.commands = Topic(self.world, "commands", 0, may_repeat=True)
        self.commands.faults.twice = 300
        self.events = Topic(self.world, "events", 0, may_repeat=True)
        self.events.faults.twice = 300
        self.requests = Topic(self.world, "requests", 0, may_repeat=True)
        self.requests.faults.twice = 300
        self.delivery = Topic(self.world, "delivery", 0, may_repeat=False)
        self.kept = DictStore()
        self.lease = SimLease(self.world)
        self.engine = Engine()
        self.alive: list[Process] = []
        self.lives = 0
        self.steps = 0
        """Resumptions of settlement's coroutines, over all of its lives."""
        self.commands.land([Outgoing(encode_frame(WRITER_OPERATOR, 1, [StartShard(0, 1, START_MS)]))])
        self.world.spawn("shard", self._shard())

    async def _shard(self) -> None:
        """Applies commands and writes events; never fails: its own faults are tested elsewhere."""
        commands, events = self.commands.log(), self.events.log()
        offset = seq = 0
        chain = CHAIN_START
        while True:
            for record in await commands.read(offset, wait_ms=100):
                offset = record.offset + 1
                frame = decode_frame(record.value)
                said = self.engine.apply(record.offset, record.time_ms, frame.commands)
                sealed = seal(
                    0, seq, chain, record.offset, self.engine.time_ms, Frame(frame.writer, frame.frame_no, ()), said
                )
                seq, chain = sealed[-1].seq, sealed[-1].chain
                await events.append([Outgoing(one.body, [*one.headers, epoch_header(1)]) for one in sealed])

    def live(self) -> WaitingStore:
        """Start a settlement."""
        self.lives += 1
        store = WaitingStore(self.world, self.kept)
        logs = Logs(
            [self.events.log()],
            self.requests.log(),
            self.delivery.log(),
            lambda _: self.commands.log(),
            self.requests.log,
        )
        clock, status, holder = SimClock(self.world), Status(f"settlement-{self.lives}"), f"life {self.lives}"
        settlement = Settlement(1, store, logs, clock, status)

        async def life() -> None:
            epoch = await get_lease(self.lease, holder, clock, status, LEASE_NAME)
            await settlement.start()
            self.alive += [
                self.world.spawn("settle", settlement.settle()),
                self.world.spawn("send", settlement.send(0)),
                self.world.spawn("pay", settlement.pay(SimulatedPayments())),
                self.world.spawn("lease", keep_lease(self.lease, holder, epoch, clock, LEASE_NAME)),
            ]

        self.alive = [self.world.spawn("life", life())]
        return store

    def kill(self) -> None:
        """All coroutines of the settlement at once; what it wrote may still land."""
        for process in self.alive:
            if process.alive:
                self.world.kill(process)
        self.alive = []

    def fault(self) -> BaseException | None:
        """What ended a coroutine of the settlement."""
        for process in self.alive:
            if isinstance(process.ended, BaseException):
                return process.ended
        return None

    def run(self, ready, *, ms: int = 600_000) -> None:
        """Let the world go on until `ready`; a settlement that ended by itself is started again."""
        until = self.world.now_ms + ms
        while not ready():
            assert self.world.now_ms < until, f"nothing comes any more: {self.world.trace[-5:]}"
            self.world.step()
            fault = self.fault()
            if fault is not None:
                assert isinstance(fault, StoreAway | Superseded), repr(fault)
                self.kill()
                self.live()

    def run_steps(self, steps: int) -> bool:
        """False: the settlement ended before."""
        for _ in range(steps):
            if self.fault() is not None:
                return False
            self.world.step()
        return True

    # --- A short life of a market --------------------------------------------------------------------------

    def write(self) -> None:
        """Requests: two members, one class, money, backing, a payout that comes back and one that is paid."""
        asked = [
            rq.ListClass("class", 0, "TEST", b"", 1, 1, 2_000_000, Fees(), 48, collar_low_bp=1, collar_high_bp=100_000),
            rq.OpenAccount("ana", 0, "ana", Role.PROVIDER),
            rq.OpenAccount("bob", 0, "bob", Role.MEMBER),
            rq.Deposit("d1", 1, 30_000_000, "simulated-faucet", "1"),
            rq.Deposit("d2", 2, 50_000_000, "simulated-faucet", "2"),
            rq.ToTrading("t1", 1, 0, 10_000_000),
            rq.ToTrading("t2", 2, 0, 20_000_000),
            rq.Back("b1", 1, 1, (HOUR,), Ground.DECLARED, 5, 0, 1),
            rq.Withdraw("w1", 1, 5_000_000, "iban"),
            rq.Withdraw("w2", 2, 7_000_000, "simulated:fail"),
            rq.ToTrading("t3", 2, 0, 999_000_000),
        ]
        self.requests.land([Outgoing(msgspec.msgpack.encode(one)) for one in asked])

    def trade(self) -> None:
        """ana sells 3 to bob at 2.00; the hour ends; 20 minutes of it were not delivered; bob takes his money back."""
        orders = [
            PlaceOrder(account, CONTRACT, side, 3, 2_000_000, Tif.GTC, 0, "", self.engine.time_ms + 500_000)
            for account, side in ((1, Side.SELL), (2, Side.BUY))
        ]
        self.commands.land([Outgoing(encode_frame(1 << 32, 1, orders))])
        end_ms = (HOUR + 1) * MS_PER_HOUR
        self.commands.land([Outgoing(encode_frame(2, 1, [Tick(end_ms)]))])
        self.delivery.land([Outgoing(msgspec.msgpack.encode(Delivered(CONTRACT, 0, 20, "simulated", "r1")))])
        self.requests.land([Outgoing(msgspec.msgpack.encode(rq.FromTrading("f2", 2, 0, 99_000_000)))])

    def opened(self) -> bool:
        row = self.kept.rows["requests"].get(("b1",))
        return row is not None and row[3] == "done"

    def finished(self) -> bool:
        requests = {key[0]: row[3] for key, row in self.kept.rows["requests"].items()}
        payouts = {row[4] for row in self.kept.rows["payouts"].values()}
        settled = any(row[6] == "settled" for row in self.kept.rows["deliveries"].values())
        return requests.get("f2") == "done" and payouts == {"paid", "returned"} and settled

    def verdict(self) -> None:
        """The same end, whatever happened on the way."""
        state = State(1, self.kept.loaded())
        check(state, [self.engine])
        states = {key[0]: row[3] for key, row in self.kept.rows["requests"].items()}
        expected = {"class", "ana", "bob", "d1", "d2", "t1", "t2", "b1", "w1", "w2", "f2"}
        assert {
            name for name, said in states.items() if said == "done" and not name.startswith("simulated")
        } == expected
        assert states["t3"] == "refused"
        wallets = [state.ledger.wallet(1), state.ledger.wallet(2)]
        # Of 6.00 for the hour, 5.97 of it ana's, two thirds were delivered; bob swept what he had not spent.
        assert wallets == [30_000_000 - 10_000_000 - 5_000_000 + 3_980_000, 50_000_000 - 6_000_000 + 2_000_000]
        assert state.ledger.balance(TREASURY, 0, 0) == 20_000
        assert not {key[0] for key in state.ledger.balances()} & {CLEARING, TITLES}
        assert self.engine.balances() == {1: 10_000_000, 2: 0}
        entries = [entry[4] for entry in self.kept.entries.values()]
        for what, times in (
            ("deposit_simulated", 2),
            ("credited", 2),
            ("swept", 1),
            ("filled", 1),
            ("delivered_simulated", 1),
            ("payout_paid_simulated", 1),
            ("payout_returned_simulated", 1),
        ):
            assert entries.count(what) == times, f"{what} posted {entries.count(what)} times"


def days(count: int) -> Iterator[Exchange]:
    for seed in range(count):
        exchange = Exchange(seed)
        exchange.write()
        yield exchange


def live_through(exchange: Exchange) -> None:
    exchange.run(exchange.opened)
    exchange.trade()
    exchange.run(exchange.finished)
    exchange.verdict()


def test_without_a_crash() -> None:
    for exchange in days(3):
        exchange.live()
        live_through(exchange)
        assert exchange.lives == 1


@pytest.mark.parametrize("phase", ["opening", "trading"])
def test_a_crash_at_any_await_changes_nothing(phase: str) -> None:
    """kill -9 after 1, 2, 3, ... resumptions, until a run comes through without; each ends with the same books."""
    crashes = 0
    for steps in range(1, 2_000):
        exchange = Exchange(seed=steps)
        exchange.write()
        exchange.live()
        if phase == "trading":
            exchange.run(exchange.opened)
            exchange.trade()
        before = exchange.finished() if phase == "trading" else exchange.opened()
        assert not before
        exchange.run_steps(steps)
        if exchange.opened() if phase == "opening" else exchange.finished():
            break
        exchange.kill()
        crashes += 1
        exchange.live()
        if phase == "opening":
            live_through(exchange)
        else:
            exchange.run(exchange.finished)
            exchange.verdict()
    else:
        pytest.fail("no run came through")
    assert crashes > 20, crashes


@pytest.mark.parametrize("commit", range(1, 7))
def test_a_commit_of_unknown_outcome_ends_the_life(commit: int) -> None:
    """Done or not: the next life loads what is there, and everything still happens once."""
    for exchange in days(4):
        exchange.live().away_at = commit
        live_through(exchange)
        assert exchange.lives == 2


def test_two_settlements_at_once_cannot_both_go_on() -> None:
    """A lease is lost while its holder works on: each commit of one ends the other, and nothing is settled twice."""
    superseded = 0
    for exchange in days(8):
        exchange.live()
        exchange.run_steps(25)
        old, exchange.alive = exchange.alive, []
        exchange.lease.held.clear()
        exchange.live()
        live_through(exchange)
        by_commit = [process for process in old if process.name == "settle" and isinstance(process.ended, Superseded)]
        superseded += len(by_commit) + exchange.lives - 2
        exchange.run(lambda old=old: any(isinstance(process.ended, Superseded) for process in old))
        exchange.verdict()
    assert superseded > 4, "the two never met"


def test_a_log_that_was_replaced_stops_settlement() -> None:
    exchange = next(days(1))
    exchange.live()
    exchange.run(exchange.opened)
    exchange.run_steps(200)
    exchange.kill()
    last = exchange.kept.rows["cursors"]["requests", 0][2] - 1
    exchange.requests.records[last] = exchange.requests.records[last]._replace(value=b"another")
    exchange.lease.held.clear()
    exchange.live()
    with pytest.raises(AssertionError, match="Halt"):
        exchange.run(exchange.finished)
    assert isinstance(exchange.fault(), Halt)
