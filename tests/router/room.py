"""A router without sockets, one step after the other: what is decided is recorded, sent at once, and heard of at once."""

from __future__ import annotations

from schemas.codec import WRITER_OPERATOR, EventsRecord
from schemas.events import Event
from schemas.ids import class_no_of, contract_of, format_symbol, hour_of
from schemas.rentals_log import (
    OrderRefused,
    OrderSent,
    RentalChanged,
    RentalMade,
    RentalOver,
    RentalStopped,
    Terms,
    client_id,
)
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE
from services.router.books import AWAY, Book
from services.router.deciding import Decision, decide, wanted
from services.router.holding import Holding, holdings, past_hour
from services.router.market import Market
from services.router.state import PastHour, Rental, State
from services.router.trading import Refused, Sent
from tests.router.place import CLASSES, LOTS, ONE, Place

HOUR = 498_000
"""Hours of tests are counted from here: the first of a day."""
ANA, BERT = 21, 22


def moment(hour: int, minute: float = 0) -> int:
    """Of the market."""
    return (HOUR + hour) * MS_PER_HOUR + round(minute * MS_PER_MINUTE)


def terms(
    gpus: int = 2,
    max_price: float = 3,
    *,
    classes: tuple[str, ...] = (ONE,),
    max_spend: float = 0,
    first: int = 0,
    hours: int = 0,
    look_ahead: int = 3,
    on_stop: str = "sell",
) -> Terms:
    """In USD, and hours from HOUR."""
    return Terms(
        classes, gpus, round(max_price * 1_000_000), round(max_spend * 1_000_000), HOUR + first, hours, look_ahead,
        on_stop, "default", "",
    )  # fmt: skip


class Room:
    """Begins in the middle of the first hour."""

    def __init__(self) -> None:
        self.now = moment(0, 20)
        self.state = State()
        self.market = Market()
        self.place = Place(lambda: self.now, self._hear)
        self.decisions: list[Decision] = []
        self.sent: list[OrderSent] = []
        self.is_away = False
        """Market data does not answer."""
        self._seqs = [0, 0]
        self.place.begin()

    def _hear(self, shard: int, events: tuple[Event, ...]) -> None:
        self._seqs[shard] += 1
        seq = self._seqs[shard]
        self.market.take(
            EventsRecord(1, shard, seq, seq, 0, True, self.now, WRITER_OPERATOR, 1, list(events)), self.state
        )

    # --- The market ------------------------------------------------------------------------------------------

    def ask(self, hour: int, price: float, qty: int, class_id: str = ONE) -> None:
        self.place.offer(class_id, HOUR + hour, round(price * 1_000_000), qty)

    def bid(self, hour: int, price: float, qty: int, class_id: str = ONE) -> None:
        self.place.bid(class_id, HOUR + hour, round(price * 1_000_000), qty)

    def pass_to(self, hour: int, minute: float = 0) -> None:
        self.now = moment(hour, minute)
        self.place.pass_time()
        for contract in sorted(self.market.ended):
            for number in sorted(self.state.of_contract.pop(contract, ())):
                rental = self.state.rentals[number]
                holding = holdings(rental, self.market).get(hour_of(contract))
                is_it = holding is not None and holding.contract == contract
                past = past_hour(holding) if holding is not None and is_it else PastHour(contract, 0, 0, 0, 0, 0)
                self.state.fold(rental, past, hour_of(contract))
            self.market.drop(contract)

    # --- Rentals ---------------------------------------------------------------------------------------------

    def rent(self, wanted: Terms, account: int = ANA) -> Rental:
        number = self.state.rental_last + 1
        self.state.take(RentalMade(1, self.now, number, account, f"k{number}", wanted))
        return self.state.rentals[number]

    def change(self, rental: Rental, wanted: Terms) -> None:
        self.state.take(RentalChanged(1, self.now, rental.rental, wanted))

    def stop(self, rental: Rental, on_stop: str = "sell") -> None:
        self.state.take(RentalStopped(1, self.now, rental.rental, on_stop))

    def decide(self, rental: Rental) -> Decision:
        """Nothing is done about it yet."""
        return decide(rental, self.market, self._books(rental), self.now)

    def step(self, rental: Rental) -> Decision:
        """Decide, record, send, hear."""
        decision = self.decide(rental)
        for order in decision.cancel:
            self.place.cancel(rental.account, order)
        for wish in decision.place:
            number = wish.number if wish.number >= 0 else rental.numbers
            sent = OrderSent(1, self.now, rental.rental, number, wish.contract, wish.side, wish.qty, wish.price)
            self.state.take(sent)
            self.sent.append(sent)
            outcome = self.place.place(self._sent(rental, sent))
            if isinstance(outcome, Refused):
                self.state.take(OrderRefused(1, self.now, rental.rental, number, outcome.code, outcome.detail))
        if decision.is_over:
            self.state.take(RentalOver(1, self.now, rental.rental))
        return decision

    def settle(self, rental: Rental) -> Decision:
        """Until nothing more is to be ordered now."""
        for _ in range(100):
            decision = self.step(rental)
            if not decision.place and not decision.cancel:
                return decision
        raise AssertionError("it goes on for ever")

    def held(self, rental: Rental) -> dict[int, Holding]:
        """By hours from HOUR."""
        return {hour - HOUR: each for hour, each in sorted(holdings(rental, self.market).items())}

    def has(self, rental: Rental) -> dict[int, tuple[str, int]]:
        """Hour → class and GPUs that are held."""
        return {
            hour: (self.market.listed(each.contract).class_id, each.held)
            for hour, each in self.held(rental).items()
            if each.held
        }

    def _books(self, rental: Rental) -> dict[int, Book]:
        contracts = wanted(rental, holdings(rental, self.market), self.market, self.now)
        if self.is_away:
            return dict.fromkeys(contracts, AWAY)
        symbols = {contract: self._symbol(contract) for contract in contracts}
        books = self.place.books(symbols.values())
        return {contract: books[symbol] for contract, symbol in symbols.items()}

    def _sent(self, rental: Rental, sent: OrderSent) -> Sent:
        return Sent(
            account=rental.account,
            client_id=client_id(rental.rental, sent.number),
            symbol=self._symbol(sent.contract),
            side=sent.side,
            qty=sent.qty,
            price=sent.price,
            launch="default",
        )

    def _symbol(self, contract: int) -> str:
        return format_symbol(self.market.by_number[class_no_of(contract)].class_id, hour_of(contract))


def contract(hour: int, class_id: str = ONE) -> int:
    return contract_of(CLASSES[class_id], HOUR + hour)


def lot(class_id: str) -> int:
    return LOTS[CLASSES[class_id]]
