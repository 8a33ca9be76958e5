"""Rentals that there are: `hourbook rentals`, `change` and `stop`. Making one: `rent`."""

from __future__ import annotations

from typing import Final

import click

from schemas import rental
from services.cli import output, times
from services.cli.client import Client
from services.cli.context import Context, pass_context
from services.cli.errors import Refused, Unusable
from services.cli.hours import when


class RentalId(click.ParamType[str]):
    """A rental's number."""

    name = "rental"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Digits, so that no path is made of anything else."""
        text = str(value).strip()
        if not text.isascii() or not text.isdigit():
            self.fail(f"{text!r} is not a rental's number; `{output.program()} rentals` lists them", param, ctx)
        return text


RENTAL: Final = RentalId()


@click.command()
@click.argument("number", metavar="[RENTAL]", type=RENTAL, required=False)
@pass_context
def rentals(context: Context, number: str | None) -> None:
    """Your rentals, or one of them hour by hour."""
    if number is not None:
        one = context.client().get(f"/v1/rentals/{number}", rental.RentalAnswer)
        context.show(one, lambda: say_rental(one))
        return
    found = context.client().get("/v1/rentals", list[rental.RentalAnswer])
    context.show(
        found,
        lambda: output.table(
            "Rentals",
            ("rental", "class", ">GPUs", "state", "bought until", ">most", ">cost", "?what you must know"),
            (
                (
                    each.rental,
                    " or ".join(each.request.classes),
                    str(each.request.gpus),
                    each.state,
                    times.shown_iso(each.bought_until) if each.bought_until else "-",
                    each.request.max_price,
                    each.cost,
                    each.notice,
                )
                for each in found
            ),
            empty=f"none; `{output.program()} rent --class CLASS --now` makes one",
        ),
    )


@click.command()
@click.argument("number", metavar="[RENTAL]", type=RENTAL, required=False)
@click.option("--sell", "choice", flag_value="sell", help="Sell the hours bought ahead again.")
@click.option("--keep", "choice", flag_value="keep", help="Keep them to their end.")
@pass_context
def stop(context: Context, number: str | None, choice: rental.OnStop | None) -> None:
    """Stop a rental: nothing more is bought. Without RENTAL: the only one.

    Of hours bought ahead what --sell or --keep says, else what was said when it was made. The hour that runs is yours to its end.
    """
    number = number or _only(context.client())
    body = rental.RentalStop(on_stop=choice)
    done = context.client().write("POST", f"/v1/rentals/{number}/stop", body, rental.RentalAnswer)
    context.show(done, lambda: say_rental(done))


@click.command()
@click.argument("number", metavar="[RENTAL]", type=RENTAL, required=False)
@click.option("--max-price", default="", help="USD per GPU-hour, the most for any hour.")
@click.option("--max-spend", help="USD for the hours of one day (UTC); '' for no limit.")
@click.option("--look-ahead", type=click.IntRange(1, 24), help="So many hours are always bought ahead.")
@click.option(
    "--hours", type=click.IntRange(0, 8_760), help="So many in all, from its first on; 0: until it is stopped."
)
@click.option("--on-stop", type=click.Choice(["sell", "keep"]), help="What becomes of them when it is stopped.")
@click.option("--webhook", metavar="URL", help="'' for none.")
@pass_context
def change(
    context: Context,
    number: str | None,
    max_price: str,
    max_spend: str | None,
    look_ahead: int | None,
    hours: int | None,
    on_stop: rental.OnStop | None,
    webhook: str | None,
) -> None:
    """Change a rental's limits; what is bought stays bought.

    Or how long it goes on, down to what is bought. Without RENTAL: the only one.
    """
    body = rental.RentalChange(
        max_price=max_price, max_spend=max_spend, look_ahead=look_ahead, hours=hours, on_stop=on_stop, webhook=webhook
    )
    if body == rental.RentalChange():
        raise Unusable("say what is to change: --max-price, --max-spend, --look-ahead, --hours, --on-stop, --webhook")
    number = number or _only(context.client())
    done = context.client().write("PATCH", f"/v1/rentals/{number}", body, rental.RentalAnswer)
    context.show(done, lambda: say_rental(done))


def _only(client: Client) -> str:
    """The one that buys. Raises Refused, Unusable."""
    found = client.get("/v1/rentals", list[rental.RentalAnswer])
    going_on = [each.rental for each in found if not each.stopped_at and each.state != "over"]
    if not going_on:
        raise Refused("no rental of yours goes on; `hourbook rentals` lists them")
    if len(going_on) > 1:
        raise Unusable(f"which one: {', '.join(going_on)}? `hourbook rentals` shows them")
    return going_on[0]


def say_rental(one: rental.RentalAnswer, default_price: str = "") -> None:
    """As it stands, hour by hour. `default_price`: the limit, where the program has chosen it."""
    say, me = output.console.print, output.program()
    say(
        f"rental {one.rental}: {output.plural(one.request.gpus, 'GPU')} of {' or '.join(one.request.classes)}, {one.state}"
    )
    chosen = " (a quarter more than the dearest of what was asked)" if default_price else ""
    say(
        f"  at most {one.request.max_price} USD per GPU-hour{chosen}, {one.cost_per_day_most} USD a day; cost so far {one.cost}"
    )
    if one.bought_until:
        say(f"  bought until {times.shown_iso(one.bought_until)}")
    if one.notice:
        say(f"  note: {one.notice}")
    output.table(
        "",
        ("hour", "class", "state", ">GPUs", ">minutes", ">price", ">cost", "?>returned", "?why"),
        (
            (
                times.shown_iso(each.starts_at), when(each.contract)[0], each.state, str(each.gpus), str(each.minutes),
                each.price or "-", each.cost, each.returned if each.returned != "0.00" else "", each.why,
            )
            for each in one.hours
        ),
        empty="  no hours yet",
    )  # fmt: skip
    if not one.stopped_at and one.state != "over":
        say(f"log in with: {me} ssh; stop with: {me} stop {one.rental}")


COMMANDS: Final = (rentals, change, stop)
