"""Whether what was bought is what rentals allow, from the exchange's own fills: nobody asks the router."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from schemas.commands import Side
from schemas.ids import hour_of
from schemas.rentals_log import Terms, read_client_id
from tests.router.place import Fill


def faults(fills: Iterable[Fill], rentals: Mapping[int, tuple[int, Terms, int]]) -> list[str]:
    """`rentals`: number → (account, the widest terms that it ever had, market time of its stop or 0)."""
    found: list[str] = []
    bought: defaultdict[tuple[int, int], int] = defaultdict(int)
    sold: defaultdict[tuple[int, int], int] = defaultdict(int)
    spent: defaultdict[tuple[int, int], int] = defaultdict(int)
    for fill in fills:
        own = read_client_id(fill.client_id)
        assert own is not None, f"an order of nobody's: {fill}"
        account, terms, stopped_ms = rentals[own[0]]
        hour = hour_of(fill.contract)
        if fill.account != account:
            found.append(f"another account's: {fill}")
        if hour < terms.from_hour or (terms.hours and hour >= terms.from_hour + terms.hours):
            found.append(f"an hour outside: {fill}")
        if fill.side == Side.SELL:
            sold[own[0], hour] += fill.qty
            continue
        bought[own[0], hour] += fill.qty
        spent[own[0], hour // 24] += fill.cash
        if fill.price > terms.max_price:
            found.append(f"above {terms.max_price}: {fill}")
        if stopped_ms and fill.at_ms > stopped_ms:
            found.append(f"after the stop at {stopped_ms}: {fill}")
    for (rental, hour), qty in bought.items():
        if qty != rentals[rental][1].gpus:
            found.append(f"rental {rental} has bought {qty} GPUs of hour {hour}")
    for (rental, hour), qty in sold.items():
        if qty > bought[rental, hour]:
            found.append(f"rental {rental} has sold {qty} GPUs of hour {hour}, of {bought[rental, hour]}")
    for (rental, day), cash in spent.items():
        most = rentals[rental][1].max_spend
        if most and cash > most:
            found.append(f"rental {rental} has spent {cash} of {most} on day {day}")
    return found
