"""A shard that has been silent for long: what was sent to it is still to come, and must not be sent a second time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec
import pytest

from schemas import http
from schemas.codec import decode_record
from schemas.events import OrderAccepted
from schemas.ids import format_symbol
from schemas.units import MS_PER_HOUR
from services.gateway.routes import market
from services.gateway.wiring import Gateway
from tests.simulation.exchange import Exchange
from tests.simulation.members import Line, caller, is_open
from tests.simulation.surroundings import surroundings
from tests.simulation.world import Process

BUYER = 5


class Street:
    """An opened exchange without members but for the one who asks here. At rate 20 engines know a client order id for 45 s."""

    def __init__(self, rate: int = 20) -> None:
        self.exchange = Exchange(seed=1, rate=rate)
        self.world = self.exchange.world
        for client in self.exchange.clients:
            self.world.kill(client)
        self.line = Line(self.exchange, self.world.chance("line"))
        self.world.run(self.exchange.has_opened)
        self.world.run_ms(2_000)
        hour = self.exchange.market_ms() // MS_PER_HOUR + 5
        self.order = http.OrderRequest(
            contract=format_symbol("SIM.1", hour), side="buy", qty=1, price="0.002", tif="ioc", client_order_id="once"
        )

    def ask(self, run: Callable[[Gateway], Coroutine[Any, Any, Any]]) -> Any:
        """What a gateway answers, an ApiError, or LOST."""
        told: list[Any] = []

        async def ask() -> None:
            told.append(await self.line.ask(run))

        self.world.spawn("member", ask())
        self.world.run(lambda: bool(told))
        return told[0]

    def place(self) -> Any:
        """The order, the same every time."""
        return self.ask(lambda gateway: gateway.orders.place(caller(BUYER), self.order))

    def stop_matching(self) -> list[Process]:
        """Both processes of the order's shard."""
        stopped = [process for name, process in self.exchange.running.items() if name.startswith("matching-0")]
        for process in stopped:
            self.world.stop(process)
        return stopped

    def accepting(self) -> bool:
        """What a gateway says of itself."""
        status = self.ask(market.get_status.fn)
        return bool(status.accepting_orders)

    def orders(self) -> set[int]:
        """Those that were accepted under the client order id; a stale writer may say the same again."""
        events = [decode_record(record.value).events for record in self.exchange.events[0].all()]
        accepted = [event for of_record in events for event in of_record if isinstance(event, OrderAccepted)]
        return {event.order for event in accepted if event.client_id == "once"}


@pytest.fixture
def street() -> Iterator[Street]:
    with surroundings():
        built = Street()
        yield built
        built.exchange.close()


def test_an_order_sent_into_the_silence_is_one_order_whenever_it_is_asked_again(street: Street) -> None:
    """Asked again after longer than the engine remembers client order ids, while the first is still to be matched."""
    stopped = street.stop_matching()
    assert is_open(street.place())
    for _ in range(20):
        street.world.run_ms(5_000)
        told = street.place()
        assert is_open(told) or told.code == "not_ready"
    assert told.code == "not_ready", "what is refused is not on its way"
    for process in stopped:
        street.world.resume(process)
    street.world.run(lambda: isinstance(street.place(), http.OrderAnswer))
    assert len(street.orders()) == 1


def test_a_gateway_that_has_just_begun_knows_of_the_silence(street: Street) -> None:
    """It looks at the newest record there is."""
    stopped = street.stop_matching()
    street.world.run_ms(40_000)
    for name in [name for name in street.exchange.running if name.startswith("gateway")]:
        street.world.kill(street.exchange.running[name])
    street.world.run(lambda: len(street.exchange.open_gateways) == 2)
    assert street.place().code == "not_ready"
    for process in stopped:
        street.world.resume(process)
    street.world.run_ms(5_000)
    assert isinstance(street.place(), http.OrderAnswer)


def test_the_status_says_whether_orders_are_accepted(street: Street) -> None:
    """No longer, once a shard is half a minute behind."""
    assert street.accepting()
    stopped = street.stop_matching()
    street.world.run_ms(20_000)
    assert street.accepting()
    street.world.run_ms(15_000)
    assert not street.accepting()
    for process in stopped:
        street.world.resume(process)
    street.world.run_ms(5_000)
    assert street.accepting()


@pytest.mark.parametrize("rate", [1, 20, 100])
def test_a_clock_that_is_a_little_ahead_makes_no_order_unacceptable(rate: int) -> None:
    """The longest validity that may be asked for, by a gateway whose clock is a second ahead of the broker's."""
    with surroundings():
        street = Street(rate)
        for topic in street.exchange.topics:
            topic.elect(-1_000)
        street.world.run_ms(100)
        street.order = msgspec.structs.replace(street.order, valid_for_ms=600_000, tif="gtc")
        told = street.place()
        street.exchange.close()
    assert isinstance(told, http.OrderAnswer), told
