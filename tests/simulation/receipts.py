"""S2, O2, O3 from outside: what members were told against what the log and settlement's tables have."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from schemas import events as ev
from schemas import http
from schemas.commands import Tif
from schemas.delivery import Delivered
from schemas.edge import iso, iso_hour, iso_or_none
from schemas.ids import LEGS_MAX, class_no_of, contract_of, format_symbol, hour_of, parse_order, parse_symbol
from schemas.units import parse_usd
from services.audit.books import CLIENT_ID_WINDOW_MS
from services.gateway.times import parse_hour
from services.gateway.values import flags_of, moment, side_of
from tests.simulation.heard import Accepted, Heard
from tests.simulation.members import Order

if TYPE_CHECKING:
    from tests.simulation.exchange import Exchange

Expect = Callable[[str, bool, str], None]
"""(invariant, whether it holds, what is wrong)."""


def check_receipts(exchange: Exchange, heard: Heard, expect: Expect) -> None:
    """Everything that anybody was told."""
    told = exchange.receipts
    _Orders(heard, expect).check(told.orders)
    _Others(heard, expect).check(exchange)
    _check_requests(exchange, heard, expect)
    expect("S2", not told.unseen, f"reads that showed the past: {told.unseen[:3]}")


class _Orders:
    """Orders, ranges and blocks: what was acknowledged is there, as it was acknowledged; what was refused is not."""

    def __init__(self, heard: Heard, expect: Expect) -> None:
        self._heard = heard
        self._expect = expect

    def check(self, orders: Sequence[Order]) -> None:
        placed: defaultdict[tuple[int, str], list[Accepted]] = defaultdict(list)
        for event in self._heard.accepted.values():
            if event.client_id:
                placed[event.account, event.client_id].append(event)
        for order in orders:
            self._one_order(order)
            for answer in order.answers:
                match answer:
                    case http.OrderAnswer():
                        self._order(order.account, answer)
                    case http.BlockAnswer():
                        self._block(order.account, answer)
                    case http.RangeAnswer():
                        self._range(order, answer)
            if order.refusals and not order.answers and not order.doubts and order.body.client_order_id:
                known = placed[order.account, order.body.client_order_id]
                mine = [event.order for event in known if _is(event, order.body)]
                self._expect("S2", not mine, f"{order.body.client_order_id} was refused ({order.refusals}) and is in")

    def _one_order(self, order: Order) -> None:
        """A client order id stands for one order for as long as the engine promises it, counted in market time."""
        firsts = {_first(answer) for answer in order.answers} - {0}
        times = sorted(self._heard.accepted[number].time_ms for number in firsts if number in self._heard.accepted)
        free = all(later - earlier >= CLIENT_ID_WINDOW_MS for earlier, later in itertools.pairwise(times))
        self._expect("O2", free, f"{order.body.client_order_id} was acknowledged as {sorted(firsts)}")
        self._heard.happened["client order id used again after its window"] += len(firsts) > 1

    def _found(self, account: int, order: str) -> Accepted | None:
        event = self._heard.accepted.get(parse_order(order))
        if event is None or event.account != account:
            self._expect("S2", False, f"order {order} was acknowledged to {account}, and is {event}")
            return None
        return event

    def _order(self, account: int, answer: http.OrderAnswer, *, repeated: bool = False) -> None:
        event = self._found(account, answer.order_id)
        if event is None:
            return
        expiry = iso_or_none(event.expires_ms)
        said = (answer.client_order_id, answer.expires)
        self._expect("S2", said == (event.client_id, expiry), f"{answer} is {event}")
        self._expect("S2", answer.filled + answer.cancelled + answer.leaves == answer.qty, f"{answer}")
        if repeated or answer.repeated:
            return  # as it stands now, amended perhaps
        terms = (answer.qty, parse_usd(answer.price))
        self._expect("S2", terms == (event.qty, event.price), f"{answer} is {event}")
        fills = self._heard.fills[event.order, event.place]
        self._fills(f"order {answer.order_id}", answer.fills, fills, buying=event.side == 1)
        whole = answer.filled == sum(fill.qty for fill in fills)
        self._expect("S2", whole, f"{answer}")

    def _block(self, account: int, answer: http.BlockAnswer) -> None:
        event = self._found(account, answer.block_id)
        if event is None:
            return
        where = (answer.class_id, answer.from_hour, answer.hours)
        due = (f"SIM.{class_no_of(event.contract)}", iso_hour(hour_of(event.contract)), event.hours)
        said = (answer.client_order_id, answer.qty, answer.min_qty, parse_usd(answer.price), answer.expires)
        terms = (event.client_id, event.qty, event.qty_min, event.price, iso_or_none(event.expires_ms))
        self._expect("S2", where == due and said == terms, f"{answer} is {event}")
        self._expect("S2", answer.filled + answer.cancelled + answer.leaves == answer.qty, f"{answer}")
        if answer.repeated:
            return
        trades = self._heard.traded[event.order, event.place]
        whole = answer.filled == sum(trade.qty for trade in trades)
        self._expect("S2", whole, f"{answer}: the log has {trades}")
        fills = self._heard.fills[event.order, event.place]
        self._fills(f"block {answer.block_id}", answer.fills, fills, buying=event.side == 1)

    def _range(self, order: Order, answer: http.RangeAnswer) -> None:
        """Each leg as an order of its own; refused ones for the log's reason."""
        assert isinstance(order.body, http.RangeRequest)
        for leg in answer.legs:
            if leg.order is not None:
                self._order(order.account, leg.order, repeated=answer.repeated)
                fits = leg.contract == leg.order.contract
                self._expect("S2", fits, f"{leg}")
        event = self._heard.ranges.get(_first(answer))
        if answer.repeated or event is None:
            accepted = [leg for leg in answer.legs if leg.order is not None]
            self._expect("S2", answer.repeated or not accepted, f"{answer} was acknowledged, and is not in the log")
            return
        hours = [parse_symbol(leg.contract)[1] for leg in answer.legs]
        codes = [leg.refusal.code if leg.refusal is not None else "" for leg in answer.legs]
        due = [ev.Code(leg.code).name.lower() if leg.code else "" for leg in event.legs]
        self._expect("S2", (hours, codes) == (list(event.hours), due), f"{answer} is {event}")

    def _fills(self, what: str, said: Sequence[http.FillAnswer], fills: list[ev.Filled], *, buying: bool) -> None:
        due = [
            (
                fill.trade,
                fill.qty,
                fill.price,
                fill.minutes,
                fill.notional,
                fill.buyer_fee if buying else fill.seller_fee,
            )
            for fill in fills
        ]
        told = [
            (int(f.trade.split("-")[1]), f.qty, parse_usd(f.price), f.minutes, parse_usd(f.notional), parse_usd(f.fee))
            for f in said
        ]
        self._expect("S2", told == due, f"{what}: acknowledged fills {told}, the log has {due}")


def _first(answer: http.OrderAnswer | http.RangeAnswer | http.BlockAnswer) -> int:
    """The order by which an answer is known; of a range its first accepted leg; 0: there is none."""
    match answer:
        case http.OrderAnswer(order_id=order):
            return parse_order(order)
        case http.BlockAnswer(block_id=order):
            return parse_order(order)
    return next((parse_order(leg.order.order_id) for leg in answer.legs if leg.order is not None), 0)


def _is(event: Accepted, body: http.OrderRequest | http.RangeRequest | http.BlockRequest) -> bool:
    """Whether this is what was asked for."""
    said = (event.side, event.qty, event.price, Tif(event.tif).name.lower(), event.expires_ms)
    if said != (side_of(body.side), body.qty, parse_usd(body.price), body.tif, moment(body.expires)):
        return False
    class_id, hour = f"SIM.{class_no_of(event.contract)}", hour_of(event.contract)
    if isinstance(body, http.BlockRequest):
        asked = (body.class_id, parse_hour(body.from_hour), body.hours, body.min_qty or body.qty)
        return (class_id, hour, event.hours, event.qty_min) == asked
    if event.flags != flags_of(post_only=body.post_only, running=body.running, self_trade=body.self_trade):
        return False
    if isinstance(body, http.OrderRequest):
        return body.contract == format_symbol(class_id, hour)
    return body.class_id == class_id and hour in [parse_hour(each) for each in body.hours]


class _Others:
    """What has no client order id."""

    def __init__(self, heard: Heard, expect: Expect) -> None:
        self._heard = heard
        self._expect = expect

    def check(self, exchange: Exchange) -> None:
        told, heard, expect = exchange.receipts, self._heard, self._expect
        legs: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for number, event in heard.asked.items():
            legs[number // LEGS_MAX].append((event.account, event.qty))
        for account, cancel in told.cancels:
            # By the client id of a range the answer names its first leg, whichever of them rested.
            of_command = legs[parse_order(cancel.order_id) // LEGS_MAX]
            there = (account, cancel.cancelled) in of_command
            expect("S2", there, f"cancel of {cancel.order_id} was acknowledged as {cancel}, and is {of_command}")
        for account, amend in told.amends:
            self._amend(account, amend)
        for account, quotes in told.quotes:
            self._quotes(account, quotes)
        for account, switch in told.switches:
            set_at = {iso_or_none(at_ms) for at_ms in heard.switches[account]}
            expect(
                "S2", switch.at in set_at, f"switch of {account} was acknowledged for {switch.at}, set were {set_at}"
            )
        for account, mass in told.mass_cancels:
            most = heard.mass_cancelled[account]
            expect("S2", mass.cancelled <= most, f"{mass} of {account}; of all its orders {most} went so")
        for corrected in told.corrections:
            there = [(event.trade, event.amount, iso(time_ms)) for event, time_ms in heard.corrected[corrected.reason]]
            due = (int(corrected.trade.split("-")[1]), parse_usd(corrected.amount), corrected.at)
            expect("S2", there == [due], f"{corrected} is {there}")
        for reason, events in heard.corrected.items():
            expect("O3", len(events) == 1, f"{reason!r} was carried out {len(events)} times")

    def _amend(self, account: int, answer: http.AmendAnswer) -> None:
        """One of the order's amends is this one, with these fills."""
        number = parse_order(answer.order_id)
        told = [(int(fill.trade.split("-")[1]), fill.qty, parse_usd(fill.price)) for fill in answer.fills]
        said = (account, answer.qty, parse_usd(answer.price), answer.kept_place, told)
        found = [
            (
                event.account,
                event.qty,
                event.price,
                event.kept_place,
                [(fill.trade, fill.qty, fill.price) for fill in self._heard.fills[number, place]],
            )
            for event, place in self._heard.amended[number]
        ]
        self._expect("S2", said in found, f"{answer} is {found}")

    def _quotes(self, account: int, answer: http.QuotesAnswer) -> None:
        """Each hour as one of the account's quotes commands has it; the gateway may have sent two for one request."""
        class_no = int(answer.class_id.rsplit(".", 1)[1])
        said = [event for event in self._heard.quotes[account] if event.class_no == class_no]
        self._expect("S2", answer.number in {event.number for event in said}, f"{answer} is not in the log")
        there = {
            (contract_of(class_no, one.hour), one.bid_order, one.bid_qty, one.ask_order, one.ask_qty)
            for event in said
            for one in event.outcomes
        }
        for outcome in answer.outcomes:
            orders = [parse_order(order) if order else 0 for order in (outcome.bid_order, outcome.ask_order)]
            contract = contract_of(class_no, parse_hour(outcome.hour))
            told = (contract, orders[0], outcome.bid_qty, orders[1], outcome.ask_qty)
            self._expect("S2", told in there, f"{outcome} of {account} is not in the log")


def _check_requests(exchange: Exchange, heard: Heard, expect: Expect) -> None:
    """What was said to be done or refused stands so in settlement's tables; what was written for it is confirmed."""
    database = exchange.database
    unconfirmed = {row["request_id"] for row in database.rows("outbox") if not row["confirmed"]}
    for told in exchange.receipts.requests:
        name = told.request.request_id
        row = database.row("requests", name)
        expect("L1", told.state in ("done", "refused"), f"request {name} was told {told.state!r} only")
        fate = (told.state, told.code, told.outcome)
        expect("S2", row is not None and (row["state"], row["code"], row["outcome"]) == fate, f"{told} is {row}")
        expect("S2", name not in unconfirmed, f"{told} waits for a shard")
        heard.happened[f"request {told.state}"] += 1
        heard.happened[f"{type(told.request).__name__} {told.state}"] += 1
    written = {msgspec.msgpack.decode(record.value, type=Delivered).record_id for record in exchange.delivery.records}
    gone = [record_id for record_id in exchange.receipts.deliveries if record_id not in written]
    expect("S2", not gone, f"acknowledged delivery records are gone: {gone[:3]}")
    heard.happened["money fetched for a bid"] += sum(
        ":auto-" in row["request_id"] and row["state"] == "done" for row in database.rows("requests")
    )
    for row in database.rows("payouts"):
        heard.happened[f"payout {row['state']}"] += 1
    for row in database.rows("deliveries"):
        part = {0: "in full", 60: "not at all"}.get(row["undelivered"], "in part")
        heard.happened[f"delivery {row['state']}, {part}"] += bool(row["title"])
