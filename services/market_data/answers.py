"""Answers over HTTP, from what the hub knows. Pure. Each says how old it is.

Raises `Refused` with a code of the gateway's: it makes the problem that a client sees.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas import feeds
from schemas.commands import ALL_HOURS
from schemas.edge import iso
from schemas.units import Millis, collar, format_usd
from services.market_data.hub import Hub
from services.market_data.lines import block_line, grid_row, pairs, trade_line, usd
from services.market_data.market import Anchor, Listed, Market
from services.market_data.public import grid_rows
from services.market_data.references import References, Wanted


class Answers:
    """What can be asked. `read_ms`: by shard, our clock when its log was last looked at."""

    def __init__(self, hub: Hub, references: Sequence[References], read_ms: Sequence[Millis], feed_url: str) -> None:
        self._hub = hub
        self._references = references
        self._read_ms = read_ms
        self._feed_url = feed_url

    def _as_of(self, market: Market) -> feeds.AsOf:
        return feeds.AsOf(
            shard=market.shard,
            seq=market.seq,
            market_time=iso(market.time_ms),
            read_at=iso(self._read_ms[market.shard]),
        )

    def status(self) -> feeds.MarketStatus:
        """Where the feed is, and how far."""
        shards = [self._as_of(market) for market in self._hub.markets]
        return feeds.MarketStatus(feed=self._feed_url, shards=shards)

    def book(self, symbol: str, depth: int) -> feeds.MarketBook:
        """Depth of one contract."""
        market, contract = self._hub.public.contract(symbol)
        book = contract.book
        return feeds.MarketBook(
            as_of=self._as_of(market),
            contract=symbol,
            bids=pairs(book.bids.top(depth)),
            asks=pairs(book.asks.top(depth)),
            checksum=book.checksum(),
        )

    def trades(self, symbol: str, limit: int) -> feeds.MarketTrades:
        """Newest first."""
        market, contract = self._hub.public.contract(symbol)
        lines = [trade_line(market.shard, symbol, trade) for trade in contract.tape.tail(limit)]
        return feeds.MarketTrades(as_of=self._as_of(market), contract=symbol, trades=lines)

    def ticker(self, symbol: str) -> feeds.Ticker:
        """An hour's row, and its last 24 hours."""
        market, contract = self._hub.public.contract(symbol)
        day = contract.tape.statistics(market.time_ms)
        return feeds.Ticker(
            as_of=self._as_of(market),
            row=grid_row(contract),
            low=usd(day.low),
            high=usd(day.high),
            average=usd(day.average),
            volume=day.qty,
            trades=day.trades,
        )

    def grid(self, class_id: str) -> feeds.Grid:
        """All hours of a class."""
        market, listed = self._hub.public.listed(class_id)
        return feeds.Grid(as_of=self._as_of(market), class_id=class_id, rows=grid_rows(listed))

    def blocks(self, class_id: str) -> feeds.BlockBook:
        """The block book of a class."""
        market, listed = self._hub.public.listed(class_id)
        levels = [block_line(where, level) for where, level in market.blocks.levels(listed.spec.class_no)]
        return feeds.BlockBook(as_of=self._as_of(market), class_id=class_id, blocks=levels)

    def references(self, class_id: str, now_ms: Millis) -> feeds.References:
        """Of the class, then of its hours."""
        market, listed = self._hub.public.listed(class_id)
        wanted = self._references[market.shard].wanted(listed, now_ms)
        rows = [_row("", listed, listed.anchor, wanted.get(ALL_HOURS))]
        rows += [
            _row(contract.symbol, listed, contract.anchor, wanted.get(hour))
            for hour, contract in sorted(listed.contracts.items())
        ]
        return feeds.References(as_of=self._as_of(market), class_id=class_id, rows=rows)

    def shard_of(self, *, symbol: str = "", class_id: str = "") -> Market:
        """Whose state an answer is from."""
        return self._hub.public.contract(symbol)[0] if symbol else self._hub.public.listed(class_id)[0]


def _row(symbol: str, listed: Listed, anchor: Anchor, wanted: Wanted | None) -> feeds.ReferenceRow:
    low, high = collar(anchor.price, listed.spec.collar_low_bp, listed.spec.collar_high_bp)
    return feeds.ReferenceRow(
        contract=symbol,
        price=format_usd(anchor.price),
        source=anchor.source,
        moved_at=iso(anchor.moved_ms) if anchor.moved_ms else "",
        low=format_usd(low),
        high=format_usd(high),
        wanted=format_usd(wanted.price) if wanted else "",
        wanted_source=wanted.source if wanted else "",
    )
