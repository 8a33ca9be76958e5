"""A member's commands: look, trade, cancel, and see money and hours."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import click

from schemas import http
from schemas.ids import format_symbol
from services.cli import output, times
from services.cli.client import Client
from services.cli.errors import Unusable


class Context:
    """What every command is given: the client is made when it is first used."""

    def __init__(self, *, as_json: bool, make_client: Callable[[str], Client]) -> None:
        self.as_json = as_json
        self._make_client = make_client
        self._clients: dict[str, Client] = {}

    def client(self, name: str = "member") -> Client:
        """Speaks as `member` or `operator`."""
        if name not in self._clients:
            self._clients[name] = self._make_client(name)
        return self._clients[name]

    def show(self, value: object, human: Callable[[], object]) -> None:
        """`human()` prints for people."""
        if self.as_json:
            output.document(value)
        else:
            human()


pass_context = click.make_pass_decorator(Context)


def contract_of(context: Context, class_id: str, hour: str | None) -> str:
    """The symbol of a class and an hour in people's words; no hour: the next one whose gate is open. Raises Unusable."""
    if class_id.endswith("-USD"):
        return class_id
    if hour is not None and hour.strip().lower() not in ("now", "next"):
        return format_symbol(class_id, times.parse_hour(hour, datetime.now().astimezone()))
    open_ones = [c for c in contracts(context, class_id) if c.phase == "forward"]
    if not open_ones:
        raise Unusable(f"no hour of {class_id} is open")
    return open_ones[0].contract


def contracts(context: Context, class_id: str) -> list[http.ContractAnswer]:
    """Listed hours of a class."""
    return context.client().get("/v1/contracts", list[http.ContractAnswer], class_=class_id)


# --- Market -------------------------------------------------------------------------------------------------


@click.command()
@click.argument("class_id", metavar="[CLASS|CONTRACT]", required=False)
@click.argument("hour", required=False)
@click.option("--hours", default=12, show_default=True, help="How many hours of a class to show.")
@pass_context
def book(context: Context, class_id: str | None, hour: str | None, hours: int) -> None:
    """Prices: of all classes, of a class hour by hour, or of one hour in depth."""
    if class_id is None:
        _classes(context)
    elif hour is None and not class_id.endswith("-USD"):
        _grid(context, class_id, hours)
    else:
        _depth(context, contract_of(context, class_id, hour))


def _classes(context: Context) -> None:
    classes = context.client().get("/v1/classes", list[http.ClassAnswer])
    rows = []
    for each in classes:
        best = next((c for c in contracts(context, each.class_id) if c.phase == "forward"), None)
        rows.append((each, best))
    context.show(
        [each for each, _ in rows],
        lambda: output.table(
            "Classes, next open hour",
            ("class", "hour", ">bid", ">ask", ">GPUs", ">tick", "title"),
            (
                (
                    each.class_id,
                    times.shown_iso(best.hour) if best else "-",
                    best.bid if best and best.bid else "-",
                    best.ask if best and best.ask else "-",
                    str(best.ask_qty) if best and best.ask else "-",
                    each.tick,
                    each.title,
                )
                for each, best in rows
            ),
            empty="no class is listed; an operator lists them with `hourbook admin classes list`",
        ),
    )


def _grid(context: Context, class_id: str, hours: int) -> None:
    found = contracts(context, class_id)[:hours]
    context.show(
        found,
        lambda: output.table(
            f"{class_id}, USD per GPU-hour",
            ("hour", "phase", ">bid", ">GPUs", ">ask", ">GPUs"),
            (
                (
                    times.shown_iso(c.hour),
                    c.phase if c.state == "open" else c.state,
                    c.bid or "-",
                    str(c.bid_qty) if c.bid else "",
                    c.ask or "-",
                    str(c.ask_qty) if c.ask else "",
                )
                for c in found
            ),
            empty="no hour is listed",
        ),
    )


def _depth(context: Context, symbol: str) -> None:
    found = context.client().get(f"/v1/contracts/{symbol}/book", http.BookAnswer)

    def human() -> None:
        rows = [("", level.price, f"{level.qty} GPUs", f"{level.orders} orders") for level in reversed(found.asks)]
        rows += [(f"{level.qty} GPUs", level.price, "", f"{level.orders} orders") for level in found.bids]
        output.table(
            f"{symbol}, as of seq {found.seq}", (">bid", ">USD/GPU-h", "ask", ""), rows, empty="nobody bids or asks"
        )

    context.show(found, human)


@click.command()
@click.argument("class_id", metavar="[CLASS]", default="")
@pass_context
def supply(context: Context, class_id: str) -> None:
    """What clouds list, and the references made of it. Listed is not available."""
    found = context.client().get("/v1/supply", http.SupplyAnswer, class_=class_id)

    def human() -> None:
        output.table(
            "References",
            ("class", ">cheapest", ">median", ">clouds", ">offers"),
            ((r.class_id, r.cheapest, r.median, str(r.clouds), str(r.offers)) for r in found.references),
            empty="none yet",
        )
        output.table(
            "Offers",
            ("class", "cloud", "region", "instance", "kind", ">GPUs", ">USD/GPU-h", "source"),
            (
                (o.class_id, o.cloud, o.region, o.instance_type, o.kind, str(o.gpus), o.price, o.source)
                for o in found.offers
            ),
            empty="none yet",
        )
        for poll in found.polls:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(poll.reasons.items()))
            output.console.print(
                f"{poll.source}: {poll.rows} rows = {poll.mapped} mapped + {poll.refused} refused ({reasons or 'none'})"
            )

    context.show(found, human)


# --- Trade --------------------------------------------------------------------------------------------------


def _order_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.argument("qty", type=click.IntRange(min=1)),
            click.argument("class_id", metavar="CLASS|CONTRACT"),
            click.option("--hour", help=f"Delivery hour, local time: {times.EXAMPLES}. Default: the next open one."),
            click.option("--price", required=True, help="USD per GPU-hour, e.g. 2.49."),
            click.option("--tif", type=click.Choice(["gtc", "ioc", "fok"]), default="gtc", show_default=True),
            click.option("--post-only", is_flag=True, help="Refuse rather than trade at once."),
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
def buy(context: Context, /, **options: Any) -> None:  # noqa: ANN401 # click's, typed in _place
    """Buy QTY GPUs of one hour at --price or less."""
    _place(context, "buy", **options)


@click.command()
@_order_options
@pass_context
def sell(context: Context, /, **options: Any) -> None:  # noqa: ANN401 # likewise
    """Sell QTY GPUs of one hour at --price or more: hours that you hold, or capacity that you back."""
    _place(context, "sell", **options)


def _place(
    context: Context,
    side: Literal["buy", "sell"],
    qty: int,
    class_id: str,
    hour: str | None,
    price: str,
    tif: Literal["gtc", "ioc", "fok"],
    post_only: bool,
    client_id: str | None,
) -> None:
    body = http.OrderRequest(
        contract=contract_of(context, class_id, hour),
        side=side,
        qty=qty,
        price=price,
        tif=tif,
        post_only=post_only,
        client_order_id=client_id or f"cli-{uuid.uuid4().hex[:20]}",
    )
    order = context.client().write("POST", "/v1/orders", body, http.OrderAnswer)
    context.show(order, lambda: _say_order(order))


def _say_order(order: http.OrderAnswer) -> None:
    say = output.console.print
    say(
        f"order {order.order_id}: {order.side} {order.qty} × {order.contract} at {order.price}"
        + (" (a repeat: as it stands)" if order.repeated else "")
    )
    for fill in order.fills:
        done = "bought" if fill.side == "buy" else "sold"
        say(f"  {done} {fill.qty} at {fill.price} = {fill.notional} USD, fee {fill.fee}, from {fill.counterparty}")
    if order.leaves:
        say(f"  {order.leaves} wait in the book; cancel with: hourbook cancel {order.order_id}")
    if order.cancelled:
        say(f"  {order.cancelled} cancelled ({order.reason})")


@click.command()
@click.argument("order")
@pass_context
def cancel(context: Context, order: str) -> None:
    """Cancel an open order by its id, or by your own id."""
    own = order.count("-") != 3 or not order.replace("-", "").isdigit()
    path = f"/v1/orders/client/{order}" if own else f"/v1/orders/{order}"
    done = context.client().write("DELETE", path, None, http.CancelAnswer)
    context.show(
        done, lambda: output.console.print(f"order {done.order_id}: {done.cancelled} GPUs of {done.contract} cancelled")
    )


@click.command()
@click.option("--all", "every", is_flag=True, help="Also those that have ended.")
@pass_context
def orders(context: Context, every: bool) -> None:
    """Your orders, newest first."""
    found = context.client().get("/v1/orders", list[http.OrderAnswer], state="" if every else "open")
    context.show(
        found,
        lambda: output.table(
            "Orders",
            ("order", "contract", "side", ">qty", ">price", ">open", ">filled", "state", "your id"),
            (
                (
                    o.order_id,
                    o.contract,
                    o.side,
                    str(o.qty),
                    o.price,
                    str(o.leaves),
                    str(o.filled),
                    o.state + (f" ({o.reason})" if o.reason else ""),
                    o.client_order_id,
                )
                for o in found
            ),
            empty="none open; `hourbook orders --all` shows those that have ended",
        ),
    )


@click.command()
@pass_context
def fills(context: Context) -> None:
    """Your trades, newest first."""
    found = context.client().get("/v1/fills", list[http.FillAnswer])
    context.show(
        found,
        lambda: output.table(
            "Fills",
            ("trade", "when", "contract", "side", ">qty", ">price", ">USD", ">fee", "role", "from"),
            (
                (
                    f.trade,
                    times.shown_moment(f.at),
                    f.contract,
                    f.side,
                    str(f.qty),
                    f.price,
                    f.notional,
                    f.fee,
                    f.role,
                    f.counterparty,
                )
                for f in found
            ),
            empty="none yet",
        ),
    )


# --- Money and hours ----------------------------------------------------------------------------------------


@click.command()
@pass_context
def positions(context: Context) -> None:
    """Hours you hold and hours you owe."""
    found = context.client().get("/v1/positions", list[http.PositionAnswer])
    context.show(
        found,
        lambda: output.table(
            "Positions",
            ("contract", "hour", "phase", ">held", ">cost", ">owed", ">proceeds"),
            (
                (p.contract, times.shown_iso(p.hour), p.phase, str(p.held), p.cost, str(p.owed), p.proceeds)
                for p in found
            ),
            empty="none; buy an hour with `hourbook buy 1 CLASS --price ...`",
        ),
    )


@click.command()
@pass_context
def balance(context: Context) -> None:
    """Your money: wallet, and trading balance per shard."""
    found = context.client().get("/v1/balance", http.BalanceAnswer)

    def human() -> None:
        output.table(
            f"Account {found.account}, USD",
            ("where", ">balance", ">held for bids", ">collateral", ">available"),
            [("wallet", found.wallet, "", "", found.wallet)]
            + [(f"trading, shard {t.shard}", t.balance, t.holds, t.collateral, t.available) for t in found.trading]
            + [
                (name, amount, "", "", "")
                for name, amount in (
                    ("on the way to a shard", found.in_transit),
                    ("payouts under way", found.payouts),
                    ("collateral of ended hours", found.waiting_collateral),
                )
                if amount != "0.00"
            ],
            empty="",
        )

    context.show(found, human)


@click.command()
@click.option("--limit", default=30, show_default=True)
@pass_context
def ledger(context: Context, limit: int) -> None:
    """Your ledger lines, newest first."""
    found = context.client().get("/v1/ledger", list[http.LineAnswer], limit=limit)
    context.show(
        found,
        lambda: output.table(
            "Ledger",
            ("when", "what", "account", ">USD", "entry"),
            ((times.shown_moment(line.at), line.what, line.kind, line.amount, line.entry) for line in found),
            empty="nothing yet",
        ),
    )


@click.command()
@click.argument("amount")
@click.option("--to", "destination", required=True, help="Where the money goes.")
@pass_context
def withdraw(context: Context, amount: str, destination: str) -> None:
    """Take money out of the wallet."""
    body = http.WithdrawalRequest(amount=amount, destination=destination)
    done = context.client().settle("POST", "/v1/withdrawals", body)
    context.show(done, lambda: output.console.print(f"payout {done['payout']} of {amount} USD is requested"))


COMMANDS = (book, supply, buy, sell, cancel, orders, fills, positions, balance, ledger, withdraw)
