"""A member's commands: look, trade, cancel, and see money and hours."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal

import click
import msgspec

from schemas import http
from schemas.ids import format_symbol, parse_symbol
from services.cli import output, times
from services.cli.client import Client
from services.cli.errors import Refused, Unknown, Unusable

_RANDOM: Final = "cli-"
"""How an order id begins that nobody has chosen."""


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

    def close(self) -> None:
        """At the end of the command."""
        for client in self._clients.values():
            client.close()

    def show(self, value: object, human: Callable[[], object]) -> None:
        """`human()` prints for people."""
        if self.as_json:
            output.document(value)
        else:
            human()


pass_context = click.make_pass_decorator(Context)


class ClassId(click.ParamType[str]):
    """A class, or one of its contracts by symbol; both are upper case however they are typed."""

    name = "class"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002 # click's
        """Upper case."""
        return str(value).strip().upper()


CLASS = ClassId()
hour_option = click.option("--hour", help=f"Delivery hour, local time: {times.EXAMPLES}. Default: the next open one.")


def contract_of(context: Context, class_id: str, hour: str | None) -> str:
    """The symbol of a class and an hour in people's words; no hour: the next one whose gate is open. Raises Unusable."""
    if class_id.endswith("-USD"):
        if hour is not None:
            raise Unusable(f"{class_id} names its hour already: leave --hour out, or name the class only")
        return class_id
    if hour is not None and hour.strip().lower() not in ("now", "next"):
        return format_symbol(class_id, times.parse_hour(hour, datetime.now().astimezone()))
    open_one = next_open(contracts(context, class_id))
    if open_one is None:
        raise Refused(f"no hour of {class_id} is open; `hourbook book` shows where one is")
    return open_one.contract


def contracts(context: Context, class_id: str) -> list[http.ContractAnswer]:
    """Listed hours of a class."""
    return context.client().get("/v1/contracts", list[http.ContractAnswer], class_=class_id)


def next_open(hours: list[http.ContractAnswer]) -> http.ContractAnswer | None:
    """The first whose gate is open."""
    return next((hour for hour in hours if hour.phase == "forward"), None)


def _when(symbol: str) -> tuple[str, str]:
    """Class, and hour for people."""
    class_id, hour = parse_symbol(symbol)
    return class_id, times.shown(hour)


# --- Market -------------------------------------------------------------------------------------------------


@click.command()
@click.argument("class_id", metavar="[CLASS|CONTRACT]", type=CLASS, required=False)
@click.option("--hour", help=f"One hour in depth, local time: {times.EXAMPLES}.")
@click.option("--hours", type=click.IntRange(min=1), default=12, show_default=True, help="How many hours to show.")
@pass_context
def book(context: Context, class_id: str | None, hour: str | None, hours: int) -> None:
    """Prices: of all classes, of one hour by hour, or in depth."""
    if class_id is None:
        if hour is not None:
            raise Unusable("--hour goes with a class: hourbook book CLASS --hour ...")
        _next_hours(context)
    elif hour is None and not class_id.endswith("-USD"):
        _grid(context, class_id, hours)
    else:
        _depth(context, contract_of(context, class_id, hour))


def _next_hours(context: Context) -> None:
    listed = context.client().get("/v1/classes", list[http.ClassAnswer])
    found = [each for each in (next_open(contracts(context, row.class_id)) for row in listed) if each is not None]
    context.show(
        found,
        lambda: output.table(
            "Next open hour of each class, USD per GPU-hour",
            ("class", "hour", "state", ">bid", ">GPUs", ">ask", ">GPUs"),
            ((c.class_id, times.shown_iso(c.hour), *_best(c)) for c in found),
            empty="no hour is open; an operator lists classes with `hourbook admin list-class`",
        ),
    )


def _best(hour: http.ContractAnswer) -> tuple[str, ...]:
    """State, bid with its GPUs, ask with its GPUs."""
    bid = (hour.bid, str(hour.bid_qty)) if hour.bid else ("-", "")
    ask = (hour.ask, str(hour.ask_qty)) if hour.ask else ("-", "")
    return (hour.state if hour.phase == "forward" else f"{hour.phase}", *bid, *ask)


def _grid(context: Context, class_id: str, hours: int) -> None:
    found = contracts(context, class_id)[:hours]
    context.show(
        found,
        lambda: output.table(
            f"{class_id}, USD per GPU-hour",
            ("hour", "state", ">bid", ">GPUs", ">ask", ">GPUs"),
            ((times.shown_iso(c.hour), *_best(c)) for c in found),
            empty="no hour is listed",
        ),
    )


def _depth(context: Context, symbol: str) -> None:
    found = context.client().get(f"/v1/contracts/{symbol}/book", http.BookAnswer)

    def human() -> None:
        class_id, hour = _when(found.contract)
        rows = [
            ("", level.price, output.plural(level.qty, "GPU"), output.plural(level.orders, "order"))
            for level in reversed(found.asks)
        ]
        rows += [
            (output.plural(level.qty, "GPU"), level.price, "", output.plural(level.orders, "order"))
            for level in found.bids
        ]
        output.console.print(f"{class_id}, {hour}: {found.contract}, as of seq {found.seq}")
        output.table("", (">bid", ">USD/GPU-h", "ask", ""), rows, empty="nobody bids or asks")

    context.show(found, human)


@click.command()
@click.argument("class_id", metavar="[CLASS]", type=CLASS, required=False)
@pass_context
def classes(context: Context, class_id: str | None) -> None:
    """What is traded: lots, ticks, collars, fees, specifications.

    Of all classes, or the contract specification of one.
    """
    if class_id is not None:
        one = context.client().get(f"/v1/classes/{class_id}", http.ClassAnswer)
        context.show(one, lambda: output.console.print(one.specification.rstrip()))
        return
    found = context.client().get("/v1/classes", list[http.ClassAnswer])
    context.show(
        found,
        lambda: output.table(
            "Classes",
            ("class", "what", "state", ">lot", ">tick", ">lowest", ">highest", ">buyer bp", ">seller bp"),
            (
                (
                    c.class_id,
                    c.title,
                    c.state,
                    str(c.lot),
                    c.tick,
                    c.collar_low,
                    c.collar_high,
                    f"{c.buyer_maker_bp}/{c.buyer_taker_bp}",
                    f"{c.seller_maker_bp}/{c.seller_taker_bp}",
                )
                for c in found
            ),
            empty="none is listed; an operator lists them with `hourbook admin list-class`",
        ),
    )


@click.command()
@click.argument("class_id", metavar="[CLASS]", type=CLASS, default="")
@pass_context
def supply(context: Context, class_id: str) -> None:
    """What clouds list, and the references made of it.

    Listed is not available.
    """
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
            ("class", ">USD/GPU-h", ">GPUs", "cloud", "region", "instance", "kind", "as of", "source"),
            (
                (o.class_id, o.price, str(o.gpus), o.cloud, o.region, o.instance_type, o.kind, o.as_of[:10], o.source)
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
            click.argument("class_id", metavar="CLASS|CONTRACT", type=CLASS),
            hour_option,
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
    """Sell QTY GPUs of one hour at --price or more.

    Hours that you hold, or capacity that you back (PUT /v1/capacity).
    """
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
        client_order_id=client_id or f"{_RANDOM}{uuid.uuid4().hex[:20]}",
    )
    try:
        order = context.client().write("POST", "/v1/orders", body, http.OrderAnswer)
    except Unknown as error:
        words = f"{side} {qty} {body.contract} --price {price} --tif {tif}{' --post-only' if post_only else ''}"
        again = f"hourbook {words} --id {body.client_order_id}"
        sentence = f"{error.message}; without a second order: {again}"
        answered = error.answered and msgspec.structs.replace(error.answered, detail=sentence)
        raise Unknown(sentence, answered=answered) from None
    context.show(order, lambda: _say_order(order))


def _say_order(order: http.OrderAnswer) -> None:
    say = output.console.print
    class_id, hour = _when(order.contract)
    say(
        f"order {order.order_id}: {order.side} {order.qty} × {class_id} at {order.price}, {hour}"
        + (" (a repeat: as it stands)" if order.repeated else "")
    )
    for fill in order.fills:
        done, whom = ("bought", "from") if fill.side == "buy" else ("sold", "to")
        say(f"  {done} {fill.qty} at {fill.price} = {fill.notional} USD, fee {fill.fee}, {whom} {fill.counterparty}")
    if order.leaves:
        verb = "waits" if order.leaves == 1 else "wait"
        say(f"  {order.leaves} {verb} in the book; cancel with: {output.program()} cancel {order.order_id}")
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
        done,
        lambda: output.console.print(
            f"order {done.order_id}: {output.plural(done.cancelled, 'GPU')} of {', '.join(_when(done.contract))} cancelled"
        ),
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
            ("order", "class", "hour", "side", ">qty", ">price", ">open", ">filled", "state", "?your id"),
            (
                (
                    o.order_id,
                    *_when(o.contract),
                    o.side,
                    str(o.qty),
                    o.price,
                    str(o.leaves),
                    str(o.filled),
                    o.state + (f" ({o.reason})" if o.reason else ""),
                    "" if o.client_order_id.startswith(_RANDOM) else o.client_order_id,
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
            ("trade", "when", "class", "hour", "side", ">qty", ">price", ">USD", ">fee", "role", "with"),
            (
                (
                    f.trade,
                    times.shown_moment(f.at),
                    *_when(f.contract),
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
            ("class", "hour", "phase", ">held", ">cost", ">owed", ">proceeds"),
            ((*_when(p.contract), p.phase, str(p.held), p.cost, str(p.owed), p.proceeds) for p in found),
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
@click.option("--limit", type=click.IntRange(1, 500), default=30, show_default=True)
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
    simulated = ", simulated: no money moves" if done.outcome.get("simulated") else ""
    words = f"payout {done.outcome['payout']} of {amount} USD is requested{simulated}"
    context.show(done, lambda: output.console.print(words))


COMMANDS = (book, classes, supply, buy, sell, cancel, orders, fills, positions, balance, ledger, withdraw)
