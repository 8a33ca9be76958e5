"""A day of faults, a night of peace, and the verdict; many of them in several processes."""

from __future__ import annotations

import hashlib
import os
import traceback
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

from msgspec import Struct
from rich.console import Console
from rich.progress import track

from tests.simulation.bounds import bounds
from tests.simulation.exchange import Exchange
from tests.simulation.faults import Trouble
from tests.simulation.judge import Judge
from tests.simulation.surroundings import surroundings
from tests.simulation.world import START_MS

STEPS: Final = 30_000
FAULT_EVERY: Final = 900
"""Steps, on average."""
HEAL_MS: Final = 180_000
TRACE_SHOWN: Final = 60


class Day(Struct):
    """What came out of one seed."""

    seed: int
    failure: str = ""
    """Empty: nothing was wrong."""
    digest: str = ""
    """Of every record of every log, and of every row."""
    counted: dict[str, Counter[str]] = {}
    """By table: faults, endings, answers, events, invariants looked at."""


def random_day(seed: int, steps: int = STEPS, fault_every: int = FAULT_EVERY) -> Day:
    """One seed, from its first step to its verdict; what is wrong is said and not raised."""
    with surroundings(), bounds(seed):
        exchange = Exchange(seed)
        try:
            judge = _live_through(exchange, steps, fault_every)
        except BaseException as error:  # noqa: BLE001 # it is the day's result; the caller raises it with the seed
            return Day(seed, failure=_told(exchange, steps, error), counted=_counted(exchange))
        finally:
            exchange.close()
        return Day(seed, digest=_digest(exchange), counted=_counted(exchange, judge))


def random_days(seeds: Iterable[int], steps: int = STEPS) -> list[Day]:
    """Each seed's day, in as many processes as there are processors."""
    seeds = list(seeds)
    workers = min(os.cpu_count() or 1, 4, len(seeds))
    if workers == 1:
        return [random_day(seed, steps) for seed in seeds]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            days = pool.map(random_day, seeds, [steps] * len(seeds), chunksize=5)
            return list(track(days, "random days", len(seeds), console=Console(stderr=True)))
        except BaseException:  # a time-out: whoever waits must not wait for the rest
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _live_through(exchange: Exchange, steps: int, fault_every: int) -> Judge:
    trouble, when = Trouble(exchange), exchange.world.chance("when")
    opened = False
    while exchange.world.steps < steps:
        assert exchange.world.step(), "everything waits for ever"
        if when.random() * (fault_every if opened else 5 * fault_every) < 1:
            trouble.make()
        if exchange.world.steps % 50 == 0:
            exchange.check_bounds()
            opened = opened or exchange.has_opened()
    trouble.calm()
    _heal(exchange)
    judge = Judge(exchange)
    judge.verdict()
    return judge


def _heal(exchange: Exchange) -> None:
    """L1: faults stop, members begin nothing new; in bounded time everything is answered and settled."""
    exchange.close_market()
    until_ms = exchange.world.now_ms + HEAL_MS
    while exchange.world.now_ms < until_ms:
        for _ in range(50):
            assert exchange.world.step(), "everything waits for ever"
        if exchange.at_rest():
            return
    raise AssertionError(f"L1: not within {HEAL_MS} ms of healing: {exchange.unrest()}")


def _told(exchange: Exchange, steps: int, error: BaseException) -> str:
    lines = [
        *traceback.format_exception(error)[-6:],
        f"step {exchange.world.steps}, {exchange.world.now_ms - START_MS} ms; the last lines of the trace:",
        *list(exchange.world.trace)[-TRACE_SHOWN:],
        f"{type(error).__name__}: {error}",
        f"again: HOURBOOK_SEED={exchange.world.seed} HOURBOOK_STEPS={steps} make sim",
    ]
    return "\n".join(line.rstrip() for line in lines)


def _digest(exchange: Exchange) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for topic in [*exchange.topics, exchange.quarantine]:
        for record in topic.all():
            digest.update(repr((topic.name, topic.partition, *record)).encode())
    digest.update(repr(exchange.database.postings).encode())
    for name, table in exchange.database.tables.items():
        digest.update(repr((name, list(table.values()))).encode())
    return digest.hexdigest()


def _counted(exchange: Exchange, judge: Judge | None = None) -> dict[str, Counter[str]]:
    faults = Counter(exchange.did)
    for source in (*exchange.topics, exchange.database, *exchange.disks.values()):
        faults.update(source.did)
    counted = {"done to the exchange": faults, "told to members": exchange.receipts.told}
    if judge is not None:
        counted |= {"happened": judge.happened, "looked at": judge.looked}
    return counted
