"""What a rental would do now, by the books as they are. Pure; nothing changes."""

from __future__ import annotations

from msgspec import Struct

from schemas.edge import iso, iso_hour
from schemas.ids import contract_of
from schemas.rental import RentalOption, RentalPreviewAnswer
from schemas.rentals_log import Terms
from schemas.units import MS_PER_HOUR, Hour, Micros, Millis, format_usd
from services.router.books import AWAY, Books
from services.router.deciding import Offer, Why, decide, judge, window, worst_day
from services.router.market import Listed, Market
from services.router.state import Rental


class _Option(Struct, frozen=True):
    """A class, hour by hour."""

    listed: Listed
    judged: dict[Hour, Offer | Why]

    @property
    def offers(self) -> dict[Hour, Offer]:
        return {hour: said for hour, said in self.judged.items() if isinstance(said, Offer)}

    @property
    def window(self) -> Micros:
        return sum(offer.cost for offer in self.offers.values())

    def rank(self) -> tuple[int, Micros, int]:
        """As decisions choose: the whole window at the lowest total, else the first hour at the lowest price."""
        offers, first = self.offers, self.judged[min(self.judged)]
        if len(offers) == len(self.judged):
            return 0, self.window, self.listed.class_no
        if isinstance(first, Offer):
            return 1, first.cost, self.listed.class_no
        return 2, -len(offers), self.listed.class_no


def wanted(terms: Terms, market: Market, now_ms: Millis) -> list[int]:
    """Contracts whose books a preview needs."""
    classes = [market.classes[class_id].class_no for class_id in terms.classes]
    return [contract_of(class_no, hour) for hour in window(terms, now_ms) for class_no in classes]


def preview(terms: Terms, market: Market, books: Books, now_ms: Millis) -> RentalPreviewAnswer:
    """Every class by itself; the one that would be taken first is first. What its classes are, the gateway adds."""
    hours = window(terms, now_ms)
    classes = [market.classes[class_id] for class_id in terms.classes]
    options = [
        _Option(listed, {hour: judge(terms, market, books, listed, hour, None, now_ms) for hour in hours})
        for listed in classes
    ]
    options.sort(key=_Option.rank)
    answers = tuple(_answer(option) for option in options)
    decision = decide(Rental(0, 0, "", terms, terms, now_ms), market, books, now_ms)
    return RentalPreviewAnswer(
        options=answers,
        first_hour=answers[0].first_hour,
        window=answers[0].window,
        per_day_most=format_usd(worst_day(terms, classes)),
        stopping_now=format_usd(_lost(terms, options[0], books, now_ms)),
        starts_at=iso(max(now_ms, hours[0] * MS_PER_HOUR)),
        ends_at=iso_hour(terms.from_hour + terms.hours) if terms.hours else "",
        refusal="" if decision.place else decision.missing[hours[0]].detail,
    )


def _answer(option: _Option) -> RentalOption:
    first = option.judged[min(option.judged)]
    return RentalOption(
        class_id=option.listed.class_id,
        first_hour=format_usd(first.cost) if isinstance(first, Offer) else "",
        window=format_usd(option.window),
        hours_found=len(option.offers),
        hours_wanted=len(option.judged),
    )


def _lost(terms: Terms, option: _Option, books: Books, now_ms: Millis) -> Micros:
    """What the window costs, less what its later hours would bring at the bids that there are."""
    lost = 0
    for hour, offer in option.offers.items():
        lost += offer.cost
        if option.listed.phase(hour, now_ms) == "forward":
            lost -= books.get(offer.contract, AWAY).worth(option.listed, terms.gpus)
    return max(0, lost)
