"""`hourbook volume`: how much is traded, and the desk's part of it, which is public."""

from __future__ import annotations

import click

from schemas import http
from services.cli import output, times
from services.cli.client import Client
from services.cli.context import Context, pass_context


@click.command()
@pass_context
def volume(context: Context) -> None:
    """What was traded, and the desk's share of it.

    In the last 24 hours and the last 168, by class.
    """
    found = read(context.client())
    context.show(found, lambda: _show(found))


def read(client: Client) -> http.VolumeAnswer:
    """Raises CliError."""
    return client.get("/v1/volume", http.VolumeAnswer)


def share(row: http.VolumeRow) -> str:
    """`12.5 % of 1,024 GPU-hours`."""
    return f"{output.percent(row.desk_share_bp)} of {gpu_hours(row.gpu_minutes)} GPU-hours"


def gpu_hours(minutes: int) -> str:
    """`1,024`, `0.5`."""
    return f"{minutes / 60:,.2f}".rstrip("0").rstrip(".")


def _show(found: http.VolumeAnswer) -> None:
    for period in found.periods:
        rows = [*period.classes, period.total] if period.classes else []
        output.table(
            f"Last {period.hours} hours, since {times.shown_iso(period.since)}",
            ("class", ">GPU-hours", ">USD", ">the desk's", ">USD", ">share"),
            (
                (
                    row.class_id or "all",
                    gpu_hours(row.gpu_minutes),
                    row.notional,
                    gpu_hours(row.desk_gpu_minutes),
                    row.desk_notional,
                    output.percent(row.desk_share_bp),
                )
                for row in rows
            ),
            empty="nothing was traded",
        )
