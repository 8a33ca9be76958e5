"""`hourbook income`: what sold hours bring, and what has been paid."""

from __future__ import annotations

import click

from schemas import http
from schemas.edge import iso_hour
from services.cli import output, times
from services.cli.context import Context, pass_context


@click.command()
@click.option("--before", metavar="HOUR", help="Of hours before this one, local time; they may be over.")
@click.option("--limit", type=click.IntRange(1, 500), default=30, show_default=True)
@pass_context
def income(context: Context, before: str | None, limit: int) -> None:
    """What your sold hours bring, newest first.

    Expected is what you get, fees taken off, if every minute is delivered; paid is what is in your wallet.
    """
    until = iso_hour(times.parse_any_hour(before, context.now())) if before else ""
    found = context.client().get("/v1/income", list[http.IncomeAnswer], before=until, limit=limit)
    context.show(
        found,
        lambda: output.table(
            "Income, USD",
            ("class", "hour", "state", ">GPUs", ">minutes", ">delivered", ">allowed", ">not", ">expected", ">paid"),
            (
                (
                    each.class_id,
                    times.shown_iso(each.starts_at),
                    each.state,
                    *map(str, (each.gpus, each.minutes, each.delivered, each.allowance, each.undelivered)),
                    each.expected,
                    each.paid,
                )
                for each in found
            ),
            empty="none; sell hours that you have machines for, with `hourbook capacity declare` and `hourbook sell`",
        ),
    )


COMMANDS = (income,)
