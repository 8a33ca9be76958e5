"""What supply has published, as the door shows it: the newest record of each offer, whatever else stands in the topic."""

from __future__ import annotations

import msgspec

from schemas.supply import OfferGone, OfferSeen, PollDone
from services.gateway.offers import Offers
from services.runtime.log import Outgoing
from tests.simulation.simlog import Topic
from tests.simulation.world import World


def test_a_record_that_is_no_offer_or_of_no_calendar_is_counted_and_hides_nothing() -> None:
    world = World(1)
    topic = Topic(world, "offers", 0, may_repeat=False)
    offers = Offers(topic.log())
    world.spawn("gateway", offers.follow())
    topic.land([listed("a", 2_500_000), listed("b", 2_400_000), listed("c", 2_600_000)])
    topic.land([Outgoing(b"\xc1"), Outgoing(msgspec.msgpack.encode("an offer"))])
    topic.land(
        [listed("late", 1, as_of_ms=2**62), Outgoing(msgspec.msgpack.encode(PollDone("a", 0, 0, 0, {}, -(2**62))))]
    )
    topic.land([listed("a", 2_300_000), Outgoing(msgspec.msgpack.encode(OfferGone("cloud", "c", "gpu", "spot", 0)))])
    world.run_ms(3_000)
    assert [(offer.region, offer.price) for offer in offers.answer("").offers] == [("a", "2.30"), ("b", "2.40")]
    assert offers.answer("").polls == ()
    assert offers.undecodable == 4


def listed(region: str, price: int, *, as_of_ms: int = 0) -> Outgoing:
    offer = OfferSeen("cloud", region, "gpu", "spot", "H100.SXM.80.US", 8, price, 1, 1, "a file", as_of_ms, 0)
    return Outgoing(msgspec.msgpack.encode(offer))
