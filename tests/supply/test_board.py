"""What a poll changes on the topic: new and changed offers, gone ones, references, and the poll itself."""

from __future__ import annotations

import msgspec
import pytest

from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from services.supply.board import Board, Polled, record_key, reference_of
from services.supply.catalogue import Catalogue
from services.supply.rows import BadCatalogue
from tests.supply.catalogues import CLASSES, GOOD, poll, source, table

KEY = "lambda|us-east-1|gpu_1x_h100_sxm5|on_demand"


def row(region: str = "us-east-1", price: str = "4.29") -> dict[str, str]:
    return GOOD | {"Region": region, "Price": price}


def look(*rows: dict[str, str], name: str = "a") -> Catalogue:
    return poll(table(*rows), source(name))


def said(records: list[OfferRecord] | Polled) -> list[str]:
    """Records as short words."""
    words = []
    for record in records.records if isinstance(records, Polled) else records:
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


def test_a_price_that_vanishes_is_an_offer_gone() -> None:
    """The row stays, and offers spot only."""
    board = Board(CLASSES)
    board.poll(look(row(), row("us-west-1")), 1)
    assert said(board.poll(look(row(), row("us-west-1", "") | {"SpotPrice": "1.50"}), 2)) == [
        "us-west-1 gone",
        "median 4290000 cheapest 4290000 of 1",
        "a: 2 = 1 + 1",
    ]


def test_one_instance_type_in_two_regions_is_two_offers() -> None:
    board = Board(CLASSES)
    board.poll(look(row(), row("us-west-1")), 1)
    assert list(board.offers) == [KEY, KEY.replace("east", "west")]


def test_a_renamed_machine_is_a_new_offer_and_an_old_one_gone() -> None:
    """Nobody can tell a new name from another machine; the class has its offer all the while."""
    board = Board(CLASSES)
    board.poll(look(row()), 1)
    assert said(board.poll(look(row() | {"InstanceType": "gpu_1x_h100_sxm5_v2"}), 2)) == [
        "us-east-1 at 4290000",
        "us-east-1 gone",
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


def test_one_offer_in_two_sources_is_that_of_the_source_listed_first_whichever_was_read_first() -> None:
    """The desk must not be moved by which of two files was looked at a moment earlier."""
    board = Board(CLASSES, ["b", "a"])
    assert said(board.poll(look(row(), name="a"), 1))[0] == "us-east-1 at 4290000"
    assert said(board.poll(look(row(price="2.00"), name="b"), 2)) == [
        "us-east-1 at 2000000",
        "median 2000000 cheapest 2000000 of 1",
        "b: 1 = 1 + 0",
    ]
    assert board.offers[KEY].poll == "b"
    second = board.still("a", 3, looked=True)
    assert (second.mapped, second.reasons) == (0, {"duplicate": 1})


def test_a_duplicate_counts_at_once_when_the_first_source_drops_the_offer() -> None:
    board = Board(CLASSES, ["a", "b"])
    board.poll(look(row(), name="a"), 1)
    assert said(board.poll(look(row(price="2.00"), name="b"), 2)) == ["b: 1 = 0 + 1"]
    assert said(board.poll(look(row("us-west-1"), name="a"), 3)) == [
        "us-west-1 at 4290000",
        "us-east-1 at 2000000",
        "median 2000000 cheapest 2000000 of 2",
        "a: 1 = 1 + 0",
    ]
    assert said([board.still("b", 4, looked=True)]) == ["b: 1 = 1 + 0"]
    assert said(board.poll(look(row(), name="a"), 5))[:2] == ["us-east-1 at 4290000", "us-west-1 gone"]
    assert said([board.still("b", 6, looked=True)]) == ["b: 1 = 0 + 1"]


def test_a_source_taken_off_the_list_leaves_its_offers_to_the_next() -> None:
    board = Board(CLASSES, ["a", "b"])
    board.poll(look(row(), row("us-west-1"), name="a"), 1)
    board.poll(look(row(price="2.00"), name="b"), 2)
    assert said(board.retire({"a"}, 3)) == [
        "us-east-1 at 2000000",
        "us-west-1 gone",
        "median 2000000 cheapest 2000000 of 1",
    ]


def test_old_prices_under_a_new_time_stamp_are_no_news() -> None:
    """The offer keeps the time since which the source has said it."""
    board = Board(CLASSES)
    board.poll(poll(table(row()), source("a", as_of_ms=1_000)), 5_000)
    assert said(board.poll(poll(table(row()), source("a", as_of_ms=9_000), seen_ms=9_500), 9_500)) == ["a: 1 = 1 + 0"]
    assert board.offers[KEY].as_of_ms == 1_000
    board.poll(poll(table(row(price="4.00")), source("a", as_of_ms=9_000), seen_ms=9_500), 9_500)
    assert board.offers[KEY].as_of_ms == 9_000


def test_a_poll_tells_what_it_has_changed_with_old_and_new_price() -> None:
    board = Board(CLASSES)
    first = board.poll(look(row(), row("us-west-1"), row("us-west-2")), 1).changes
    assert [len(kind) for kind in (first.seen, first.changed, first.gone)] == [3, 0, 0]
    second = board.poll(look(row(price="3.99"), row("us-west-1") | {"vCPUs": "30"}, row("us-west-3")), 2).changes
    assert [len(kind) for kind in (second.seen, second.changed, second.gone)] == [1, 2, 1]
    assert second.prices() == ["lambda|us-east-1|gpu_1x_h100_sxm5|on_demand: 4.29 → 3.99"]


REGIONS = [f"us-{place}-{number}" for place in ("east", "west", "south") for number in range(1, 6)]


@pytest.mark.parametrize(("offers", "broken"), [(11, True), (10, False)])
def test_a_source_of_which_all_at_once_no_row_is_left_is_broken_and_not_a_market_without_supply(
    offers: int, broken: bool
) -> None:
    board = Board(CLASSES)
    board.poll(look(*(row(region) for region in REGIONS[:offers])), 1)
    nothing = look(*(row(region, price="429") for region in REGIONS[:offers]))
    assert nothing.reasons == {"outlier_price": offers}
    if broken:
        with pytest.raises(BadCatalogue, match=f"all 11 rows are refused, where {offers} offers stood"):
            board.poll(nothing, 2)
        assert len(board.offers) == offers
        assert said([board.still("a", 3, looked=False)]) == ["a: 11 = 11 + 0"]
    else:
        assert said(board.poll(nothing, 2))[-1] == "a: 10 = 0 + 10"
        assert not board.offers


def test_a_restarted_board_knows_a_collapse_as_well() -> None:
    board, again = Board(CLASSES), Board(CLASSES)
    for record in board.poll(look(*(row(region) for region in REGIONS)), 1).records:
        again.restore(record)
    with pytest.raises(BadCatalogue, match="15 offers stood"):
        again.poll(look(row(price="429")), 2)


def test_a_taken_over_offer_belongs_to_its_new_source_after_a_restart_too() -> None:
    board, again = Board(CLASSES, ["a", "b"]), Board(CLASSES, ["a", "b"])
    records = board.poll(look(row(), name="a"), 1).records
    records += board.poll(look(row(price="2.00"), name="b"), 2).records
    records += board.poll(look(row("us-west-1"), name="a"), 3).records
    for record in records:
        again.restore(record)
    assert again.offers == board.offers
    assert said(again.poll(look(row("us-west-1"), name="a"), 4)) == ["a: 1 = 1 + 0"]
    assert said(again.retire({"b"}, 5))[0] == "us-east-1 gone"


def test_a_restart_reads_the_topic_back_and_goes_on() -> None:
    board, again = Board(CLASSES), Board(CLASSES)
    records = [
        *board.poll(look(row(), row("us-west-1")), 1).records, *board.poll(look(row("us-west-1")), 2).records,
    ]  # fmt: skip
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
    assert said(board.retire({"a"}, 2)) == ["us-east-1 gone", "median 4290000 cheapest 4290000 of 1"]
    assert board.retire({"a"}, 3) == []
    assert board.sources() == {"b"}


def test_between_polls_a_sign_of_life_tells_when_the_source_was_really_asked() -> None:
    board = Board(CLASSES)
    (*_, first) = board.poll(look(row(), row(price="x")), 1).records
    assert isinstance(first, PollDone)
    assert first.looked_ms == first.seen_ms == 1
    assert board.still("a", 9, looked=False) == msgspec.structs.replace(first, seen_ms=9)
    assert board.still("a", 10, looked=True) == msgspec.structs.replace(first, seen_ms=10, looked_ms=10)


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
