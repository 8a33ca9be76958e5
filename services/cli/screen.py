"""The sandbox's screen: what runs, what the market shows, what to type next."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from schemas import http
from services.cli import times
from services.cli.client import Client
from services.cli.errors import CliError
from services.cli.member import next_open
from services.runtime.infra import Life

EXAMPLE: Final = "H100.SXM.80.US"
_LAST_PRICE: Final = "3.60"
_MARKET_EVERY_S: Final = 3.0
"""The market is asked less often than processes are looked at: on a small machine asking costs what trading needs."""


def suggestions(price: str, program: str) -> list[str]:
    """Commands that work when typed as they stand, in the same folder."""
    return [
        f"{program} book {EXAMPLE}",
        f"{program} buy 2 {EXAMPLE} --price {price}",
        f"{program} positions",
        f"{program} ledger",
        f"{program} sell 1 {EXAMPLE} --price {price}",
        f"{program} balance",
        f"{program} status",
        f"{program} audit --young",
    ]


def best_ask(client: Client, class_id: str = EXAMPLE) -> http.ContractAnswer | None:
    """The next open hour, when somebody asks in it."""
    first = next_open(client.get("/v1/contracts", list[http.ContractAnswer], class_=class_id))
    return first if first is not None and first.ask else None


def watch(url: str, client: Client, program: str, poll: Callable[[], list[Life]], *, quiet: bool) -> None:
    """Draw for ever; where the output is no terminal, say once what there is to say; `quiet`: not even that."""
    screen = Console(highlight=False, markup=False, emoji=False)
    market, asked_s = _market(client), time.monotonic()
    if quiet or not screen.is_terminal:
        if not quiet:
            screen.print(f"open at {url}; ephemeral: everything is gone when it stops", soft_wrap=True)
            screen.print("\n".join(suggestions(market[1], program)), soft_wrap=True)
        while True:
            poll()
            time.sleep(0.2)
    with Live(_draw(url, poll(), market, program), console=screen, auto_refresh=False) as live:
        while True:
            lives = poll()
            time.sleep(0.5)
            if time.monotonic() - asked_s >= _MARKET_EVERY_S:
                market, asked_s = _market(client), time.monotonic()
            live.update(_draw(url, lives, market, program), refresh=True)


def _draw(url: str, lives: list[Life], market: tuple[Table | Text, str], program: str) -> Group:
    """One picture."""
    running = Text()
    for life in lives:
        running.append(f"{life.name} ", style="green" if life.running else "bold red")
    table, price = market
    typed = Text("\n".join(suggestions(price, program)), style="bold")
    return Group(
        Panel(
            running, title=f"Hourbook sandbox · {url} · ephemeral: everything is gone after Ctrl-C", title_align="left"
        ),
        Panel(table, title="Next open hour of each class, USD per GPU-hour", title_align="left"),
        Panel(typed, title="In a second terminal, from this folder", title_align="left"),
        Text(
            "Simulated: money (faucet), delivery (hourbook admin deliver). Prices are recorded list prices of real clouds "
            "(hourbook supply) plus the desk's margin. Ctrl-C stops everything.",
            style="dim",
        ),
    )


def _market(client: Client) -> tuple[Table | Text, str]:
    """A table, and the price of the example."""
    try:
        return _table(client)
    except CliError as error:
        return Text(error.message), _LAST_PRICE


def _table(client: Client) -> tuple[Table, str]:
    table = Table(box=None, pad_edge=False)
    for column in ("class", "hour", "bid", "ask", "GPUs"):
        table.add_column(column, justify="left" if column in ("class", "hour") else "right")
    price = _LAST_PRICE
    for each in client.get("/v1/classes", list[http.ClassAnswer]):
        first = next_open(client.get("/v1/contracts", list[http.ContractAnswer], class_=each.class_id))
        if first is None:
            continue
        if each.class_id == EXAMPLE and first.ask:
            price = first.ask
        table.add_row(
            each.class_id,
            times.shown_iso(first.hour),
            first.bid or "-",
            first.ask or "-",
            str(first.ask_qty) if first.ask else "",
        )
    return table, price
