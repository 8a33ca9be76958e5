"""Waiting has pauses with a bound, and says what it waits for."""

from services.runtime.backoff import PAUSE_MS_MAX, wait_for
from services.runtime.log import Unreachable
from services.runtime.status import Status


class Pauses:
    """A clock that notes pauses and what the status said in them."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.pauses: list[int] = []
        self.said: list[object] = []

    def now_ms(self) -> int:
        return 0

    def elapsed_ms(self) -> int:
        return self.now_ms()

    async def sleep_ms(self, duration_ms: int) -> None:
        self.pauses.append(duration_ms)
        self.said.append(self.status.values["waiting_for"])


async def test_pauses_double_up_to_a_bound_and_the_status_says_why() -> None:
    status = Status("thing")
    clock = Pauses(status)
    attempts = 0

    async def attempt() -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 10:
            raise Unreachable("127.0.0.1:9092")
        return "there"

    assert await wait_for("kafka", attempt, errors=(Unreachable,), clock=clock, status=status) == "there"
    assert clock.pauses == [100, 200, 400, 800, 1600, 3200, PAUSE_MS_MAX, PAUSE_MS_MAX, PAUSE_MS_MAX]
    assert clock.said == ["kafka"] * 9
    assert status.values["waiting_for"] == ""
    assert status.values["last_error"] == "Unreachable: 127.0.0.1:9092"


async def test_an_error_of_another_kind_ends_it() -> None:
    status = Status("thing")

    async def attempt() -> None:
        raise KeyError("bug")

    try:
        await wait_for("kafka", attempt, errors=(Unreachable,), clock=Pauses(status), status=status)
    except KeyError:
        return
    raise AssertionError("it must not be waited away")


def test_everything_that_is_waited_for_is_named_until_it_is_there() -> None:
    """In the order in which it went away; the last error stays to be read."""
    status, said = Status("test"), []
    for what, error in (("kafka", "refused"), ("postgres", ""), ("kafka", "still refused")):
        status.wait(what, error)
        said.append((status.values["waiting_for"], status.values["last_error"]))
    for what in ("kafka", "disk", "postgres"):
        status.go_on(what)
        said.append((status.values["waiting_for"], status.values["last_error"]))
    assert said == [
        ("kafka", "refused"),
        ("kafka, postgres", "refused"),
        ("kafka, postgres", "still refused"),
        ("postgres", "still refused"),
        ("postgres", "still refused"),
        ("", "still refused"),
    ]
