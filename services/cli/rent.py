"""`hourbook rent`: a standing instruction that keeps hours bought. What it costs is shown first, and asked about."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any, Final

import click
import msgspec

from schemas import feeds, http, rental
from schemas.edge import iso_hour
from schemas.units import Price, format_usd, parse_usd
from services.cli import output, times
from services.cli.context import Context, pass_context
from services.cli.errors import Refused, Unknown, Unusable
from services.cli.hours import CLASS, grid
from services.cli.rentals import say_rental

MARGIN_PERCENT: Final = 125
"""Of the dearest ask of the hours that are bought first: the limit of whoever names none."""
LOOK_AHEAD: Final = 6
ORDERED_S: Final = 15.0
"""Orders that are under way are waited for so long; the rental goes on in any case,"""
SHORT_S: Final = 2.0
"""and so long where something is missing as well."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The words of `rent`."""

    gpus: int
    class_ids: tuple[str, ...]
    now: bool
    first: str | None
    hours: int | None
    until_stopped: bool
    max_price: str | None
    max_spend: str | None
    look_ahead: int
    on_stop: rental.OnStop
    launch: str
    webhook: str
    preview: bool
    yes: bool
    client_id: str | None


@click.command()
@click.option("--gpus", type=click.IntRange(min=1), default=1, show_default=True, help="In every hour.")
@click.option(
    "--class", "class_ids", metavar="CLASS", type=CLASS, multiple=True, required=True,
    help="Any of these will do, where there are several.",
)  # fmt: skip
@click.option("--now", is_flag=True, help="From this hour on: what is left of it, at once.")
@click.option("--from", "first", metavar="HOUR", help=f"From an hour to come, local time: {times.EXAMPLES}.")
@click.option("--hours", type=click.IntRange(1, 8_760), help="So many hours of the clock, the first one included.")
@click.option("--until-stopped", is_flag=True, help="Until `hourbook stop`; so it is without --hours.")
@click.option(
    "--max-price", help="USD per GPU-hour, the most for any hour. Default: a quarter more than what is asked now."
)
@click.option("--max-spend", help="USD for the hours of one day (UTC). Default: as --max-price makes it.")
@click.option(
    "--look-ahead", type=click.IntRange(1, 24), default=LOOK_AHEAD, show_default=True,
    help="So many hours are always bought ahead, the one that runs included.",
)  # fmt: skip
@click.option(
    "--on-stop", type=click.Choice(["sell", "keep"]), default="sell", show_default=True,
    help="What becomes of hours bought ahead when it is stopped.",
)  # fmt: skip
@click.option("--launch", metavar="NAME", default="default", help="What its machines begin with (`hourbook launch`).")
@click.option("--webhook", metavar="URL", default="", help="Told what you must know of it; https.")
@click.option("--preview", is_flag=True, help="Say what it would cost now, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--id", "client_id", help="Your own word for it; the same again is harmless. Default: a random one.")
@pass_context
def rent(context: Context, /, **options: Any) -> None:  # noqa: ANN401 # click's, typed in Wanted
    """Keep GPUs: hours are bought now and ahead until `stop`.

    Or until --hours are over. Says what it costs and asks; `hourbook ssh` logs in.
    """
    wanted = Wanted(**options)
    if wanted.now == (wanted.first is not None):
        raise Unusable("say when it begins: --now, or --from 'tomorrow 14:00'")
    if wanted.until_stopped and wanted.hours:
        raise Unusable("--until-stopped and --hours are two: say one of them")
    if context.as_json and not (wanted.yes or wanted.preview):
        raise Unusable("with --json nothing is asked: add --yes, or look with --preview")
    body = _body(context, wanted)
    if wanted.preview or not wanted.yes:
        told = context.client().write("POST", "/v1/rentals/preview", body, rental.RentalPreviewAnswer)
        if wanted.preview:
            context.show(told, lambda: _say_preview(wanted, body, told))
            return
        _say_preview(wanted, body, told)
        click.confirm("rent it?", abort=True)
    made = _make(context, wanted, body)
    context.show(made, lambda: say_rental(made, body.max_price if wanted.max_price is None else ""))


def _body(context: Context, wanted: Wanted) -> rental.RentalRequest:
    """Raises CliError."""
    first = times.parse_hour(wanted.first, context.now()) if wanted.first else None
    from_hour = "" if first is None else iso_hour(first)
    window = min(wanted.look_ahead, wanted.hours or wanted.look_ahead)
    return rental.RentalRequest(
        classes=wanted.class_ids,
        gpus=wanted.gpus,
        max_price=wanted.max_price or _limit(context, wanted.class_ids, from_hour, window),
        max_spend=wanted.max_spend or "",
        from_hour=from_hour,
        hours=wanted.hours or 0,
        look_ahead=wanted.look_ahead,
        on_stop=wanted.on_stop,
        launch=wanted.launch,
        webhook=wanted.webhook,
    )


def _make(context: Context, wanted: Wanted, body: rental.RentalRequest) -> rental.RentalAnswer:
    """And wait a moment for what it buys. Raises Unknown with the command that learns the outcome."""
    key = wanted.client_id or uuid.uuid4().hex
    client = context.client()
    try:
        made = client.write("POST", "/v1/rentals", body, rental.RentalAnswer, key=key)
    except Unknown as error:
        sentence = f"{error.message}; without a second rental: the same command with --id {key}"
        answered = error.answered and msgspec.structs.replace(error.answered, detail=sentence)
        raise Unknown(sentence, answered=answered) from None
    began_s = time.monotonic()
    patience_s = {"waiting": ORDERED_S, "short": SHORT_S}
    while time.monotonic() - began_s < patience_s.get(made.state, 0):
        time.sleep(0.2)
        made = client.get(f"/v1/rentals/{made.rental}", rental.RentalAnswer)
    return made


# --- A limit for whoever names none -------------------------------------------------------------------------


def _limit(context: Context, class_ids: Iterable[str], from_hour: str, window: int) -> str:
    """A quarter more than the dearest ask of the first hours. Raises Refused where nobody asks."""
    client = context.client()
    found = [limit_of(grid(client, class_id), from_hour, window) for class_id in class_ids]
    dearest = max(found)
    if not dearest:
        raise Refused("nobody sells these hours just now; with --max-price the rental waits until somebody does")
    ticks = [parse_usd(client.get(f"/v1/classes/{class_id}", http.ClassAnswer).tick) for class_id in class_ids]
    return format_usd(rounded_up(dearest * MARGIN_PERCENT, 100 * max(ticks)) // 100)


def limit_of(rows: Iterable[feeds.GridRow], from_hour: str, window: int) -> Price:
    """µUSD, the dearest ask of `window` hours from `from_hour` on, the running one where that is empty; 0: nobody asks."""
    hours = [row for row in rows if row.phase in ("running", "forward") and row.hour >= from_hour][:window]
    return max((parse_usd(row.ask) for row in hours if row.ask), default=0)


def rounded_up(number: int, step: int) -> int:
    """To the next multiple."""
    return -(-number // step) * step


# --- In words -----------------------------------------------------------------------------------------------


def _say_preview(wanted: Wanted, body: rental.RentalRequest, told: rental.RentalPreviewAnswer) -> None:
    say = output.console.print
    until = f"until {times.shown_iso(told.ends_at)}" if told.ends_at else "until it is stopped"
    say(
        f"{output.plural(body.gpus, 'GPU')} of {' or '.join(body.classes)} from {times.shown_moment(told.starts_at)}, {until}"
    )
    if wanted.max_price is None:
        say(f"  at most {body.max_price} USD per GPU-hour: a quarter more than the dearest of what is asked now")
    else:
        say(f"  at most {body.max_price} USD per GPU-hour")
    for option in told.options:
        say(f"  {_option(option)}")
    say(f"  worst case: {told.per_day_most} USD a day; what stopping at once would lose: {told.stopping_now} USD")
    if told.handovers is not None and told.handovers.most:
        moved = told.handovers
        say(f"  hand-overs to expect: {moved.likely}, between {moved.least} and {moved.most}")
    if told.refusal:
        say(f"  nothing would be bought now: {told.refusal}")


def _option(option: rental.RentalOption) -> str:
    """One class: what it costs first and ahead, and what a cloud asks."""
    if not option.hours_found:
        return f"{option.class_id}: not to be had now"
    first = f"first hour {option.first_hour} USD" if option.first_hour else "the first hour cannot be had"
    found = f"{option.hours_found} of {output.plural(option.hours_wanted, 'hour')} ahead {option.window} USD"
    cloud = f"; {option.cloud_provider} lists {option.cloud_price} USD" if option.cloud_price else ""
    return f"{option.class_id}: {first}, {found}{cloud}; login within {output.plural(option.minutes_to_ssh, 'minute')}"
