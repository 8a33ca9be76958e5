"""What owners are told of their rentals: numbers of the log, coming back, notices up to a bound, routers that were late."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from schemas.edge import iso, iso_hour
from schemas.feed_token import LIFE_MS, derive_feed_key, make_token
from schemas.rental import RentalRequest
from schemas.rentals_log import (
    NoticeClosed,
    OrderRefused,
    OrderSent,
    RentalChanged,
    RentalMade,
    RentalNoticed,
    RentalOver,
    RentalRecord,
    RentalStopped,
    RouterBegan,
    Terms,
)
from services.market_data.books import Contradiction
from services.market_data.channels import WARM_MS
from services.market_data.hub import Hub
from services.market_data.rentals import NOTICES_KEPT
from services.market_data.sessions import PRIVATE_MS, Session
from tests.market_data.client import Client
from tests.market_data.outlets import Pipe, op

KEY = derive_feed_key(b"m" * 32)
ANA, BERT = 1, 2
HOUR = 498_000
NOW_MS = HOUR * 3_600_000
TERMS = Terms(("ONE.X",), 2, 3_000_000, 0, HOUR, 0, 6, "sell", "default", "https://ana.example/hook")


class Story:
    """A log by hand, and readers."""

    def __init__(self, log: list[RentalRecord] | None = None) -> None:
        """`log`: what an earlier process has read."""
        self.hub = Hub(1, first_seq=5_000, feed_key=KEY)
        self.log: list[RentalRecord] = []
        self.say(*(log or ()))

    def say(self, *records: RentalRecord) -> None:
        for record in records:
            self.log.append(record)
            self.hub.take_rental(len(self.log), record)

    def make(self, rental: int, account: int = ANA, epoch: int = 1) -> None:
        self.say(RentalMade(epoch, NOW_MS, rental, account, f"k{rental}", TERMS))

    def notice(self, rental: int, more: int = 1, code: str = "too_dear", epoch: int = 1) -> None:
        self.say(RentalNoticed(epoch, NOW_MS, rental, HOUR + more, code, "why"))

    def member(self, account: int = ANA, client: Client | None = None) -> tuple[Session, Pipe, Client]:
        """He has shown who he is, and not asked for anything yet."""
        pipe = Pipe(client)
        session = self.hub.connect(pipe, NOW_MS)
        session.receive(op("auth", token=make_token(KEY, account, NOW_MS + LIFE_MS, bytes(16), [])), NOW_MS)
        return session, pipe, pipe.client

    def reader(self, account: int = ANA) -> tuple[Session, Pipe, Client]:
        session, pipe, client = self.member(account)
        session.receive(op("subscribe", channels=["rentals"]), NOW_MS)
        return session, pipe, client


@pytest.fixture
def story() -> Story:
    """A router has begun; record 1."""
    return Story([RouterBegan(1, NOW_MS)])


def sent(pipe: Pipe) -> list[dict[str, Any]]:
    return [json.loads(data) for data in pipe.queued]


def test_a_rental_is_told_from_its_beginning_to_its_end(story: Story) -> None:
    _, pipe, client = story.reader()
    pipe.stuck = True
    story.make(1)
    story.notice(1)
    dearer = msgspec.structs.replace(TERMS, max_price=4_000_000)
    story.say(RentalChanged(1, NOW_MS + 1, 1, dearer))
    story.say(RentalStopped(1, NOW_MS + 2, 1, "sell"), RentalOver(1, NOW_MS + 3, 1))
    messages = sent(pipe)
    pipe.read()

    assert [(m["type"], m["seq"], m["prev_seq"]) for m in messages] == [("rentals", n + 1, n) for n in range(1, 6)]
    lines = [line for message in messages for line in message["rentals"]]
    assert [line["state"] for line in lines] == ["standing", "standing", "stopping", "over"]
    assert [line["request"]["max_price"] for line in lines] == ["3.00", "4.00", "4.00", "4.00"]
    first = RentalRequest(
        classes=("ONE.X",), gpus=2, max_price="3.00", from_hour=iso_hour(HOUR), webhook="https://ana.example/hook"
    )
    assert lines[0] == {
        "rental": "1", "state": "standing", "made_at": iso(NOW_MS), "stopped_at": "",
        "request": json.loads(msgspec.json.encode(first)),
    }  # fmt: skip
    assert lines[-1]["stopped_at"] == iso(NOW_MS + 2)
    assert messages[1]["notices"] == [
        {
            "id": f"1-{HOUR + 1}-too_dear", "rental": "1", "hour": iso_hour(HOUR + 1), "code": "too_dear", "detail": "why",
            "at": iso(NOW_MS),
        }
    ]  # fmt: skip
    assert client.rentals == {}


def test_what_is_another_s_or_the_router_s_own_is_not_told(story: Story) -> None:
    _, pipe, _ = story.reader(ANA)
    _, _, bert = story.reader(BERT)
    story.make(1, ANA)
    pipe.stuck = True
    story.make(2, BERT)
    story.notice(2)
    story.say(
        OrderSent(1, NOW_MS, 1, 0, 7, 1, 2, 3_000_000), OrderRefused(1, NOW_MS, 1, 0, "cannot_fill"),
        NoticeClosed(1, NOW_MS, 1, HOUR, "too_dear", True), RouterBegan(2, NOW_MS),
    )  # fmt: skip

    assert pipe.queued == []
    assert (list(bert.rentals), list(bert.notices)) == (["2"], [f"2-{HOUR + 1}-too_dear"])


def test_a_snapshot_has_what_stands_and_the_newest_notices_of_the_account_alone(story: Story) -> None:
    for rental in (1, 2, 3):
        story.make(rental, BERT if rental == 2 else ANA)
        story.notice(rental)
    story.say(RentalOver(1, NOW_MS, 1))

    _, _, ana = story.reader(ANA)
    _, _, nobody = story.reader(99)

    assert (list(ana.rentals), [each["rental"] for each in ana.notices.values()]) == (["3"], ["1", "3"])
    assert (nobody.rentals, nobody.notices, nobody.seqs) == ({}, {}, {"rentals": 8})


def test_what_a_router_that_was_late_writes_is_told_to_nobody(story: Story) -> None:
    _, _, client = story.reader()
    story.make(1)
    story.say(RouterBegan(2, NOW_MS))
    story.notice(1, epoch=1)
    story.make(2, epoch=1)
    story.notice(1, more=2, epoch=2)

    assert (list(client.rentals), list(client.notices)) == (["1"], [f"1-{HOUR + 2}-too_dear"])
    _, _, later = Story(story.log).reader()
    assert (later.rentals, later.notices) == (client.rentals, client.notices)


def test_who_comes_back_soon_is_sent_what_he_missed_and_nothing_else(story: Story) -> None:
    session, _, client = story.reader()
    story.make(1)
    story.hub.leave(session)
    story.notice(1)
    back, _, _ = story.member(client=client)
    client.kinds.clear()
    back.receive(client.resume(), NOW_MS)

    assert client.kinds == ["subscribed", "rentals"]
    assert list(client.notices) == [f"1-{HOUR + 1}-too_dear"]


def test_numbers_mean_the_same_after_a_restart_and_the_snapshot_has_the_notices_since(story: Story) -> None:
    session, _, client = story.reader()
    story.make(1)
    story.notice(1)
    story.hub.leave(session)
    after = Story(story.log)
    after.notice(1, more=2)
    after.notice(1, more=3)
    back, pipe, _ = after.member(client=client)
    pipe.stuck = True
    back.receive(client.resume(), NOW_MS)
    (_, snapshot) = sent(pipe)
    pipe.stuck = False
    pipe.read()
    after.notice(1, more=4)

    assert [notice["hour"] for notice in snapshot["notices"]] == [iso_hour(HOUR + more) for more in (2, 3)]
    assert snapshot["notices_complete"]
    assert len(client.notices) == 4
    assert client.seqs == {"rentals": 6}


def test_who_has_missed_nothing_is_sent_nothing_by_this_process_or_another(story: Story) -> None:
    session, _, client = story.reader()
    story.make(1)
    story.hub.leave(session)
    for at in (story, Story(story.log)):
        back, _, _ = at.member(client=client)
        client.kinds.clear()
        back.receive(client.resume(), NOW_MS)
        assert client.kinds == ["subscribed"]


def test_more_notices_than_are_kept_are_said_to_be_missing(story: Story) -> None:
    story.make(1)
    for number in range(NOTICES_KEPT + 1):
        story.notice(1, more=number)
    snapshots = []
    for seq in (None, 1, 3, 4, 5):
        session, pipe, _ = story.member()
        pipe.stuck = True
        asked = op("subscribe", channels=["rentals"]) if seq is None else op("resume", channels={"rentals": seq})
        session.receive(asked, NOW_MS)
        snapshots.append(sent(pipe)[-1])
        story.hub.leave(session)
        for now_ms in (NOW_MS, NOW_MS + WARM_MS):
            story.hub.tick(now_ms)

    assert [(len(s["notices"]), s["notices_complete"]) for s in snapshots] == [
        (NOTICES_KEPT, False), (NOTICES_KEPT, False), (NOTICES_KEPT, False), (NOTICES_KEPT - 1, True), (NOTICES_KEPT - 2, True),
    ]  # fmt: skip
    assert snapshots[0]["notices"][-1]["hour"] == iso_hour(HOUR + NOTICES_KEPT)


def test_without_a_token_there_are_none_and_they_are_read_beside_the_account(story: Story) -> None:
    pipe = Pipe()
    session = story.hub.connect(pipe, NOW_MS)
    session.receive(op("subscribe", channels=["rentals"]), NOW_MS)
    session.receive(op("auth", token=make_token(KEY, ANA, NOW_MS + LIFE_MS, bytes(16), [])), NOW_MS)
    session.receive(op("subscribe", channels=["account", "rentals"]), NOW_MS)
    session.receive(op("subscribe", channels=["rentals"]), NOW_MS)
    session.receive(op("unsubscribe", channels=["rentals"]), NOW_MS)
    session.receive(op("unsubscribe", channels=["rentals"]), NOW_MS)
    story.make(1)

    assert [error["code"] for error in pipe.client.errors] == [
        "unauthenticated",
        "already_subscribed",
        "not_subscribed",
    ]
    assert pipe.client.kinds.count("rentals_snapshot") == pipe.client.kinds.count("account_snapshot") == 1
    assert pipe.client.rentals == {}


def test_a_key_that_has_ended_reads_them_for_ten_minutes_at_most(story: Story) -> None:
    session, _, client = story.member()
    session.receive(op("subscribe", channels=["account", "rentals"]), NOW_MS)
    story.hub.tick(NOW_MS + PRIVATE_MS)
    story.make(1)

    assert [(error["code"], error["channel"]) for error in client.errors] == [
        ("token_expired", "account"), ("token_expired", "rentals"),
    ]  # fmt: skip
    assert client.rentals == {}


def test_a_channel_that_nobody_reads_is_forgotten(story: Story) -> None:
    session, _, _ = story.reader()
    story.make(1)
    assert story.hub.rings.bytes > 0
    story.hub.leave(session)
    for now_ms in (NOW_MS, NOW_MS + WARM_MS):
        story.hub.tick(now_ms)
    assert story.hub.rings.bytes == 0


def test_a_record_of_a_rental_that_does_not_run_is_none_of_this_log(story: Story) -> None:
    story.make(1)
    story.say(RentalOver(1, NOW_MS, 1))
    for record in (RentalStopped(1, NOW_MS, 1, "sell"), RentalNoticed(1, NOW_MS, 2, HOUR, "too_dear", "why")):
        with pytest.raises(Contradiction, match="does not run"):
            Story([*story.log, record])
