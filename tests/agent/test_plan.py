"""Which leases are let in, kept and ended, without a machine: one rule a test, then random lives of a machine."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from schemas.agents import HeartbeatAnswer, Lease
from services.agent import plan
from services.agent.clock import Anchor, Moment, Now, elapsed_at, exchange_now
from services.agent.plan import Begin, Close, Machine, Prepare

MINUTE = 60_000
NOBODY: frozenset[str] = frozenset()


def lease(name: str = "ana", from_ms: int = 0, until_ms: int = 60 * MINUTE, **fields: Any) -> Lease:
    told = {"seats": ("seat-1",), "warn_ms": (), "probe_key": "probe", "ssh_keys": ("key",)} | fields
    return Lease(lease=name, from_ms=from_ms, until_ms=until_ms, **told)


def answer(now_ms: int, *leases: Lease, grace_ms: int = 10 * MINUTE) -> HeartbeatAnswer:
    return HeartbeatAnswer(nonce="n", now_ms=now_ms, every_ms=1_000, grace_ms=grace_ms, leases=leases)


def told(now_ms: int, *leases: Lease) -> Machine:
    return plan.hear(Machine(), answer(now_ms, *leases), NOBODY)


def at(now_ms: int) -> Now:
    return Now(now_ms, certain=True)


def ready(machine: Machine, name: str = "ana") -> Machine:
    return plan.prepared(machine, machine.held[name].lease, port=22, user="u", host_key="k", detail="")


def opened(machine: Machine, name: str = "ana") -> Machine:
    return plan.begun(ready(machine, name), machine.held[name].lease, "")


def test_a_lease_is_made_ready_when_it_is_told_and_begun_when_it_begins() -> None:
    ana = lease(from_ms=5 * MINUTE)
    machine = told(0, ana)
    assert plan.plan(machine, at(0), {}) == [Prepare(ana)]
    assert plan.plan(machine, at(0), {"ana": Prepare(ana)}) == []
    machine = ready(machine)
    assert plan.plan(machine, at(5 * MINUTE - 1), {}) == []
    assert plan.plan(machine, at(5 * MINUTE), {}) == [Begin(ana)]


def test_an_answer_that_does_not_name_a_lease_ends_it_whatever_it_was_busy_with() -> None:
    machine = plan.hear(told(0, lease()), answer(1), NOBODY)
    assert plan.plan(machine, at(1), {"ana": Prepare(lease())}) == [Close(lease())]
    assert plan.plan(machine, at(1), {"ana": Close(lease())}) == []


def test_at_its_end_the_next_answer_decides_and_without_one_grace_does() -> None:
    ana = lease(until_ms=60 * MINUTE)
    machine = opened(told(59 * MINUTE, ana))
    assert plan.ask_ms(machine, 59 * MINUTE) == 60 * MINUTE
    assert plan.plan(machine, at(60 * MINUTE), {}) == []
    ended = plan.hear(machine, answer(60 * MINUTE, ana), NOBODY)
    assert plan.plan(ended, at(60 * MINUTE), {}) == [Close(ana)]
    later = replace(ana, until_ms=120 * MINUTE)
    extended = plan.hear(machine, answer(60 * MINUTE, later), NOBODY)
    assert plan.plan(extended, at(60 * MINUTE), {}) == []
    assert plan.plan(machine, at(70 * MINUTE - 1), {}) == []
    assert plan.plan(machine, at(70 * MINUTE), {}) == [Close(ana)]


def test_grace_ends_where_somebody_elses_lease_of_a_seat_begins_and_he_waits_until_it_is_wiped() -> None:
    ana, bert = lease(until_ms=60 * MINUTE), lease("bert", 60 * MINUTE, 90 * MINUTE, seats=("seat-1", "seat-2"))
    emil = lease("emil", 60 * MINUTE, 90 * MINUTE, seats=("seat-3",))
    machine = ready(ready(opened(told(59 * MINUTE, ana, bert, emil)), "bert"), "emil")
    assert plan.plan(machine, at(60 * MINUTE), {}) == [Close(ana), Begin(emil)]
    machine = plan.begun(machine, emil, "")
    assert plan.plan(machine, at(60 * MINUTE), {"ana": Close(ana)}) == []
    assert plan.plan(plan.closed(machine, "ana"), at(60 * MINUTE), {}) == [Begin(bert)]


def test_a_closed_lease_is_reported_until_the_exchange_has_heard_it() -> None:
    machine = plan.closed(plan.hear(opened(told(0, lease())), answer(1), NOBODY), "ana")
    assert [each.state for each in plan.reports(machine)] == ["closed"]
    assert plan.hear(machine, answer(2), NOBODY) == replace(machine, heard_ms=2)
    assert plan.hear(machine, answer(2), frozenset({"ana"})).held == {}
    still_named = plan.hear(machine, answer(60 * MINUTE, lease()), frozenset({"ana"}))
    assert plan.plan(still_named, at(60 * MINUTE), {}) == []


def test_a_lease_that_goes_on_after_it_was_wiped_is_opened_anew_and_says_so() -> None:
    machine = plan.closed(opened(told(0, lease())), "ana")
    again = lease(until_ms=200 * MINUTE)
    machine = plan.hear(machine, answer(71 * MINUTE, again), NOBODY)
    assert plan.plan(machine, at(71 * MINUTE), {}) == [Prepare(again)]
    assert plan.reports(opened(machine))[0].detail == plan.OPENED_ANEW


def test_another_image_is_made_ready_anew_until_the_lease_has_begun_and_late_news_of_the_old_one_are_passed_over() -> (
    None
):
    old, new = lease(from_ms=MINUTE, image="old"), lease(from_ms=MINUTE, image="new")
    machine = plan.hear(ready(told(0, old)), answer(1, new), NOBODY)
    assert plan.plan(machine, at(1), {}) == [Prepare(new)]
    assert plan.prepared(machine, old, port=1, user="", host_key="", detail="") == machine
    assert plan.failed(machine, old, "no such image") == machine
    broken = plan.failed(told(0, old), old, "no such image")
    assert plan.plan(broken, at(2 * MINUTE), {}) == []
    assert plan.plan(plan.hear(broken, answer(1, new), NOBODY), at(1), {}) == [Prepare(new)]
    running = plan.hear(opened(told(0, old)), answer(1, new), NOBODY)
    assert plan.plan(running, at(2 * MINUTE), {}) == []


def test_a_failed_lease_is_wiped_when_it_is_over() -> None:
    machine = plan.failed(told(0, lease()), lease(), "does not start")
    assert [(each.state, each.detail) for each in plan.reports(machine)] == [("failed", "does not start")]
    assert plan.plan(plan.hear(machine, answer(1), NOBODY), at(1), {}) == [Close(lease())]


def test_only_the_last_warning_that_is_due_is_given_in_words_that_do_not_change_with_time() -> None:
    ana = lease(until_ms=600 * MINUTE, warn_ms=(585 * MINUTE, 595 * MINUTE))
    assert plan.warning(ana, 585 * MINUTE - 1) == ""
    first = plan.warning(ana, 585 * MINUTE)
    assert first == (
        "09:45 UTC: your time on this machine ends at 10:00 UTC, in 15 minutes. Then sessions end and the disk is wiped."
    )
    assert plan.warning(ana, 595 * MINUTE - 1) == first
    assert "in 5 minutes" in plan.warning(ana, 599 * MINUTE)
    assert plan.warning(ana, 600 * MINUTE) == ""


def test_after_a_restart_of_the_machine_nobody_is_let_in_and_only_what_is_surely_over_is_wiped() -> None:
    """How long it was off is not known: a lower bound of the time ends leases, and opens none."""
    anchor = Anchor(59 * MINUTE, Moment("before", 1_000_000_000))
    early, late = (exchange_now(anchor, Moment("after", elapsed)) for elapsed in (MINUTE, 11 * MINUTE))
    assert (early, late) == (Now(60 * MINUTE, certain=False), Now(70 * MINUTE, certain=False))
    machine = ready(plan.lost(opened(told(59 * MINUTE, lease())), "ana"))
    assert plan.plan(machine, early, {}) == []
    assert not plan.orders(machine, machine.held["ana"], early).open
    assert plan.plan(machine, late, {}) == [Close(lease())]


def test_time_is_counted_from_the_last_answer_by_a_clock_that_nobody_sets() -> None:
    anchor = Anchor(1_000_000, Moment("boot", 500))
    assert exchange_now(anchor, Moment("boot", 1_500)) == at(1_001_000)
    assert elapsed_at(anchor, 1_001_000) == 1_500
    assert exchange_now(None, Moment("boot", 1_500)) == Now(0, certain=False)


# --- Random lives ---------------------------------------------------------------------------------------------

NAMES = ("1", "2", "3", "4")
SEATS = ("a", "b")
GRACE = 20


class Life(RuleBasedStateMachine):
    """A machine, an exchange that changes its mind, answers that are lost or come twice, an agent that dies at any moment.

    The disk is what `plan`'s machine was when it was saved, which is at every change. What is really on the machine (doors, folders)
    is kept here by itself, and changed by actions only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1_000
        self.machine = Machine()
        self.leases: dict[str, Lease] = {}
        self.ever: set[str] = set()
        self.busy: dict[str, plan.Action] = {}
        self.folders: set[str] = set()
        self.inside: set[str] = set()
        self.heard_closed: set[str] = set()
        self.certain = False

    @initialize()
    def first_answer(self) -> None:
        self.answered()

    # The exchange.

    @rule(name=st.sampled_from(NAMES), seat=st.sampled_from(SEATS), starts=st.integers(0, 30), lasts=st.integers(1, 60))
    def sells(self, name: str, seat: str, starts: int, lasts: int) -> None:
        """Never two leases of one seat at once."""
        from_ms = self.now_ms + starts
        told = lease(name, from_ms, from_ms + lasts, seats=(seat,))
        others = [each for other, each in self.leases.items() if other != name and each.seats == (seat,)]
        if name in self.ever or any(each.from_ms < told.until_ms and told.from_ms < each.until_ms for each in others):
            return
        self.ever.add(name)
        self.leases[name] = told

    @rule(name=st.sampled_from(NAMES), by=st.integers(1, 40))
    def moves_an_end(self, name: str, by: int) -> None:
        known = self.leases.get(name)
        if known is None or known.until_ms <= self.now_ms:
            return
        moved = replace(known, until_ms=known.until_ms + by)
        others = [each for other, each in self.leases.items() if other != name and each.seats == known.seats]
        if not any(each.from_ms < moved.until_ms and moved.from_ms < each.until_ms for each in others):
            self.leases[name] = moved

    @rule(name=st.sampled_from(NAMES))
    def withdraws(self, name: str) -> None:
        self.leases.pop(name, None)

    # The wire.

    @rule()
    def answered(self) -> None:
        self._hear(lost=False)

    @rule()
    def answered_and_the_answer_lost(self) -> None:
        self._hear(lost=True)

    def _hear(self, *, lost: bool) -> None:
        reports = plan.reports(self.machine)
        for report in reports:
            if report.state == "closed":
                assert report.lease not in self.folders, "called closed, and not wiped"
                self.heard_closed.add(report.lease)
        named = [each for each in self.leases.values() if each.until_ms > self.now_ms]
        if not lost:
            closed = frozenset(report.lease for report in reports if report.state == "closed")
            said = answer(self.now_ms, *named, grace_ms=GRACE)
            self.machine = plan.hear(self.machine, said, closed)
            # The same one again changes nothing.
            assert plan.hear(self.machine, said, closed) == self.machine
            self.certain = True

    # The machine.

    @rule(by=st.integers(1, 25))
    def time_passes(self, by: int) -> None:
        self.now_ms += by

    @rule()
    def the_agent_plans(self) -> None:
        for action in plan.plan(self.machine, Now(self.now_ms, self.certain), self.busy):
            name = action.lease.lease
            assert name not in self.busy or isinstance(action, Close)
            self.busy[name] = action
            if isinstance(action, Prepare):
                # Half of it may be there from now on.
                self.folders.add(name)

    @rule(name=st.sampled_from(NAMES), fails=st.booleans())
    def an_action_is_done(self, name: str, fails: bool) -> None:
        action = self.busy.pop(name, None)
        if isinstance(action, Prepare):
            if fails:
                self.machine = plan.failed(self.machine, action.lease, "no")
            else:
                self.machine = plan.prepared(self.machine, action.lease, port=1, user="u", host_key="k", detail="")
        elif isinstance(action, Begin):
            self.machine = plan.begun(self.machine, action.lease, "")
            if self.machine.held[name].stage == "open":
                self.inside.add(name)
        elif isinstance(action, Close) and not fails:
            self.folders.discard(name)
            self.inside.discard(name)
            self.machine = plan.closed(self.machine, name)

    @rule(done=st.booleans())
    def the_agent_dies_and_starts_again(self, done: bool) -> None:
        """Whatever it was busy with is done or is not, and not noted in any case."""
        for name, action in self.busy.items():
            if done and isinstance(action, Close):
                self.folders.discard(name)
                self.inside.discard(name)
            if done and isinstance(action, Begin):
                self.inside.add(name)
        self.busy.clear()
        for name in self.machine.held:
            self.machine = plan.lost(self.machine, name)

    @rule()
    def the_machine_starts_again(self) -> None:
        self.the_agent_dies_and_starts_again(done=False)
        self.inside.clear()
        self.certain = False

    # What must hold.

    @invariant()
    def everybody_who_is_inside_is_known(self) -> None:
        assert self.inside <= self.folders <= set(self.machine.held)

    @invariant()
    def no_seat_is_two_tenants(self) -> None:
        open_seats = [held.lease.seats for held in self.machine.held.values() if held.stage == "open"]
        assert len(open_seats) == len(set(open_seats))

    @invariant()
    def the_next_plan_ends_whoever_is_over(self) -> None:
        planned = {
            action.lease.lease
            for action in (*plan.plan(self.machine, Now(self.now_ms, self.certain), {}), *self.busy.values())
            if isinstance(action, Close)
        }
        for name, held in self.machine.held.items():
            if name in self.folders and (not held.named or held.lease.until_ms + GRACE <= self.now_ms):
                assert name in planned

    def teardown(self) -> None:
        """Once nothing goes wrong any more, all that runs is open and all that does not is gone and forgotten."""
        for _ in range(8):
            self._hear(lost=False)
            self.the_agent_plans()
            for name in NAMES:
                self.an_action_is_done(name, fails=False)
        self._hear(lost=False)
        running = {name for name, each in self.leases.items() if each.until_ms > self.now_ms}
        assert set(self.machine.held) == running
        assert self.folders == running
        for name in running:
            held = self.machine.held[name]
            begun = self.leases[name].from_ms <= self.now_ms
            assert held.stage == ("open" if begun else "ready") or held.stage == "failed"


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
