"""Which hours a command is about: one, the running one, or several from one on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click
from msgspec import Struct

from schemas import feeds, http
from schemas.ids import format_symbol, parse_symbol
from schemas.units import Hour
from services.cli import times
from services.cli.client import Client
from services.cli.context import Context
from services.cli.errors import Refused, Unusable


class ClassId(click.ParamType[str]):
    """A class, or one of its contracts by symbol; both are upper case however they are typed."""

    name = "class"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002 # click's
        """Upper case."""
        return str(value).strip().upper()


CLASS = ClassId()
hour_option = click.option("--hour", help=f"Delivery hour, local time: {times.EXAMPLES}. Default: the next open one.")


def span_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--hours and --for."""
    several = click.option(
        "--hours", "first", metavar="HOUR", help="The first of several hours, local time; with --for."
    )
    return several(
        click.option("--for", "count", type=click.IntRange(1, 1_024), help="How many hours, with --hours.")(command)
    )


class Span(Struct, frozen=True):
    """Hours in a row."""

    first: Hour
    count: int

    @property
    def hours(self) -> range:
        """Each of them."""
        return range(self.first, self.first + self.count)


def span_of(
    context: Context,
    first: str | None,
    count: int | None,
    client: str = "member",
    names: tuple[str, str] = ("--hours", "--for"),
) -> Span | None:
    """None: one hour is meant. `names`: of the two options. Raises CliError."""
    if (first is None) != (count is None):
        raise Unusable(f"{names[0]} and {names[1]} go together: {names[0]} 'tomorrow 20:00' {names[1]} 24")
    if first is None or count is None:
        return None
    return Span(times.parse_hour(first, context.now(client)), count)


def contract_of(context: Context, class_id: str, hour: str | None) -> str:
    """The symbol of a class and an hour in people's words; no hour: the next one whose gate is open. Raises Unusable."""
    if class_id.endswith("-USD"):
        if hour is not None:
            raise Unusable(f"{class_id} names its hour already: leave --hour out, or name the class only")
        return class_id
    if hour is not None and hour.strip().lower() not in ("now", "next"):
        return format_symbol(class_id, times.parse_hour(hour, context.now()))
    open_one = next_open(contracts(context.client(), class_id))
    if open_one is None:
        raise Refused(f"no hour of {class_id} is open; `hourbook book` shows where one is")
    return open_one.contract


def running_contract(context: Context, class_id: str) -> str:
    """The contract whose hour runs. Raises Refused, Unusable."""
    if class_id.endswith("-USD"):
        raise Unusable(f"{class_id} names its hour already: --now goes with a class")
    hours = contracts(context.client(), class_id)
    running = next((each for each in hours if each.phase == "running"), None)
    if running is None:
        raise Refused(_none_runs(context.client(), class_id, next_open(hours)))
    return running.contract


def _none_runs(client: Client, class_id: str, following: http.ContractAnswer | None) -> str:
    """And from when on one does."""
    if following is None:
        return f"no hour of {class_id} is listed that is to come; `hourbook book` shows where one is"
    gate = timedelta(minutes=client.get(f"/v1/classes/{class_id}", http.ClassAnswer).gate_minutes)
    since = f"{datetime.fromisoformat(following.hour) - gate:%Y-%m-%dT%H:%M:%SZ}"
    return (
        f"no hour of {class_id} is sold just now: of the one that ends the last minutes are not, the next is from "
        f"{times.shown_moment(since)} on; ahead with --hour 'in 3 hours'"
    )


def contracts(client: Client, class_id: str) -> list[http.ContractAnswer]:
    """Listed hours of a class."""
    return client.get("/v1/contracts", list[http.ContractAnswer], class_=class_id)


def grid(client: Client, class_id: str) -> list[feeds.GridRow]:
    """The same with their prices."""
    return client.get(f"/v1/classes/{class_id}/grid", feeds.Grid).rows


def next_open(hours: list[http.ContractAnswer]) -> http.ContractAnswer | None:
    """The first whose gate is open."""
    return next((hour for hour in hours if hour.phase == "forward"), None)


def when(symbol: str) -> tuple[str, str]:
    """Class, and hour for people."""
    class_id, hour = parse_symbol(symbol)
    return class_id, times.shown(hour)


def shown_span(first: Hour, count: int) -> str:
    """`24 hours, Thu 26 Nov 20:00 (19:00 UTC) to Fri 27 Nov 20:00 (19:00 UTC)`."""
    return f"{count} hours, {times.shown(first)} to {times.shown(first + count)}"
