"""What the sandbox's screen knows: messages of the public feed, and what the processes say of themselves. Pure.

Nothing here asks anybody: `watching` reads the feed (docs/feeds.md) and every `/status`, and hands both over with the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from schemas import feeds
from schemas.ids import parse_symbol
from schemas.units import Micros, Millis, parse_usd
from services.cli.status import Process

STALE_MS: Final = 15_000
"""Without a message for so long the feed is dead (docs/feeds.md)."""
TRADES_KEPT: Final = 200
NEWS_KEPT: Final = 200
DESK: Final = "market_maker"
_SHAKY: Final = ("down", "halted", "settings", "silent")
_NONE: Final = "none: "

_decoder = msgspec.json.Decoder(feeds.Message)


class FeedBroken(Exception):
    """Something of the feed is missing: begin it anew."""


class News(Struct, frozen=True):
    """Something that happened."""

    at_ms: Millis
    text: str
    grave: bool = False


class Book:
    """Depth of one contract."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.bids: dict[str, int] = {}
        self.asks: dict[str, int] = {}
        self.known = False
        """False until its snapshot has come."""

    def change(self, bids: Iterable[feeds.Pair], asks: Iterable[feeds.Pair]) -> None:
        """Levels are absolute; 0: nothing stands there any more."""
        for side, pairs in ((self.bids, bids), (self.asks, asks)):
            for price, qty in pairs:
                if qty:
                    side[price] = qty
                else:
                    side.pop(price, None)

    def levels(self, side: dict[str, int]) -> list[feeds.Pair]:
        """Best first."""
        return sorted(side.items(), key=lambda level: parse_usd(level[0]), reverse=side is self.bids)


class Desk(Struct, frozen=True, kw_only=True):
    """How the desk is, as it says."""

    worth: str = ""
    gained: str = ""
    """Since the day began."""
    promises: int = 0
    """GPU-hours sold and not covered yet."""
    bids: int = 0
    asks: int = 0
    """Hours quoted on that side."""
    limits: str = ""
    """Which are reached; empty: none."""
    unquoted: dict[str, str] = {}
    """Class → why it is not quoted."""


class Seen:
    """Everything that is drawn."""

    def __init__(self, classes: Sequence[str], now_ms: Millis) -> None:
        self.classes = sorted(classes)
        self.grid: dict[str, dict[str, feeds.GridRow]] = {each: {} for each in self.classes}
        self.book: Book | None = None
        self.trades: deque[feeds.TradeLine] = deque(maxlen=TRADES_KEPT)
        """Newest first."""
        self.news: deque[News] = deque(maxlen=NEWS_KEPT)
        """Newest first."""
        self.processes: tuple[Process, ...] = ()
        self.desk = Desk()
        self.heard_ms = now_ms
        """When the last message of the feed came."""
        self._market_time = ""
        self._moved_ms = now_ms
        """When the market's clock last moved."""
        self._seqs: dict[str, int] = {}
        self._told: dict[tuple[str, int], int] = {}
        """(process's name, when it started) → the last of its `news`."""

    def add(self, text: str, now_ms: Millis, *, grave: bool = False) -> None:
        """To what happens."""
        self.news.appendleft(News(now_ms, text, grave))

    # --- The feed -----------------------------------------------------------------------------------------------------

    def stale(self, now_ms: Millis) -> str:
        """Why what is shown is old; empty: it is not."""
        silent_ms, still_ms = now_ms - self.heard_ms, now_ms - self._moved_ms
        if silent_ms >= STALE_MS:
            return f"no message of the feed for {silent_ms // 1_000} s"
        if still_ms >= STALE_MS:
            return f"the market's clock has stood still for {still_ms // 1_000} s"
        return ""

    def begin(self) -> None:
        """A new connection: every channel begins with a snapshot."""
        self._seqs.clear()

    def look_at(self, symbol: str) -> None:
        """Another book from here on."""
        self.book = Book(symbol)

    def hear(self, data: bytes, now_ms: Millis) -> None:
        """One message. Raises FeedBroken."""
        self.heard_ms = now_ms
        try:
            message = _decoder.decode(data)
        except msgspec.ValidationError:
            return  # of a kind that came later than this program
        if isinstance(message, feeds.Heartbeat):
            if message.market_time != self._market_time:
                self._market_time, self._moved_ms = message.market_time, now_ms
        elif isinstance(message, feeds.Refusal):
            if message.code not in ("unknown_contract", "not_subscribed"):  # an hour that has ended meanwhile
                raise FeedBroken(f"{message.code}: {message.detail}")
        elif isinstance(message, feeds.PublicMessage):
            self._count(message)
            self._take(message)

    def _count(self, message: feeds.PublicMessage) -> None:
        """Raises FeedBroken where a message is missing."""
        before = getattr(message, "prev_seq", None)
        if before is not None and self._seqs.get(message.channel, before) != before:
            raise FeedBroken(f"{message.channel}: {before} does not follow {self._seqs[message.channel]}")
        self._seqs[message.channel] = message.seq

    def _take(self, message: feeds.PublicMessage) -> None:
        kind, _, name = message.channel.partition(":")
        match message:
            case feeds.GridSnapshot():
                self.grid[name] = {row.contract: row for row in message.rows}
            case feeds.GridChange():
                rows = self.grid.setdefault(name, {})
                rows.update((row.contract, row) for row in message.rows)
                for row in message.rows:
                    if row.phase == "ended":
                        del rows[row.contract]
            case feeds.BookSnapshot() | feeds.BookChange() if self.book is not None and self.book.symbol == name:
                if isinstance(message, feeds.BookSnapshot):
                    self.look_at(name)
                self.book.known = True
                self.book.change(message.bids, message.asks)
            case feeds.TradesSnapshot():
                known = {trade.trade for trade in self.trades}
                new = [trade for trade in message.trades if trade.trade not in known]
                newest = sorted([*self.trades, *new], key=lambda trade: trade.at, reverse=True)
                self.trades = deque(newest[:TRADES_KEPT], maxlen=TRADES_KEPT)
            case feeds.TradesChange():
                self.trades.extendleft(message.trades)
            case feeds.End() if kind == "book" and self.book is not None and self.book.symbol == name:
                self.book = None
            case _:
                pass

    def hours(self, class_id: str) -> list[feeds.GridRow]:
        """Rows of a class that can be traded or will be, rising: the one that runs first."""
        rows = (row for row in self.grid.get(class_id, {}).values() if row.phase in ("running", "forward"))
        return sorted(rows, key=lambda row: row.hour)

    def two_sided(self) -> int:
        """How many classes have an hour with a bid and an ask."""
        return sum(any(row.bid and row.ask for row in self.hours(each)) for each in self.classes)

    # --- The processes ------------------------------------------------------------------------------------------------

    def look(self, processes: tuple[Process, ...], now_ms: Millis) -> None:
        """How every process is; what is different from before is news."""
        before = {each.name: each for each in self.processes}
        self.processes = processes
        for each in processes:
            self._news_of(before.get(each.name), each, now_ms)
            self._words_of(each, now_ms)
        desk = next((each for each in processes if each.name == DESK), None)
        if desk is not None and desk.details:
            self._look_at_desk(desk.details, now_ms)

    def _news_of(self, before: Process | None, each: Process, now_ms: Millis) -> None:
        if before is None:
            return
        if each.restarts > before.restarts:
            how = "" if each.exit_code is None else f", it had ended with {each.exit_code}"
            self.add(f"{each.name} was started again{how}", now_ms, grave=True)
        elif each.state in _SHAKY and before.state not in _SHAKY:
            self.add(f"{each.name} is {each.state}{f': {each.said}' if each.said else ''}", now_ms, grave=True)
        if each.waits_for != before.waits_for:
            text = f"waits for {each.waits_for}" if each.waits_for else f"goes on: {before.waits_for} is there again"
            self.add(f"{each.name} {text}", now_ms, grave=bool(each.waits_for))

    def _words_of(self, each: Process, now_ms: Millis) -> None:
        """Numbered lines that it has not said before."""
        start = int(each.details.get("started_ms", 0))
        told = self._told.get((each.name, start), 0)
        for line in str(each.details.get("news", "")).splitlines():
            number, _, text = line.partition(" ")
            if number.isdigit() and int(number) > told:
                told = int(number)
                self.add(text, now_ms)
        self._told[each.name, start] = told

    def _look_at_desk(self, told: dict[str, int | float | str | bool], now_ms: Millis) -> None:
        why = {key.removeprefix("quote "): str(said) for key, said in told.items() if key.startswith("quote ")}
        unquoted = {name: said.removeprefix(_NONE) for name, said in why.items() if said.startswith(_NONE)}
        worth, begin = int(told.get("worth_micros", 0)), int(told.get("day_begin_micros", 0))
        old, self.desk = self.desk, Desk(
            worth=_grouped(worth) if worth else "",
            gained=_grouped(worth - begin) if worth and begin else "",
            promises=int(told.get("open_promises", 0)),
            bids=int(told.get("bids", 0)),
            asks=int(told.get("asks", 0)),
            limits=str(told.get("limits_reached", "")),
            unquoted=unquoted,
        )  # fmt: skip
        for name, reason in unquoted.items():
            if name not in old.unquoted:
                self.add(f"the desk does not quote {name}: {reason}", now_ms, grave=True)
        for name in old.unquoted:
            if name in why and name not in unquoted:
                self.add(f"the desk quotes {name} again", now_ms)
        if self.desk.limits and _names(self.desk.limits) != _names(old.limits):
            self.add(f"the desk has reached a limit: {self.desk.limits}", now_ms, grave=True)
        elif old.limits and not self.desk.limits:
            self.add("the desk is within its limits again", now_ms)


def _grouped(amount: Micros) -> str:
    """`3,000,000.00`: to the cent, for people."""
    sign, cents = ("-", -amount) if amount < 0 else ("", amount)
    dollars, rest = divmod(cents // 10_000, 100)
    return f"{sign}{dollars:,}.{rest:02}"


def _names(limits: str) -> list[str]:
    """Of limits, without the figures, which move all the time."""
    return [each.partition(":")[0].strip() for each in limits.split(";")]


# --- What is looked at --------------------------------------------------------------------------------------


class Choice:
    """Class and hour whose book is shown. Classes take turns until somebody chooses."""

    TURN_MS: Final = 6_000

    def __init__(self, now_ms: Millis) -> None:
        self.place = 0
        self.hour = 0
        """So many hours after the first that has two sides."""
        self.turns = True
        self._turned_ms = now_ms

    def turn(self, classes: int, now_ms: Millis) -> None:
        """Call it often."""
        if self.turns and classes and now_ms - self._turned_ms >= self.TURN_MS:
            self.place, self._turned_ms = (self.place + 1) % classes, now_ms

    def press(self, key: str, classes: int) -> None:
        """`left`, `right`, `up`, `down`, `space`."""
        if key == "space":
            self.turns, self.hour = not self.turns, 0
        elif key in ("left", "right") and classes:
            self.turns = False
            self.place = (self.place + (1 if key == "right" else -1)) % classes
        elif key in ("up", "down"):
            self.turns = False
            self.hour += 1 if key == "down" else -1

    def class_of(self, seen: Seen) -> str:
        """Empty: there is none."""
        return seen.classes[self.place % len(seen.classes)] if seen.classes else ""

    def contract_of(self, seen: Seen) -> feeds.GridRow | None:
        """The chosen hour, or the last there is on that side."""
        forward = [row for row in seen.hours(self.class_of(seen)) if row.phase == "forward"]
        first = next((place for place, row in enumerate(forward) if row.bid and row.ask), 0)
        self.hour = min(max(self.hour, -first), max(0, len(forward) - 1 - first))
        return forward[first + self.hour] if forward else None


def hour_of(row: feeds.GridRow) -> int:
    """Hours since the epoch."""
    return parse_symbol(row.contract)[1]
