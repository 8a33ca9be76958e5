"""What a reader is sent: numbers without holes, coming back, channels that end, and whose account it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas import events as ev
from schemas.codec import EventsRecord
from schemas.commands import Fees, Side
from schemas.events import Event, Reason
from schemas.feed_token import LIFE_MS, derive_feed_key, make_token
from schemas.ids import contract_of, format_symbol, order_id
from schemas.units import MS_PER_HOUR
from services.market_data.channels import RING_BYTES_MAX, RING_MAX, WARM_MS, Channel, Rings
from services.market_data.hub import Hub
from services.market_data.sessions import CHANNELS_MAX, PRIVATE_MS, Session
from tests.market_data.client import Client
from tests.market_data.outlets import Pipe, op

HOUR = 497_300
NOW_MS = 1_790_000_000_000
FIRST = 5_000
KEY = derive_feed_key(b"m" * 32)
ANA, BERT, DESK = 1, 2, 3
CLASS = "H100.SXM.80.US"
CONTRACT = contract_of(1, HOUR)
BOOK = f"book:{format_symbol(CLASS, HOUR)}"


class Story:
    """Events by hand, and readers."""

    def __init__(self) -> None:
        self.hub = Hub(1, first_seq=FIRST, feed_key=KEY)
        self.records: list[EventsRecord] = []
        self.now_ms = NOW_MS
        self._orders = 0
        self._trades = 0
        self.say(
            ev.ShardStarted(0, 0, 2, 0, 1, False),
            ev.ClassSet(0, 1, 1, CLASS, 1, 10_000, 2_000_000, Fees(), 168, 300_000, 0, 600_000, 5_000, 20_000, 0),
            *(ev.ContractListed(contract_of(1, HOUR + more)) for more in range(3)),
            *(ev.AccountSet(0, 0, account, account, 1, 0) for account in (ANA, BERT, DESK)),
            *(ev.Credited(0, 0, account, 100_000_000, 100_000_000) for account in (ANA, BERT, DESK)),
        )

    def say(self, *events: Event, last: bool = True) -> None:
        seq = len(self.records) + 1
        time_ms = (HOUR - 2) * MS_PER_HOUR + seq
        self.records.append(EventsRecord(1, 0, seq, seq, 0, last, time_ms, 1, seq, list(events)))
        self.hub.take(self.records[-1])
        self.hub.pump()

    def again(self) -> Story:
        """The process is started anew and has read the same log."""
        other = object.__new__(Story)
        other.__dict__ |= self.__dict__
        other.hub = Hub(1, first_seq=2 * FIRST, feed_key=KEY)
        for record in self.records:
            other.hub.take(record)
        return other

    def order(self, account: int, side: int, qty: int, price: int, contract: int = CONTRACT) -> ev.OrderAccepted:
        self._orders += 1
        number = order_id(0, 100, 0, self._orders)
        name = f"o{self._orders}"
        return ev.OrderAccepted(0, number, account, contract, side, qty, price * 10_000, 1, 0, name, 0, 0)

    def bid(self, qty: int, price: int, account: int = ANA) -> ev.OrderAccepted:
        made = self.order(account, Side.BUY, qty, price)
        self.say(made)
        return made

    def trade(self, seller: int, buyer: int, qty: int, price: int) -> None:
        """The seller's ask rests, the buyer takes all of it: a new title on declared backing."""
        ask, bid = self.order(seller, Side.SELL, qty, price), self.order(buyer, Side.BUY, qty, price)
        self._trades += 1
        cost = ask.price * qty
        move = ev.TitleMove(0, self._trades, 1, qty, cost, cost, 0)
        fill = ev.Filled(
            self._trades, CONTRACT, ask.price, qty, 60, Side.BUY, ask.order, bid.order, 0, 0, buyer, seller, cost, 0, 0, (move,)
        )  # fmt: skip
        self.say(ask, bid, fill)

    def reader(self, *channels: str, client: Client | None = None) -> tuple[Session, Pipe, Client]:
        pipe = Pipe(client)
        session = self.hub.connect(pipe, self.now_ms)
        if channels:
            session.receive(op("subscribe", channels=list(channels)), self.now_ms)
        return session, pipe, pipe.client

    def token(self, account: int = ANA, expires_ms: int = NOW_MS + LIFE_MS) -> str:
        return make_token(KEY, account, expires_ms, bytes(16), [DESK])

    def member(self, account: int = ANA) -> tuple[Session, Pipe, Client]:
        session, pipe, client = self.reader()
        session.receive(op("auth", token=self.token(account)), self.now_ms)
        session.receive(op("subscribe", channels=["account"]), self.now_ms)
        return session, pipe, client


@pytest.fixture
def story() -> Story:
    return Story()


# --- Numbers -------------------------------------------------------------------------------------------------


def test_a_snapshot_then_a_change_for_each_record_that_changed_something(story: Story) -> None:
    story.bid(2, 200)
    _, _, client = story.reader(BOOK)
    first = story.bid(3, 201)
    story.say(ev.Ticked(0, NOW_MS))
    story.say(ev.OrderCancelled(first.order, ANA, CONTRACT, 3, Reason.ASKED))

    assert client.kinds == ["hello", "subscribed", "book_snapshot", "book", "book"]
    assert client.seqs == {BOOK: FIRST + 2}
    assert client.books[BOOK].levels("bids") == {2: 2}


def test_what_comes_and_goes_within_one_output_is_not_told(story: Story) -> None:
    """An order that was cancelled in the record that it came with, and one that replaced another of its size and price."""
    old = story.bid(2, 200)
    _, _, client = story.reader(BOOK)
    gone, new = story.order(BERT, Side.BUY, 5, 201), story.order(BERT, Side.BUY, 2, 200)
    story.say(
        gone,
        ev.OrderCancelled(gone.order, BERT, CONTRACT, 5, Reason.IOC),
        ev.OrderCancelled(old.order, ANA, CONTRACT, 2, Reason.ASKED),
        new,
    )
    assert client.kinds == ["hello", "subscribed", "book_snapshot"]
    assert client.books[BOOK].levels("bids") == {2: 2}


def test_nothing_is_told_or_begun_in_the_middle_of_an_output(story: Story) -> None:
    """Of an output in parts only the end is a state in which the market ever was."""
    _, _, early = story.reader(BOOK, f"grid:{CLASS}")
    ask, bid = story.order(BERT, Side.SELL, 2, 200), story.order(ANA, Side.BUY, 2, 201)
    story.say(ask, bid, last=False)
    _, _, late = story.reader(BOOK, f"grid:{CLASS}")
    assert early.kinds[-1] == "grid_snapshot"
    assert late.kinds == ["hello", "subscribed"]
    story.say(ev.OrderCancelled(bid.order, ANA, CONTRACT, 2, Reason.SELF_TRADE_NEWEST))
    assert early.kinds[4:] == ["book", "grid"]
    assert late.kinds[2:] == ["book_snapshot", "grid_snapshot"]
    assert early.books[BOOK].levels("asks") == late.books[BOOK].levels("asks") == {2: 2}
    assert early.books[BOOK].levels("bids") == late.books[BOOK].levels("bids") == {}


def test_a_client_notices_a_message_that_is_missing(story: Story) -> None:
    """Were one left out, `prev_seq` would tell."""
    _, pipe, _ = story.reader(BOOK)
    pipe.stuck = True
    for price in (200, 201, 202):
        story.bid(1, price)
    del pipe.queued[1]
    with pytest.raises(AssertionError, match=r"5003 follows 5002, here is 5001"):
        pipe.read()


def test_two_readers_of_a_channel_are_sent_the_same(story: Story) -> None:
    _, one, _ = story.reader(BOOK)
    story.bid(1, 199)
    _, two, _ = story.reader(BOOK)
    one.stuck = two.stuck = True
    story.bid(1, 200)
    assert one.queued == two.queued != []


def test_an_hour_that_ends_ends_its_book_and_its_row(story: Story) -> None:
    session, _, client = story.reader(BOOK, f"grid:{CLASS}")
    story.say(ev.GateClosed(CONTRACT))
    assert client.grids[f"grid:{CLASS}"][BOOK[5:]]["phase"] == "running"
    story.say(ev.RunningClosed(CONTRACT), ev.HourEnded(CONTRACT, 0, 0, 0))
    assert client.ended == [BOOK]
    assert [row["hour"] for row in client.grids[f"grid:{CLASS}"].values()] == ["2026-09-24T21:00Z", "2026-09-24T22:00Z"]
    session.receive(op("subscribe", channels=[BOOK]), NOW_MS)
    assert client.errors[-1]["code"] == "unknown_contract"


def test_a_halt_is_in_every_row_of_the_class(story: Story) -> None:
    _, _, client = story.reader(f"grid:{CLASS}")
    story.say(ev.StateSet(0, 900, 1, 0, 4, "price error"))
    assert {row["state"] for row in client.grids[f"grid:{CLASS}"].values()} == {"halted"}


# --- Coming back ---------------------------------------------------------------------------------------------


def test_who_comes_back_soon_is_sent_what_he_missed_and_nothing_else(story: Story) -> None:
    session, _, client = story.reader(BOOK, f"grid:{CLASS}")
    story.bid(1, 199)
    story.hub.leave(session)
    story.bid(2, 200)
    story.bid(3, 201)
    back, _, _ = story.reader(client=client)
    client.kinds.clear()
    back.receive(client.resume(), NOW_MS)
    story.bid(4, 202)
    assert client.kinds == ["subscribed", "book", "book", "grid", "grid", "book", "grid"]
    assert client.books[BOOK].levels("bids") == {price: qty for qty, price in enumerate(_cents(199, 200, 201, 202), 1)}


def test_who_missed_nothing_is_sent_nothing(story: Story) -> None:
    session, _, client = story.reader(BOOK)
    story.bid(1, 199)
    story.hub.leave(session)
    back, _, _ = story.reader(client=client)
    client.kinds.clear()
    back.receive(client.resume(), NOW_MS)
    assert client.kinds == ["subscribed"]


@pytest.mark.parametrize("missed", [RING_MAX, RING_MAX + 1])
def test_who_missed_too_much_is_sent_a_snapshot(story: Story, missed: int) -> None:
    session, _, client = story.reader(BOOK)
    story.bid(1, 199)
    story.hub.leave(session)
    for number in range(missed):
        story.bid(1, 200 + number % 7)
    back, _, _ = story.reader(client=client)
    client.kinds.clear()
    back.receive(client.resume(), NOW_MS)
    assert client.kinds == ["subscribed", *(["book"] * missed if missed <= RING_MAX else ["book_snapshot"])]
    story.bid(1, 199)
    assert sum(client.books[BOOK].levels("bids").values()) == missed + 2


def test_what_is_kept_of_a_channel_is_bounded_in_bytes_too(story: Story) -> None:
    session, _, _ = story.reader(BOOK)
    story.hub.leave(session)
    channel = story.hub.public.channels.warm[BOOK]
    for _ in range(100):
        channel.send(channel.seq + 1, b"x" * 10_000)
    assert channel.since(channel.seq - RING_BYTES_MAX // 10_000) is not None
    assert channel.since(channel.seq - RING_BYTES_MAX // 10_000 - 1) is None


def test_what_is_kept_of_all_channels_is_bounded_and_the_quietest_goes_first(story: Story) -> None:
    """Who comes back to it is sent a snapshot."""
    session, _, client = story.reader(BOOK)
    story.bid(1, 199)
    story.hub.leave(session)
    rings, book = story.hub.rings, story.hub.public.channels.warm[BOOK]
    busy, quiet = Channel("busy", 0, rings), book.seq
    story.bid(2, 200)
    assert book.since(quiet) is not None
    rings.bytes_max = 12_000
    for seq in range(1, 4):
        busy.send(seq, b"x" * 4_000)
    assert rings.bytes == 12_000
    assert rings.emptied == 1
    assert busy.since(0) is not None
    assert book.since(quiet) is None
    assert book.since(book.seq) == [], "it still says when nothing was missed"
    back, _, _ = story.reader(client=client)
    client.kinds.clear()
    back.receive(client.resume(), NOW_MS)
    story.bid(3, 201)
    assert client.kinds == ["subscribed", "book_snapshot", "book"]
    assert client.books[BOOK].levels("bids") == {price: qty for qty, price in enumerate(_cents(199, 200, 201), 1)}


def test_a_message_larger_than_all_that_may_be_kept_is_sent_and_not_kept() -> None:
    rings = Rings(bytes_max=1_000)
    channel = Channel("book", 0, rings)
    channel.send(1, b"x" * 1_001)
    assert (channel.seq, channel.since(0), channel.since(1), rings.bytes) == (1, None, [], 0)


def test_channels_that_are_gone_hold_nothing(story: Story) -> None:
    """Public ones that cool down, those that end, and private ones."""
    sessions = [story.reader(BOOK)[0], story.member()[0]]
    story.bid(1, 199)
    for session in sessions:
        story.hub.leave(session)
    ended = story.hub.public.channels.open("ended")
    ended.send(ended.seq + 1, b"x")
    held = story.hub.rings.bytes
    story.hub.public.channels.end("ended")
    assert story.hub.rings.bytes == held - 1 > 0
    for later_ms in (0, WARM_MS):
        story.hub.tick(NOW_MS + later_ms)
    assert story.hub.rings.bytes == 0


def test_a_channel_that_nobody_reads_is_forgotten_and_its_number_never_comes_again(story: Story) -> None:
    """What happens meanwhile is not counted: whoever comes back with the old number must not believe that he missed nothing."""
    session, _, client = story.reader(BOOK)
    story.bid(1, 199)
    story.hub.leave(session)
    story.hub.tick(NOW_MS)
    story.hub.tick(NOW_MS + WARM_MS - 1)
    assert BOOK in story.hub.public.channels.warm
    story.hub.tick(NOW_MS + WARM_MS)
    assert BOOK not in story.hub.public.channels.warm
    story.bid(2, 200)
    back, _, _ = story.reader(client=client)
    client.kinds.clear()
    back.receive(client.resume(), NOW_MS)
    assert client.kinds == ["subscribed", "book_snapshot"]
    assert client.books[BOOK].levels("bids") == {_cents(199)[0]: 1, 2: 2}


def test_a_restart_gives_a_snapshot_and_never_a_gap(story: Story) -> None:
    """The new process has read the same log; what it counts has nothing to do with what the old one counted."""
    _, _, client = story.reader(BOOK, f"trades:{CLASS}", f"blocks:{CLASS}", "corrections")
    story.bid(1, 199)
    story.trade(BERT, ANA, 1, 210)
    after = story.again()
    after.bid(2, 200)
    back, _, _ = after.reader(client=client)
    client.kinds.clear()
    back.receive(client.resume(), NOW_MS)
    assert client.kinds == ["subscribed", "book_snapshot", "trades_snapshot", "blocks_snapshot", "corrections_snapshot"]
    assert client.books[BOOK].levels("bids") == {_cents(199)[0]: 1, 2: 2}
    assert [trade["trade"] for trade in client.trades[f"trades:{CLASS}"]] == ["0-1"]


@pytest.mark.parametrize("seq", [0, FIRST - 1, FIRST + 2, 2**62, -1])
def test_a_number_that_was_never_said_gives_a_snapshot(story: Story, seq: int) -> None:
    story.reader(BOOK)
    story.bid(1, 199)
    session, _, client = story.reader()
    session.receive(op("resume", channels={BOOK: seq}), NOW_MS)
    assert client.kinds == ["hello", "subscribed", "book_snapshot"]


def test_more_channels_than_allowed_are_refused_one_by_one(story: Story) -> None:
    """What a reader has and what waits for its snapshot count together."""
    session, pipe, client = story.reader()
    pipe.stuck = True
    session.channels |= {f"book:{number}": story.hub.public.channels.open(BOOK) for number in range(CHANNELS_MAX - 2)}
    session.receive(op("subscribe", channels=[BOOK, f"grid:{CLASS}", f"trades:{CLASS}"], id=5), NOW_MS)
    pipe.stuck = False
    pipe.read()
    assert [(error["code"], error["channel"], error["id"]) for error in client.errors] == [
        ("too_many_subscriptions", f"trades:{CLASS}", 5)
    ]


# --- The account ---------------------------------------------------------------------------------------------


def test_a_member_sees_his_orders_fills_hours_and_money_as_they_change(story: Story) -> None:
    _, pipe, client = story.member(ANA)
    pipe.stuck = True
    story.bid(2, 200, BERT)
    assert pipe.queued == [], "what is another's is not told"
    mine = story.bid(2, 200)
    story.trade(BERT, ANA, 3, 210)
    story.say(ev.OrderCancelled(mine.order, ANA, CONTRACT, 2, Reason.ASKED))
    messages = [json.loads(data) for data in pipe.queued]
    pipe.read()

    assert [(m["type"], m["seq"], m["prev_seq"]) for m in messages] == [
        ("account", 3, 1),
        ("account", 4, 3),
        ("account", 5, 4),
    ]
    placed, traded, cancelled = messages
    assert [(o["client_order_id"], o["state"], o["leaves"]) for o in placed["orders"]] == [("o2", "open", 2)]
    assert placed["balance"] == {
        "balance": "100.00",
        "holds": "4.000002",
        "collateral": "0.00",
        "available": "95.999998",
    }
    assert [(o["client_order_id"], o["state"], o["filled"]) for o in traded["orders"]] == [("o4", "filled", 3)]
    assert [
        (f["side"], f["role"], f["qty"], f["price"], f["notional"], f["counterparty"]) for f in traded["fills"]
    ] == [("buy", "taker", 3, "2.10", "6.30", "member")]
    assert traded["positions"] == [{"contract": BOOK[5:], "held": 3, "owed": 0, "running_held": 0, "running_owed": 0}]
    assert traded["balance"]["balance"] == "93.70"
    assert [(o["state"], o["reason"], o["cancelled"]) for o in cancelled["orders"]] == [("cancelled", "asked", 2)]
    assert client.accounts[0].orders == {}


def test_the_desk_is_called_the_desk_and_nobody_by_number(story: Story) -> None:
    _, _, client = story.member(ANA)
    story.trade(DESK, ANA, 1, 210)
    story.trade(BERT, ANA, 1, 210)
    assert [fill["counterparty"] for fill in client.accounts[0].fills] == ["desk", "member"]


def test_who_comes_back_is_sent_what_his_account_did_meanwhile(story: Story) -> None:
    session, _, client = story.member(ANA)
    story.trade(BERT, ANA, 1, 210)
    story.hub.leave(session)
    story.trade(BERT, ANA, 2, 211)
    back, _, _ = story.reader(client=client)
    client.kinds.clear()
    back.receive(op("auth", token=story.token()), NOW_MS)
    back.receive(client.resume(), NOW_MS)
    assert client.kinds == ["authenticated", "subscribed", "account"]
    assert [fill["qty"] for fill in client.accounts[0].fills] == [1, 2]


def test_after_a_restart_the_snapshot_has_the_fills_since(story: Story) -> None:
    """Numbers are those of the log: they mean the same to the new process, which has kept the newest fills."""
    _, _, client = story.member(ANA)
    story.trade(BERT, ANA, 1, 210)
    before = client.accounts[0].fills
    story.trade(BERT, ANA, 2, 211)
    client.shard_seqs[0] -= 1
    after = story.again()
    after.trade(BERT, ANA, 3, 212)
    back, _, _ = after.reader(client=client)
    back.receive(op("auth", token=story.token()), NOW_MS)
    back.receive(client.resume(), NOW_MS)
    assert client.kinds[-1] == "account_snapshot"
    assert [fill["qty"] for fill in (*before[:1], *client.accounts[0].fills)] == [1, 2, 3]
    after.trade(BERT, ANA, 4, 213)
    assert client.kinds[-1] == "account"


def test_more_fills_than_are_kept_are_said_to_be_missing(story: Story) -> None:
    session, _, _ = story.member(ANA)
    story.hub.leave(session)
    for _ in range(101):
        story.trade(BERT, ANA, 1, 1)
    after = story.again()
    snapshots: list[dict[str, Any]] = []
    for seq in (1, 2, 3):
        back, pipe, _ = after.reader()
        back.receive(op("auth", token=story.token()), NOW_MS)
        pipe.stuck = True
        back.receive(op("resume", account={"0": seq}), NOW_MS)
        snapshots.append(json.loads(pipe.queued[-1]))
    assert [(len(s["fills"]), s["fills_complete"]) for s in snapshots] == [(100, False), (100, False), (99, True)]


def test_without_a_token_there_is_no_account_and_no_token_is_good_for_two(story: Story) -> None:
    session, _, client = story.reader("account")
    session.receive(op("auth", token=story.token(ANA)), NOW_MS)
    session.receive(op("auth", token=story.token(BERT)), NOW_MS)
    assert [error["code"] for error in client.errors] == ["unauthenticated", "other_account"]


def test_a_shard_of_ten_thousand_digits_is_none(story: Story) -> None:
    """Not a fault of ours either, which would be written to the log with all that led to it, at any reader's wish."""
    session, pipe, client = story.member()
    seen = len(client.kinds)
    session.receive(op("unsubscribe", channels=["account"]), story.now_ms)
    session.receive(op("resume", account={"9" * 10_000: 1, "0": -1}), story.now_ms)
    assert client.kinds[seen:] == ["unsubscribed", "subscribed", "account_snapshot"]
    assert pipe.closed is None


def test_a_token_is_good_for_a_minute(story: Story) -> None:
    session, _, client = story.reader()
    session.receive(op("auth", token=story.token()), NOW_MS + LIFE_MS)
    session.receive(op("auth", token=story.token()), NOW_MS + LIFE_MS - 1)
    assert [client.kinds[-2:], client.errors[0]["code"]] == [["error", "authenticated"], "token_expired"]


@pytest.mark.parametrize("place", [0, 20, 60, -1])
def test_a_token_that_was_changed_is_none(story: Story, place: int) -> None:
    token = story.token()
    changed = list(token)
    changed[place] = "A" if token[place] != "A" else "B"
    session, _, client = story.reader()
    session.receive(op("auth", token="".join(changed)), NOW_MS)
    assert [error["code"] for error in client.errors] == ["wrong_token"]
    assert session.account == 0


def test_a_token_of_another_exchange_is_none(story: Story) -> None:
    session, _, client = story.reader()
    other = make_token(derive_feed_key(b"n" * 32), ANA, NOW_MS + LIFE_MS, bytes(16), [])
    session.receive(op("auth", token=other), NOW_MS)
    assert [error["code"] for error in client.errors] == ["wrong_token"]


def test_an_account_is_read_for_ten_minutes_unless_a_new_token_comes(story: Story) -> None:
    """So a key that was ended reads on for ten minutes at most."""
    ends, _, ended = story.member(ANA)
    goes_on, _, going = story.member(ANA)
    later = NOW_MS + PRIVATE_MS - 1_000
    goes_on.receive(op("auth", token=story.token(ANA, later + LIFE_MS)), later)
    story.hub.tick(NOW_MS + PRIVATE_MS)
    assert [(error["code"], error["channel"]) for error in ended.errors] == [("token_expired", "account")]
    story.trade(BERT, ANA, 1, 210)
    assert [client.accounts[0].fills for client in (ended,)] == [[]]
    assert len(going.accounts[0].fills) == 1
    assert ends.account == 0


def test_heartbeats_say_how_far_everything_is(story: Story) -> None:
    _, _, client = story.reader()
    story.bid(1, 199)
    story.hub.tick(NOW_MS)
    assert client.other[-1] == {
        "type": "heartbeat",
        "sent_at": "2026-09-21T14:13:20.000Z",
        "market_time": "2026-09-24T18:00:00.002Z",
        "at": {"0": 2},
        "rentals_at": 0,
    }


def test_public_messages_hold_no_account_no_client_id_and_no_order(story: Story) -> None:
    """Numbers that stand nowhere else: an account, an owner, a client id, an order id."""
    _, pipe, _ = story.reader(BOOK, f"grid:{CLASS}", f"trades:{CLASS}", f"blocks:{CLASS}", "corrections")
    pipe.stuck = True
    for account in (77_001, 77_002):
        story.say(ev.AccountSet(0, 0, account, account + 10_000, 0, 0), ev.Credited(0, 0, account, 10**8, 10**8))
    story.trade(77_001, 77_002, 2, 210)
    story.say(
        ev.BlockAccepted(0, order_id(0, 9_999, 1), 77_001, 1, HOUR, 2, Side.SELL, 3, 1, 2_100_000, 1, 0, "secret-id", 0, 0),
        ev.CashCorrected(0, 88_001, 88_002, 77_001, 77_002, 5, 1, "typo"),
    )  # fmt: skip
    said = b"\n".join(pipe.queued).decode()
    assert [json.loads(data)["type"] for data in pipe.queued] == ["trades", "grid", "blocks", "corrections"]
    for secret in ("7700", "8700", "8800", "secret-id", "0-9999", '"o1"', '"o2"'):
        assert secret not in said


def _cents(*prices: int) -> list[Any]:
    from decimal import Decimal

    return [Decimal(price) / 100 for price in prices]
