"""Market data under the gateway's address, and a member's own feed: what the door passes on and gives out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from schemas import feeds
from schemas.feed_token import derive_feed_key, read_token
from tests.gateway.exchange import CLASSES, Exchange, Member
from tests.market_data.client import Client
from tests.market_data.wire import Wire

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def feed_port(exchange: Exchange) -> int:
    exchange.shown()
    return int(urlsplit(exchange.operator.get("/v1/market")["feed"]).port or 0)


KINDS = {
    "/v1/market": feeds.MarketStatus, "/v1/market/{hour}/book": feeds.MarketBook, "/v1/market/{hour}/trades": feeds.MarketTrades,
    "/v1/market/{hour}/ticker": feeds.Ticker, "/v1/classes/{class}/grid": feeds.Grid,
    "/v1/classes/{class}/blocks": feeds.BlockBook, "/v1/classes/{class}/references": feeds.References,
    "/v1/asyncapi.json": dict,
}  # fmt: skip


@pytest.mark.parametrize("path", KINDS)
def test_market_data_is_under_the_gateways_address_for_everybody(exchange: Exchange, feed_port: int, path: str) -> None:
    """Without a key, and as it is declared."""
    assert feed_port > 0
    where = path.replace("{hour}", exchange.fresh_hour()).replace("{class}", CLASSES[0])
    answer = exchange.http.get(f"{exchange.url}{where}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert msgspec.json.decode(answer.content, type=KINDS[path])


def test_an_hour_shows_its_last_trade_and_its_day(exchange: Exchange) -> None:
    hour = exchange.fresh_hour()
    exchange.seller(hour).placed(hour, "sell", 3, "3.00")
    ana = exchange.member()
    ana.placed(hour, "buy", 2, "3.00")
    ana.placed(hour, "buy", 1, "2.00")
    exchange.shown()
    ticker = ana.get(f"/v1/market/{hour}/ticker")
    row = ticker["row"]
    assert (row["bid"], row["bid_qty"], row["ask"], row["ask_qty"], row["last"]) == ("2.00", 1, "3.00", 1, "3.00")
    assert (ticker["low"], ticker["high"], ticker["average"], ticker["volume"], ticker["trades"]) == ("3.00",) * 3 + (
        2,
        1,
    )
    (trade,) = ana.get(f"/v1/market/{hour}/trades")["trades"]
    assert (trade["price"], trade["qty"], trade["maker_side"], trade["kind"]) == ("3.00", 2, "sell", "order")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/market/H100/ticker", 400, "wrong_contract"),
        ("/v1/market/..%2F..%2Fv1%2Fkeys/book", 404, "not_found"),
        ("/v1/market/%2e%2e/book", 400, "wrong_contract"),
        ("/v1/market/H100%3Fdepth=1%23/book", 400, "wrong_contract"),
        ("/v1/market/NONE.20260101T00-USD/trades", 404, "unknown_class"),
        (f"/v1/market/{CLASSES[0]}.20200101T00-USD/book", 404, "unknown_contract"),
        (f"/v1/market/{CLASSES[0]}.20200101T00-USD/book?depth=0", 400, "malformed"),
        (f"/v1/market/{CLASSES[0]}.20200101T00-USD/trades?limit=many", 400, "malformed"),
        ("/v1/classes/NONE/grid", 404, "unknown_class"),
        ("/v1/classes/NONE/blocks", 404, "unknown_class"),
        ("/v1/classes/%2e%2e/references", 404, "unknown_class"),
    ],
)
def test_what_market_data_refuses_is_a_problem_of_the_gateways(
    exchange: Exchange, path: str, status: int, code: str
) -> None:
    answer = exchange.http.get(f"{exchange.url}{path}")
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["outcome"] == "rejected"


def test_while_market_data_is_away_it_is_said_and_everything_else_goes_on(exchange: Exchange, ana: Member) -> None:
    hour = exchange.fresh_hour()
    with exchange.stopped("market_data"):
        answer = exchange.http.get(f"{exchange.url}/v1/market/{hour}/book")
        assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "not_ready", True)
        assert int(answer.headers["retry-after"]) >= 1
        assert ana.placed(hour, "buy", 1, "2.00")["state"] == "open"
        assert ana.ask("POST", "/v1/feed-token").status_code == 201
    exchange.until(lambda: bool(ana.book(hour)["bids"]), "market data goes on where it was")


# --- The private feed ----------------------------------------------------------------------------------------


def test_a_token_is_of_the_keys_account_and_ends_within_a_minute(exchange: Exchange, ana: Member) -> None:
    answer = ana.ask("POST", "/v1/feed-token").json()
    now_ms = time.time_ns() // 1_000_000
    token = read_token(derive_feed_key(exchange.stack.master_key), answer["token"], now_ms)
    assert token.account == ana.account
    assert 50_000 < token.expires_ms - now_ms <= 60_000
    assert answer["expires_in_s"] == 60


async def _private(port: int, member: Member, act: Callable[[], None], until: Callable[[Client], bool]) -> Client:
    """What the member's feed tells of what is done."""
    client = Client()
    async with Wire.open(port) as wire:
        await wire.say({"op": "auth", "token": member.ask("POST", "/v1/feed-token").json()["token"]})
        assert (await wire.until("authenticated"))["account"] == member.account
        await wire.say({"op": "subscribe", "channels": ["account"]})
        while len(client.accounts) < 2:
            client.read(json.dumps(await wire.hear()))
        act()
        deadline = time.monotonic() + 20
        while not until(client):
            assert time.monotonic() < deadline, client.kinds
            client.read(json.dumps(await wire.hear()))
    return client


async def test_a_member_is_told_of_his_orders_fills_hours_and_money(exchange: Exchange, feed_port: int) -> None:
    """What the feed says of the account is what the door says once it has settled."""
    hour = exchange.fresh_hour()
    exchange.seller(hour).placed(hour, "sell", 1, "3.00")
    exchange.seller(hour, desk=True).placed(hour, "sell", 1, "3.01")
    ana = exchange.member()

    def act() -> None:
        ana.placed(hour, "buy", 2, "3.01")
        ana.placed(hour, "buy", 1, "2.00", client_order_id="waits")

    def told(client: Client) -> bool:
        return any(order["client_order_id"] == "waits" for order in client.accounts[0].orders.values())

    client = await _private(feed_port, ana, act, told)
    account = client.accounts[0]
    assert [(f["price"], f["qty"], f["counterparty"]) for f in account.fills] == [
        ("3.00", 1, "member"),
        ("3.01", 1, "desk"),
    ]
    assert [(p["contract"], p["held"], p["owed"]) for p in account.positions.values()] == [(hour, 2, 0)]
    exchange.settled()
    (open_order,) = ana.get("/v1/orders?state=open")
    (ours,) = account.orders.values()
    assert {name: ours[name] for name in ours.keys() & open_order.keys()} == {
        name: open_order[name] for name in ours.keys() & open_order.keys()
    }
    trading = ana.get("/v1/balance")["trading"][0]
    assert account.balance == {name: trading[name] for name in ("balance", "holds", "collateral", "available")}
    by_trade = {fill["trade"]: fill for fill in ana.get("/v1/fills")}
    for fill in account.fills:
        assert {name: fill[name] for name in fill.keys() & by_trade[fill["trade"]].keys()} == {
            name: by_trade[fill["trade"]][name] for name in fill.keys() & by_trade[fill["trade"]].keys()
        }


async def test_nothing_of_a_neighbour_is_in_anybodys_feed(exchange: Exchange, feed_port: int) -> None:
    """Bert trades with ana; in what he is told there is nothing by which she could be known."""
    hour = exchange.fresh_hour()
    ana = exchange.seller(hour)
    made = ana.placed(hour, "sell", 1, "3.00", client_order_id="anas-very-own")
    bert = exchange.member()
    heard: list[dict[str, Any]] = []

    class Listening(Client):
        def read(self, text: str | bytes) -> dict[str, Any]:
            heard.append(json.loads(text))
            return super().read(text)

    client = Listening()
    async with Wire.open(feed_port) as wire:
        await wire.say({"op": "auth", "token": bert.ask("POST", "/v1/feed-token").json()["token"]})
        channels = ["account", f"book:{hour}", f"trades:{CLASSES[0]}", f"grid:{CLASSES[0]}"]
        await wire.say({"op": "subscribe", "channels": channels})
        while f"grid:{CLASSES[0]}" not in client.grids:
            client.read(json.dumps(await wire.hear()))
        heard.clear()
        bert.placed(hour, "buy", 1, "3.00")
        while not client.accounts[0].fills or client.books[f"book:{hour}"].asks:
            client.read(json.dumps(await wire.hear()))
    said = json.dumps(heard)
    assert hour in said
    assert "anas-very-own" not in said
    assert made["order_id"] not in said
    assert not re.search(
        rf"\b{ana.account}\b",
        re.sub(r'"(time|at|sent_at|market_time|hour)": "[^"]*"|"(seq|prev_seq|at|checksum)": \d+', "", said),
    )


def test_a_key_that_may_not_read_gets_no_token(exchange: Exchange, ana: Member) -> None:
    trader = ana.holding(exchange.key(ana.account, "trade"))
    assert trader.ask("POST", "/v1/feed-token").json()["code"] == "missing_scope"
    assert exchange.operator.ask("POST", "/v1/feed-token").json()["code"] == "unknown_account"
    assert httpx.post(f"{exchange.url}/v1/feed-token", trust_env=False).json()["code"] == "unauthenticated"
