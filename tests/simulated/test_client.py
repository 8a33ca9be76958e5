"""What became of a request: had no effect, had one, or nobody knows, and then the very same is asked again."""

import hashlib
import hmac

import httpx
import msgspec
import pytest

from schemas.http import CancelAnswer, RequestAnswer, TimeAnswer
from services.simulated.client import Away, BadKeys, Refused, read_keys
from tests.simulated.gateway import Answer, FakeGateway, TestClock, problem

CANCELLED: Answer = (200, {"order_id": "0-1-0-0", "contract": "X", "cancelled": 1})
DONE: Answer = (200, {"request_id": "r", "state": "done", "outcome": {}})
PENDING: Answer = (202, {"request_id": "r", "state": "pending", "outcome": {}})
LOST: Answer = httpx.ReadTimeout("no answer")
CUT: Answer = (200, b"{")
UNKNOWN = problem(504, "outcome_unknown", retryable=True, outcome="unknown")
BUSY = problem(503, "overloaded", retryable=True)
GONE = problem(404, "unknown_order")
NOBODY: Answer = httpx.ConnectError("refused")
PROXY: Answer = (502, b"<html>bad gateway</html>")


async def cancel(*answers: Answer) -> tuple[object, int, TestClock]:
    """What a cancel comes to, and how often it was sent."""
    clock, gateway = TestClock(), FakeGateway({"DELETE /v1/orders/0-1-0-0": list(answers)})
    async with gateway.client(clock) as client:
        outcome = await client.ask("DELETE", "/v1/orders/0-1-0-0", None, CancelAnswer)
    return outcome, len(gateway.asked), clock


ENDS: list[tuple[list[Answer], str, int]] = [
    ([CANCELLED], "done", 1),
    ([GONE], "unknown_order", 1),
    ([BUSY, CANCELLED], "overloaded", 1),  # nothing happened: whoever asked may do something else
    ([LOST, CANCELLED], "done", 2),
    ([UNKNOWN, LOST, CUT, PROXY, CANCELLED], "done", 5),
    ([LOST, GONE], "unknown_order", 2),
    ([LOST, BUSY, NOBODY, CANCELLED], "done", 4),  # the refusal is the repeat's alone
]


@pytest.mark.parametrize(("answers", "end", "sent"), ENDS)
async def test_an_unknown_outcome_is_asked_for_until_it_is_known(answers: list[Answer], end: str, sent: int) -> None:
    outcome, times, _ = await cancel(*answers)

    assert (outcome.code if isinstance(outcome, Refused) else "done") == end
    assert times == sent


async def test_pauses_grow_up_to_a_bound() -> None:
    _, _, clock = await cancel(*[LOST] * 8, CANCELLED)

    assert clock.slept == [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]


async def test_where_nobody_answers_nothing_was_sent() -> None:
    """The caller decides anew: what it wanted may be of no interest any more."""
    with pytest.raises(Away, match="refused"):
        await cancel(NOBODY)


async def test_what_is_pending_is_asked_for_under_the_same_key() -> None:
    clock, gateway = TestClock(), FakeGateway({"POST /v1/admin/procure": [PENDING, PENDING, DONE]})
    async with gateway.client(clock) as client:
        done = await client.ask("POST", "/v1/admin/procure", None, RequestAnswer, key="sim-procure-1")

    assert isinstance(done, RequestAnswer)
    assert gateway.keys("POST /v1/admin/procure") == ["sim-procure-1"] * 3
    assert client.unknown == 1


@pytest.mark.parametrize("answer", [NOBODY, LOST, CUT, BUSY, GONE, PROXY, (200, {"now": 1})])
async def test_a_read_that_is_not_answered_changes_nothing(answer: Answer) -> None:
    gateway = FakeGateway({"GET /v1/time": [answer]})
    async with gateway.client(TestClock()) as client:
        with pytest.raises(Away):
            await client.read("/v1/time", TimeAnswer)

    assert len(gateway.asked) == 1


async def test_every_request_is_signed() -> None:
    """As docs/api.md says: time, method, path with its query, body."""
    heard: list[httpx.Request] = []

    class Ear(FakeGateway):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            heard.append(request)
            return await super().handle_async_request(request)

    gateway = Ear({"GET /v1/orders": [(200, [])]})
    async with gateway.client(TestClock(1_790_000_000_000)) as client:
        await client.read("/v1/orders?state=open&limit=500", list[CancelAnswer])
    text = b"1790000000000GET/v1/orders?state=open&limit=500"

    assert heard[0].headers["Hourbook-Key"] == "k"
    assert heard[0].headers["Hourbook-Signature"] == hmac.new(b"secret", text, hashlib.sha256).hexdigest()


def test_keys_by_name_and_what_is_not_a_key(tmp_path) -> None:
    """Of a file with secrets in it nothing is repeated but its name."""
    key = {"key_id": "k1", "account": 7, "scopes": ["read"], "label": "", "expires_at": "", "networks": []}
    good = {"demo-buyer": {"key": key, "secret": "c2VjcmV0", "bearer": "b"}}
    file = tmp_path / "demo.keys"
    file.write_bytes(msgspec.json.encode(good))
    read = read_keys(file)["demo-buyer"]
    assert (read.key_id, read.secret, read.account, repr(read)) == ("k1", b"secret", 7, "Key(k1)")

    for wrong in (
        b"",
        b"[]",
        b'{"a": {}}',
        b'{"\xff": {}}',
        b'{"a":' * 9_999,
        msgspec.json.encode({"a": good["demo-buyer"] | {"secret": "hush!"}}),
        msgspec.json.encode({"a": good["demo-buyer"] | {"secret": "hushé"}}),
    ):
        file.write_bytes(wrong)
        with pytest.raises(BadKeys) as caught:
            read_keys(file)
        assert "hush" not in str(caught.value)
    with pytest.raises(BadKeys):
        read_keys(tmp_path / "nothing")
