"""The sandbox's screen: what it knows, from messages of the feed and words of the processes, and how that is drawn."""

from __future__ import annotations

import io
import shlex
import time
from typing import Any

import msgspec
import pytest
from rich.console import Console

from services.cli.board import About, folded, picture
from services.cli.seen import STALE_MS, Choice, FeedBroken, Seen
from services.cli.status import Process
from services.cli.watching import suggestions

NOW_MS = 1_795_716_000_000
"""Thu 26 Nov 2026, 18:00 UTC."""
H100, L40S = "H100.SXM.80.US", "L40S.48.US"
COMMANDS = [f"hourbook command {number}" for number in range(1, 9)]
SIZES = [(80, 24), (120, 40), (200, 50)]


class Feed:
    """Says to a screen what the feed would say."""

    def __init__(self, *classes: str) -> None:
        self.seen = Seen(classes or (H100, L40S), NOW_MS)
        self.choice = Choice(NOW_MS)
        self.seqs: dict[str, int] = {}

    def say(self, kind: str, channel: str, *, at_ms: int = NOW_MS, **body: Any) -> None:
        before = self.seqs.get(channel, 0)
        self.seqs[channel] = before + 1
        message = {"type": kind, "channel": channel, "seq": before + 1, "at": 1, "time": "", **body}
        if not kind.endswith("_snapshot"):
            message["prev_seq"] = before
        self.seen.hear(msgspec.json.encode(message), at_ms)

    def beat(self, market_time: str, at_ms: int) -> None:
        body = {"type": "heartbeat", "sent_at": "", "market_time": market_time, "at": {}}
        self.seen.hear(msgspec.json.encode(body), at_ms)

    def grid(self, class_id: str, *rows: tuple[int, str, str, str], kind: str = "grid_snapshot") -> None:
        """(hour of the day, phase, bid, ask)."""
        told = [
            {
                "contract": contract(class_id, hour), "hour": f"2026-11-26T{hour}:00Z", "phase": phase, "state": "open",
                "bid": bid, "bid_qty": 8 if bid else 0, "ask": ask, "ask_qty": 8 if ask else 0, "reference": "3.30",
            }
            for hour, phase, bid, ask in rows
        ]  # fmt: skip
        self.say(kind, f"grid:{class_id}", rows=told)

    def look(self, symbol: str) -> None:
        self.seen.look_at(symbol)

    def draw(self, width: int, height: int, now_ms: int = NOW_MS) -> list[str]:
        """Lines of the screen, as text."""
        console = Console(width=width, height=height, record=True, file=io.StringIO(), force_terminal=True)
        about = About(
            url="http://127.0.0.1:8080",
            feed="ws://127.0.0.1:8081/v1/feed",
            began_ms=NOW_MS - 754_000,
            commands=COMMANDS,
        )
        console.print(picture(self.seen, self.choice, about, now_ms, width=width, height=height), height=height)
        return [line.rstrip() for line in console.export_text(styles=False).splitlines()]


def contract(class_id: str, hour: int) -> str:
    return f"{class_id}.20261126T{hour}-USD"


def trade(number: int, class_id: str, hour: int, price: str, **more: Any) -> dict[str, Any]:
    return {
        "trade": f"0-{number}", "contract": contract(class_id, hour), "price": price, "qty": 2, "minutes": 60,
        "maker_side": "sell", "kind": "order", "at": f"2026-11-26T18:00:{number:02}Z", **more,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def feed() -> Feed:
    """An ordinary market: two classes, the running hour and two forward ones, a book, trades."""
    feed = Feed()
    feed.grid(H100, (18, "running", "", "3.40"), (19, "forward", "3.20", ""), (20, "forward", "3.205", "3.395"))
    feed.grid(L40S, (19, "forward", "0.71", "0.77"), (20, "forward", "", ""))
    feed.look(contract(H100, 20))
    feed.say(
        "book_snapshot", f"book:{contract(H100, 20)}", checksum=0,
        bids=[["3.205", 16], ["3.20", 4]], asks=[["3.395", 16], ["3.41", 2]],
    )  # fmt: skip
    feed.say("trades_snapshot", f"trades:{H100}", trades=[trade(2, H100, 20, "3.395"), trade(1, H100, 19, "3.20")])
    feed.say("trades", f"trades:{L40S}", trades=[trade(3, L40S, 19, "0.77", kind="buy_in", maker_side="buy")])
    return feed


def test_a_narrow_terminal_has_everything(feed: Feed) -> None:
    """80 × 24: nothing is wrapped, nothing is wider, and each part is there."""
    assert feed.draw(80, 24) == [
        "Hourbook sandbox   SIMULATED money and machines   runs 0:12:34",
        "at http://127.0.0.1:8080  feed ws://127.0.0.1:8081/v1/feed  two-sided in 2 of 2…",
        "bid/ask          now 18:00  19:00      20:00",
        "▸H100.SXM.80.US  -/3.40     3.20/-     3.205/3.395",
        " L40S.48.US                 0.71/0.77  -",
        " H100.SXM.80.US                    Trades",
        "Thu 26 Nov 20:00 (20:00 UTC)      18:00:03 L40S.48.US 19:00 2 × 0.77 buy-in",
        "            3.41 2                18:00:02 H100.SXM.80.US 20:00 2 × 3.395",
        "           3.395 16               18:00:01 H100.SXM.80.US 19:00 2 × 3.20",
        "    16     3.205",
        "     4      3.20",
        "",
        "                                   What happens",
        "                                  nothing to tell",
        *[""] * 6,
        " Desk  ? USD · 0 GPU-h to cover · no limit reached",
        " Type in a second terminal, in this folder  ←→ class ↑↓ hour space turn q end",
        *COMMANDS[:2],
    ]


@pytest.mark.parametrize(("width", "height"), [*SIZES, (80, 30), (110, 24)])
@pytest.mark.parametrize("classes", [1, 8, 12])
def test_every_size_is_filled_and_no_line_is_longer(width: int, height: int, classes: int) -> None:
    """Up to twelve classes with a week of hours; what to type next is always on the screen."""
    names = [f"RTX4090.24.EU.COMM{number}" for number in range(classes)]
    feed = Feed(*names)
    for name in names:
        feed.grid(name, *((hour, "forward", "0.3405", "0.3605") for hour in range(10, 24)))
    for number in range(60):
        feed.say("trades", f"trades:{names[0]}", trades=[trade(number, names[0], 20, "0.3605")])
        feed.seen.add(f"the desk does not quote {names[0]}: the cheapest offer is old", NOW_MS, grave=True)
    lines = feed.draw(width, height)

    assert len(lines) == height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert all(each in text for each in ("SIMULATED", "Trades", "What happens", "hourbook command"))
    assert [line[1:].split()[0] for line in lines[3 : 3 + classes]] == sorted(names)


def test_a_command_that_is_too_long_goes_on_in_the_next_line_as_a_shell_reads_it() -> None:
    """Never within quotes; a shell takes a backslash away with the end of its line, and what is left is the command."""
    command = suggestions(".venv/bin/hourbook", [])[1]
    lines = folded(command, 70)

    assert lines == [
        '.venv/bin/hourbook buy 8 H100.SXM.80.US --hours "tomorrow 20:00" \\',
        "  --for 24 --block --price 3.60",
    ]
    for each in suggestions(".venv/bin/hourbook", []):
        for width in (40, 70, 80, 120, 200):
            lines = folded(each, width)
            assert shlex.split("\n".join(lines).replace("\\\n", "")) == shlex.split(each)
            assert all(len(line) <= width for line in lines)
    assert folded(command, 200) == [command]


def test_prices_are_suggested_a_little_above_what_most_hours_cost(feed: Feed) -> None:
    """One that asks for the moon moves nothing; where an hour runs, it can be bought from at once."""
    asks = ["3.39", "3.40", "3.41", "6.00", ""]
    feed.grid(H100, *((14 + place, "forward", "3.00", ask) for place, ask in enumerate(asks)))
    said = suggestions("hourbook", feed.seen.hours(H100))
    assert said[0] == 'hourbook buy 1 H100.SXM.80.US --hour "in 3 hours" --price 3.60'
    assert [command.split("--price ")[1] for command in said[:3]] == ["3.60", "3.60", "3.90"]
    feed.grid(H100, (13, "running", "", "3.39"), (14, "forward", "3.00", "4.40"), kind="grid_snapshot")
    said = suggestions("hourbook", feed.seen.hours(H100))
    assert said[0] == "hourbook buy 1 H100.SXM.80.US --now --price 4.65"
    assert "--bid 4.15x8 --ask 4.65x8" in said[3]


def test_a_wide_terminal_tells_of_the_desk_and_all_commands(feed: Feed) -> None:
    told = {
        "role": "", "worth_micros": 3_000_012_345_678, "day_begin_micros": 3_000_000_000_000, "open_promises": 12,
        "bids": 1_344, "asks": 1_200, "limits_reached": "open promises: 4,000 of 4,000 GPU-hours",
        f"quote {H100}": "3.29 of 3 clouds", f"quote {L40S}": "none: all its sources are stale",
    }  # fmt: skip
    feed.seen.look((Process(name="market_maker", pid=1, state="runs", details=told),), NOW_MS)
    lines = feed.draw(120, 40)
    text = "\n".join(lines)

    assert all(command in lines for command in COMMANDS)
    for said in (
        "3,000,012.34 USD (+12.34 today)",
        "12 GPU-h to cover",
        "limit reached: open promises",
        "quotes 1344 bids and 1200 asks in 1 classes",
        "L40S.48.US: all its sources are",
        "the desk does not quote L40S",
    ):
        assert said in text


def test_what_is_old_looks_old(feed: Feed) -> None:
    """Fifteen seconds without a message, or with a market whose clock stands still."""
    assert "STALE" not in "\n".join(feed.draw(80, 24, NOW_MS + STALE_MS - 1))
    assert feed.draw(80, 24, NOW_MS + STALE_MS + 2_000)[1] == (
        "at http://127.0.0.1:8080   STALE: no message of the feed for 17 s"
    )
    feed.beat("2026-11-26T18:00:00Z", NOW_MS + 20_000)
    assert "STALE" not in "\n".join(feed.draw(80, 24, NOW_MS + 21_000))
    feed.beat("2026-11-26T18:00:00Z", NOW_MS + 37_000)
    assert "STALE: the market's clock has stood still for 18 s" in feed.draw(80, 24, NOW_MS + 38_000)[1]


def test_changes_are_absolute_and_an_ended_hour_is_gone(feed: Feed) -> None:
    book = f"book:{contract(H100, 20)}"
    feed.say("book", book, checksum=0, bids=[["3.205", 0], ["3.21", 1]], asks=[["3.395", 7]])
    assert feed.seen.book is not None
    assert feed.seen.book.levels(feed.seen.book.bids) == [("3.21", 1), ("3.20", 4)]
    assert feed.seen.book.levels(feed.seen.book.asks) == [("3.395", 7), ("3.41", 2)]

    feed.grid(H100, (18, "ended", "", ""), (19, "running", "", ""), kind="grid")
    assert [(row.phase, row.hour[11:13]) for row in feed.seen.hours(H100)] == [("running", "19"), ("forward", "20")]
    feed.say("end", book)
    assert feed.seen.book is None


def test_a_message_that_is_missing_is_noticed(feed: Feed) -> None:
    feed.seqs[f"trades:{L40S}"] += 1
    with pytest.raises(FeedBroken, match=f"trades:{L40S}: 2 does not follow 1"):
        feed.say("trades", f"trades:{L40S}", trades=[])

    feed.seen.begin()  # another connection: its snapshots count from anywhere
    feed.say("trades_snapshot", f"trades:{L40S}", trades=[trade(3, L40S, 19, "0.77")])
    assert [each.trade for each in feed.seen.trades] == ["0-3", "0-2", "0-1"]


def test_what_it_does_not_know_it_ignores_and_a_refusal_it_does_not(feed: Feed) -> None:
    feed.seen.hear(b'{"type": "candles", "channel": "candles:X", "seq": 1}', NOW_MS + 5)
    assert feed.seen.heard_ms == NOW_MS + 5
    feed.seen.hear(b'{"type": "error", "code": "unknown_contract", "detail": "it has ended"}', NOW_MS)
    with pytest.raises(FeedBroken, match="unknown_class"):
        feed.seen.hear(b'{"type": "error", "code": "unknown_class", "detail": ""}', NOW_MS)


def test_what_happens_to_processes_is_told_once() -> None:
    """A restart, a wait and its end, what the simulated cloud has done, a class that is not quoted any more."""
    seen = Seen((H100,), NOW_MS)
    cloud = {"started_ms": 1, "news": "1 simulated cloud: procured 2\n2 simulated cloud: delivered 1"}

    def look(*, gateway: dict[str, Any], news: dict[str, Any], desk: str = "3.29 of 3 clouds") -> None:
        seen.look(
            (
                Process(name="gateway", pid=1, **{"state": "runs", **gateway}),
                Process(name="simulated-cloud", pid=2, state="runs", details=news),
                Process(name="market_maker", pid=3, state="runs", details={f"quote {H100}": desk}),
            ),
            NOW_MS,
        )

    look(gateway={}, news=cloud | {"news": "1 simulated cloud: procured 2"})
    look(gateway={"waits_for": "shard 0"}, news=cloud)
    look(gateway={"restarts": 1, "exit_code": -9}, news=cloud, desk="none: all its sources are stale")
    look(
        gateway={"restarts": 1, "state": "halted", "said": "offset 12"},
        news=cloud | {"started_ms": 9, "news": "1 simulated cloud: begins"},
    )

    assert [(news.text, news.grave) for news in reversed(seen.news)] == [
        ("simulated cloud: procured 2", False),
        ("gateway waits for shard 0", True),
        ("simulated cloud: delivered 1", False),
        ("gateway was started again, it had ended with -9", True),
        ("gateway goes on: shard 0 is there again", False),
        (f"the desk does not quote {H100}: all its sources are stale", True),
        ("gateway is halted: offset 12", True),
        ("simulated cloud: begins", False),
        (f"the desk quotes {H100} again", False),
    ]


def test_classes_take_turns_until_somebody_chooses(feed: Feed) -> None:
    """←→ another class, ↑↓ another hour, space: turns again. The first hour shown is one with two sides."""
    choice, seen = feed.choice, feed.seen

    def shown() -> str:
        row = choice.contract_of(seen)
        return row.contract if row is not None else ""

    assert shown() == contract(H100, 20)
    choice.turn(2, NOW_MS + Choice.TURN_MS)
    assert shown() == contract(L40S, 19)
    choice.press("left", 2)
    choice.turn(2, NOW_MS + 10 * Choice.TURN_MS)
    assert shown() == contract(H100, 20)
    choice.press("up", 2)
    assert shown() == contract(H100, 19)
    for _ in range(5):
        choice.press("up", 2)
        shown()
    choice.press("down", 2)
    assert shown() == contract(H100, 20)
    choice.press("space", 2)
    choice.turn(2, NOW_MS + 20 * Choice.TURN_MS)
    assert shown() == contract(L40S, 19)
