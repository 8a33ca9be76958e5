"""`hourbook desk`: what the aggregator's own desk quotes, which limits hold it, and its share of volume.

From its own `/status`, found as `hourbook status` finds it; the share is what the gateway tells everybody. The desk is a member
like any other: what it knows of the market, everybody can know.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click
from msgspec import Struct

from schemas import http
from schemas.units import format_usd
from services.cli import output, status, times, volume
from services.cli.context import Context, pass_context
from services.cli.errors import CliError, Unreachable

NAME: Final = "market_maker"
_QUOTE: Final = "quote "
_LIMIT: Final = "limit "
"""Before the name of a limit: what it limits. Its numbers: docs/supply.md."""
_COUNTS: Final = ("quoted", "bids", "bid_gpus", "asks", "ask_gpus", "held_gpu_hours", "open_promises", "offers")


class Limit(Struct, frozen=True, kw_only=True):
    """One of the desk's limits. Units stand in its name: µUSD, ms, basis points, else GPUs or GPU-hours."""

    name: str
    what: str
    bound: int
    stands: int
    reached: bool
    since: str
    """UTC; empty: it is not reached."""
    why: str
    """What it forbids; empty likewise."""


class Desk(Struct, frozen=True, kw_only=True):
    """`hourbook --json desk`."""

    state: status.State
    waits_for: str
    worth: str
    """USD: its money and what its hours would bring."""
    day_begin: str
    """The same at the beginning of its day; empty: not known yet."""
    counts: dict[str, int]
    """quoted: classes; bids, asks: hours with one; bid_gpus, ask_gpus; held_gpu_hours; open_promises: sold and not covered."""
    quotes: dict[str, str]
    """Class → what its quote rests on, or why there is none."""
    limits: tuple[Limit, ...]
    """Each as it stands; empty: the desk has not quoted yet."""
    reached: tuple[str, ...]
    """Limits that pull its quotes just now."""
    last_refusal: str
    volume: http.VolumeAnswer | None
    """None: the gateway does not answer."""


def read(context: Context) -> Desk:
    """Raises Unreachable where no desk is known of."""
    found = next((each for each in status.read().processes if each.name == NAME), None)
    if found is None:
        raise Unreachable("this exchange runs no desk; `hourbook status` lists what runs")
    told = found.details
    limits = tuple(_limit(name, what, told) for name, what in _named(told, _LIMIT).items())
    return Desk(
        state=found.state,
        waits_for=found.waits_for,
        worth=_usd(told.get("worth_micros", 0)),
        day_begin=_usd(told.get("day_begin_micros", 0)) if told.get("day_begin_micros") else "",
        counts={name: int(told[name]) for name in _COUNTS if name in told},
        quotes=_named(told, _QUOTE),
        limits=limits,
        reached=tuple(each.why for each in limits if each.reached),
        last_refusal=str(told.get("last_refusal", "")),
        volume=_volume(context),
    )


def _volume(context: Context) -> http.VolumeAnswer | None:
    """What the desk does is worth knowing most when the gateway is away."""
    try:
        return volume.read(context.client())
    except CliError:
        return None


def _named(told: dict[str, int | float | str | bool], prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): str(value) for key, value in sorted(told.items()) if key.startswith(prefix)}


def _limit(name: str, what: str, told: dict[str, int | float | str | bool]) -> Limit:
    since_ms = int(told[f"limit_{name}_since_ms"])
    return Limit(
        name=name,
        what=what,
        bound=int(told[f"limit_{name}_bound"]),
        stands=int(told[f"limit_{name}_stands"]),
        reached=bool(told[f"limit_{name}_reached"]),
        since=f"{datetime.fromtimestamp(since_ms / 1_000, UTC):%Y-%m-%dT%H:%M:%SZ}" if since_ms else "",
        why=str(told[f"limit_{name}_why"]),
    )


def _usd(micros: float | str) -> str:
    return format_usd(int(micros))


@click.command()
@pass_context
def desk(context: Context) -> None:
    """What the desk quotes, its limits, its share of volume."""
    found = read(context)
    context.show(found, lambda: _show(found))


def _show(found: Desk) -> None:
    say = output.console.print
    counts = found.counts
    say(f"The desk: {found.state}" + (f", waits for {found.waits_for}" if found.waits_for else ""))
    say(
        f"  worth {found.worth} USD"
        + (f" ({found.day_begin} at the beginning of its day)" if found.day_begin else "")
        + f"; holds {output.plural(counts.get('held_gpu_hours', 0), 'GPU-hour')}, "
        f"has promised and not covered {counts.get('open_promises', 0)}"
    )
    say(
        f"  bids for {output.plural(counts.get('bid_gpus', 0), 'GPU')} in {output.plural(counts.get('bids', 0), 'hour')}, "
        f"asks for {output.plural(counts.get('ask_gpus', 0), 'GPU')} in {output.plural(counts.get('asks', 0), 'hour')}"
    )
    say(f"  its share of volume: {_share(found.volume)}")
    output.table("Quotes", ("class", "rests on"), found.quotes.items(), empty="none yet")
    output.table(
        "Limits",
        ("what", ">stands", ">bound", "reached since", "limit"),
        (
            (
                each.what,
                _shown(each.name, each.stands),
                _shown(each.name, each.bound),
                times.shown_moment(each.since) if each.since else "-",
                each.name,
            )
            for each in found.limits
        ),
        empty="not known yet",
    )
    say("limits reached: " + ("; ".join(found.reached) or "none"))
    if found.last_refusal:
        say(f"last refusal: {found.last_refusal}")


def _shown(name: str, number: int) -> str:
    """In the unit that a limit's name ends with."""
    match name.rpartition("_")[2]:
        case "micros":
            return f"{format_usd(number)} USD"
        case "ms":
            return f"{number / 1_000:g} s"
        case "bp":
            return output.percent(number)
        case _:
            return f"{number:,}"


def _share(found: http.VolumeAnswer | None) -> str:
    if found is None:
        return "not known, the gateway does not answer"
    return "; ".join(f"{volume.share(each.total)} in the last {each.hours} hours" for each in found.periods)
