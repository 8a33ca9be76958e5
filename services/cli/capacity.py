"""`hourbook capacity`: what a provider has machines for, by hour: declared, owed, offered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from schemas import http
from schemas.edge import iso_hour
from schemas.ids import format_symbol
from services.cli import output
from services.cli.context import Context, pass_context
from services.cli.errors import Refused
from services.cli.hours import CLASS, Span, shown_span, span_of, when


@click.group(invoke_without_command=True)
@click.pass_context
def capacity(context: click.Context) -> None:
    """What you may owe, owe and ask, hour by hour.

    For providers `declare` and `withdraw` change it; market makers promise with `quote --promise`.
    """
    if context.invoked_subcommand is None:
        _show(context.obj)


def _show(context: Context) -> None:
    found = _backed(context)
    context.show(
        found,
        lambda: output.table(
            "Capacity, GPUs",
            ("class", "hour", "ground", ">backed", ">owed", ">asked", ">to offer still"),
            (
                (*when(each.contract), each.ground, *map(str, (each.qty, each.owed, each.asked)), _left(each))
                for each in found
                if each.qty or each.owed
            ),
            empty=f"none; `{output.program()} capacity declare` says what you have machines for",
        ),
    )


def _backed(context: Context) -> list[http.CapacityAnswer]:
    return context.client().get("/v1/capacity", list[http.CapacityAnswer])


def _left(each: http.CapacityAnswer) -> str:
    return str(max(0, each.qty - each.owed - each.asked))


def _which_hours(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("--class", "class_id", type=CLASS, required=True, help="Of which class the machines are."),
            click.option("--from", "first", metavar="HOUR", required=True, help="The first hour, local time."),
            click.option("--hours", "count", type=click.IntRange(1, 1_024), required=True, help="How many hours."),
        )
    ):
        command = option(command)
    return command


@capacity.command()
@_which_hours
@click.option("--gpus", type=click.IntRange(min=1), required=True, help="So many in each hour, sold ones included.")
@pass_context
def declare(context: Context, class_id: str, first: str, count: int, gpus: int) -> None:
    """Say for how many GPUs you have machines in each of these hours.

    In all, and not in addition: twice the same changes nothing. It is what you may sell.
    """
    _put(context, class_id, first, count, gpus)


@capacity.command()
@_which_hours
@click.option("--keep", type=click.IntRange(min=0), default=0, show_default=True, help="So many GPUs stay declared.")
@pass_context
def withdraw(context: Context, class_id: str, first: str, count: int, keep: int) -> None:
    """Offer nothing more in these hours, or no more than --keep.

    Your asks beyond that are cancelled, blocks first, the dearest first. What you have sold stays owed: deliver it, or buy
    it back on the market.
    """
    _put(context, class_id, first, count, keep)


def _put(context: Context, class_id: str, first: str, count: int, gpus: int) -> None:
    span = span_of(context, first, count)
    assert span is not None
    symbols = {format_symbol(class_id, hour) for hour in span.hours}
    known = [each for each in _backed(context) if each.contract in symbols and each.ground == "declared"]
    if not gpus and not known:
        raise Refused(f"nothing of {class_id} is declared in {shown_span(span.first, span.count)}")
    body = http.CapacityRequest(
        class_id=class_id,
        from_hour=iso_hour(span.first),
        hours=span.count,
        ground="declared",
        qty=gpus,
        version=1 + max((each.version for each in known), default=0),
    )
    context.client().settle("PUT", "/v1/capacity", body)
    stands = [each for each in _backed(context) if each.contract in symbols and each.ground == "declared"]
    context.show(stands, lambda: _say(class_id, span, gpus, stands))


def _say(class_id: str, span: Span, gpus: int, stands: list[http.CapacityAnswer]) -> None:
    where = f"in one hour, {when(format_symbol(class_id, span.first))[1]}" if span.count == 1 else None
    output.console.print(
        f"{output.plural(gpus, 'GPU')} of {class_id} declared {where or f'in each of {shown_span(span.first, span.count)}'}"
    )
    beyond = [each for each in stands if each.owed > each.qty]
    if beyond:
        most = max(each.owed for each in beyond)
        output.console.print(
            f"  sold is more than that in {output.plural(len(beyond), 'hour')} (up to {most}): what is owed stays owed; "
            "deliver it, or buy it back"
        )


COMMANDS = (capacity,)
