"""The sandbox's screen: what runs, what the market shows, what to type next."""

from __future__ import annotations

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from schemas import http
from services.cli import times
from services.cli.client import Client
from services.cli.errors import CliError
from services.cli.stack import Stack
from services.runtime.infra import Supervisor

EXAMPLE = "H100.SXM.80.US"
NAMES = ("settlement", "gateway", "supply", "market_maker")


def suggestions(price: str) -> list[str]:
    """Commands that work when typed as they stand, in the project's folder."""
    return [
        f".venv/bin/hourbook book {EXAMPLE}",
        f".venv/bin/hourbook buy 2 {EXAMPLE} --price {price}",
        ".venv/bin/hourbook positions",
        ".venv/bin/hourbook ledger",
        f".venv/bin/hourbook sell 1 {EXAMPLE} --price {price}",
        ".venv/bin/hourbook balance",
        ".venv/bin/hourbook status",
        ".venv/bin/hourbook audit --young",
    ]


def best_ask(client: Client, class_id: str = EXAMPLE) -> http.ContractAnswer | None:
    """The next open hour, when somebody asks in it."""
    hours = client.get("/v1/contracts", list[http.ContractAnswer], class_=class_id)
    first = next((hour for hour in hours if hour.phase == "forward"), None)
    return first if first is not None and first.ask else None


def draw(stack: Stack, supervisor: Supervisor, client: Client) -> Group:
    """One picture."""
    running = Text()
    names = [*NAMES, *(f"matching-{shard}{letter}" for shard in range(stack.shards) for letter in "ab")]
    for name in names:
        alive = supervisor.is_running(name)
        running.append(f"{name} ", style="green" if alive else "bold red")
    market: Table | Text
    try:
        market, price = _market(client)
    except CliError as error:
        market, price = Text(error.message), "2.60"
    typed = Text("\n".join(suggestions(price)), style="bold")
    return Group(
        Panel(
            running,
            title=f"Hourbook sandbox · {stack.url} · ephemeral: everything is gone after Ctrl-C",
            title_align="left",
        ),
        Panel(market, title="Next open hour of each class, USD per GPU-hour", title_align="left"),
        Panel(typed, title="In a second terminal, from this folder", title_align="left"),
        Text(
            "Simulated: money (faucet), delivery (hourbook admin deliver). Prices are recorded list prices of real clouds "
            "(hourbook supply) plus the desk's margin. Ctrl-C stops everything.",
            style="dim",
        ),
    )


def _market(client: Client) -> tuple[Table, str]:
    table = Table(box=None, pad_edge=False)
    for column in ("class", "hour", "bid", "ask", "GPUs"):
        table.add_column(column, justify="left" if column in ("class", "hour") else "right")
    price = "2.60"
    for each in client.get("/v1/classes", list[http.ClassAnswer]):
        hours = client.get("/v1/contracts", list[http.ContractAnswer], class_=each.class_id)
        first = next((hour for hour in hours if hour.phase == "forward"), None)
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
