"""The private feed: what an output did to an account → messages to whoever has shown that the account is his. Pure.

One channel per (account, shard). Its numbers are those of the records of `events`: a message says its own and that of the one
before, so nothing is missed unseen, and a number means the same after a restart and in every process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from schemas import feeds
from schemas.commands import Flag, Side
from schemas.edge import SIDES, TIFS, iso
from schemas.events import Filled, Reason
from schemas.feed_token import desk_tag
from schemas.ids import class_no_of, format_order, format_symbol, hour_of
from schemas.units import Millis, format_usd
from services.market_data.books import price_text
from services.market_data.channels import Channel, Reader, Rings
from services.market_data.holdings import Account, Fill, Holdings, Order, Touched
from services.market_data.market import Market
from services.market_data.public import encode

CHANNEL: Final = "account"
_KNOWN_MAX: Final = 10_000


class Desks:
    """Which accounts are the aggregator's own, as far as tokens have said so. An account is that from its opening, or never."""

    def __init__(self, feed_key: bytes) -> None:
        self._feed_key = feed_key
        self._tags: set[bytes] = set()
        self._known: dict[int, bool] = {}

    def learn(self, tags: Iterable[bytes]) -> None:
        """What a token says."""
        new = set(tags) - self._tags
        if new:
            self._tags |= new
            self._known.clear()

    def counterparty(self, account: int) -> Literal["desk", "member"]:
        """What a member is told of whom he has traded with."""
        known = self._known.get(account)
        if known is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            known = self._known[account] = desk_tag(self._feed_key, account) in self._tags
        return "desk" if known else "member"


class PrivateFeed:
    """Channels of accounts over the holdings of all shards."""

    def __init__(self, markets: Sequence[Market], holdings: Sequence[Holdings], desks: Desks, rings: Rings) -> None:
        self.holdings = holdings
        self.desks = desks
        self._markets = markets
        self._rings = rings
        self._channels: dict[tuple[int, int], Channel] = {}
        """(account, shard) → its channel, as long as somebody listens or did a moment ago."""

    def is_whole(self) -> bool:
        """Whether snapshots can be made now: not in the middle of an output."""
        return all(holdings.whole for holdings in self.holdings)

    def join(self, account: int, reader: Reader) -> list[Channel]:
        """Listen to an account in every shard. What was before is asked with `missed`, in the same breath."""
        joined = []
        for holdings in self.holdings:
            key = (account, holdings.shard)
            channel = self._channels.get(key)
            if channel is None:
                channel = self._channels[key] = Channel(CHANNEL, holdings.seq, self._rings)
                holdings.watched[account] = 1
            channel.readers[reader] = None
            joined.append(channel)
        return joined

    def missed(self, account: int, shard: int, seq: int | None) -> list[bytes]:
        """What came after `seq` in a shard; where that is not known, or is not asked, everything as it stands."""
        channel = self._channels[account, shard]
        missed = channel.since(seq) if seq is not None else None
        return [self._snapshot(account, shard, channel.seq, seq)] if missed is None else missed

    def publish(self, shard: int, touched: Mapping[int, Touched]) -> None:
        """Say what an output has done, to whoever listens."""
        holdings = self.holdings[shard]
        for number, what in touched.items():
            channel = self._channels.get((number, shard))
            if channel is None:
                continue
            account = holdings.accounts[number]
            message = feeds.AccountChange(
                channel=CHANNEL,
                shard=shard,
                seq=holdings.seq,
                prev_seq=channel.seq,
                time=iso(holdings.time_ms),
                orders=[self._order(shard, order) for order in what.orders.values()],
                fills=[self._fill(shard, fill) for fill in what.fills],
                positions=[self._position(shard, account, contract) for contract in what.positions],
                balance=_balance(account) if what.money else None,
            )
            channel.send(holdings.seq, encode(message))

    def cool(self, now_ms: Millis) -> None:
        """Forget channels that nobody has listened to for a while."""
        for account, shard in [key for key, channel in self._channels.items() if channel.is_cold(now_ms)]:
            self._channels.pop((account, shard)).forget()
            del self.holdings[shard].watched[account]

    # --- Lines -------------------------------------------------------------------------------------------------

    def _snapshot(self, number: int, shard: int, seq: int, since: int | None) -> bytes:
        holdings = self.holdings[shard]
        assert holdings.whole
        # An account that the shard has never heard of has nothing there.
        account = holdings.accounts.get(number) or Account(number)
        fills = [fill for fill in account.fills if since is not None and fill.seq > since]
        complete = since is None or len(fills) < (account.fills.maxlen or 0)
        held = [contract for contract, position in account.positions.items() if any(position.counts())]
        return encode(
            feeds.AccountSnapshot(
                channel=CHANNEL,
                shard=shard,
                seq=seq,
                time=iso(holdings.time_ms),
                orders=[self._order(shard, order) for order in account.orders.values()],
                fills=[self._fill(shard, fill) for fill in fills],
                fills_complete=complete,
                positions=[self._position(shard, account, contract) for contract in sorted(held)],
                balance=_balance(account),
            )
        )

    def _symbol(self, shard: int, contract: int) -> str:
        return format_symbol(self._markets[shard].classes[class_no_of(contract)].class_id, hour_of(contract))

    def _order(self, shard: int, order: Order) -> feeds.OrderLine:
        return feeds.OrderLine(
            order_id=format_order(order.order),
            client_order_id=order.client_id,
            contract=self._symbol(shard, order.contract),
            side=SIDES[order.side],
            price=price_text(order.price),
            tif=TIFS[order.tif],
            state="open" if order.leaves else "cancelled" if order.reason else "filled",
            reason=Reason(order.reason).name.lower() if order.reason else "",
            leaves=order.leaves,
            filled=order.filled,
            cancelled=order.cancelled,
            hours=order.hours or 1,
            qty_min=order.qty_min,
            post_only=bool(order.flags & Flag.POST_ONLY),
            running=bool(order.flags & Flag.RUNNING),
        )

    def _fill(self, shard: int, fill: Fill) -> feeds.FillLine:
        event, buying = fill.event, fill.buying
        taking = (event.taker_side == Side.BUY) == buying
        order = event.taker_order if taking else event.maker_order
        return feeds.FillLine(
            trade=f"{shard}-{event.trade}",
            contract=self._symbol(shard, event.contract),
            order_id=format_order(order) if order else "",
            side="buy" if buying else "sell",
            role="taker" if taking else "maker",
            qty=event.qty,
            price=price_text(event.price),
            minutes=event.minutes,
            notional=format_usd(event.notional),
            fee=format_usd(_fee(event, buying=buying)),
            counterparty=self.desks.counterparty(event.seller if buying else event.buyer),
            at=iso(fill.time_ms),
        )

    def _position(self, shard: int, account: Account, contract: int) -> feeds.PositionLine:
        position = account.positions.get(contract)
        held, owed, running_held, running_owed = position.counts() if position else (0, 0, 0, 0)
        return feeds.PositionLine(
            contract=self._symbol(shard, contract),
            held=held,
            owed=owed,
            running_held=running_held,
            running_owed=running_owed,
        )


def _fee(event: Filled, *, buying: bool) -> int:
    return event.buyer_fee if buying else event.seller_fee


def _balance(account: Account) -> feeds.BalanceLine:
    return feeds.BalanceLine(
        balance=format_usd(account.balance),
        holds=format_usd(account.holds),
        collateral=format_usd(account.collateral),
        available=format_usd(account.balance - account.holds - account.collateral),
    )
