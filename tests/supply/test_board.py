"""What a poll changes on the topic: new and changed offers, gone ones, references, and the poll itself."""

from __future__ import annotations

import msgspec

from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from services.supply.board import Board, record_key, reference_of
from services.supply.catalogue import Catalogue
from tests.supply.catalogues import CLASSES, GOOD, poll, source, table


def row(region: str = "us-east-1", price: str = "4.29") -> dict[str, str]:
    return GOOD | {"Region": region, "Price": price}


def look(*rows: dict[str, str], name: str = "a") -> Catalogue:
    return poll(table(*rows), source(name))


def said(records: list[OfferRecord]) -> list[str]:
    """Records as short words."""
    words = []
    for record in records:
        match record:
            case OfferSeen():
                words.append(f"{record.region} at {record.price}")
            case OfferGone():
                words.append(f"{record.region} gone")
            case ClassReference():
                words.append(f"median {record.median} cheapest {record.cheapest} of {record.offers}")
            case PollDone():
                words.append(f"{record.source}: {record.rows} = {record.mapped} + {record.refused}")
    return words


def test_the_first_poll_says_everything_and_the_same_poll_again_only_that_it_was_done() -> None:
    board = Board(CLASSES)
    assert said(board.poll(look(row(), row("us-west-1", "4.00")), 1)) == [
        "us-east-1 at 4290000",
        "us-west-1 at 4000000",
        "median 4000000 cheapest 4000000 of 2",
        "a: 2 = 2 + 0",
    ]
    assert said(board.poll(look(row(), row("us-west-1", "4.00")), 2)) == ["a: 2 = 2 + 0"]


def test_a_changed_price_is_said_and_a_vanished_offer_is_gone() -> None:
    board = Board(CLASSES)
    board.poll(look(row(), row("us-west-1")), 1)
    assert said(board.poll(look(row(price="3.99")), 2)) == [
        "us-east-1 at 3990000",
        "us-west-1 gone",
        "median 3990000 cheapest 3990000 of 1",
        "a: 1 = 1 + 0",
    ]


def test_when_the_last_offer_goes_the_reference_goes_with_it() -> None:
    board = Board(CLASSES)
    board.poll(look(row()), 1)
    assert said(board.poll(look(row(price="99")), 2)) == [
        "us-east-1 gone",
        "median 0 cheapest 0 of 0",
        "a: 1 = 0 + 1",
    ]


def test_one_offer_twice_in_a_file_counts_once() -> None:
    catalogue = look(row(), row(price="4.00"))
    assert catalogue.reasons == {"duplicate": 1}
    assert [offer.price for mapped in catalogue.mapped for offer in mapped.offers] == [4_290_000]


def test_one_offer_in_two_files_belongs_to_the_first_until_that_one_drops_it() -> None:
    board = Board(CLASSES)
    board.poll(look(row(), name="a"), 1)
    second = board.poll(look(row(price="2.00"), name="b"), 2)
    assert said(second) == ["b: 1 = 0 + 1"]
    assert second[-1].reasons == {"duplicate": 1}
    assert said(board.poll(look(row("us-west-1"), name="a"), 3))[:2] == ["us-west-1 at 4290000", "us-east-1 gone"]
    assert said(board.poll(look(row(price="2.00"), name="b"), 4))[0] == "us-east-1 at 2000000"


def test_a_restart_reads_the_topic_back_and_goes_on() -> None:
    board, again = Board(CLASSES), Board(CLASSES)
    records = board.poll(look(row(), row("us-west-1")), 1) + board.poll(look(row("us-west-1")), 2)
    for record in records:
        again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=OfferRecord))
    assert (again.offers, again.references, again.polls) == (board.offers, board.references, board.polls)
    assert said(again.poll(look(row("us-west-1", "4.30")), 3)) == [
        "us-west-1 at 4300000",
        "median 4300000 cheapest 4300000 of 1",
        "a: 1 = 1 + 0",
    ]


def test_offers_of_a_source_that_is_no_longer_polled_are_gone() -> None:
    board = Board(CLASSES)
    board.poll(look(row(), name="a"), 1)
    board.poll(look(row("us-west-1"), name="b"), 1)
    assert said(board.retire({"b"}, 2)) == ["us-east-1 gone", "median 4290000 cheapest 4290000 of 1"]
    assert board.retire({"b"}, 3) == []


def test_an_unchanged_source_only_says_that_it_was_looked_at() -> None:
    board = Board(CLASSES)
    (*_, first) = board.poll(look(row(), row(price="x")), 1)
    (done,) = board.still("a", 9)
    assert done == msgspec.structs.replace(first, seen_ms=9)


def offer(cloud: str, price: int, region: str = "r", kind: str = "on_demand") -> OfferSeen:
    return OfferSeen(cloud, region, "t", kind, "C", 1, price, 1, 1, "s", 0, 0, "a")


def test_a_cloud_that_lists_one_machine_in_many_regions_is_one_cloud() -> None:
    offers = [offer("a", 5, "1"), offer("a", 3, "2"), offer("a", 9, "3"), offer("b", 7), offer("c", 100)]
    assert reference_of("C", offers, 8) == ClassReference("C", 7, 3, 3, 5, 8)


def test_the_median_of_two_clouds_is_between_them_rounded_up() -> None:
    assert reference_of("C", [offer("a", 3), offer("b", 6)], 8).median == 5


def test_spot_offers_are_no_reference() -> None:
    assert reference_of("C", [offer("a", 3, kind="spot")], 8) == ClassReference("C", 0, 0, 0, 0, 8)


def test_keys_name_an_offer_a_reference_or_a_source() -> None:
    seen = offer("a|b", 3)
    assert record_key(seen) == b"a/b|r|t|on_demand"
    assert record_key(OfferGone("a|b", "r", "t", "on_demand", 1)) == record_key(seen)
    assert record_key(ClassReference("C", 1, 1, 1, 1, 1)) == b"reference|C"
    assert record_key(PollDone("a", 0, 0, 0, {}, 1)) == b"poll|a"
