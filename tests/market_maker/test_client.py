"""What became of a request, and what the desk is told of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from schemas import http
from schemas.keys import KeyIssued
from services.gateway.auth import Key as GatewayKey
from services.gateway.auth import Request, authenticate
from services.gateway.errors import ApiError
from services.market_maker.client import OPEN_ORDERS_MAX, BadKey, GatewayClient, Key, read_key
from services.market_maker.exchange import (
    Accepted,
    Backing,
    GatewayAway,
    OpenOrder,
    Outcome,
    Position,
    Refused,
    Unknown,
)
from services.market_maker.pace import Pace
from services.market_maker.quoting import HourQuote
from tests.clock import HandClock
from tests.market_maker.hall import T0_MS

KEY = Key("hb_1", b"s" * 32)
SYMBOL = "H100.SXM.80.US.20261122T14-USD"
ORDER = http.OrderAnswer(
    order_id="0-1842-3-0", client_order_id="desk-1", contract=SYMBOL, side="sell", qty=8, price="3.39", tif="gtc",
    post_only=False, state="open", reason="", leaves=5, filled=3, cancelled=0, accepted_at="2026-11-22T10:00:00.000Z",
)  # fmt: skip
Handler = Callable[[httpx.Request], httpx.Response]


class Wire:
    """Answers in place of a gateway, and the requests that it got."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.clock = HandClock(T0_MS)
        self.client = GatewayClient(
            "http://gateway", KEY, self.clock, 100, 30_000, "run", httpx.MockTransport(self._answer)
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def place(self) -> Outcome:
        return await self.client.place(SYMBOL, 8, 3_390_000, "desk-1")


def ok(body: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, content=msgspec.json.encode(body))


def problem(error: ApiError, *, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(error.row.status, content=msgspec.json.encode(error.problem("r1")), headers=headers)


async def test_an_order_is_sent_in_the_words_of_the_api_and_signed() -> None:
    wire = Wire(ok(ORDER, 201))
    assert await wire.place() == Accepted()
    (request,) = wire.requests
    body = msgspec.json.decode(request.content, type=http.OrderRequest)
    assert body == http.OrderRequest(
        contract=SYMBOL, side="sell", qty=8, price="3.39", client_order_id="desk-1", valid_for_ms=30_000
    )  # fmt: skip
    assert caller_of(request, wire.clock.now_ms()) == 7


async def test_a_query_is_signed_with_its_path() -> None:
    wire = Wire(ok([]))
    assert await wire.client.orders() == []
    assert caller_of(wire.requests[0], wire.clock.now_ms()) == 7


def caller_of(request: httpx.Request, now_ms: int) -> int:
    """The account that the gateway's own judge takes the request for."""
    record = KeyIssued("hb_1", 7, 7, ("read",), b"", b"", 0, (), "")
    path = request.url.raw_path.decode()
    judged = Request(request.method, path, request.content, dict(request.headers), "127.0.0.1")
    return authenticate({"hb_1": GatewayKey(record, KEY.secret)}, judged, now_ms).account


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.ConnectError("refused"), Refused),
        (httpx.ConnectTimeout("slow"), Refused),
        (httpx.PoolTimeout("busy"), Refused),
        (httpx.ReadTimeout("silence"), Unknown),
        (httpx.WriteError("broke off"), Unknown),
        (httpx.RemoteProtocolError("hung up"), Unknown),
        (problem(ApiError("wrong_phase")), Refused),
        (problem(ApiError("overloaded")), Refused),
        (problem(ApiError("outcome_unknown")), Unknown),
        (problem(ApiError("internal")), Unknown),
        (httpx.Response(502, content=b"<html>bad gateway</html>"), Unknown),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_is_known_of_an_order_after_each_kind_of_answer(answer: httpx.Response, outcome: type) -> None:
    assert isinstance(await Wire(answer).place(), outcome)


async def test_a_refusal_carries_its_numbers_in_millionths() -> None:
    wire = Wire(problem(ApiError("insufficient_funds", need=3_170_000, have=40_000)))
    outcome = await wire.client.back("C", 497_000, 24, "promised", 8, 6_600_000, 1)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.retryable, outcome.need, outcome.have) == (
        "insufficient_funds",
        False,
        3_170_000,
        40_000,
    )


@pytest.mark.parametrize("code", ["wrong_phase", "unknown_contract", "wrong_expiry", "too_soon"])
async def test_a_refusal_may_name_an_hour_or_a_moment_which_is_no_amount(code: str) -> None:
    wire = Wire(problem(ApiError(code, need=497_000)))
    outcome = await wire.place()
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.need, outcome.have) == (code, 0, 0)


async def test_backing_is_an_absolute_target_under_one_key_until_its_outcome_is_known() -> None:
    pending = ok(http.RequestAnswer(request_id="r", state="pending", outcome={}), 202)
    done = ok(http.RequestAnswer(request_id="r", state="done", outcome={}))
    wire = Wire(httpx.ReadTimeout("silence"), pending, done)
    assert (
        await wire.client.back("H100.SXM.80.US", 497_000, 24, "promised", 8, 6_600_000, 1_790_000_000_000) == Accepted()
    )
    assert len({request.headers["Idempotency-Key"] for request in wire.requests}) == 1
    assert len({request.content for request in wire.requests}) == 1
    assert json.loads(wire.requests[0].content) == {
        "class": "H100.SXM.80.US", "from": "2026-09-12T08:00Z", "hours": 24, "ground": "promised", "qty": 8,
        "version": 1_790_000_000_000, "collateral_price": "6.60",
    }  # fmt: skip
    await wire.client.fund("H100.SXM.80.US", 1)
    assert wire.requests[-1].headers["Idempotency-Key"] != wire.requests[0].headers["Idempotency-Key"]


async def test_an_outcome_that_stays_open_is_unknown() -> None:
    wire = Wire(httpx.ReadTimeout("silence"))
    assert isinstance(await wire.client.fund("C", 1), Unknown)
    assert len(wire.requests) == 3


async def test_quotes_are_sent_for_many_hours_at_once_and_answered_hour_by_hour() -> None:
    refusal = http.RefusalAnswer(code="would_trade", title="", detail="")
    answer = http.QuotesAnswer(
        class_id="H100.SXM.80.US", number=7,
        outcomes=(
            http.QuoteOutcomeAnswer(contract=SYMBOL, hour="", bid="2.85", bid_qty=8, ask="3.17", ask_qty=4),
            http.QuoteOutcomeAnswer(contract="H100.SXM.80.US.20261122T15-USD", hour="", refusal=refusal),
        ),
    )  # fmt: skip
    wire = Wire(ok(answer))
    quotes = [(498_710, HourQuote(2_850_000, 8, 3_170_000, 4)), (498_711, HourQuote(0, 0, 3_170_000, 4))]

    assert await wire.client.quote("H100.SXM.80.US", 6, quotes) == Accepted(((498_711, "would_trade"),), 7)

    (request,) = wire.requests
    assert (request.method, request.url.path) == ("PUT", "/v1/quotes/H100.SXM.80.US")
    assert json.loads(request.content) == {
        "quotes": [
            {"hour": "2026-11-22T14:00Z", "bid": "2.85", "bid_qty": 8, "ask": "3.17", "ask_qty": 4},
            {"hour": "2026-11-22T15:00Z", "bid": "", "bid_qty": 0, "ask": "3.17", "ask_qty": 4},
        ],
        "number": 6, "valid_for_ms": 30_000,
    }  # fmt: skip


async def test_an_answer_to_quotes_that_cannot_be_read_leaves_their_outcome_unknown() -> None:
    assert isinstance(await Wire(httpx.Response(200, content=b"{}")).client.quote("C", 1, []), Unknown)


async def test_pulling_and_the_dead_man_s_switch() -> None:
    wire = Wire(ok(http.MassCancelAnswer(cancelled=336)))
    assert await wire.client.pull("H100.SXM.80.US") == Accepted()
    assert await wire.client.pull("") == Accepted()
    assert await wire.client.live_for("H100.SXM.80.US", 30_001) == Accepted()
    assert [f"{r.method} {r.url.raw_path.decode()}" for r in wire.requests] == [
        "DELETE /v1/orders?class=H100.SXM.80.US", "DELETE /v1/orders",
        "PUT /v1/cancel-all-after?class=H100.SXM.80.US",
    ]  # fmt: skip
    assert json.loads(wire.requests[-1].content) == {"after_seconds": 31}, "whole seconds, never fewer than asked"


async def test_open_asks_are_told_oldest_first_and_a_cut_list_is_not_believed() -> None:
    younger = msgspec.structs.replace(ORDER, order_id="0-10000-0-0")
    bid = msgspec.structs.replace(ORDER, side="buy")
    assert await Wire(ok([younger, bid, ORDER])).client.orders() == [
        OpenOrder(SYMBOL, "0-1842-3-0", 3_390_000, 5),
        OpenOrder(SYMBOL, "0-10000-0-0", 3_390_000, 5),
    ]
    with pytest.raises(GatewayAway, match="open orders or more"):
        await Wire(ok([ORDER] * OPEN_ORDERS_MAX)).client.orders()


async def test_what_it_has_is_read_from_balance_positions_and_capacity() -> None:
    trading = http.TradingAnswer(shard=0, balance="70.00", holds="5.00", collateral="20.00", available="45.00")
    balance = http.BalanceAnswer(
        account=7, wallet="30.00", in_transit="1.00", payouts="0.50", waiting_collateral="2.00", trading=(trading, trading)
    )  # fmt: skip
    assert await Wire(ok(balance)).client.money() == 173_500_000

    rows = [
        {"contract": SYMBOL, "ground": ground, "qty": 8, "owed": 3, "collateral_price": "6.60", "version": 4}
        for ground in ("declared", "promised", "ready")
    ]
    assert await Wire(ok(rows)).client.backing() == [
        Backing(SYMBOL, "promised", 8, 3, 6_600_000, 4), Backing(SYMBOL, "ready", 8, 3, 6_600_000, 4),
    ]  # fmt: skip
    position = {
        "contract": SYMBOL,
        "hour": "",
        "phase": "forward",
        "held": 2,
        "owed": 0,
        "cost": "5.70",
        "proceeds": "0",
    }
    assert await Wire(ok([position])).client.positions() == [Position(SYMBOL, 2, 0, 0)]
    for away in (problem(ApiError("not_settled_yet")), httpx.ConnectError("refused"), ok({"no": "list"})):
        with pytest.raises(GatewayAway):
            await Wire(away).client.positions()


async def test_a_class_that_is_halted_takes_no_orders() -> None:
    answer = http.ClassAnswer(
        class_id="C", title="t", shard=0, cover_minutes=30, state="open", lot=8, tick="0.005", list_price="3.30",
        reference="3.30", collar_low="1.65", collar_high="6.60",
        buyer_maker_bp=0, buyer_taker_bp=10, seller_maker_bp=50, seller_taker_bp=60, horizon_hours=168, gate_minutes=5,
    )  # fmt: skip
    halted = msgspec.structs.replace(answer, state="halted")
    open_class, halted_class = await Wire(ok([answer, halted])).client.classes()
    assert (open_class.takes_orders, halted_class.takes_orders) == (True, False)
    terms = open_class.terms
    assert (terms.lot, terms.tick, terms.low, terms.high) == (8, 5_000, 1_650_000, 6_600_000)
    assert (terms.buyer_taker_bp, terms.seller_bp) == (10, 60)
    assert (terms.gate_ms, terms.cover_ms) == (300_000, 1_800_000)


async def test_the_grid_is_read_with_the_cap_of_each_hour() -> None:
    """The class's cap is 6.60 at its reference of 3.30; an hour whose own reference is 3.96 has a cap of 7.92."""
    from schemas import feeds
    from tests.market_maker.test_quoting import TERMS

    rows = [
        feeds.GridRow(
            contract=SYMBOL, hour="", phase="forward", state="open", bid="2.85", bid_qty=8, ask="", ask_qty=0, last="3.00",
            reference="3.96",
        ),
        feeds.GridRow(contract="H100.SXM.80.US.20261122T13-USD", hour="", phase="running", state="halted"),
    ]  # fmt: skip
    answer = feeds.Grid(class_id="C", rows=rows, as_of=feeds.AsOf(shard=0, seq=1, market_time="", read_at=""))

    running, forward = await Wire(ok(answer)).client.grid(TERMS)

    assert (running.phase, running.takes_orders, running.high) == ("running", False, 6_600_000)
    assert (forward.bid, forward.bid_qty, forward.ask, forward.high) == (2_850_000, 8, 0, 7_920_000)


async def test_when_the_gateway_asks_for_patience_nothing_is_sent_meanwhile() -> None:
    wire = Wire(problem(ApiError("rate_limited"), headers={"Retry-After": "3"}), ok(ORDER, 201))
    began_ms = wire.clock.now_ms()
    outcome = await wire.place()
    assert isinstance(outcome, Refused)
    assert outcome.retryable
    assert await wire.place() == Accepted()
    assert wire.clock.now_ms() - began_ms >= 3_000


@pytest.mark.parametrize("per_second", [1, 7, 50, 1_000])
def test_no_second_sees_more_requests_than_allowed_and_a_small_burst(per_second: int) -> None:
    pace, sent, now_ms = Pace(per_second), [], 0
    for number in range(4 * per_second):
        now_ms += 5_000 if number == 2 * per_second else 0
        sent.append(now_ms + pace.reserve(now_ms))
    assert sent == sorted(sent)
    for start in sent:
        assert sum(start <= at < start + 1_000 for at in sent) <= per_second + per_second // 5 + 1


def test_a_key_file_holds_what_the_api_answered(tmp_path: Path) -> None:
    shown = http.KeyAnswer(key_id="hb_1", account=7, scopes=("read",), label="", expires_at="", networks=())
    secret = base64.b64encode(KEY.secret).decode()
    file = tmp_path / "desk.key"
    file.write_bytes(msgspec.json.encode(http.NewKeyAnswer(key=shown, secret=secret, bearer="hb_1.x")))
    assert read_key(file) == KEY
    assert secret not in repr(read_key(file))
    assert "ssss" not in repr(read_key(file))
    good = file.read_text()
    wrong = ("", "{}", '{"key": {}}', good.replace(secret, "not base64!"), good.replace(secret, "é"), '{"key":' * 9_999)
    for content in (*(text.encode() for text in wrong), b'{"secret": "\xff"}'):
        file.write_bytes(content)
        with pytest.raises(BadKey) as error:
            read_key(file)
        assert secret not in str(error.value)
    with pytest.raises(BadKey):
        read_key(tmp_path / "absent")
