"""The public feed: what has changed in a shard → messages of its channels, and the snapshots they begin with. Pure.

book:<symbol>     depth of one contract          trades:<class>    new trades
grid:<class>      a row per hour                 blocks:<class>    the block book
corrections       errors corrected in cash
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from schemas import feeds
from schemas.edge import iso
from schemas.ids import class_no_of, parse_symbol
from schemas.units import Millis, format_usd
from services.market_data.channels import Channel, Channels, Rings
from services.market_data.lines import all_pairs, block_line, grid_row, pairs, trade_line
from services.market_data.market import Contract, Listed, Market, Turn
from services.market_data.tape import Trade

TRADES_SHOWN: Final = 100
"""Of a class in its snapshot."""
CORRECTIONS_KEPT: Final = 100
CORRECTIONS: Final = "corrections"

encode = msgspec.json.Encoder().encode


class Refused(Exception):
    """What was asked for cannot be had. `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Named(NamedTuple):
    """A trade, and its contract's symbol."""

    symbol: str
    trade: Trade


class PublicFeed:
    """Channels over the markets of all shards."""

    def __init__(self, markets: Sequence[Market], first_seq: int, rings: Rings) -> None:
        self.markets = markets
        self.channels = Channels(first_seq, rings)
        self.corrections: deque[feeds.CorrectionLine] = deque(maxlen=CORRECTIONS_KEPT)
        self._trades: dict[int, deque[Named]] = {}
        """Class number → its newest trades."""

    # --- What there is -----------------------------------------------------------------------------------------

    def listed(self, class_id: str) -> tuple[Market, Listed]:
        """Raises Refused unknown_class."""
        for market in self.markets:
            for listed in market.classes.values():
                if listed.class_id == class_id:
                    return market, listed
        raise Refused("unknown_class", f"{class_id!r} is not listed; GET /v1/classes lists the classes")

    def contract(self, symbol: str) -> tuple[Market, Contract]:
        """Raises Refused wrong_contract, unknown_class, unknown_contract."""
        try:
            class_id, hour = parse_symbol(symbol)
        except ValueError as error:
            raise Refused("wrong_contract", str(error)) from None
        market, listed = self.listed(class_id)
        contract = listed.contracts.get(hour)
        if contract is None:
            raise Refused("unknown_contract", f"{symbol} is not listed, or has ended")
        return market, contract

    def is_whole(self, name: str) -> bool:
        """Whether a snapshot can be made now: not in the middle of an output. Raises Refused for what is no channel."""
        if name == CORRECTIONS:
            return True
        kind, colon, what = name.partition(":")
        if not colon or kind not in ("book", "trades", "grid", "blocks"):
            raise Refused(
                "unknown_channel",
                f"{name!r} is no channel; there are book:<symbol>, trades:<class>, grid:<class>, blocks:<class>, corrections, "
                "account",
            )
        market, _ = self.contract(what) if kind == "book" else self.listed(what)
        return market.whole

    # --- Snapshots ---------------------------------------------------------------------------------------------

    def open(self, name: str) -> Channel:
        """A channel that exists. Raises Refused."""
        self.is_whole(name)
        return self.channels.open(name)

    def snapshot(self, channel: Channel) -> bytes:
        """Everything, as it is after the channel's last message. Raises Refused."""
        name, seq = channel.name, channel.seq
        kind, _, what = name.partition(":")
        if kind == CORRECTIONS:
            newest = list(reversed(self.corrections))
            return encode(feeds.CorrectionsSnapshot(channel=name, seq=seq, corrections=newest))
        if kind == "book":
            market, contract = self.contract(what)
            assert market.whole
            book = contract.book
            return encode(
                feeds.BookSnapshot(
                    channel=name,
                    seq=seq,
                    at=market.seq,
                    time=iso(market.time_ms),
                    bids=all_pairs(book.bids),
                    asks=all_pairs(book.asks),
                    checksum=book.checksum(),
                )
            )
        market, listed = self.listed(what)
        assert market.whole
        at, time = market.seq, iso(market.time_ms)
        if kind == "trades":
            newest_first = reversed(self._trades.get(listed.spec.class_no, ()))
            trades = [trade_line(market.shard, *each) for each in newest_first]
            return encode(feeds.TradesSnapshot(channel=name, seq=seq, at=at, time=time, trades=trades))
        if kind == "grid":
            return encode(feeds.GridSnapshot(channel=name, seq=seq, at=at, time=time, rows=grid_rows(listed)))
        blocks = [block_line(where, level) for where, level in market.blocks.levels(listed.spec.class_no)]
        return encode(feeds.BlocksSnapshot(channel=name, seq=seq, at=at, time=time, blocks=blocks))

    # --- Changes -----------------------------------------------------------------------------------------------

    def publish(self, turn: Turn) -> None:
        """Say what an output of the engine has changed, to whoever listens."""
        market, time = self.markets[turn.shard], iso(turn.time_ms)
        for contract in turn.books:
            self._book(contract, turn, time)
        if turn.trades:
            self._traded(market, turn, time)
        if turn.rows:
            self._rows(turn, time)
        if turn.blocks:
            self._blocks(market, turn, time)
        if turn.corrections:
            self._corrected(turn, time)

    def _book(self, contract: Contract, turn: Turn, time: str) -> None:
        book = contract.book
        channel = self.channels.warm.get(f"book:{contract.symbol}")
        if channel is None:
            book.forget()
            return
        bids, asks = book.bids.changes(), book.asks.changes()
        if bids or asks:
            seq = channel.seq + 1
            message = feeds.BookChange(
                channel=channel.name,
                seq=seq,
                prev_seq=channel.seq,
                at=turn.seq,
                time=time,
                bids=pairs(bids),
                asks=pairs(asks),
                checksum=book.checksum(),
            )
            channel.send(seq, encode(message))

    def _traded(self, market: Market, turn: Turn, time: str) -> None:
        new: dict[int, list[Named]] = {}
        for trade in turn.trades:
            contract = market.contracts.get(trade.contract)
            # An hour that trades and ends in one output is gone by now; its row says its name.
            symbol = contract.symbol if contract else next(c.symbol for c in turn.rows if c.contract == trade.contract)
            new.setdefault(class_no_of(trade.contract), []).append(Named(symbol, trade))
        for class_no, trades in new.items():
            self._trades.setdefault(class_no, deque(maxlen=TRADES_SHOWN)).extend(trades)
            name = f"trades:{market.classes[class_no].class_id}"
            if name in self.channels.warm:
                lines = [trade_line(turn.shard, *each) for each in trades]
                self._say(name, feeds.TradesChange, at=turn.seq, time=time, trades=lines)

    def _rows(self, turn: Turn, time: str) -> None:
        changed: dict[str, list[Contract]] = {}
        for contract in turn.rows:
            changed.setdefault(contract.listed.class_id, []).append(contract)
            if contract.gone:
                self._end(f"book:{contract.symbol}")
        for class_id, contracts in changed.items():
            if f"grid:{class_id}" in self.channels.warm:
                rows = [grid_row(contract) for contract in sorted(contracts, key=lambda c: c.contract)]
                self._say(f"grid:{class_id}", feeds.GridChange, at=turn.seq, time=time, rows=rows)

    def _blocks(self, market: Market, turn: Turn, time: str) -> None:
        changed: dict[int, list[feeds.BlockLine]] = {}
        for where, level in turn.blocks:
            changed.setdefault(where.class_no, []).append(block_line(where, level))
        for class_no, blocks in changed.items():
            name = f"blocks:{market.classes[class_no].class_id}"
            self._say(name, feeds.BlocksChange, at=turn.seq, time=time, blocks=blocks)

    def _corrected(self, turn: Turn, time: str) -> None:
        lines = [
            feeds.CorrectionLine(f"{turn.shard}-{each.trade}", format_usd(each.amount), each.reason, time)
            for each in turn.corrections
        ]
        self.corrections.extend(lines)
        self._say(CORRECTIONS, feeds.CorrectionsChange, corrections=lines)

    def _say(self, name: str, kind: Callable[..., feeds.Message], **fields: object) -> None:
        channel = self.channels.warm.get(name)
        if channel is not None:
            seq = channel.seq + 1
            channel.send(seq, encode(kind(channel=name, seq=seq, prev_seq=channel.seq, **fields)))

    def _end(self, name: str) -> None:
        self._say(name, feeds.End)
        channel = self.channels.end(name)
        if channel is not None:
            for reader in list(channel.readers):
                reader.ended(channel)

    def cool(self, now_ms: Millis) -> None:
        """Now and then."""
        self.channels.cool(now_ms)


def grid_rows(listed: Listed) -> list[feeds.GridRow]:
    """All hours of a class, rising."""
    return [grid_row(contract) for _, contract in sorted(listed.contracts.items())]
