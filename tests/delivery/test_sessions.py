"""Agents: who speaks for a machine, and which of his words counts."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.agents import Enrolment, Gpu, Heartbeat, LeaseReport
from schemas.leases import MachineEnrolled, MachineRetired
from services.delivery.refusals import Refused
from services.delivery.sessions import ALIVE_MS, Sessions, enrolled
from services.delivery.state import State
from tests.delivery.room import ANA, CARL, CLASS, DANA, Room, moment

MACHINE = (CARL, "a")
GPUS = (Gpu(uuid="GPU-1", name="H100"), Gpu(uuid="GPU-2", name="H100"))


def enrolment(instance: str = "one", *, machine: str = "a", inventory: tuple[Gpu, ...] = GPUS) -> Enrolment:
    return Enrolment(
        machine=machine, class_id="H100.SXM.80.US", instance=instance, boot_id="boot", agent_version="1",
        source="declared", driver="open", host="192.0.2.7", inventory=inventory,
    )  # fmt: skip


def heartbeat(seq: int, nonce: str, instance: str = "one", **more: Any) -> Heartbeat:
    return Heartbeat(
        instance=instance, seq=seq, nonce=nonce, boot_id="boot", sent_at_ms=500, inventory=GPUS, leases=(), **more
    )


def code_of(refused: pytest.ExceptionInfo[Refused]) -> str:
    return refused.value.code


@pytest.fixture
def sessions() -> Sessions:
    """One agent has enrolled, and its first heartbeat is to bring n0."""
    made = Sessions()
    made.enrol(MACHINE, enrolment(), "n0", 0)
    return made


def test_a_heartbeat_counts_with_the_next_number_and_the_nonce_of_the_answer_before(sessions: Sessions) -> None:
    report = LeaseReport(lease="7", state="open", port=2201)
    said = Heartbeat(
        instance="one", seq=1, nonce="n0", boot_id="boot", sent_at_ms=3_600_500, inventory=GPUS, leases=(report,)
    )

    session = sessions.beat(MACHINE, said, "n1", 10, 500)

    assert (session.seq, session.nonce, session.seen_ms) == (1, "n1", 10)
    assert session.reports == {7: report}
    assert session.clock_off_ms == 3_600_000, "an hour off: told to its owner, and nothing else is made of it"


def test_the_last_heartbeat_again_is_answered_again_and_changes_nothing(sessions: Sessions) -> None:
    """Its answer was lost on the way."""
    sessions.beat(MACHINE, heartbeat(1, "n0"), "n1", 10, 0)

    again = sessions.beat(MACHINE, heartbeat(1, "n0"), "n2", 20, 0)

    assert (again.seq, again.nonce, again.seen_ms) == (1, "n1", 20)
    assert sessions.beat(MACHINE, heartbeat(2, "n1"), "n2", 30, 0).seq == 2


@pytest.mark.parametrize(("seq", "nonce"), [(1, "n0"), (3, "n0"), (2, "n1"), (4, "n2"), (2, "n3")])
def test_an_old_heartbeat_is_refused(sessions: Sessions, seq: int, nonce: str) -> None:
    """Recorded and sent again, or late."""
    for number in range(3):
        sessions.beat(MACHINE, heartbeat(number + 1, f"n{number}"), f"n{number + 1}", 10, 0)

    with pytest.raises(Refused) as refused:
        sessions.beat(MACHINE, heartbeat(seq, nonce), "nx", 20, 0)

    assert code_of(refused) == "stale_heartbeat"
    assert sessions.of[MACHINE].seen_ms == 10


def test_a_second_agent_is_refused_while_the_first_is_alive(sessions: Sessions) -> None:
    with pytest.raises(Refused, match="silent for 20 s") as refused:
        sessions.enrol(MACHINE, enrolment("two"), "m0", ALIVE_MS - 1)

    assert code_of(refused) == "agent_running"


def test_a_second_agent_takes_over_from_a_silent_one_which_is_told_so(sessions: Sessions) -> None:
    sessions.enrol(MACHINE, enrolment("two"), "m0", ALIVE_MS)

    with pytest.raises(Refused) as refused:
        sessions.beat(MACHINE, heartbeat(1, "n0"), "n1", ALIVE_MS + 1, 0)

    assert code_of(refused) == "agent_superseded"


def test_the_same_agent_may_enrol_again_at_any_time(sessions: Sessions) -> None:
    sessions.enrol(MACHINE, enrolment(), "m0", 5)

    assert sessions.beat(MACHINE, heartbeat(1, "m0"), "m1", 6, 0).seq == 1


def test_who_was_enrolled_before_this_room_began_enrols_again() -> None:
    with pytest.raises(Refused) as refused:
        Sessions().beat(MACHINE, heartbeat(5, "n4"), "n5", 0, 0)

    assert code_of(refused) == "unknown_machine"


# --- What is recorded of an enrolment ------------------------------------------------------------------------


def record(state: State, account: int = CARL, **asked: Any) -> MachineEnrolled | None:
    return enrolled(state, account, CLASS, enrolment(**asked), moment(0))


def test_what_is_known_is_not_recorded_again() -> None:
    room = Room()
    first = record(room.state)
    assert first is not None
    room.take(first)

    assert record(room.state, instance="two") is None


def test_a_seat_keeps_its_number_when_another_is_gone() -> None:
    room = Room()
    room.take(record(room.state) or pytest.fail("nothing"))

    changed = record(room.state, inventory=(GPUS[1], Gpu(uuid="GPU-3", name="H100")))

    assert changed is not None
    assert (changed.uuids, changed.unusable) == (("GPU-1", "GPU-2", "GPU-3"), (0,))


@pytest.mark.parametrize(
    ("account", "name", "whose"), [(DANA, "a", "another provider's machine"), (CARL, "b", "your machine 'a'")]
)
def test_gpus_are_enrolled_once(account: int, name: str, whose: str) -> None:
    """By two providers, or by one under two names."""
    room = Room()
    room.take(record(room.state) or pytest.fail("nothing"))

    with pytest.raises(Refused, match=whose) as refused:
        record(room.state, account, machine=name)

    assert code_of(refused) == "machine_known"


def test_gpus_of_a_retired_machine_may_be_enrolled_by_somebody_else() -> None:
    room = Room()
    room.take(record(room.state) or pytest.fail("nothing"))
    room.take(MachineRetired(1, moment(0), CARL, "a"))

    assert record(room.state, DANA) is not None


@pytest.mark.parametrize("account", [CARL, DANA])
def test_gpus_of_a_retired_machine_that_somebody_has_yet_are_not_enrolled_again(account: int) -> None:
    """Else who retires a machine could let its GPUs a second time, beside the tenant who is on them."""
    room = Room()
    room.take(enrolled(room.state, CARL, CLASS, enrolment(), moment(-1)))  # type: ignore[arg-type]  # it is new
    room.sell(CARL, ANA, 0, 2)
    room.gate(0)
    room.take(MachineRetired(1, moment(0, 10), CARL, "a"))

    with pytest.raises(Refused, match="until its leases have ended") as refused:
        record(room.state, account, machine="b")
    assert code_of(refused) == "machine_known"

    room.pass_to(moment(1))
    assert record(room.state, account, machine="b") is not None


def test_two_gpus_of_one_uuid_are_refused() -> None:
    with pytest.raises(Refused, match="one UUID"):
        record(State(), inventory=(GPUS[0], GPUS[0]))


def test_a_machine_with_tenants_stays_in_its_class() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)

    with pytest.raises(Refused, match="leases of another class"):
        enrolled(room.state, CARL, CLASS + 1, enrolment(), moment(0))
