"""Previews: what an order, a range or a block would do now. Nothing changes.

The book is market data's, whom it concerns is settlement's projections; both may be a moment old. A refusal is told only where it
is certain as far as they know, in the engine's own order of checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from schemas import feeds, http
from schemas.commands import Flag, Ground, PlaceBlock, PlaceOrder, PlaceRange, Side, State, Tif
from schemas.edge import iso_hour
from schemas.ids import contract_of, format_order, format_symbol, hour_of
from schemas.units import (
    MS_PER_HOUR,
    MS_PER_MINUTE,
    Gpus,
    Hour,
    Micros,
    Millis,
    Price,
    bid_hold,
    format_usd,
    notional,
    parse_usd,
)
from schemas.units import QTY_MAX as GPUS_MAX
from services.gateway import previewing
from services.gateway.auth import Caller
from services.gateway.blocks import Blocks
from services.gateway.classes import Classes, bid_rate, collar
from services.gateway.database import Row
from services.gateway.delivery import DeliveryRoom
from services.gateway.errors import ApiError
from services.gateway.market import MarketData
from services.gateway.orders import Orders
from services.gateway.previewing import BlockPlan, Cost, Levels, RestingBlock
from services.gateway.progress import Progress
from services.gateway.ranges import Ranges
from services.gateway.reads import Reads, average
from services.gateway.shards import Shards
from services.gateway.telling import told

_FORWARD: Final = (int(Ground.DECLARED), int(Ground.PROMISED))
_BASIS: Final = (
    "neighbouring hours in which the same quantities are taken at the same prices count as one seller's; "
    "books do not say whose they are, and what you hold already is not counted"
)


class Purse(NamedTuple):
    """An account's money, as settled."""

    available: Micros
    wallet: Micros


class _Wanted(NamedTuple):
    """An order of one hour, wherever it comes from."""

    side: Side
    qty: Gpus
    price: Price
    tif: Tif
    flags: int
    expires_ms: Millis


class Previews:
    """Use cases that only ask."""

    def __init__(
        self,
        shards: Shards,
        classes: Classes,
        reads: Reads,
        progress: Progress,
        market_data: MarketData,
        orders: Orders,
        ranges: Ranges,
        blocks: Blocks,
        delivery: DeliveryRoom,
    ) -> None:
        self._shards = shards
        self._classes = classes
        self._reads = reads
        self._progress = progress
        self._market_data = market_data
        self._orders = orders
        self._ranges = ranges
        self._blocks = blocks
        self._delivery = delivery

    async def order(self, caller: Caller, body: http.OrderRequest) -> http.PreviewAnswer:
        """Raises ApiError."""
        of_class, command = await self._orders.read(caller, body)
        await self._progress.wait_for(caller.account)
        hour = hour_of(command.contract)
        ((leg, need),) = await self._hours(caller, of_class, (hour,), _wanted(command))
        if command.side == Side.BUY and need:
            funds, short = _funds(need, await self._purse(caller, of_class))
            leg = msgspec.structs.replace(leg, funds=funds, refusal=leg.refusal or short)
        known = await self._reads.known(caller.account, body.client_order_id)
        if known is not None:
            note = f"client order id {body.client_order_id} stands for {format_order(known.row['order_id'])} already"
            leg = msgspec.structs.replace(leg, notes=(*leg.notes, note))
        return leg

    async def range(self, caller: Caller, body: http.RangeRequest) -> http.RangePreviewAnswer:
        """Raises ApiError."""
        of_class, command = await self._ranges.read(caller, body)
        await self._progress.wait_for(caller.account)
        purse = await self._purse(caller, of_class)
        wanted = _wanted(command)
        found = await self._hours(caller, of_class, command.hours, wanted)
        whole = [leg for leg, _ in found if leg.refusal is None]
        cash, fees = (sum(parse_usd(getattr(leg, name)) for leg in whole) for name in ("notional", "fee"))
        fills = sum(leg.fills for leg in whole)
        funds, refusal = None, None
        if wanted.side == Side.BUY:
            funds, refusal = _funds(sum(need for leg, need in found if leg.refusal is None), purse)
        return http.RangePreviewAnswer(
            class_id=of_class["class_id"],
            legs=tuple(leg for leg, _ in found),
            fills=fills,
            average=average(cash, fills) if all(leg.minutes == 60 for leg in whole) else "",
            notional=format_usd(cash),
            fee=format_usd(fees),
            total=format_usd(cash + fees if wanted.side == Side.BUY else cash - fees),
            worst=_worst({leg.contract: leg.average for leg in whole if leg.fills}, wanted.side),
            rests=sum(leg.rests for leg in whole),
            funds=funds,
            refusal=refusal,
        )

    async def _purse(self, caller: Caller, of_class: Row) -> Purse:
        trading = await self._reads.trading(caller.account, of_class["shard"])
        return Purse(trading.available, await self._reads.wallet(caller.account))

    async def _hours(
        self, caller: Caller, of_class: Row, hours: Iterable[Hour], wanted: _Wanted
    ) -> list[tuple[http.PreviewAnswer, Micros]]:
        """One preview per hour, and what its bid must find free: whether it is there is the caller's question."""
        hours = tuple(hours)
        rows = await self._reads.hours(of_class["class_no"], hours)
        symbols = {hour: format_symbol(of_class["class_id"], hour) for hour in hours}
        books = await self._market_data.books(symbols[hour] for hour in rows)
        free = await self._free(caller, of_class, rows, wanted.side)
        own = await self._reads.own_against(caller.account, [row["contract"] for row in rows.values()], wanted.side)
        previews = []
        for hour in hours:
            row = rows.get(hour)
            book = books.get(symbols[hour])
            if row is None or book is None:
                refused = told(ApiError("unknown_contract"))
                previews.append((http.PreviewAnswer(contract=symbols[hour], fills=0, refusal=refused), 0))
                continue
            levels = _opposite(book, wanted.side)
            preview, need = self._hour(of_class, row, levels, wanted, free.get(row["contract"]))
            limits = [
                price for price in own.get(row["contract"], ()) if previewing.meets(wanted.side, wanted.price, price)
            ]
            notes = (
                ("orders of yours stand in the way: self_trade says which of the two is cancelled",) if limits else ()
            )
            previews.append((msgspec.structs.replace(preview, contract=symbols[hour], notes=notes), need))
        return previews

    async def _free(self, caller: Caller, of_class: Row, rows: Mapping[Hour, Row], side: Side) -> dict[int, Gpus]:
        """What may be offered, by contract; of bids nothing is asked."""
        if side == Side.BUY:
            return {}
        free = dict[int, Gpus]()
        for phase, grounds in (("forward", _FORWARD), ("running", (int(Ground.READY),))):
            contracts = [contract_of(of_class["class_no"], hour) for hour, row in rows.items() if row["phase"] == phase]
            free |= await self._reads.free(caller.account, contracts, grounds)
        return free

    def _hour(
        self, of_class: Row, row: Row, levels: Levels, wanted: _Wanted, free: Gpus | None
    ) -> tuple[http.PreviewAnswer, Micros]:
        buying, running = wanted.side == Side.BUY, row["phase"] == "running"
        lot, rate = of_class["lot"], of_class["buyer_taker" if buying else "seller_taker"]
        rate_max = bid_rate(of_class)
        minutes = self._minutes(row["hour"]) if running else 60
        made = previewing.cost(previewing.take(levels, wanted.side, wanted.price, wanted.qty), rate, minutes)
        rests = wanted.qty - made.qty if wanted.tif in (Tif.GTC, Tif.GTD) else 0
        need, hold = 0, 0
        if buying and running:
            need = previewing.running_need(wanted.price, wanted.qty, lot, rate_max, minutes)
        elif buying:
            need, hold = (bid_hold(wanted.price, qty, lot, rate_max) for qty in (wanted.qty, rests))
        preview = http.PreviewAnswer(
            contract="",
            fills=made.qty,
            levels=tuple(
                http.LevelPreview(price=format_usd(price), qty=qty, notional=format_usd(notional(price, qty, minutes)))
                for price, qty in made.levels
            ),
            average=average(sum(price * qty for price, qty in made.levels), made.qty),
            minutes=minutes,
            notional=format_usd(made.cash),
            fee=format_usd(made.fee),
            total=format_usd(made.total(wanted.side)),
            rests=rests,
            hold=format_usd(hold),
            refusal=self._refusal(of_class, row, wanted, levels, made, free),
        )
        return preview, need

    def _minutes(self, hour: Hour) -> int:
        return max(0, min(60, ((hour + 1) * MS_PER_HOUR - self._shards.now_ms()) // MS_PER_MINUTE))

    def _refusal(
        self, of_class: Row, row: Row, wanted: _Wanted, levels: Levels, made: Cost, free: Gpus | None
    ) -> http.RefusalAnswer | None:
        """In the order in which the engine looks, money left out."""
        phase, state = row["phase"], max(of_class["state"], row["state"])
        buying, stays = wanted.side == Side.BUY, wanted.tif in (Tif.GTC, Tif.GTD)
        lot, tick, (low, high) = of_class["lot"], of_class["tick"], collar(of_class, row)
        post_only = bool(wanted.flags & Flag.POST_ONLY) or state == State.POST_ONLY
        at_once = bool(levels) and previewing.meets(wanted.side, wanted.price, levels[0][0])
        checks = (
            (phase not in ("forward", "running"), ApiError("wrong_phase", need=row["hour"])),
            (state >= State.CANCEL_ONLY, ApiError("halted")),
            (wanted.tif == Tif.GTD and wanted.expires_ms <= self._shards.now_ms(), ApiError("wrong_expiry")),
            (state == State.POST_ONLY and not stays, ApiError("wrong_tif")),
            (phase == "running" and buying and stays, ApiError("wrong_tif")),
            (bool(wanted.flags & Flag.POST_ONLY) and not stays, ApiError("wrong_flags")),
            (bool(wanted.flags & Flag.RUNNING) and (buying or not stays), ApiError("wrong_flags")),
            (wanted.qty > GPUS_MAX or bool(wanted.qty % lot), ApiError("wrong_qty", need=lot)),
            (wanted.price == 0 or bool(wanted.price % tick), ApiError("wrong_price", need=tick)),
            (wanted.price < low, ApiError("outside_collar", need=low)),
            (wanted.price > high, ApiError("outside_collar", need=high)),
            (
                not buying and free is not None and wanted.qty > free,
                ApiError("insufficient_backing", need=wanted.qty, have=free or 0),
            ),
            (post_only and at_once, ApiError("would_trade")),
            (wanted.tif == Tif.FOK and made.qty < wanted.qty, ApiError("cannot_fill", need=wanted.qty, have=made.qty)),
        )
        return next((told(refusal) for wrong, refusal in checks if wrong), None)

    # --- Blocks ----------------------------------------------------------------------------------------

    async def block(self, caller: Caller, body: http.BlockRequest) -> http.BlockPreviewAnswer:
        """Raises ApiError."""
        of_class = await self._classes.get(body.class_id)
        command = self._blocks.command(caller, of_class, body)
        await self._progress.wait_for(caller.account)
        purse = await self._purse(caller, of_class)
        hours = range(command.first_hour, command.first_hour + command.hours)
        rows = await self._reads.hours(of_class["class_no"], hours)
        missing = next((hour for hour in hours if hour not in rows), 0)
        if missing:
            return self._no_block(command, of_class, told(ApiError("unknown_contract", need=missing)))
        symbols = [format_symbol(of_class["class_id"], hour) for hour in hours]
        side = Side(command.side)
        books = await self._market_data.books(symbols)
        levels = [_opposite(books[symbol], side) for symbol in symbols]
        shown = await self._market_data.read(
            f"/v1/classes/{quote(of_class['class_id'], safe='')}/blocks", feeds.BlockBook
        )
        states = {max(of_class["state"], row["state"]) for row in rows.values()}
        plan = BlockPlan(0, ())
        if states == {int(State.OPEN)}:
            plan = previewing.plan(
                levels, _same_hours(shown, command), side, command.price, command.qty, command.qty_min, of_class["lot"]
            )
        free = await self._free(caller, of_class, rows, side)
        refusal = self._block_refusal(of_class, rows, command, plan, free)
        preview = self._block(of_class, command, symbols, levels, plan, purse, refusal)
        if side == Side.SELL or not plan.total:
            return preview
        handovers = await self._handovers(caller, of_class, command, levels, plan)
        return msgspec.structs.replace(preview, handovers=handovers)

    async def _handovers(
        self, caller: Caller, of_class: Row, command: PlaceBlock, levels: Iterable[Levels], plan: BlockPlan
    ) -> http.HandoversPreview:
        """What delivery foresees; else an estimate. It knows whose asks are in the hours' books, and nothing of blocks."""
        if not plan.from_blocks:
            hours = [(command.first_hour + nth, plan.total) for nth in range(command.hours)]
            foreseen = await self._delivery.handovers(caller.account, of_class["class_id"], hours)
            if foreseen is not None:
                return foreseen
        taken = [(*previewing.first(book, plan.from_hours), *plan.from_blocks) for book in levels]
        likely = previewing.likely_handovers(taken)
        return http.HandoversPreview(least=0, most=command.hours - 1, likely=likely, basis=_BASIS)

    def _block(
        self,
        of_class: Row,
        command: PlaceBlock,
        symbols: list[str],
        levels: list[Levels],
        plan: BlockPlan,
        purse: Purse,
        refusal: http.RefusalAnswer | None,
    ) -> http.BlockPreviewAnswer:
        side, buying = Side(command.side), command.side == Side.BUY
        rate = of_class["buyer_taker" if buying else "seller_taker"]
        rate_max = bid_rate(of_class)
        by_hour = [
            previewing.cost((*previewing.first(book, plan.from_hours), *plan.from_blocks), rate) for book in levels
        ]
        cash, fees = sum(made.cash for made in by_hour), sum(made.fee for made in by_hour)
        rests = command.qty - plan.total if command.tif in (Tif.GTC, Tif.GTD) else 0
        funds, hold = None, 0
        if buying:
            need, hold = (
                bid_hold(command.price, qty * command.hours, of_class["lot"], rate_max) for qty in (command.qty, rests)
            )
            funds, short = _funds(need, purse)
            refusal = refusal or short
        averages = {symbol: average(made.cash, made.qty) for symbol, made in zip(symbols, by_hour, strict=True)}
        return http.BlockPreviewAnswer(
            class_id=of_class["class_id"],
            from_hour=iso_hour(command.first_hour),
            hours=command.hours,
            fills=plan.total,
            from_blocks=plan.total - plan.from_hours,
            average=average(cash, plan.total * command.hours),
            notional=format_usd(cash),
            fee=format_usd(fees),
            total=format_usd(cash + fees if buying else cash - fees),
            by_hour=tuple(
                http.BlockHour(
                    contract=symbol,
                    qty=made.qty,
                    average=averages[symbol],
                    notional=format_usd(made.cash),
                    fee=format_usd(made.fee),
                )
                for symbol, made in zip(symbols, by_hour, strict=True)
                if plan.total
            ),
            worst=_worst(averages, side) if plan.total else "",
            rests=rests,
            hold=format_usd(hold),
            funds=funds,
            refusal=refusal,
        )

    @staticmethod
    def _no_block(command: PlaceBlock, of_class: Row, refusal: http.RefusalAnswer) -> http.BlockPreviewAnswer:
        return http.BlockPreviewAnswer(
            class_id=of_class["class_id"],
            from_hour=iso_hour(command.first_hour),
            hours=command.hours,
            fills=0,
            refusal=refusal,
        )

    def _block_refusal(
        self, of_class: Row, rows: Mapping[Hour, Row], command: PlaceBlock, plan: BlockPlan, free: Mapping[int, Gpus]
    ) -> http.RefusalAnswer | None:
        lot, tick = of_class["lot"], of_class["tick"]
        state = max(of_class["state"], *(row["state"] for row in rows.values()))
        stays = command.tif in (Tif.GTC, Tif.GTD)
        closed = next((hour for hour in sorted(rows) if rows[hour]["phase"] != "forward"), 0)
        low, high = (sum(collar(of_class, row)[end] for row in rows.values()) for end in (0, 1))
        limit = command.price * command.hours
        least = min(free.values(), default=command.qty)
        checks = (
            (bool(closed), ApiError("wrong_phase", need=closed)),
            (state >= State.CANCEL_ONLY, ApiError("halted")),
            (command.tif == Tif.GTD and command.expires_ms <= self._shards.now_ms(), ApiError("wrong_expiry")),
            (state == State.POST_ONLY and not stays, ApiError("wrong_tif")),
            (command.qty > GPUS_MAX or bool(command.qty % lot), ApiError("wrong_qty", need=lot)),
            (command.qty_min > command.qty or bool(command.qty_min % lot), ApiError("wrong_qty", need=lot)),
            (command.tif == Tif.FOK and command.qty_min != command.qty, ApiError("wrong_qty", need=lot)),
            (command.price == 0 or bool(command.price % tick), ApiError("wrong_price", need=tick)),
            (limit < low, ApiError("outside_collar", need=-(-low // command.hours))),
            (limit > high, ApiError("outside_collar", need=high // command.hours)),
            (
                command.side == Side.SELL and command.qty > least,
                ApiError("insufficient_backing", need=command.qty, have=least),
            ),
            (
                command.tif == Tif.FOK and plan.total < command.qty,
                ApiError("cannot_fill", need=command.qty, have=plan.total),
            ),
        )
        return next((told(refusal) for wrong, refusal in checks if wrong), None)


def _wanted(command: PlaceOrder | PlaceRange) -> _Wanted:
    return _Wanted(Side(command.side), command.qty, command.price, Tif(command.tif), command.flags, command.expires_ms)


def _opposite(book: feeds.MarketBook, side: Side) -> Levels:
    return [(parse_usd(price), qty) for price, qty in (book.asks if side == Side.BUY else book.bids)]


def _same_hours(shown: feeds.BlockBook, command: PlaceBlock) -> list[RestingBlock]:
    """Resting blocks of the other side, of these very hours."""
    other = "sell" if command.side == Side.BUY else "buy"
    where = (iso_hour(command.first_hour), command.hours, other)
    return [
        RestingBlock(parse_usd(line.price), line.qty, line.qty_min)
        for line in shown.blocks
        if (line.first_hour, line.hours, line.side) == where
    ]


def _funds(need: Micros, purse: Purse) -> tuple[http.FundsPreview, http.RefusalAnswer | None]:
    missing = max(0, need - purse.available)
    funds = http.FundsPreview(
        needs=format_usd(need),
        available=format_usd(purse.available),
        wallet=format_usd(purse.wallet),
        transfer=format_usd(min(missing, purse.wallet)),
    )
    if missing <= purse.wallet:
        return funds, None
    return funds, told(ApiError("insufficient_funds", need=need, have=purse.available + purse.wallet))


def _worst(averages: Mapping[str, str], side: Side) -> str:
    """Dearest for a buyer, cheapest for a seller; the first of several."""
    if not averages:
        return ""
    sign = 1 if side == Side.BUY else -1
    return max(averages, key=lambda symbol: parse_usd(averages[symbol]) * sign)
