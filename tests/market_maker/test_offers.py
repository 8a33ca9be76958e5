"""What the desk sees of the catalogues, and when it stops believing it."""

from __future__ import annotations

from schemas.supply import OfferGone, OfferSeen, PollDone
from services.market_maker.offers import NoOffer, Offers

NOW = 1_000_000


def seen(cloud: str, price: int, *, class_id: str = "C", kind: str = "on_demand", poll: str = "s", at: int = NOW):
    return OfferSeen(cloud, "r", "t", kind, class_id, 1, price, 1, 1, "file", 0, at, poll)


def view(*records) -> Offers:
    offers = Offers(stale_after_ms=45_000)
    for record in records:
        offers.apply(record)
    return offers


def polled(source: str = "s", at: int = NOW) -> PollDone:
    return PollDone(source, 1, 1, 0, {}, at)


def test_the_cheapest_firm_offer_of_the_class_counts() -> None:
    offers = view(
        seen("dear", 5), seen("cheap", 3), seen("other class", 1, class_id="D"), seen("spot", 2, kind="spot"), polled()
    )  # fmt: skip
    assert offers.cheapest("C", NOW) == seen("cheap", 3)


def test_equal_prices_are_told_apart_by_name_and_not_by_arrival() -> None:
    assert view(seen("b", 3), seen("a", 3)).cheapest("C", NOW) == seen("a", 3)
    assert view(seen("a", 3), seen("b", 3)).cheapest("C", NOW) == seen("a", 3)


def test_a_record_replaces_the_one_before_and_a_gone_offer_is_gone() -> None:
    offers = view(seen("a", 3), seen("a", 4), polled())
    assert offers.cheapest("C", NOW) == seen("a", 4)
    offers.apply(OfferGone("a", "r", "t", "on_demand", NOW))
    offers.apply(OfferGone("a", "r", "t", "on_demand", NOW))
    assert offers.cheapest("C", NOW) == NoOffer("no firm offer")


def test_an_offer_is_stale_when_the_polls_of_its_source_have_stopped() -> None:
    offers = view(seen("a", 3, at=1), polled(at=NOW))
    assert offers.cheapest("C", NOW + 44_999) == seen("a", 3, at=1)
    assert offers.cheapest("C", NOW + 45_000) == NoOffer("stale: last polled s at 00:16:40 UTC")
    assert offers.stale_at_ms() == NOW + 45_000
    offers.apply(polled(at=NOW + 50_000))
    assert offers.cheapest("C", NOW + 60_000) == seen("a", 3, at=1)


def test_polls_of_another_source_do_not_keep_an_offer_alive() -> None:
    offers = view(seen("a", 3), polled("other", NOW + 100_000))
    assert isinstance(offers.cheapest("C", NOW + 100_000), NoOffer)


def test_the_next_cheapest_takes_over_from_a_stale_one() -> None:
    offers = view(seen("a", 3, poll="dead", at=1), polled("dead", 1), seen("b", 4), polled())
    assert offers.cheapest("C", NOW) == seen("b", 4)


def test_an_offer_whose_first_poll_is_not_done_yet_counts_from_when_it_was_seen() -> None:
    offers = view(seen("a", 3))
    assert offers.cheapest("C", NOW + 44_999) == seen("a", 3)
    assert isinstance(offers.cheapest("C", NOW + 45_000), NoOffer)
