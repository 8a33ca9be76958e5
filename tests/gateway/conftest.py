"""exchange   Exchange   one for the session, as starting it takes seconds: each test brings its own people and its own hour
early      Early      what was done when it opened, for tests that need a quarter of an hour of market time to have passed
second     str        address of a second gateway
ana        Member     a member with 1,000 USD in her wallet
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import pytest

from services.runtime.infra import ApacheKafka
from tests.gateway.exchange import CLASSES, Exchange, Member, begin, open_exchange


class Early(NamedTuple):
    """Old stories."""

    ana: Member
    hour: str
    orders: dict[str, dict[str, Any]]
    """Ana's in that hour, by client order id: `cancelled`, `resting`."""
    idle: Member
    """Moved 40 USD to where H100 trades, and has not touched it since."""
    bidder: Member
    """The same, with an open bid for a part of it."""
    maker: Member
    """The same, with a promise that needs a part of it."""
    blocker: Member
    """The same, with a block that waits and holds a part of it."""
    quoter: Member
    """The same, with a quote whose bid holds a part of it."""
    seller: Member
    """Asks in the first hour whose gate closes: `stays` says `running` and `goes` does not."""
    stays: dict[str, Any]
    goes: dict[str, Any]
    sold: str
    """That hour: one GPU of it was sold forward, and nobody has written a delivery record."""
    provider: Member
    """Who sold it."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the services said last."""
    report = yield
    exchange = getattr(item, "funcargs", {}).get("exchange")
    if report.failed and exchange is not None:
        report.sections += exchange.log_tails()
    return report


# Not the session's: an idle exchange takes half a core from the tests that come after these.
@pytest.fixture(scope="package")
def exchange(kafka: ApacheKafka) -> Iterator[Exchange]:
    # A database server of its own: one of the tests crashes it.
    with open_exchange(kafka, "door") as running:
        running.early = _early(running)
        yield running


def _early(exchange: Exchange) -> Early:
    seller = exchange.member(role="provider", usd="0")
    first = exchange.first_hour()
    seller.back(first, 4)
    seller.back(first, 2, ground="ready")
    stays, goes = seller.placed(first, "sell", 2, "3.20", running=True), seller.placed(first, "sell", 2, "3.10")
    provider, holder = exchange.seller(first), exchange.member()
    provider.placed(first, "sell", 1, "3.00")
    holder.placed(first, "buy", 1, "3.00")
    hour, other = exchange.fresh_hour(), exchange.fresh_hour()
    ana, idle, bidder, blocker = (exchange.member() for _ in range(4))
    maker, quoter = (exchange.member(role="market_maker") for _ in range(2))
    for member in (idle, bidder, maker, blocker, quoter):
        member.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "40", "class": CLASSES[0]})
    bidder.placed(other, "buy", 1, "2.00")
    maker.back(other, 1, ground="promised", price="6.60")
    terms = {"class": CLASSES[0], "from": begin(other), "hours": 1, "side": "buy", "qty": 1, "price": "2.00"}
    assert blocker.ask("POST", "/v1/blocks", terms).is_success
    quote = {"hour": begin(other), "bid": "2.00", "bid_qty": 1, "ask": "0", "ask_qty": 0}
    (quoted,) = quoter.ask("PUT", f"/v1/quotes/{CLASSES[0]}", {"quotes": [quote]}).json()["outcomes"]
    assert quoted["bid_qty"] == 1, quoted
    orders = {name: ana.placed(hour, "buy", 1, "2.00", client_order_id=name) for name in ("cancelled", "resting")}
    assert ana.ask("DELETE", "/v1/orders/client/cancelled").is_success
    return Early(ana, hour, orders, idle, bidder, maker, blocker, quoter, seller, stays, goes, first, provider)


@pytest.fixture(scope="package")
def early(exchange: Exchange) -> Early:
    return exchange.early


@pytest.fixture(scope="package")
def second(exchange: Exchange) -> str:
    url = exchange.gateway("gateway-b")
    exchange.until(lambda: exchange.answers(exchange.operator.at(url), "/v1/keys"), "the second gateway opens")
    return url


@pytest.fixture
def ana(exchange: Exchange) -> Member:
    return exchange.member()
