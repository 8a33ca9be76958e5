"""Previews for people."""

from __future__ import annotations

from schemas import http
from schemas.units import Hour
from services.cli import output
from services.cli.hours import shown_span, when


def say_preview(body: http.OrderRequest, told: http.PreviewAnswer) -> None:
    """Of an order in one hour."""
    say = output.console.print
    class_id, hour = when(told.contract)
    say(f"preview, nothing is placed: {body.side} {body.qty} × {class_id} at {body.price}, {hour}")
    word, total = _words(body.side)
    for level in told.levels:
        say(f"  {level.qty} at {level.price} = {level.notional} USD")
    if told.fills:
        rest = f" for {told.minutes} minutes" if told.minutes < 60 else ""
        say(f"  {word} {told.fills} at once{rest}, {told.average} on average; fee {told.fee}, {total} {told.total} USD")
    if told.rests:
        held = f", holding {told.hold} USD" if body.side == "buy" else ""
        say(f"  {told.rests} would wait in the book{held}")
    if not told.fills and not told.rests:
        say("  nothing would trade")
    for note in told.notes:
        say(f"  note: {note}")
    _say_funds(told.funds)
    _say_refusal(told.refusal)


def say_range_preview(body: http.RangeRequest, first: Hour, told: http.RangePreviewAnswer) -> None:
    """Of the same order in many hours."""
    say = output.console.print
    count = len(told.legs)
    say(
        f"preview, nothing is placed: {body.side} {body.qty} × {body.class_id} at {body.price}, {shown_span(first, count)}"
    )
    word, total = _words(body.side)
    if told.fills:
        average = f", {told.average} on average" if told.average else ""
        say(
            f"  {word} {output.plural(told.fills, 'GPU-hour')} at once{average}; fees {told.fee}, {total} {told.total} USD; "
            f"worst hour {when(told.worst)[1]}"
        )
    if told.rests:
        say(f"  {output.plural(told.rests, 'GPU-hour')} would wait in the book")
    reasons: dict[str, int] = {}
    for leg in told.legs:
        if leg.refusal is not None:
            words = f"{leg.refusal.title} ({leg.refusal.code}): {leg.refusal.detail}"
            reasons[words] = reasons.get(words, 0) + 1
    for words, hours in reasons.items():
        say(f"  {output.plural(hours, 'hour')} would be refused: {words}")
    _say_funds(told.funds)
    _say_refusal(told.refusal)


def say_block_preview(body: http.BlockRequest, first: Hour, told: http.BlockPreviewAnswer) -> None:
    """Of a block."""
    say = output.console.print
    say(
        f"preview, nothing is placed: {body.side} {body.qty} × {body.class_id} at {body.price} on average, "
        f"{shown_span(first, told.hours)}"
    )
    word, total = _words(body.side)
    if told.fills:
        blocks = f", {told.from_blocks} of them from a block of the same hours" if told.from_blocks else ""
        say(
            f"  {word} {told.fills} in each hour at once{blocks}, {told.average} on average; fees {told.fee}, "
            f"{total} {told.total} USD; worst hour {when(told.worst)[1]}"
        )
    if told.rests:
        held = f", holding {told.hold} USD" if body.side == "buy" else ""
        say(f"  {told.rests} in each hour would wait in the block book{held}")
    if not told.fills and not told.rests:
        say("  nothing would trade")
    if told.handovers is not None:
        say(
            f"  hand-overs: an estimate of {told.handovers.likely}, between {told.handovers.least} and "
            f"{told.handovers.most}: {told.handovers.basis}"
        )
    _say_funds(told.funds)
    _say_refusal(told.refusal)


def _words(side: str) -> tuple[str, str]:
    return ("buys", "costs") if side == "buy" else ("sells", "brings")


def _say_funds(funds: http.FundsPreview | None) -> None:
    if funds is not None:
        output.console.print(
            f"  needs {funds.needs} USD free; {funds.available} is, {funds.transfer} would come from the wallet ({funds.wallet})"
        )


def _say_refusal(refusal: http.RefusalAnswer | None) -> None:
    if refusal is not None:
        output.console.print(f"  would be refused: {refusal.title} ({refusal.code}): {refusal.detail}")
