"""What a market says: each event as a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from schemas import events as ev
from schemas.commands import Ground, Side, State
from schemas.events import Code, Event, Reason
from schemas.ids import hour_of
from schemas.units import format_usd
from tests.matching.drawing import of_the_clock

if TYPE_CHECKING:
    from tests.matching.market import Market

GROUNDS: Final = {int(ground): ground.name.lower() for ground in Ground}
_MONEY: Final = {
    Code.INSUFFICIENT_FUNDS, Code.OUTSIDE_COLLAR, Code.WRONG_PRICE, Code.WRONG_COLLATERAL, Code.WRONG_REFERENCE,
}  # fmt: skip
"""Codes whose numbers are µUSD."""
_TIMES: Final = {Code.TOO_SOON}
_TWO_NUMBERS: Final = {Code.INSUFFICIENT_FUNDS, Code.INSUFFICIENT_BACKING, Code.CANNOT_FILL}
_MOMENTS: Final = {
    "ContractListed": "listed",
    "GateClosed": "gate closed",
    "RunningClosed": "running closed",
    "HourEnded": "ended",
}


def sentence_of(market: Market, event: Event) -> str:
    """An event in words."""
    words = _of_new_kinds(market, event) or _of_members(market, event) or _of_the_shard(market, event)
    return " ".join(filter(None, words)) or type(event).__name__


def numbers(event: ev.Rejected | ev.OutboxRejected | ev.LegOutcome) -> str:
    """What was needed, and what there was."""
    if not event.need and not event.have:
        return ""
    told = format_usd if event.code in _MONEY else of_the_clock if event.code in _TIMES else str
    has = f", has {told(event.have)}" if event.have or event.code in _TWO_NUMBERS else ""
    return f"(needs {told(event.need)}{has})"


def _of_members(market: Market, event: Event) -> list[str]:
    match event:
        case ev.Rejected() | ev.OutboxRejected():
            return [market.name(event.account), "is refused:", Code(event.code).name.lower(), numbers(event)]
        case ev.OrderAccepted():
            verb = "bids" if event.side == Side.BUY else "offers"
            until = f"until {of_the_clock(event.expires_ms)}" if event.expires_ms else ""
            return [market.name(event.account), verb, str(event.qty), "at", format_usd(event.price), until]
        case ev.OrderRepeated():
            return [market.name(event.account), "repeats", event.client_id]
        case ev.CancelAccepted():
            return [market.name(event.account), "cancels"]
        case ev.OrderCancelled():
            return [market.name(event.account), f"loses {event.qty} of an order:", Reason(event.reason).name.lower()]
        case ev.Filled():
            return [
                market.name(event.buyer), f"buys {event.qty} from", market.name(event.seller), "at",
                format_usd(event.price), "" if event.minutes == 60 else f"for {event.minutes} minutes",
            ]  # fmt: skip
        case ev.BackingSet():
            verb = {1: "declares", 2: "promises", 3: "readies"}[event.ground]
            short = f"and is short of {event.short}" if event.short else ""
            return [market.name(event.account), verb, str(event.qty), "" if event.changed else "again", short]
        case ev.Credited():
            return [market.name(event.account), "is given", format_usd(event.amount)]
        case ev.Swept():
            return [market.name(event.account), "gives back", format_usd(event.amount)]
    return []


def _of_the_shard(market: Market, event: Event) -> list[str]:
    match event:
        case ev.TitleCovered():
            piece = f"as a piece of title {event.source}" if event.source != event.title else ""
            return [f"title {event.title} of {event.qty} is covered", piece]
        case ev.ContractListed() | ev.GateClosed() | ev.RunningClosed() | ev.HourEnded():
            return [f"hour {hour_of(event.contract) - market.hour:+}: {_MOMENTS[type(event).__name__]}"]
        case ev.TitleEnded():
            who = (market.name(event.obligor), "owes", str(event.qty), "to", market.name(event.holder))
            return [f"title {event.title} ends:", *who]
        case ev.CollateralMoved():
            return [market.name(event.account), "leaves", format_usd(event.amount), "of collateral"]
        case ev.StateSet():
            return ["the hour" if event.hour else "the class", "is", State(event.state).name.lower()]
        case ev.StateReached():
            where = f"hour {event.hour - market.hour:+}" if event.hour else "the class"
            return [f"{where}: {State(event.state).name.lower()}"]
        case ev.Ticked():
            return ["a tick"]
        case ev.OutboxSkipped():
            return [f"message {event.outbox} is passed over: {event.expected} is the next"]
    return []


def _of_new_kinds(market: Market, event: Event) -> list[str]:
    """Ranges, blocks, quotes, amends; deadlines and what stands beside trading."""
    match event:
        case ev.RangeAccepted():
            verb = "bids" if event.side == Side.BUY else "offers"
            legs = ", ".join(_legs(market, event))
            return [market.name(event.account), verb, str(event.qty), "at", format_usd(event.price), f"in {legs}"]
        case ev.BlockAccepted():
            verb = "bids" if event.side == Side.BUY else "offers"
            return [
                market.name(event.account), verb, f"a block of {event.qty} for {event.hours} hours from",
                f"{event.first_hour - market.hour:+} at {format_usd(event.price)}",
                f"until {of_the_clock(event.expires_ms)}" if event.expires_ms else "",
            ]  # fmt: skip
        case ev.BlockFilled():
            average = f"for {format_usd(event.average_price_num)} in all"
            left = f"and {event.leaves} are left" if event.leaves else ""
            return [market.name(event.account), f"has {event.qty} in each hour", average, left]
        case ev.QuotesPut():
            return [market.name(event.account), f"quotes #{event.number}:", "; ".join(_quotes(market, event))]
        case ev.OrderAmended():
            place = "in its place" if event.kept_place else ""
            return [market.name(event.account), f"amends to {event.qty} at {format_usd(event.price)}", place]
        case ev.MassCancelAccepted():
            return [market.name(event.account), f"cancels all {event.count}"]
        case ev.CancelAllAfterSet():
            at = f"goes off at {of_the_clock(event.at_ms)}" if event.at_ms else "is off"
            return [f"{market.name(event.account)}'s switch {at}"]
        case ev.DeadManFired():
            return [f"{market.name(event.account)}'s switch goes off"]
        case ev.ReferenceMoved():
            what = "the hour" if event.hour else "the class"
            collar = f"{format_usd(event.low)} to {format_usd(event.high)}"
            return [f"the reference of {what} is {format_usd(event.price)}: {collar}"]
        case ev.CashCorrected():
            return [market.name(event.payer), "pays", market.name(event.payee), format_usd(event.amount), "back"]
        case ev.BackingCut():
            return [market.name(event.account), f"has {event.qty} {GROUNDS[event.ground]} less"]
        case ev.BuyIn():
            return [f"bought in for {market.name(event.account)}: {event.qty} at {format_usd(event.limit)}"]
        case ev.BuyInFailed():
            return [market.name(event.account), f"still owes {event.qty}"]
        case ev.EngineVersionSet():
            return [f"the engine becomes version {event.version}"]
    return []


def _legs(market: Market, event: ev.RangeAccepted) -> Iterator[str]:
    for outcome in event.legs:
        hour = f"{event.hours[outcome.leg] - market.hour:+}"
        yield (
            hour if outcome.order else " ".join(filter(None, (hour, Code(outcome.code).name.lower(), numbers(outcome))))
        )


def _quotes(market: Market, event: ev.QuotesPut) -> Iterator[str]:
    for outcome in event.outcomes:
        hour = f"{outcome.hour - market.hour:+}"
        if outcome.code:
            assert (outcome.bid_order, outcome.ask_order, outcome.bid_qty, outcome.ask_qty) == (0, 0, 0, 0)
            yield f"{hour} {Code(outcome.code).name.lower()}"
            continue
        sides = []
        for verb, number, qty, price in (
            ("bids", outcome.bid_order, outcome.bid_qty, outcome.bid),
            ("asks", outcome.ask_order, outcome.ask_qty, outcome.ask),
        ):
            assert bool(number) == bool(qty) == bool(price)
            sides += [f"{verb} {qty} at {format_usd(price)}"] if number else []
        yield " ".join([hour, *(sides or ["nothing"])])
