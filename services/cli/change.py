"""`hourbook amend` and `hourbook cancel`: orders, blocks and ranges that wait."""

from __future__ import annotations

import click

from schemas import http
from schemas.edge import iso_hour
from schemas.ids import parse_symbol
from services.cli import output, times
from services.cli.context import Context, pass_context
from services.cli.errors import Refused, Unusable
from services.cli.hours import CLASS, when
from services.cli.trade import Side, say_fills


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
        parsed["hour"] = iso_hour(begins)
    elif hour is not None:
        parsed["hour"] = iso_hour(times.parse_hour(hour, context.now()))
    done = context.client().delete("/v1/orders", http.MassCancelAnswer, **parsed)
    context.show(done, lambda: output.console.print(cancelled_words(done.cancelled)))


def cancelled_words(count: int) -> str:
    """`1 order or block cancelled`, `5 orders or blocks cancelled`."""
    return f"{output.plural(count, 'order or block', 'orders or blocks')} cancelled"


def _path(order: str) -> str:
    """Of an order by its id, or by your own id."""
    own = order.count("-") != 3 or not order.replace("-", "").isdigit()
    return f"/v1/orders/client/{order}" if own else f"/v1/orders/{order}"
