"""Of two settlements the one that is too late says so, wherever it finds out: it is started again, and nobody is called."""

import msgspec
import pytest

from schemas import requests as rq
from schemas.codec import CHAIN_START, WRITER_SETTLEMENT, Frame, epoch_header, seal
from schemas.commands import Role
from schemas.events import AccountSet, Event
from services.runtime.errors import Halt, Superseded
from services.runtime.lease import get_lease
from services.runtime.log import Outgoing
from services.runtime.status import Status
from services.settlement.shell import LEASE_NAME, Logs, Settlement
from tests.simulation.simlog import Topic
from tests.simulation.simstore import SimDatabase, SimStore
from tests.simulation.stores import SimLease
from tests.simulation.world import Process, SimClock, World


class Two:
    """Two settlements over one database, neither of which knows of the other."""

    def __init__(self) -> None:
        self.world = World(1)
        self.database = SimDatabase(self.world)
        self.events, self.requests, self.delivery = (
            Topic(self.world, name, 0, may_repeat=False) for name in ("events", "requests", "delivery")
        )
        self.first, self.second = (self.world.spawn(name, self.life()) for name in ("first", "second"))
        self.world.run_ms(100)

    async def life(self) -> None:
        logs = Logs([self.events.log()], self.requests.log(), self.delivery.log(), None, None)
        settlement = Settlement(1, SimStore(self.database), logs, SimClock(self.world), Status("settlement"))
        await settlement.start()
        await settlement.settle()

    def ask(self, name: str) -> None:
        request = rq.OpenAccount(name, 0, name, Role.MEMBER)
        self.requests.land([Outgoing(msgspec.msgpack.encode(request))])

    def say(self, event: Event) -> None:
        """The shard's first record."""
        (sealed,) = seal(0, 0, CHAIN_START, 0, 1_000, Frame(WRITER_SETTLEMENT, 1, ()), [event])
        self.events.land([Outgoing(sealed.body, [*sealed.headers, epoch_header(1)])])

    def end_of(self, process: Process) -> BaseException | str | None:
        until_ms = self.world.now_ms + 60_000
        while process.alive and self.world.now_ms < until_ms:
            assert self.world.step()
        return process.ended


def test_a_commit_that_comes_second_is_found_out_by_whatever_asks_the_store_next() -> None:
    """The store works on one batch while the next is made: what it remembers of requests is asked for in between."""
    two = Two()
    for number in range(600):
        two.ask(f"request {number}")
    while two.first.alive and two.second.alive:
        assert two.world.step()
    ended = two.second if two.first.alive else two.first
    assert isinstance(ended.ended, Superseded)
    assert len(two.database.tables["requests"]) > 0


@pytest.mark.parametrize("overtaken", ["by a message that another has sent", "by an archive"])
def test_one_that_was_stopped_and_overtaken_is_no_reason_to_halt(overtaken: str) -> None:
    """What contradicts an old memory contradicts nothing."""
    two = Two()
    two.world.stop(two.second)
    two.ask("ana")
    two.world.run_ms(500)
    two.say(AccountSet(0, 1, 1, 1, 0, 0))
    two.world.run_ms(500)
    if overtaken == "by an archive":
        two.events.cut(1)
    two.world.resume(two.second)
    assert isinstance(two.end_of(two.second), Superseded)
    assert two.first.alive


def test_what_contradicts_the_present_memory_halts() -> None:
    """Nobody has asked for this account: the log is not the one that the messages were sent to."""
    two = Two()
    two.world.kill(two.second)
    two.say(AccountSet(0, 1, 1, 1, 0, 0))
    assert isinstance(two.end_of(two.first), Halt)


def test_a_settlement_that_waits_for_the_lease_does_not_call_itself_active() -> None:
    """It was, until its database went away: by the time that it asks again another settles."""
    world, status = World(1), Status("settlement")
    lease = SimLease(world)
    lease.held["settlement"] = (7, "another", world.now_ms + 60_000)
    status.set(role="active", epoch=6)
    waiting = world.spawn("waiting", get_lease(lease, "itself", SimClock(world), status, LEASE_NAME))
    world.run_ms(10_000)
    assert waiting.alive
    assert (status.values["role"], status.values["waiting_for"]) == ("follower", "lease")
