"""The sandbox's screen while it is up: reads the public feed and every `/status`, listens to keys, and draws.

    await watch(place, poll)     # until q, Ctrl-C, or a closed terminal

One thread, one loop. The feed may break off and come back: the screen says that what it shows is old, and connects again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
import picows
from msgspec import Struct
from rich.console import Console, RenderableType
from rich.live import Live

from schemas import feeds, http
from schemas.units import Millis, Price, format_usd, parse_usd
from services.cli import output, profile, status
from services.cli.board import About, picture
from services.cli.client import Client
from services.cli.errors import CliError
from services.cli.seen import Choice, FeedBroken, Seen
from services.runtime.infra import Life

DRAW_S: Final = 0.5
STATUS_S: Final = 2.0
AGAIN_S: Final = 1.0
POLL_S: Final = 0.2
EXAMPLE: Final = "H100.SXM.80.US"
LAST_PRICE: Final = 3_600_000
"""Of the example while nobody asks."""
STEP: Final = 50_000
"""To which suggested prices are rounded: a multiple of the example's tick."""
SILENT_MS: Final = 20_000
"""A feed that is silent for longer is given up, and asked for anew."""
CHANNELS_MAX: Final = 1_000
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KEYS: Final = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left", b"\t": "right", b" ": "space", b"q": "q",
    b"Q": "q", b"\x1bOA": "up", b"\x1bOB": "down", b"\x1bOC": "right", b"\x1bOD": "left",
}  # fmt: skip


class Place(Struct, frozen=True):
    """The exchange that is watched."""

    url: str
    page: str
    """For a browser, with the member's key in it."""
    client: Client
    commands: Callable[[Seen], Sequence[str]]
    """What to type, for the market as it is."""


class Watch:
    """State of the screen, and the tasks that keep it."""

    def __init__(self, place: Place, poll: Callable[[], list[Life]], console: Console) -> None:
        now_ms = _now_ms()
        self.seen = Seen((), now_ms)
        self.choice = Choice(now_ms)
        self.stop = asyncio.Event()
        self._place = place
        self._poll = poll
        self._console = console
        self._began_ms = now_ms
        self._feed = ""
        self._touched = asyncio.Event()
        self._socket: _Socket | None = None

    async def run(self) -> None:
        """Until `stop`. Raises CliError when the exchange cannot go on."""
        tasks = [asyncio.ensure_future(each) for each in (self._follow(), self._ask_processes())]
        try:
            with Live(console=self._console, screen=True, auto_refresh=False) as live:
                while not self.stop.is_set():
                    self._poll()
                    for task in tasks:
                        if task.done():
                            task.result()  # a fault of ours
                    self._choose()
                    live.update(self.draw(), refresh=True)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._touched.wait(), DRAW_S)
                    self._touched.clear()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def draw(self) -> RenderableType:
        """One picture."""
        about = About(
            url=self._place.url,
            page=self._place.page,
            feed=self._feed,
            began_ms=self._began_ms,
            commands=self._place.commands(self.seen),
        )
        width, height = self._console.size
        return picture(self.seen, self.choice, about, _now_ms(), width=width, height=height)

    def press(self, data: bytes) -> None:
        """A key, as the terminal sends it."""
        key = _KEYS.get(data, "")
        if key == "q":
            self.end()
        elif key:
            self.choice.press(key, len(self.seen.classes))
            self._choose()
            self._touched.set()

    def end(self) -> None:
        """No more of it."""
        self.stop.set()
        self._touched.set()

    def _choose(self) -> None:
        """The book that is looked at follows class and hour."""
        self.choice.turn(len(self.seen.classes), _now_ms())
        row = self.choice.contract_of(self.seen)
        old = self.seen.book
        if row is None or self._socket is None or (old is not None and old.symbol == row.contract):
            return
        if old is not None:
            self._socket.say(feeds.Unsubscribe(channels=(f"book:{old.symbol}",)))
        self.seen.look_at(row.contract)
        self._socket.say(feeds.Subscribe(channels=(f"book:{row.contract}",)))

    # --- The feed -----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """For ever: connect, read until it breaks off."""
        while True:
            try:
                told = await asyncio.to_thread(self._place.client.get, "/v1/market", feeds.MarketStatus)
                classes = await asyncio.to_thread(self._place.client.get, "/v1/classes", list[http.ClassAnswer])
                self._feed = told.feed
                await self._read(told.feed, sorted(each.class_id for each in classes))
            except (CliError, OSError, picows.WSError, TimeoutError):
                pass  # whatever it was, it is tried again; that nothing is heard any more stands on the screen
            await asyncio.sleep(AGAIN_S)

    async def _read(self, address: str, classes: list[str]) -> None:
        """Until it breaks off, falls silent, or lacks a message. Raises WSError, OSError."""
        self.seen.classes = classes
        self.seen.begin()
        socket = _Socket(self.seen)
        transport, _ = await picows.ws_connect(lambda: socket, address)
        try:
            channels = [f"{kind}:{each}" for each in classes for kind in ("grid", "trades")]
            socket.say(feeds.Subscribe(channels=tuple(channels[:CHANNELS_MAX])))
            self.seen.book, self._socket = None, socket
            opened_ms = _now_ms()
            while (left_ms := max(opened_ms, self.seen.heard_ms) + SILENT_MS - _now_ms()) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(socket.over.wait(), left_ms / 1_000)
                    return
        finally:
            self._socket = None
            transport.disconnect(graceful=False)

    # --- The processes ------------------------------------------------------------------------------------------------

    async def _ask_processes(self) -> None:
        """For ever."""
        while True:
            with contextlib.suppress(CliError):  # it has just begun, or is ending
                found = await asyncio.to_thread(status.read)
                self.seen.look(found.processes, _now_ms())
            await asyncio.sleep(STATUS_S)


class _Socket(picows.WSListener):
    """One connection to the feed."""

    def __init__(self, seen: Seen) -> None:
        self.over = asyncio.Event()
        self._seen = seen
        self._transport: picows.WSTransport | None = None
        self._parts = bytearray()

    def say(self, message: Struct) -> None:
        """Send it; to one that has ended, nothing."""
        if self._transport is not None and not self.over.is_set():
            self._transport.send(picows.WSMsgType.TEXT, msgspec.json.encode(message))

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """The handshake is over."""
        self._transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:  # noqa: ARG002 # the interface
        """A message, or a part of one."""
        if frame.msg_type not in (picows.WSMsgType.TEXT, picows.WSMsgType.CONTINUATION) or self.over.is_set():
            return
        self._parts += frame.get_payload_as_bytes()
        if frame.fin:
            data, self._parts = bytes(self._parts), bytearray()
            try:
                self._seen.hear(data, _now_ms())
            except FeedBroken:
                self.over.set()  # what is missing comes with the snapshots of another connection

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:  # noqa: ARG002 # the interface
        """However it ended."""
        self.over.set()


# --- Without a screen ---------------------------------------------------------------------------------------


def show(url: str, page: str, client: Client, poll: Callable[[], list[Life]], *, silent: bool, plain: bool) -> None:
    """The screen until somebody ends it; where the output is no terminal, or `plain`, a few lines; `silent`: not even these.

    `page`: the address for a browser, with the member's key in it.

    Without a screen it ends by KeyboardInterrupt. Raises CliError when the exchange cannot go on.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    program = output.program()
    if not silent and not plain and console.is_terminal:
        asyncio.run(
            watch(Place(url, page, client, lambda seen: suggestions(program, seen.hours(EXAMPLE))), poll, console)
        )
        return
    if not silent:
        console.print(f"open at {url}; ephemeral: everything is gone when it stops", soft_wrap=True)
        console.print(f"in a browser: {page}", soft_wrap=True)
        console.print("\n".join(suggestions(program, _hours(client))), soft_wrap=True)
    while True:
        poll()
        time.sleep(POLL_S)


def suggestions(program: str, hours: Sequence[feeds.GridRow]) -> list[str]:
    """Commands that work when typed as they stand, one after the other, in the same folder. `hours`: the example's."""
    high = limit_price(hours)
    price, dearer, lower = (format_usd(each) for each in (high, high + 6 * STEP, high - 10 * STEP))
    night = f'{EXAMPLE} --hours "tomorrow 20:00"'
    bot = f"HOURBOOK_PROFILE={profile.SANDBOX / profile.BOT} {program}"
    runs = any(row.phase == "running" for row in hours)
    first = f"buy 1 {EXAMPLE} --now" if runs else f'buy 1 {EXAMPLE} --hour "in 3 hours"'
    return [
        f"{program} {first} --price {price}",
        f"{program} buy 8 {night} --for 24 --block --price {price}",
        f"{program} sell 8 {night} --for 4 --price {dearer}",
        f'{bot} quote {EXAMPLE} --bid {lower}x8 --ask {price}x8 --hours "in 12 hours" --for 4 --promise',
        f"kill -STOP $({program} pid supply)",
        f"{program} desk",
        f"kill -CONT $({program} pid supply)",
        f"{program} audit --young",
    ]


def limit_price(hours: Sequence[feeds.GridRow]) -> Price:
    """A little above what most hours are asked for."""
    asks = sorted(parse_usd(row.ask) for row in hours if row.ask)
    return -(-asks[len(asks) // 2] * 105 // 100 // STEP) * STEP if asks else LAST_PRICE


def quoted(client: Client) -> feeds.GridRow | None:
    """The example's first hour in which somebody bids and asks; None: not yet."""
    return first_quoted(_hours(client))


def _hours(client: Client) -> Sequence[feeds.GridRow]:
    """The example's."""
    try:
        return client.get(f"/v1/classes/{EXAMPLE}/grid", feeds.Grid).rows
    except CliError:
        return ()  # market data is still reading, or the gateway has not heard of the class yet


def first_quoted(rows: Sequence[feeds.GridRow]) -> feeds.GridRow | None:
    """Forward, with both sides. It need not be the next: shortly before an hour must be covered the desk asks in it no more."""
    return next((row for row in rows if row.phase == "forward" and row.bid and row.ask), None)


# --- The terminal -------------------------------------------------------------------------------------------


async def watch(place: Place, poll: Callable[[], list[Life]], console: Console) -> None:
    """Draw until somebody ends it. Raises CliError when the exchange cannot go on."""
    watching = Watch(place, poll, console)
    loop = asyncio.get_running_loop()
    for number in _ENDING:
        loop.add_signal_handler(number, watching.end)
    try:
        with _keys(loop, watching.press):
            await watching.run()
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # it ends, in order, and once


@contextlib.contextmanager
def _keys(loop: asyncio.AbstractEventLoop, press: Callable[[bytes], None]) -> Iterator[None]:
    """Keys come one by one and are not echoed while the block runs; where there is no keyboard, none come."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)  # Ctrl-C stays what it is
    loop.add_reader(descriptor, lambda: press(os.read(descriptor, 32)))
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _now_ms() -> Millis:
    return time.time_ns() // 1_000_000
