"""What is measured, what is wanted of it, and what is inside. One module of this package per name."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

Line = dict[str, Any]
"""A bench's JSON line, decoded."""


class Figure(NamedTuple):
    """One line of the table. Exactly one of `at_least` and `at_most` is set; `aim` is what would be better still."""

    name: str
    title: str
    inside: str
    """One sentence."""
    by: str = "ratio"
    """Judged by `ratio` or by `ours`."""
    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None
    compiled: bool = False
    """Our side on the build of `make compile`."""

    @property
    def key(self) -> str:
        """As it is called among the others."""
        return f"{self.name}, compiled" if self.compiled else self.name

    @property
    def command(self) -> list[str]:
        """After the interpreter's name."""
        return ["-m", f"bench.{self.name}", *(["--compiled"] if self.compiled else [])]

    def reached(self, line: Line) -> bool:
        """Whether the target holds."""
        value = line[self.by]
        if self.at_least is not None:
            return bool(value >= self.at_least)
        assert self.at_most is not None
        return bool(value <= self.at_most)

    def target(self) -> str:
        """As the table shows it."""
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        aim = f" (aim {self.aim:g})" if self.aim is not None else ""
        return f"{self.by} {sign} {bound:g}{aim}"


_MEASURED = (
    Figure(
        "engine",
        "engine, commands per second of processor time",
        "accounts, holds, fees, titles, escrow, repeats and events on, against PyPI `matching-engine` on its own order flow, "
        "which has none of these; ready-made commands in both, no encoding",
        at_least=0.8,
        aim=1.2,
    ),
    Figure(
        "blocks",
        "blocks over 24 hours, per second of processor time",
        "immediate blocks against books 20 levels deep, 24 or 48 fills each, with funds, averages, titles and events",
        by="ours",
        at_least=5_000.0,
    ),
    Figure(
        "pipeline",
        "commands through Kafka, per second",
        "`commands` → matching as deployed → `events` on one partition of Apache Kafka, 64 commands in a record, against a bare "
        "aiokafka loop that copies records of one command",
        at_least=0.45,
        aim=0.75,
    ),
    Figure(
        "reprice",
        "milliseconds of processor time to reprice 12 classes of 168 hours",
        "from the bytes of the moved offers to those of the twelve requests: views, sizes, promises and quotes of 2,016 hours",
        by="ours",
        at_most=250.0,
    ),
    Figure(
        "order_ack",
        "order → acknowledgement over HTTP, p50",
        "one client, funded, through gateway, Kafka and matching with settlement and standbys running, against two bare hops of "
        "Kafka on the same broker in the same run",
        at_most=2.5,
    ),
    Figure(
        "order_rate",
        "orders a second over HTTP from 64 connections",
        "64 members, one order under way each, half rest and half trade in two shards, through gateway, Kafka, matching with "
        "settlement and standbys running, against the gateway of `matching-engine` with the same connections",
        at_least=0.7,
    ),
    Figure(
        "batch_rate",
        "orders a second over HTTP in batches of 64 from 64 connections",
        "the same with `POST /v1/orders/batch`; the peer takes one order in a request",
        at_least=3.0,
    ),
    Figure(
        "time_to_shell",
        "seconds from a rental that begins now to a shell, 95th percentile",
        "one tenant, one rental after the other; the exchange with delivery and router, and an agent with its driver `open`, on "
        "one machine; login by SSH; the parts and the median are in the JSON line",
        by="ours",
        at_most=10.0,
    ),
    Figure(
        "settlement",
        "fills settled per second",
        "from the bytes of `events` to committed postings, balances, orders, fills, titles and claims, against a bare loop that "
        "copies the same postings and updates the same balances",
        at_least=0.5,
    ),
    Figure(
        "restart",
        "a shard with 100,000 resting orders, from its snapshot",
        "processor time of file, checksum, load and comparison of the state hash, with 10,000 fills' titles and 120,000 client "
        "ids; without the interpreter's start",
        by="ours",
        at_most=2.0,
    ),
    Figure(
        "replay",
        "replay of a log, commands per second of processor time",
        "decode, apply, seal and compare the chain of every record, against the engine alone on the same commands",
        at_least=0.5,
    ),
    Figure(
        "feed_rebuild",
        "levels of a book told and rebuilt per second of processor time",
        "records of a million commands → market data as deployed, with every account's holdings → WebSocket → a client that "
        "rebuilds the book; equal to the book at every checksum",
        by="ours",
        at_least=20_000.0,
    ),
    Figure(
        "assignment",
        "hand-overs of a week, against a lower bound",
        "10,000 machines of 50 providers, 168 hours, 20,000 positions; only lots of equal cost are exchanged; the bound is a "
        "linear program over a day at a time that knows nothing of the solver",
        at_most=1.05,
    ),
    Figure(
        "memory",
        "bytes per resting order",
        "orders, levels and every index, from empty books to 100,000 resting orders; entries for client ids are apart",
        by="ours",
        at_most=400.0,
    ),
)

COMPILED: Final = ("engine", "blocks", "pipeline", "replay")
"""Measured twice: as sources, and on the build of `make compile`."""

FIGURES: Final = tuple(
    variant
    for figure in _MEASURED
    for variant in (figure, *([figure._replace(compiled=True)] if figure.name in COMPILED else []))
)
