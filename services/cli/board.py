"""The sandbox's screen, drawn: the grid, a book, trades, what happens, the desk, and what to type next. Pure.

    picture(seen, choice, about, now_ms, width=80, height=24)   # something that Rich prints

It fits from 80 × 24 on. Lines are cut at the window's edge and never wrapped: what would be pushed out of sight below
is worth more. What is old looks old: all of it is dim then, and a line says since when.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct
from rich.console import RenderableType
from rich.layout import Layout
from rich.text import Text

from schemas import feeds
from schemas.ids import parse_symbol
from schemas.units import Millis
from services.cli import times
from services.cli.seen import Choice, Seen, hour_of

WIDE: Final = 110
"""From here on trades and what happens stand side by side."""
TALL: Final = 34
"""From here on every command is shown, and not two at a time."""
BOOK_WIDTH: Final = 33
TRADES_WIDTH: Final = 53
TURN_MS: Final = 8_000
"""So long two commands stay."""
KEYS: Final = "←→ class ↑↓ hour space turn q end"
_WORDS: Final = re.compile(r'(?:"[^"]*"|\$\([^)]*\)|\S)+')
_GOES_ON: Final = " \\"
_HEAD: Final = "bold reverse"
_BID, _ASK, _GRAVE, _QUIET = "green", "red", "bold red", "dim"


class About(Struct, frozen=True, kw_only=True):
    """What does not come from the feed or the processes."""

    url: str
    page: str = ""
    """Address for a browser, with a key in it; empty: none is shown."""
    feed: str
    """Address; empty: not known yet."""
    began_ms: Millis
    commands: Sequence[str]
    """To be typed in a second terminal."""


def picture(seen: Seen, choice: Choice, about: About, now_ms: Millis, *, width: int, height: int) -> RenderableType:
    """The whole screen, `height` lines of it."""
    stale = seen.stale(now_ms)
    head = [*_head(seen, about, stale, now_ms), *_page(about, width)]
    grid = _grid(seen, choice, width)
    typed = _typed(about, now_ms, width, height)
    left = max(3, height - len(head) - len(grid) - len(typed) - (0 if width >= WIDE else 1))
    market = [*_middle(seen, choice, width, left)]
    whole = Layout()
    parts: list[Layout] = [Layout(_lines(head), size=len(head)), Layout(_lines(grid, stale), size=len(grid))]
    middle = Layout(size=left)
    middle.split_row(*(Layout(_lines(lines, stale), size=size) for lines, size in market))
    parts.append(middle)
    if width < WIDE:
        parts.append(Layout(_lines([_desk_line(seen)], stale), size=1))
    parts.append(Layout(_lines(typed), size=len(typed)))
    whole.split_column(*parts)
    return whole


def _lines(lines: Sequence[Text], stale: str = "") -> Text:
    """Cut and never wrapped; without colours and dim where it is old."""
    shown = Text("\n").join(Text(line.plain, style=_QUIET) if stale else line for line in lines)
    shown.no_wrap, shown.overflow = True, "ellipsis"
    return shown


def _title(text: str) -> Text:
    return Text(f" {text} ", style=_HEAD)


# --- The top ------------------------------------------------------------------------------------------------


def _head(seen: Seen, about: About, stale: str, now_ms: Millis) -> list[Text]:
    first = Text.assemble(
        ("Hourbook sandbox", "bold"), "  ", (" SIMULATED money and machines ", "bold black on yellow"),
        f"  runs {_lasting(now_ms - about.began_ms)}",
    )  # fmt: skip
    second = Text.assemble("at ", (about.url, "bold"))
    if stale:
        second.append("  ")
        second.append(f" STALE: {stale} ", style="bold white on red")
        return [first, second]
    if about.feed:
        second.append(f"  feed {about.feed}")
    second.append(f"  two-sided in {seen.two_sided()} of {len(seen.classes)} classes")
    return [first, second]


def _page(about: About, width: int) -> list[Text]:
    """Where the page is: whole, as half an address leads nowhere, or where the key to it is."""
    if not about.page:
        return []
    line = Text.assemble("in a browser: ", (about.page, "bold"))
    return [
        line
        if len(line) <= width
        else Text(f"in a browser: {about.url}, with the key that is in var/sandbox/member.json")
    ]


def _lasting(duration_ms: Millis) -> str:
    """`0:12:33`."""
    minutes, seconds = divmod(max(0, duration_ms) // 1_000, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


# --- The grid -----------------------------------------------------------------------------------------------


def _grid(seen: Seen, choice: Choice, width: int) -> list[Text]:
    """A row a class, a column an hour: best bid / best ask."""
    names = max((len(each) for each in seen.classes), default=5)
    rows = {each: {hour_of(row): row for row in seen.hours(each)} for each in seen.classes}
    chosen = choice.contract_of(seen)
    columns: list[tuple[int, str, int]] = []
    room = width - names - 1
    for hour in sorted({hour for of_class in rows.values() for hour in of_class}):
        there = [row for of_class in rows.values() if (row := of_class.get(hour)) is not None]
        # It has begun when it has in every class.
        named = f"{'now ' if all(row.phase == 'running' for row in there) else ''}{_clock(hour)}"
        size = max(len(named), *(len(_cell(row).plain) for row in there))
        if room < size + 2:
            break
        columns.append((hour, named, size))
        room -= size + 2
    head = Text(f"{'bid/ask':<{names + 1}}", style=_HEAD)
    for _, named, size in columns:
        head.append(f"  {named:<{size}}")
    lines = [head]
    for each in seen.classes:
        shown = choice.class_of(seen) == each
        line = Text(f"{'▸' if shown else ' '}{each:<{names}}", style="bold" if shown else "")
        for hour, _, size in columns:
            cell = _cell(rows[each].get(hour))
            if chosen is not None and shown and hour == hour_of(chosen):
                cell.stylize("reverse")
            line.append("  ")
            line.append_text(cell)
            line.append(" " * (size - len(cell.plain)))
        lines.append(line)
    return lines


def _cell(row: feeds.GridRow | None) -> Text:
    if row is None:
        return Text("")
    if row.state == "halted":
        return Text("halted", style=_GRAVE)
    if not row.bid and not row.ask:
        return Text("-", style=_QUIET)
    return Text.assemble((row.bid or "-", _BID), "/", (row.ask or "-", _ASK))


def _clock(hour: int) -> str:
    """`15:00`, local."""
    return f"{datetime.fromtimestamp(hour * 3600, UTC).astimezone():%H:%M}"


# --- The middle ---------------------------------------------------------------------------------------------


def _middle(seen: Seen, choice: Choice, width: int, height: int) -> list[tuple[list[Text], int]]:
    """Columns with their widths: the book; then trades and what happens, beside or below each other; and the desk."""
    rest = width - BOOK_WIDTH
    book = (_book(seen, choice, height), BOOK_WIDTH)
    if width < WIDE:
        upper = height // 2
        both = [*_fitted(_trades(seen), upper), *_fitted(_happened(seen), height - upper)]
        return [book, (_apart(both), rest)]
    trades = min(TRADES_WIDTH, rest // 2)
    lower = _desk(seen)
    happened = [*_fitted(_happened(seen), max(2, height - len(lower))), *lower]
    return [book, (_apart(_fitted(_trades(seen), height)), trades), (_apart(happened), rest - trades)]


def _apart(lines: list[Text]) -> list[Text]:
    """Not touching what stands to the left."""
    return [Text.assemble(" ", line) for line in lines]


def _fitted(lines: list[Text], height: int) -> list[Text]:
    """Exactly so many."""
    return [*lines[:height], *(Text("") for _ in range(height - len(lines)))]


def _book(seen: Seen, choice: Choice, height: int) -> list[Text]:
    """The ladder of one contract: asks above, best next to the bids."""
    row = choice.contract_of(seen)
    if row is None:
        return [_title("No open hour")]
    each, hour = parse_symbol(row.contract)
    lines = [_title(each), Text(times.shown(hour))]
    book = seen.book
    if book is None or book.symbol != row.contract or not book.known:
        return [*lines, Text("reading ...", style=_QUIET)]
    room = max(2, height - len(lines))
    asks, bids = book.levels(book.asks), book.levels(book.bids)
    fewer = min(len(asks), max(room // 2, room - len(bids)))
    lines += [Text(f"{'':6} {price:>9} {qty:<6}", style=_ASK) for price, qty in reversed(asks[:fewer])]
    lines += [Text(f"{qty:>6} {price:>9}", style=_BID) for price, qty in bids[: room - fewer]]
    return lines if asks or bids else [*lines, Text("nobody bids or asks", style=_QUIET)]


def _trades(seen: Seen) -> list[Text]:
    lines = [_title("Trades")]
    for trade in seen.trades:
        each, hour = parse_symbol(trade.contract)
        bought = trade.maker_side == "sell"
        what = "" if trade.kind == "order" else f" {trade.kind.replace('_', '-')}"
        lines.append(
            Text.assemble(
                (_moment(trade.at), _QUIET),
                f" {each} {_clock(hour)} ",
                (f"{trade.qty} × {trade.price}", _BID if bought else _ASK),
                what,
            )
        )
    return lines if len(lines) > 1 else [*lines, Text("none yet", style=_QUIET)]


def _happened(seen: Seen) -> list[Text]:
    lines = [_title("What happens")]
    for news in seen.news:
        at = f"{datetime.fromtimestamp(news.at_ms / 1_000, UTC).astimezone():%H:%M:%S}"
        lines.append(Text.assemble((at, _QUIET), " ", (news.text, _GRAVE if news.grave else "")))
    return lines if len(lines) > 1 else [*lines, Text("nothing to tell", style=_QUIET)]


def _moment(text: str) -> str:
    """`15:04:05`, local."""
    return f"{datetime.fromisoformat(text).astimezone():%H:%M:%S}"


# --- The desk -----------------------------------------------------------------------------------------------


def _desk_line(seen: Seen) -> Text:
    return Text.assemble(_title("Desk"), " ", Text(" · ").join(_desk_facts(seen)[:3]))


def _desk(seen: Seen) -> list[Text]:
    """A line each, and the classes that it does not quote."""
    lines = [_title("The desk"), *_desk_facts(seen)]
    return [*lines, *(Text(f"{name}: {why}", style=_QUIET) for name, why in sorted(seen.desk.unquoted.items()))]


def _desk_facts(seen: Seen) -> list[Text]:
    desk = seen.desk
    worth = f"{desk.worth or '?'} USD" + (f" ({_signed(desk.gained)} today)" if desk.gained else "")
    limits = Text(f"limit reached: {desk.limits}", style=_GRAVE) if desk.limits else Text("no limit reached")
    return [
        Text(worth),
        Text(f"{desk.promises} GPU-h to cover"),
        limits,
        Text(f"quotes {desk.bids} bids and {desk.asks} asks in {len(seen.classes) - len(desk.unquoted)} classes"),
    ]


def _signed(amount: str) -> str:
    return amount if amount.startswith("-") else f"+{amount}"


# --- What to type -------------------------------------------------------------------------------------------


def _typed(about: About, now_ms: Millis, width: int, height: int) -> list[Text]:
    """All commands where there is room, else two, and the next two after a while."""
    title = Text.assemble(_title("Type in a second terminal, in this folder"), " ", (KEYS, _QUIET))
    commands = list(about.commands)
    if height < TALL and len(commands) > 2:
        pairs = [commands[place : place + 2] for place in range(0, len(commands), 2)]
        commands = pairs[now_ms // TURN_MS % len(pairs)]
        commands += [""] * (2 - len(commands))
    return [title, *(Text(line, style="bold") for command in commands for line in folded(command, width))]


def folded(command: str, width: int) -> list[str]:
    """Lines that a shell reads as one: cut off at the window's edge it could not be typed."""
    first, *words = _WORDS.findall(command)
    lines = [first]
    for word in words:
        if len(lines[-1]) + 1 + len(word) + len(_GOES_ON) <= width or len(command) <= width:
            lines[-1] += f" {word}"
        else:
            lines[-1] += _GOES_ON
            lines.append(f"  {word}")
    return lines
