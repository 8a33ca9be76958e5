"""What the desk sees of the catalogues, and when it stops believing it."""

from __future__ import annotations

from schemas.supply import OfferGone, OfferSeen, PollDone
from services.market_maker.offers import NoView, Offers, View

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


def cheapest(offers: Offers, now_ms: int = NOW) -> int | str:
    """Its price, or why there is none."""
    found = offers.view("C", 1, now_ms)
    return found.cheapest if isinstance(found, View) else found.why


def test_the_cheapest_firm_offer_of_the_class_counts() -> None:
    offers = view(
        seen("dear", 5), seen("cheap", 3), seen("other class", 1, class_id="D"), seen("spot", 2, kind="spot"), polled()
    )  # fmt: skip
    assert cheapest(offers) == 3


def test_an_offer_of_another_size_than_a_lot_does_not_count() -> None:
    node = OfferSeen("node", "r", "t", "on_demand", "C", 8, 1, 1, 1, "file", 0, NOW, "s")
    offers = view(seen("single", 3), node, polled())
    assert cheapest(offers) == 3
    assert offers.view("C", 8, NOW).cheapest == 1


def test_the_median_is_of_clouds_each_by_its_cheapest() -> None:
    """Clouds at 3, 4 and 9; ten offers of the cloud at 3 do not make it three clouds more."""
    many = [OfferSeen("a", "r", f"t{n}", "on_demand", "C", 1, 3 + n, 1, 1, "file", 0, NOW, "s") for n in range(10)]
    found = view(*many, seen("b", 4), seen("c", 9), polled()).view("C", 1, NOW)
    assert (found.cheapest, found.median, found.clouds) == (3, 4, 3)
    assert view(seen("a", 3), seen("b", 9), polled()).view("C", 1, NOW).median == 3, "the lower middle one"


def test_equal_prices_are_told_apart_by_name_and_not_by_arrival() -> None:
    words = "a t in r at 0.000003 (file)"
    assert view(seen("b", 3), seen("a", 3)).view("C", 1, NOW).where == words
    assert view(seen("a", 3), seen("b", 3)).view("C", 1, NOW).where == words


def test_a_record_replaces_the_one_before_and_a_gone_offer_is_gone() -> None:
    offers = view(seen("a", 3), seen("a", 4), polled())
    assert cheapest(offers) == 4
    offers.apply(OfferGone("a", "r", "t", "on_demand", NOW))
    offers.apply(OfferGone("a", "r", "t", "on_demand", NOW))
    assert offers.view("C", 1, NOW) == NoView("no firm offer")


def test_an_offer_is_stale_when_the_polls_of_its_source_have_stopped() -> None:
    offers = view(seen("a", 3, at=1), polled(at=NOW))
    assert cheapest(offers, NOW + 44_999) == 3
    assert cheapest(offers, NOW + 45_000) == "stale: last polled s at 00:16:40 UTC"
    assert offers.stale_at_ms(NOW) == NOW + 45_000
    assert offers.stale_at_ms(NOW + 45_000) is None
    offers.apply(polled(at=NOW + 50_000))
    assert cheapest(offers, NOW + 60_000) == 3
    assert offers.view("C", 1, NOW + 60_000).age_ms == 10_000


def test_polls_of_another_source_do_not_keep_an_offer_alive() -> None:
    offers = view(seen("a", 3), polled("other", NOW + 100_000))
    assert isinstance(offers.view("C", 1, NOW + 100_000), NoView)


def test_the_next_cheapest_takes_over_from_a_stale_one() -> None:
    offers = view(seen("a", 3, poll="dead", at=1), polled("dead", 1), seen("b", 4), polled())
    assert cheapest(offers) == 4


def test_an_offer_whose_first_poll_is_not_done_yet_counts_from_when_it_was_seen() -> None:
    offers = view(seen("a", 3))
    assert cheapest(offers, NOW + 44_999) == 3
    assert isinstance(offers.view("C", 1, NOW + 45_000), NoView)


def test_a_poll_stamped_in_the_future_is_not_older_than_nothing() -> None:
    assert view(seen("a", 3), polled(at=NOW + 3_600_000)).view("C", 1, NOW).age_ms == 0
