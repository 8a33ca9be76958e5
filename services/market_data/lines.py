"""How the market is written: numbers inside, decimal strings and names at the edge. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from schemas import feeds
from schemas.edge import SIDES, STATES, iso, iso_hour
from schemas.units import Gpus, Price
from services.market_data.blocks import Level, Range
from services.market_data.books import Levels, price_text
from services.market_data.market import Contract
from services.market_data.tape import Trade


def usd(price: Price) -> str:
    """Empty: there is none."""
    return price_text(price) if price else ""


def pairs(levels: Iterable[tuple[Price, Gpus]]) -> list[feeds.Pair]:
    """Levels as they are sent."""
    return [(price_text(price), qty) for price, qty in levels]


def all_pairs(levels: Levels) -> list[feeds.Pair]:
    """A whole side, best first."""
    return pairs(levels.top(len(levels.keys)))


def grid_row(contract: Contract) -> feeds.GridRow:
    """An hour of the grid; one that is gone has nothing but its name."""
    if contract.gone:
        return feeds.GridRow(contract.symbol, iso_hour(contract.hour), "ended", STATES[contract.state])
    row = contract.row()
    return feeds.GridRow(
        contract.symbol,
        iso_hour(contract.hour),
        row.phase,
        STATES[row.state],
        usd(row.bid),
        row.bid_qty,
        usd(row.ask),
        row.ask_qty,
        usd(row.last),
        usd(row.reference),
        usd(row.bid_next),
        usd(row.ask_next),
    )


def trade_line(shard: int, symbol: str, trade: Trade) -> feeds.TradeLine:
    """A public trade."""
    return feeds.TradeLine(
        f"{shard}-{trade.trade}",
        symbol,
        price_text(trade.price),
        trade.qty,
        trade.minutes,
        SIDES[trade.maker_side],
        trade.kind,
        iso(trade.time_ms),
    )


def block_line(where: Range, level: Level) -> feeds.BlockLine:
    """A level of the block book."""
    return feeds.BlockLine(
        iso_hour(where.first_hour),
        where.hours,
        SIDES[where.side],
        price_text(where.price),
        level.qty,
        level.qty_min,
        level.blocks,
    )
