"""`hourbook quote`: both sides of many hours, as market makers do, with a promise behind the asks."""

from __future__ import annotations

import click

from schemas import http
from schemas.edge import iso_hour
from schemas.ids import format_symbol
from schemas.units import format_usd, parse_usd
from services.cli import output
from services.cli.context import Context, pass_context
from services.cli.errors import Refused, Unusable
from services.cli.hours import CLASS, Span, contracts, span_of, span_options, when


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
    if away == bool(bid or ask):
        raise Unusable("say --bid, --ask or both, e.g. --bid 2.00x8 --ask 2.20x8; or --away")
    span = span_of(context, first, count) or span_of(context, "next", 1)
    assert span is not None
    if promise and ask:
        _promise(context, class_id, span, ask[1])
    bid_price, bid_qty = bid or ("", 0)
    ask_price, ask_qty = ask or ("", 0)
    body = http.QuotesRequest(
        quotes=tuple(
            http.QuoteRequest(hour=iso_hour(hour), bid=bid_price, bid_qty=bid_qty, ask=ask_price, ask_qty=ask_qty)
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
        from_hour=iso_hour(span.first),
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
