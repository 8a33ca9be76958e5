"""A member's orders: buy and sell in one hour or many, preview, amend, cancel, quote."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, Literal, NoReturn

import click
import msgspec

from schemas import http
from schemas.ids import format_symbol, parse_symbol
from schemas.units import format_usd, parse_usd
from services.cli import output, times
from services.cli.context import Context, pass_context
from services.cli.errors import CliError, Refused, Unknown, Unusable
from services.cli.foretold import say_block_preview, say_preview, say_range_preview
from services.cli.hours import (
    CLASS,
    Span,
    contract_of,
    contracts,
    hour_option,
    running_contract,
    shown_span,
    span_of,
    span_options,
    when,
)

RANDOM: Final = "cli-"
"""How an order id begins that nobody has chosen."""
Side = Literal["buy", "sell"]


class Wanted(msgspec.Struct, frozen=True):
    """The words of `buy` and `sell`."""

    side: Side
    qty: int
    class_id: str
    price: str
    hour: str | None
    now: bool
    first: str | None
    count: int | None
    block: bool
    min_qty: int
    tif: http.TifName | None
    until: str | None
    post_only: bool
    client_id: str | None
    preview: bool
    running: bool = False

    @property
    def lives(self) -> http.TifName:
        """Time in force: a date means gtd, the running hour is bought at once."""
        return self.tif or ("gtd" if self.until else "ioc" if self.now and self.side == "buy" else "gtc")

    @property
    def expires(self) -> str:
        """Raises Unusable."""
        if (self.lives == "gtd") != (self.until is not None):
            raise Unusable("--until says when an order ends; it goes with no --tif, or with --tif gtd")
        return times.moment(self.until, datetime.now().astimezone()) if self.until else ""


def _order_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.argument("qty", type=click.IntRange(min=1)),
            click.argument("class_id", metavar="CLASS|CONTRACT", type=CLASS),
            hour_option,
            click.option("--now", is_flag=True, help="The running hour: what is left of it, at once."),
            span_options,
            click.option("--block", is_flag=True, help="All of --hours or none, --price on average."),
            click.option(
                "--min",
                "min_qty",
                type=click.IntRange(min=1),
                default=None,
                help="With --block: less than QTY will do.",
            ),
            click.option("--price", required=True, help="USD per GPU-hour, e.g. 2.49."),
            click.option(
                "--tif", type=click.Choice(["gtc", "gtd", "ioc", "fok"]), help="Default: gtc; with --now ioc."
            ),
            click.option("--until", help="Cancel what is left then, local time: 'in 2 hours', 'tomorrow 18:30'."),
            click.option("--post-only", is_flag=True, help="Refuse rather than trade at once."),
            click.option("--preview", is_flag=True, help="Say what it would do now, and do nothing."),
            click.option(
                "--id", "client_id", help="Your own order id; the same again is harmless. Default: a random one."
            ),
        )
    ):
        command = option(command)
    return command


@click.command()
@_order_options
@pass_context
def buy(context: Context, /, **options: Any) -> None:  # noqa: ANN401 # click's, typed in Wanted
    """Buy QTY GPUs of one hour at --price or less.

    Of several hours with --hours and --for; all of them or none with --block.
    """
    _place(context, _wanted("buy", options))


@click.command()
@_order_options
@click.option(
    "--running", is_flag=True, help="Stay in the book while the hour runs, as far as machines are ready then."
)
@pass_context
def sell(context: Context, /, **options: Any) -> None:  # noqa: ANN401 # likewise
    """Sell QTY GPUs of one hour at --price or more.

    Hours that you hold, or capacity that you back (PUT /v1/capacity).
    """
    _place(context, _wanted("sell", options))


def _wanted(side: Side, options: dict[str, Any]) -> Wanted:
    wanted = Wanted(side=side, **{**options, "min_qty": options["min_qty"] or 0})
    if wanted.now and (wanted.hour or wanted.first):
        raise Unusable("--now is the running hour: leave --hour and --hours out")
    if wanted.first and wanted.hour:
        raise Unusable("say --hour for one hour, or --hours and --for for several")
    if (wanted.block or wanted.min_qty) and not (wanted.first and wanted.block):
        raise Unusable("a block is several hours: --block goes with --hours and --for, --min with --block")
    if wanted.block and (wanted.post_only or wanted.running):
        raise Unusable("a block knows neither --post-only nor --running")
    return wanted


def _place(context: Context, wanted: Wanted) -> None:
    span = span_of(wanted.first, wanted.count)
    if span is None:
        _place_order(context, wanted)
    elif wanted.class_id.endswith("-USD"):
        raise Unusable(f"{wanted.class_id} names one hour: with --hours name the class only")
    elif wanted.block:
        _place_block(context, wanted, span)
    else:
        _place_range(context, wanted, span)


def _own_id(wanted: Wanted) -> str:
    return wanted.client_id or f"{RANDOM}{uuid.uuid4().hex[:20]}"


def _place_order(context: Context, wanted: Wanted) -> None:
    find = running_contract(context, wanted.class_id) if wanted.now else None
    body = http.OrderRequest(
        contract=find or contract_of(context, wanted.class_id, wanted.hour),
        side=wanted.side,
        qty=wanted.qty,
        price=wanted.price,
        tif=wanted.lives,
        expires=wanted.expires,
        post_only=wanted.post_only,
        running=wanted.running,
        client_order_id=_own_id(wanted),
    )
    if wanted.preview:
        told = context.client().write("POST", "/v1/orders/preview", body, http.PreviewAnswer)
        context.show(told, lambda: say_preview(body, told))
        return
    try:
        order = context.client().write("POST", "/v1/orders", body, http.OrderAnswer)
    except Unknown as error:
        _ask_again(error, f"{wanted.side} {wanted.qty} {body.contract}", wanted, body.client_order_id)
    context.show(order, lambda: _say_order(order))


def _place_range(context: Context, wanted: Wanted, span: Span) -> None:
    body = http.RangeRequest(
        class_id=wanted.class_id,
        from_hour=times.iso(span.first),
        count=span.count,
        side=wanted.side,
        qty=wanted.qty,
        price=wanted.price,
        tif=wanted.lives,
        expires=wanted.expires,
        post_only=wanted.post_only,
        running=wanted.running,
        client_order_id=_own_id(wanted),
    )
    if wanted.preview:
        told = context.client().write("POST", "/v1/ranges/preview", body, http.RangePreviewAnswer)
        context.show(told, lambda: say_range_preview(body, span.first, told))
        return
    try:
        done = context.client().write("POST", "/v1/ranges", body, http.RangeAnswer)
    except Unknown as error:
        _ask_again(error, _many(wanted, span), wanted, body.client_order_id)
    context.show(done, lambda: _say_range(body, span, done))


def _place_block(context: Context, wanted: Wanted, span: Span) -> None:
    body = http.BlockRequest(
        class_id=wanted.class_id,
        from_hour=times.iso(span.first),
        hours=span.count,
        side=wanted.side,
        qty=wanted.qty,
        min_qty=wanted.min_qty,
        price=wanted.price,
        tif=wanted.lives,
        expires=wanted.expires,
        client_order_id=_own_id(wanted),
    )
    if wanted.preview:
        told = context.client().write("POST", "/v1/blocks/preview", body, http.BlockPreviewAnswer)
        context.show(told, lambda: say_block_preview(body, span.first, told))
        return
    try:
        done = context.client().write("POST", "/v1/blocks", body, http.BlockAnswer)
    except Unknown as error:
        words = f"{_many(wanted, span)} --block" + (f" --min {wanted.min_qty}" if wanted.min_qty else "")
        _ask_again(error, words, wanted, body.client_order_id)
    context.show(done, lambda: _say_block(context, span, done))


def _many(wanted: Wanted, span: Span) -> str:
    return f"{wanted.side} {wanted.qty} {wanted.class_id} --hours {times.iso(span.first)} --for {span.count}"


def _ask_again(error: Unknown, words: str, wanted: Wanted, client_id: str) -> NoReturn:
    """Raises Unknown, with the command that learns the outcome."""
    flags = "".join(
        f" {flag}" for flag, set_ in (("--post-only", wanted.post_only), ("--running", wanted.running)) if set_
    )
    until = f" --until {wanted.expires}" if wanted.until else ""
    again = f"hourbook {words} --price {wanted.price} --tif {wanted.lives}{until}{flags} --id {client_id}"
    sentence = f"{error.message}; without a second order: {again}"
    answered = error.answered and msgspec.structs.replace(error.answered, detail=sentence)
    raise Unknown(sentence, answered=answered) from None


# --- What became of it --------------------------------------------------------------------------------------


def _say_order(order: http.OrderAnswer) -> None:
    say = output.console.print
    class_id, hour = when(order.contract)
    say(
        f"order {order.order_id}: {order.side} {order.qty} × {class_id} at {order.price}, {hour}"
        + (" (a repeat: as it stands)" if order.repeated else "")
    )
    say_fills(order.fills)
    if order.leaves:
        until = f" until {times.shown_moment(order.expires)}" if order.expires else ""
        verb = "waits" if order.leaves == 1 else "wait"
        say(f"  {order.leaves} {verb} in the book{until}; cancel with: {output.program()} cancel {order.order_id}")
    if order.cancelled:
        say(f"  {order.cancelled} cancelled ({order.reason})")


def say_fills(fills: Iterable[http.FillAnswer]) -> None:
    """A line each."""
    for fill in fills:
        done, whom = ("bought", "from") if fill.side == "buy" else ("sold", "to")
        rest = f" for {fill.minutes} minutes" if fill.minutes < 60 else ""
        output.console.print(
            f"  {done} {fill.qty} at {fill.price}{rest} = {fill.notional} USD, fee {fill.fee}, {whom} {fill.counterparty}"
        )


def _say_range(body: http.RangeRequest, span: Span, done: http.RangeAnswer) -> None:
    say = output.console.print
    say(
        f"{body.side} {body.qty} × {body.class_id} at {body.price}, {shown_span(span.first, span.count)}"
        + (" (a repeat: as it stands)" if done.repeated else "")
    )
    orders = [leg.order for leg in done.legs if leg.order is not None]
    fills = [fill for order in orders for fill in order.fills]
    if fills:
        cash = sum(parse_usd(fill.notional) for fill in fills)
        fees = sum(parse_usd(fill.fee) for fill in fills)
        word = "bought" if body.side == "buy" else "sold"
        gpu_hours = output.plural(sum(fill.qty for fill in fills), "GPU-hour")
        say(f"  {word} {gpu_hours} for {format_usd(cash)} USD, fees {format_usd(fees)}")
    elif done.repeated and orders:
        say(f"  {output.plural(sum(order.filled for order in orders), 'GPU-hour')} filled so far")
    if waiting := [order for order in orders if order.leaves]:
        open_ones = sum(order.leaves for order in waiting)
        verb = "waits" if open_ones == 1 else "wait"
        say(
            f"  {output.plural(open_ones, 'GPU-hour')} {verb} in {output.plural(len(waiting), 'hour')}; "
            f"cancel with: {output.program()} cancel {done.client_order_id}"
        )
    _say_refused(done.legs)


def _say_refused(legs: Iterable[http.LegAnswer]) -> None:
    """Hours that share a reason in one line."""
    reasons: dict[str, list[str]] = {}
    for leg in legs:
        if leg.refusal is not None:
            words = f"{leg.refusal.title} ({leg.refusal.code}): {leg.refusal.detail}"
            reasons.setdefault(words, []).append(leg.contract)
        elif leg.order is None:
            reasons.setdefault("refused when it was first sent", []).append(leg.contract)
    for words, refused in reasons.items():
        first = when(refused[0])[1]
        more = f" and {output.plural(len(refused) - 1, 'hour')} more" if len(refused) > 1 else ""
        output.console.print(f"  refused {first}{more}: {words}")


def _say_block(context: Context, span: Span, done: http.BlockAnswer) -> None:
    say = output.console.print
    say(
        f"block {done.block_id}: {done.side} {done.qty} × {done.class_id} at {done.price} on average, "
        f"{shown_span(span.first, span.count)}" + (" (a repeat: as it stands)" if done.repeated else "")
    )
    if done.filled:
        word = "bought" if done.side == "buy" else "sold"
        cash = sum(parse_usd(fill.notional) for fill in done.fills)
        fees = sum(parse_usd(fill.fee) for fill in done.fills)
        paid = f" = {format_usd(cash)} USD, fees {format_usd(fees)}" if done.fills else ""
        say(f"  {word} {done.filled} in each hour at {done.average} on average{paid}{_handovers(context, done)}")
    if done.leaves:
        say(
            f"  {done.leaves} in each hour {'waits' if done.leaves == 1 else 'wait'} in the block book; "
            f"cancel with: {output.program()} cancel {done.block_id}"
        )
    if done.cancelled:
        say(f"  {done.cancelled} in each hour cancelled ({done.reason})")


def _handovers(context: Context, done: http.BlockAnswer) -> str:
    """Known once it is settled, a moment later."""
    if done.side == "sell":
        return ""
    try:
        whole = context.client().get(f"/v1/blocks/{done.block_id}", http.BlockAnswer)
    except CliError:
        return ""  # it is bought all the same; `hourbook blocks` shows it
    return f", {output.plural(whole.handovers or 0, 'hand-over')}"


# --- Amend and cancel ---------------------------------------------------------------------------------------


def _path(order: str) -> str:
    """Of an order by its id, or by your own id."""
    own = order.count("-") != 3 or not order.replace("-", "").isdigit()
    return f"/v1/orders/client/{order}" if own else f"/v1/orders/{order}"


@click.command()
@click.argument("order")
@click.option("--qty", type=click.IntRange(min=1), help="GPUs that are to be open; default: as many as are.")
@click.option("--price", help="USD per GPU-hour; default: the same.")
@pass_context
def amend(context: Context, order: str, qty: int | None, price: str | None) -> None:
    """Change an open order's quantity or price.

    Less at the same price keeps its place in the queue.
    """
    if qty is None and price is None:
        raise Unusable("say what is to change: --qty, --price or both")
    path = _path(order)
    if qty is None or price is None:
        stands = context.client().get(path, http.OrderAnswer)
        qty, price = qty or stands.leaves, price or stands.price
        if stands.state != "open":
            raise Refused(f"order {stands.order_id} is {stands.state} and cannot be amended")
    body = http.AmendRequest(qty=qty, price=price)
    done = context.client().write("PATCH", path, body, http.AmendAnswer, repeats=1)

    def human() -> None:
        kept = "in its place" if done.kept_place else "at the end of the queue"
        output.console.print(f"order {done.order_id}: {done.qty} at {done.price}, {kept}")
        say_fills(done.fills)
        if done.fills:
            output.console.print(f"  {done.leaves} left")

    context.show(done, human)


@click.command()
@click.argument("order", required=False)
@click.option("--all", "every", is_flag=True, help="Every order and block of yours.")
@click.option("--class", "class_id", type=CLASS, default="", help="Of one class.")
@click.option("--hour", help="Of one hour; blocks that include it as well.")
@click.option("--side", type=click.Choice(["buy", "sell"]), default=None, help="Of one side.")
@pass_context
def cancel(
    context: Context, order: str | None, every: bool, class_id: str, hour: str | None, side: Side | None
) -> None:
    """Cancel an open order, block or range by its id or your own id.

    Without an id whatever matches --class, --hour and --side; or --all.
    """
    narrowed = bool(class_id or hour or side)
    if sum((order is not None, every, narrowed)) != 1:
        raise Unusable("name an order, or say --all, or narrow it down with --class, --hour, --side")
    if order is None:
        _cancel_all(context, class_id, hour, side)
        return
    done = context.client().write("DELETE", _path(order), None, http.CancelAnswer)
    hours = f" in {done.orders} hours" if done.orders > 1 else ""
    context.show(
        done,
        lambda: output.console.print(
            f"order {done.order_id}: {output.plural(done.cancelled, 'GPU')} of {', '.join(when(done.contract))} cancelled{hours}"
        ),
    )


def _cancel_all(context: Context, class_id: str, hour: str | None, side: Side | None) -> None:
    parsed: dict[str, str] = {"class": class_id, "side": side or "", "hour": ""}
    if class_id.endswith("-USD"):
        if hour is not None:
            raise Unusable(f"{class_id} names its hour already: leave --hour out, or name the class only")
        parsed["class"], begins = parse_symbol(class_id)
        parsed["hour"] = times.iso(begins)
    elif hour is not None:
        parsed["hour"] = times.iso(times.parse_hour(hour, datetime.now().astimezone()))
    done = context.client().delete("/v1/orders", http.MassCancelAnswer, **parsed)
    context.show(done, lambda: output.console.print(f"{output.plural(done.cancelled, 'order or block')} cancelled"))


# --- Quote --------------------------------------------------------------------------------------------------


class _Price(click.ParamType[tuple[str, int]]):
    """`2.00x8`."""

    name = "price"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """(price, GPUs)."""
        price, times_, qty = str(value).lower().replace("×", "x").partition("x")
        if not times_ or not qty.strip().isdigit() or int(qty) == 0:
            self.fail(f"{value!r} is not a price with a quantity: write it like 2.00x8", param, ctx)
        return price.strip(), int(qty)


@click.command()
@click.argument("class_id", metavar="CLASS", type=CLASS)
@span_options
@click.option("--bid", type=_Price(), metavar="PRICExGPUS", help="What you buy at, e.g. 2.00x8.")
@click.option("--ask", type=_Price(), metavar="PRICExGPUS", help="What you sell at.")
@click.option("--promise", is_flag=True, help="Promise what you ask against collateral first, where you have not.")
@click.option("--away", is_flag=True, help="Take the quotes of these hours away.")
@pass_context
def quote(
    context: Context,
    class_id: str,
    first: str | None,
    count: int | None,
    bid: tuple[str, int] | None,
    ask: tuple[str, int] | None,
    promise: bool,
    away: bool,
) -> None:
    """Quote both sides in several hours, as market makers do.

    A side that is left out is taken away. Sizes are open quantity: what has traded is not quoted again by itself.
    """
    span = span_of(first, count) or span_of("next", 1)
    assert span is not None
    if away == bool(bid or ask):
        raise Unusable("say --bid, --ask or both, e.g. --bid 2.00x8 --ask 2.20x8; or --away")
    if promise and ask:
        _promise(context, class_id, span, ask[1])
    bid_price, bid_qty = bid or ("", 0)
    ask_price, ask_qty = ask or ("", 0)
    body = http.QuotesRequest(
        quotes=tuple(
            http.QuoteRequest(hour=times.iso(hour), bid=bid_price, bid_qty=bid_qty, ask=ask_price, ask_qty=ask_qty)
            for hour in span.hours
        )
    )
    done = context.client().write("PUT", f"/v1/quotes/{class_id}", body, http.QuotesAnswer)

    def human() -> None:
        output.table(
            f"Quotes of {class_id}, number {done.number}",
            ("hour", ">bid", ">GPUs", ">ask", ">GPUs", "?refused"),
            (
                (
                    when(each.contract)[1],
                    each.bid or "-",
                    str(each.bid_qty or ""),
                    each.ask or "-",
                    str(each.ask_qty or ""),
                    f"{each.refusal.title} ({each.refusal.code}): {each.refusal.detail}" if each.refusal else "",
                )
                for each in done.outcomes
            ),
            empty="",
        )

    context.show(done, human)


def _promise(context: Context, class_id: str, span: Span, qty: int) -> None:
    """Promised backing of `qty` beyond what is owed, and its collateral out of the wallet. Raises CliError."""
    client = context.client()
    symbols = {format_symbol(class_id, hour) for hour in span.hours}
    caps = [parse_usd(each.collar_high) for each in contracts(client, class_id) if each.contract in symbols]
    if not caps:
        raise Refused(f"none of these hours of {class_id} is listed; `hourbook book {class_id}` shows those that are")
    backed = [each for each in client.get("/v1/capacity", list[http.CapacityAnswer]) if each.contract in symbols]
    promised = [each for each in backed if each.ground == "promised"]
    body = http.CapacityRequest(
        class_id=class_id,
        from_hour=times.iso(span.first),
        hours=span.count,
        ground="promised",
        qty=qty + max((each.owed for each in promised), default=0),
        version=1 + max((each.version for each in promised), default=0),
        collateral_price=format_usd(max(caps)),
    )
    try:
        client.settle("PUT", "/v1/capacity", body)
    except Refused as error:
        problem = error.answered
        if problem is None or problem.code != "insufficient_funds":
            raise
        missing = parse_usd(str(problem.need)) - parse_usd(str(problem.have))
        amount = format_usd(missing)
        client.settle(
            "POST", "/v1/transfers", http.TransferRequest(direction="to_trading", amount=amount, class_id=class_id)
        )
        client.settle("PUT", "/v1/capacity", body)


COMMANDS = (buy, sell, amend, cancel, quote)
