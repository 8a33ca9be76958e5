"""A member's commands: look at the market, at orders, at money and hours. Orders themselves: `trade`, `change`, `quote`."""

from __future__ import annotations

import click

from schemas import feeds, http
from services.cli import output, times
from services.cli.change import amend, cancel
from services.cli.client import Client
from services.cli.context import Context, pass_context
from services.cli.desk import desk
from services.cli.errors import Unusable
from services.cli.hours import CLASS, contract_of, grid, when
from services.cli.quote import quote
from services.cli.trade import RANDOM, buy, sell
from services.cli.volume import volume

__all__ = ["COMMANDS", "Context", "pass_context"]


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
    found = [_next_row(context.client(), each.class_id) for each in listed]
    rows = [row for row in found if row is not None]
    context.show(
        rows,
        lambda: output.table(
            "Next open hour of each class, USD per GPU-hour",
            ("class", "hour", "state", ">bid", ">GPUs", ">ask", ">GPUs", ">last"),
            ((*when(row.contract), *_best(row)) for row in rows),
            empty="no hour is open; an operator lists classes with `hourbook admin list-class`",
        ),
    )


def _next_row(client: Client, class_id: str) -> feeds.GridRow | None:
    return next((row for row in grid(client, class_id) if row.phase == "forward"), None)


def _best(row: feeds.GridRow) -> tuple[str, ...]:
    """State, bid with its GPUs, ask with its GPUs, last price."""
    bid = (row.bid, str(row.bid_qty)) if row.bid else ("-", "")
    ask = (row.ask, str(row.ask_qty)) if row.ask else ("-", "")
    return (row.state if row.phase == "forward" else row.phase, *bid, *ask, row.last or "-")


def _grid(context: Context, class_id: str, hours: int) -> None:
    found = grid(context.client(), class_id)[:hours]
    context.show(
        found,
        lambda: output.table(
            f"{class_id}, USD per GPU-hour",
            ("hour", "state", ">bid", ">GPUs", ">ask", ">GPUs", ">last"),
            ((times.shown_iso(row.hour), *_best(row)) for row in found),
            empty="no hour is listed",
        ),
    )


def _depth(context: Context, symbol: str) -> None:
    found = context.client().get(f"/v1/market/{symbol}/book", feeds.MarketBook)

    def human() -> None:
        class_id, hour = when(found.contract)
        rows = [("", price, output.plural(qty, "GPU")) for price, qty in reversed(found.asks)]
        rows += [(output.plural(qty, "GPU"), price, "") for price, qty in found.bids]
        output.console.print(f"{class_id}, {hour}: {found.contract}, as of seq {found.as_of.seq}")
        output.table("", (">bid", ">USD/GPU-h", "ask"), rows, empty="nobody bids or asks")

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


# --- Orders -------------------------------------------------------------------------------------------------


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
                    *when(o.contract),
                    o.side,
                    str(o.qty),
                    o.price,
                    str(o.leaves),
                    str(o.filled),
                    o.state + (f" ({o.reason})" if o.reason else ""),
                    "" if o.client_order_id.startswith(RANDOM) else o.client_order_id,
                )
                for o in found
            ),
            empty="none open; `hourbook orders --all` shows those that have ended",
        ),
    )


@click.command()
@click.argument("class_id", metavar="[CLASS]", type=CLASS, required=False)
@click.option("--all", "every", is_flag=True, help="Also those that have ended.")
@pass_context
def blocks(context: Context, class_id: str | None, every: bool) -> None:
    """Your blocks, newest first; or of a CLASS.

    With a CLASS the public block book: what waits for contiguous hours, of everybody.
    """
    if class_id is not None:
        _block_book(context, class_id)
        return
    found = context.client().get("/v1/blocks", list[http.BlockAnswer], state="" if every else "open")
    context.show(
        found,
        lambda: output.table(
            "Blocks",
            (
                "block",
                "class",
                "from",
                ">hours",
                "side",
                ">qty",
                ">price",
                ">open",
                ">filled",
                ">average",
                "state",
                "?your id",
            ),
            (
                (
                    b.block_id,
                    b.class_id,
                    times.shown_iso(b.from_hour),
                    str(b.hours),
                    b.side,
                    str(b.qty),
                    b.price,
                    str(b.leaves),
                    str(b.filled),
                    b.average or "-",
                    b.state + (f" ({b.reason})" if b.reason else ""),
                    "" if b.client_order_id.startswith(RANDOM) else b.client_order_id,
                )
                for b in found
            ),
            empty="none open; `hourbook blocks --all` shows those that have ended",
        ),
    )


def _block_book(context: Context, class_id: str) -> None:
    found = context.client().get(f"/v1/classes/{class_id}/blocks", feeds.BlockBook)
    context.show(
        found,
        lambda: output.table(
            f"Blocks of {class_id}, USD per GPU-hour on average",
            ("from", ">hours", "side", ">price", ">GPUs", ">at least", ">blocks"),
            (
                (
                    times.shown_iso(line.first_hour),
                    str(line.hours),
                    line.side,
                    line.price,
                    str(line.qty),
                    str(line.qty_min),
                    str(line.blocks),
                )
                for line in found.blocks
            ),
            empty="none waits; `hourbook buy ... --block` makes one",
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
            (
                "trade",
                "when",
                "class",
                "hour",
                "side",
                ">qty",
                ">price",
                ">min",
                ">USD",
                ">fee",
                "role",
                "with",
                "?block",
            ),
            (
                (
                    f.trade,
                    times.shown_moment(f.at),
                    *when(f.contract),
                    f.side,
                    str(f.qty),
                    f.price,
                    str(f.minutes),
                    f.notional,
                    f.fee,
                    f.role,
                    f.counterparty,
                    f.block_id,
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
            ("class", "hour", "phase", ">held", ">cost", ">owed", ">proceeds", "?not for resale"),
            (
                (*when(p.contract), p.phase, str(p.held), p.cost, str(p.owed), p.proceeds, str(p.running or ""))
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


COMMANDS = (
    *(book, classes, supply, desk, volume),
    *(buy, sell, amend, cancel, quote),
    *(orders, blocks, fills, positions, balance, ledger, withdraw),
)
