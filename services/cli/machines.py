"""`hourbook machines`: a provider's own, who is heard, and when which of them is away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import click

from schemas import rental
from schemas.edge import iso_hour
from services.cli import output, times
from services.cli.context import Context, pass_context
from services.cli.errors import Refused, Unusable
from services.cli.hours import span_of


@click.group(invoke_without_command=True)
@click.pass_context
def machines(context: click.Context) -> None:
    """A provider's machines and their agents."""
    if context.invoked_subcommand is None:
        found = _mine(context.obj)
        context.obj.show(found, lambda: _show(found))


def _mine(context: Context) -> list[rental.MachineAnswer]:
    return context.client().get("/v1/machines", list[rental.MachineAnswer])


def _show(found: Iterable[rental.MachineAnswer]) -> None:
    output.table(
        "Machines",
        ("machine", "class", "inventory", "driver", "agent", ">seats", ">let", "?away", "?"),
        (
            (
                each.machine,
                each.class_id,
                each.source,
                each.driver,
                _heard(each),
                str(sum(seat.usable for seat in each.seats)),
                str(sum(bool(seat.lease) for seat in each.seats)),
                "; ".join(_shown(window) for window in each.maintenance),
                "retired" if each.retired else "",
            )
            for each in found
        ),
        empty="none; `hourbook agent` on a machine enrols it",
    )


def _heard(each: rental.MachineAnswer) -> str:
    if each.alive:
        return "alive"
    return "silent" if each.heard_s_ago < 0 else f"silent for {each.heard_s_ago} s"


def _shown(window: rental.MaintenanceWindow) -> str:
    return f"{times.shown_iso(window.from_hour)} to {times.shown_iso(window.until)}"


@machines.command()
@click.argument("machine")
@click.option("--from", "first", metavar="HOUR", help="Take it away from this hour on, local time; with --hours.")
@click.option("--hours", "count", type=click.IntRange(1, 744), help="For so many hours.")
@click.option("--back", metavar="HOUR", help="It is there again from this hour on: 'next', 'tomorrow 14:00'.")
@pass_context
def maintenance(context: Context, machine: str, first: str | None, count: int | None, back: str | None) -> None:
    """Take MACHINE away for hours to come, or bring it back.

    It is given to nobody then: whoever has it is warned and leaves when they begin. What you owe stays owed, and goes to your
    other machines where they have room. Without options: what is planned.
    """
    if back is not None and first is not None:
        raise Unusable("say --from and --hours to take it away, or --back to bring it back")
    planned = next((each.maintenance for each in _mine(context) if each.machine == machine), None)
    if planned is None:
        raise Refused(f"you have no machine {machine!r}; `{output.program()} machines` lists them")
    wanted = planned
    if back is not None:
        wanted = _until(planned, iso_hour(times.parse_hour(back, context.now())))
    elif (span := span_of(context, first, count, names=("--from", "--hours"))) is not None:
        window = rental.MaintenanceWindow(from_hour=iso_hour(span.first), until=iso_hour(span.first + span.count))
        wanted = (*planned, window)
    if wanted != planned:
        body = rental.MaintenanceRequest(windows=wanted)
        planned = (
            context.client().write("PUT", f"/v1/machines/{machine}/maintenance", body, rental.MachineAnswer).maintenance
        )
    context.show(planned, lambda: _say(machine, planned))


def _until(planned: Iterable[rental.MaintenanceWindow], back: str) -> tuple[rental.MaintenanceWindow, ...]:
    """What of it is before; hours as the API writes them have the order of their texts."""
    return tuple(
        rental.MaintenanceWindow(from_hour=window.from_hour, until=min(window.until, back))
        for window in planned
        if window.from_hour < back
    )


def _say(machine: str, planned: Iterable[rental.MaintenanceWindow]) -> None:
    lines = [f"{machine} is away {_shown(window)}" for window in planned]
    output.console.print("\n".join(lines) or f"{machine} is there in all hours to come")


COMMANDS: Final = (machines,)
