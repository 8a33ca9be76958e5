"""D3: the feed rebuilds the market. Random markets on the engine, and a client that knows the feed's text only."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from schemas.events import Filled
from schemas.units import parse_usd
from services.market_data.hub import Hub
from tests.market_data.client import Book, Client
from tests.market_data.flow import Flow
from tests.market_data.outlets import Pipe, op

FEED_KEY = bytes(range(32))
DAYS_FIXED, DAYS_OF_CHANCE, STEPS = 6, 3, 250
TOLD = {
    "AccountSet", "BackingCut", "BackingSet", "BlockAccepted", "BlockFilled", "BuyIn", "BuyInFailed", "CancelAccepted",
    "CancelAllAfterSet", "CashCorrected", "ClassSet", "CollateralMoved", "ContractListed", "Credited", "DeadManFired", "Filled",
    "GateClosed", "HourEnded", "MassCancelAccepted", "OrderAccepted", "OrderAmended", "OrderCancelled", "OutboxRejected",
    "QuotesPut", "RangeAccepted", "ReferenceMoved", "Rejected", "RunningClosed", "ShardStarted", "StateReached", "StateSet",
    "Swept", "Ticked", "TitleCovered", "TitleEnded",
}  # fmt: skip
"""Events that the fixed days together must have had. `OutboxSkipped`, `OrderRepeated`, `EngineVersionSet` change nothing here."""


class Watcher:
    """A client of everything, compared with the engine after each output."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.hub = Hub(1, first_seq=1_000, feed_key=FEED_KEY)
        self.told: list[tuple[str, int, Book]] = []
        self.client = Client(lambda channel, at, book: self.told.append((channel, at, book)))
        self.session = self.hub.connect(Pipe(self.client), 0)
        self.now_ms = 0
        self.compared = 0
        self.fills: list[tuple[str, str, str, int]] = []

    def watch(self, steps: int) -> None:
        for record in self.flow.day(steps):
            self.hub.take(record)
            self.session.pump()
            self.fills += [
                (f"0-{e.trade}", self.flow.symbol(e.contract), str(Decimal(e.price) / 1_000_000), e.qty)
                for e in record.events
                if isinstance(e, Filled)
            ]
            if record.last:
                self._follow_new_hours()
                self._compare(record.seq)
            else:
                assert not self.told, "nothing is said in the middle of an output"

    def _follow_new_hours(self) -> None:
        wanted = [f"book:{symbol}" for symbol in self.flow.levels()]
        if self.flow.engine.classes:
            for rules in self.flow.classes.values():
                wanted += [f"{kind}:{rules.class_id}" for kind in ("trades", "grid", "blocks")]
            wanted.append("corrections")
        new = [name for name in wanted if name not in self.session.channels]
        if new:
            self.now_ms += 10_000
            self.session.receive(op("subscribe", channels=new), self.now_ms)
            assert not self.client.errors

    def _compare(self, seq: int) -> None:
        levels = self.flow.levels()
        for channel, at, _ in self.told:
            assert at == seq
            assert channel in self.client.books
        self.compared += len(self.told)
        self.told.clear()
        # Of every contract, whether or not something was said of it: nothing was left out either.
        books = {name.partition(":")[2]: book for name, book in self.client.books.items()}
        assert {symbol: (_micros(b.levels("bids")), _micros(b.levels("asks"))) for symbol, b in books.items()} == levels
        for bids, asks in levels.values():
            assert not bids or not asks or max(bids) < min(asks), "a book is crossed"
        assert self._blocks_told() == self._blocks()
        grid = {row["contract"]: row for rows in self.client.grids.values() for row in rows.values()}
        assert {symbol: (row["bid"], row["bid_qty"], row["ask"], row["ask_qty"]) for symbol, row in grid.items()} == {
            symbol: (*_best(bids, max), *_best(asks, min)) for symbol, (bids, asks) in levels.items()
        }
        assert {symbol: (row["bid_next"], row["ask_next"]) for symbol, row in grid.items()} == {
            symbol: (_second(bids, max), _second(asks, min)) for symbol, (bids, asks) in levels.items()
        }
        assert {symbol: (row["phase"], row["state"]) for symbol, row in grid.items()} == self._hours()

    def _blocks_told(self) -> Counter[tuple[Any, ...]]:
        found: Counter[tuple[Any, ...]] = Counter()
        for levels in self.client.blocks.values():
            for (_, hours, side, price), level in levels.items():
                found[hours, side, parse_usd(str(price))] += level["qty"]
        return found

    def _blocks(self) -> Counter[tuple[Any, ...]]:
        found: Counter[tuple[Any, ...]] = Counter()
        for block in self.flow.blocks():
            found[block.hours, {1: "buy", 2: "sell"}[block.side], block.price] += block.leaves
        return found

    def _hours(self) -> dict[str, tuple[str, str]]:
        names = {1: "open", 2: "post_only", 3: "cancel_only", 4: "halted"}
        found = {}
        for number, contract in self.flow.engine.contracts.items():
            phase = self.flow.phase(contract)
            found[self.flow.symbol(number)] = phase, names[max(contract.state, contract.listed.state)]
        return found


def test_a_client_that_knows_the_text_alone_has_the_engines_market_after_every_output(seed: int) -> None:
    """Books at every checksum, the block book, best prices, phases and states, every trade once and in order."""
    said: Counter[str] = Counter()
    checksums = changes = trades = corrections = ended = 0
    days = [f"fixed/{day}" for day in range(DAYS_FIXED)] + [f"{seed}/{day}" for day in range(DAYS_OF_CHANCE)]
    for day in days:
        flow = Flow(day)
        watcher = Watcher(flow)
        watcher.watch(STEPS)
        client = watcher.client
        told = [
            (line["trade"], line["contract"], str(Decimal(line["price"]).normalize()), line["qty"])
            for line in sorted(
                (line for lines in client.trades.values() for line in lines), key=lambda line: int(line["trade"][2:])
            )
        ]
        assert [(t, c, str(Decimal(p).normalize()), q) for t, c, p, q in watcher.fills] == told
        assert watcher.compared == client.checksums
        assert len(client.corrections) == flow.said.get("CashCorrected", 0)
        assert len(client.ended) <= flow.said["HourEnded"]  # a long silence lists an hour and ends it at once
        assert not any(book.bids or book.asks for book in client.books.values()), "all that could be traded has ended"
        if day.startswith("fixed"):
            said.update(flow.said)
        checksums, changes, trades = checksums + client.checksums, changes + client.changes, trades + len(told)
        corrections, ended = corrections + len(client.corrections), ended + len(client.ended)
    print(f"{checksums} checksums, {changes} changes, {trades} trades, {ended} hours, {dict(said)}")
    assert not TOLD - set(said)
    assert min(checksums, changes, trades, ended) > 100
    assert corrections > 0


def _micros(levels: dict[Decimal, int]) -> dict[int, int]:
    return {parse_usd(str(price)): qty for price, qty in levels.items()}


def _second(levels: dict[int, int], pick: Any) -> str:
    best = pick(levels, default=0)
    return _best({price: qty for price, qty in levels.items() if price != best}, pick)[0]


def _best(levels: dict[int, int], pick: Any) -> tuple[str, int]:
    if not levels:
        return "", 0
    price = pick(levels)
    text = f"{Decimal(price) / 1_000_000:f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}", levels[price]
