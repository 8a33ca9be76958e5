"""`hourbook buy` and `hourbook sell`: one hour, many, or a block; placed or only foretold, and what became of it in words."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Literal, TypeVar, get_args

import click
import msgspec

from schemas import http
from schemas.edge import TifName, iso_hour
from schemas.units import format_usd, parse_usd
from services.cli import output, times
from services.cli.context import Context, pass_context
from services.cli.errors import CliError, Unknown, Unusable
from services.cli.foretold import say_block_preview, say_preview, say_range_preview
from services.cli.hours import (
    CLASS,
    Span,
    contract_of,
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
Done = TypeVar("Done")
Told = TypeVar("Told")


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
    tif: TifName | None
    until: str | None
    post_only: bool
    client_id: str | None
    preview: bool
    running: bool = False
    launch: str = ""

    @property
    def lives(self) -> TifName:
        """Time in force: a date means gtd, the running hour is bought at once."""
        return self.tif or ("gtd" if self.until else "ioc" if self.now and self.side == "buy" else "gtc")

    def expires(self, context: Context) -> str:
        """Raises CliError."""
        if (self.lives == "gtd") != (self.until is not None):
            raise Unusable("--until says when an order ends; it goes with no --tif, or with --tif gtd")
        return times.moment(self.until, context.now()) if self.until else ""


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
            click.option("--tif", type=click.Choice(get_args(TifName)), help="Default: gtc; with --now ioc."),
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
@click.option(
    "--launch", metavar="NAME", default="", help="What its machines begin with (`hourbook launch`). Default: `default`."
)
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

    Hours that you hold, or that you have declared machines for (`capacity declare`).
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
    span = span_of(context, wanted.first, wanted.count)
    if span is None:
        _send(context, wanted, _order(context, wanted))
    elif wanted.class_id.endswith("-USD"):
        raise Unusable(f"{wanted.class_id} names one hour: with --hours name the class only")
    elif wanted.block:
        _send(context, wanted, _block(context, wanted, span))
    else:
        _send(context, wanted, _range(context, wanted, span))


class Request(msgspec.Struct, Generic[Told, Done], frozen=True, kw_only=True):
    """What an order, a range and a block have in common."""

    path: str
    body: http.OrderRequest | http.RangeRequest | http.BlockRequest
    words: str
    """That name it in a command."""
    preview: type[Told]
    say_preview: Callable[[Told], None]
    answer: type[Done]
    say: Callable[[Done], None]


def _send(context: Context, wanted: Wanted, request: Request[Told, Done]) -> None:
    """Foretold or placed. Raises Unknown with the command that learns the outcome."""
    body = request.body
    if wanted.preview:
        told = context.client().write("POST", f"{request.path}/preview", body, request.preview)
        context.show(told, lambda: request.say_preview(told))
        return
    try:
        done = context.client().write("POST", request.path, body, request.answer)
    except Unknown as error:
        again = _again(wanted, request.words, body)
        sentence = f"{error.message}; without a second order: {again}"
        answered = error.answered and msgspec.structs.replace(error.answered, detail=sentence)
        raise Unknown(sentence, answered=answered) from None
    context.show(done, lambda: request.say(done))


def _order(context: Context, wanted: Wanted) -> Request[http.PreviewAnswer, http.OrderAnswer]:
    find = running_contract(context, wanted.class_id) if wanted.now else None
    contract = find or contract_of(context, wanted.class_id, wanted.hour)
    body = http.OrderRequest(
        contract=contract, post_only=wanted.post_only, running=wanted.running, **_shared(context, wanted)
    )  # fmt: skip
    return Request(
        path="/v1/orders", body=body, words=f"{wanted.side} {wanted.qty} {contract}",
        preview=http.PreviewAnswer, say_preview=lambda told: say_preview(body, told),
        answer=http.OrderAnswer, say=_say_order,
    )  # fmt: skip


def _range(context: Context, wanted: Wanted, span: Span) -> Request[http.RangePreviewAnswer, http.RangeAnswer]:
    body = http.RangeRequest(
        class_id=wanted.class_id, from_hour=iso_hour(span.first), count=span.count, post_only=wanted.post_only,
        running=wanted.running, **_shared(context, wanted),
    )  # fmt: skip
    return Request(
        path="/v1/ranges", body=body, words=_many(wanted, span),
        preview=http.RangePreviewAnswer, say_preview=lambda told: say_range_preview(body, span.first, told),
        answer=http.RangeAnswer, say=lambda done: _say_range(body, span, done),
    )  # fmt: skip


def _block(context: Context, wanted: Wanted, span: Span) -> Request[http.BlockPreviewAnswer, http.BlockAnswer]:
    body = http.BlockRequest(
        class_id=wanted.class_id, from_hour=iso_hour(span.first), hours=span.count, min_qty=wanted.min_qty,
        **_shared(context, wanted),
    )  # fmt: skip
    least = f" --min {wanted.min_qty}" if wanted.min_qty else ""
    return Request(
        path="/v1/blocks", body=body, words=f"{_many(wanted, span)} --block{least}",
        preview=http.BlockPreviewAnswer, say_preview=lambda told: say_block_preview(body, span.first, told),
        answer=http.BlockAnswer, say=lambda done: _say_block(context, span, done),
    )  # fmt: skip


def _shared(context: Context, wanted: Wanted) -> dict[str, Any]:
    """Fields that all three bodies have."""
    return {
        "side": wanted.side,
        "qty": wanted.qty,
        "price": wanted.price,
        "tif": wanted.lives,
        "expires": wanted.expires(context),
        "client_order_id": wanted.client_id or f"{RANDOM}{uuid.uuid4().hex[:20]}",
        "launch": wanted.launch,
    }


def _many(wanted: Wanted, span: Span) -> str:
    return f"{wanted.side} {wanted.qty} {wanted.class_id} --hours {iso_hour(span.first)} --for {span.count}"


def _again(wanted: Wanted, words: str, body: http.OrderRequest | http.RangeRequest | http.BlockRequest) -> str:
    flags = "".join(
        f" {flag}" for flag, set_ in (("--post-only", wanted.post_only), ("--running", wanted.running)) if set_
    )
    until = f" --until {body.expires}" if body.expires else ""
    launch = f" --launch {body.launch}" if body.launch else ""
    return f"hourbook {words} --price {wanted.price} --tif {wanted.lives}{until}{flags}{launch} --id {body.client_order_id}"


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
        say(cancelled_line(order.cancelled, order.reason, side=order.side, price=order.price, class_id=class_id))


def cancelled_line(cancelled: int, reason: str, *, side: str, price: str, class_id: str) -> str:
    """What is left of an order that does not wait; where nobody was there, it says so and where to look."""
    line = f"  {cancelled} cancelled ({reason})"
    if reason != "ioc":
        return line
    others, better = ("asks", "less") if side == "buy" else ("bids", "more")
    look = f"{output.program()} book {class_id}"
    return f"{line}: nobody {others} {price} or {better} for it just now; who {others} what: {look}"


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
