"""A week from its first hour to its audit, and the table of what came of it."""

from __future__ import annotations

import traceback
from collections import Counter
from typing import Final

from msgspec import Struct, field

from schemas import events as ev
from schemas.codec import ChainReader, decode_record, read_headers
from schemas.units import MS_PER_HOUR, format_usd
from services.audit.report import NAMES, Findings
from services.audit.run import audit
from tests.simulation.day import HEAL_MS
from tests.simulation.faults import WEIGHTS, Trouble
from tests.simulation.judge import Judge
from tests.simulation.simpool import SimPool
from tests.simulation.surroundings import surroundings
from tests.simulation.week import DESK, WeekExchange

FAULTS: Final = {kind: weight for kind, weight in WEIGHTS.items() if kind not in ("archive", "power", "rubbish")}
"""The others cut logs and lose what was read, which market data survives by an operator's hand only."""
DAY_HOURS: Final = 24
TRACE_SHOWN: Final = 40


class Result(Struct):
    """What came out of one seed."""

    seed: int
    hours: int
    failure: str = ""
    steps: int = 0
    trades: Counter[str] = field(default_factory=Counter)
    """By the kind of the order that came."""
    gpu_hours: Counter[str] = field(default_factory=Counter)
    notional: int = 0
    desk_trades: int = 0
    desk_gpu_hours: int = 0
    desk_worth: int = 0
    desk_begun: int = 0
    """Money before anything was traded."""
    procured: int = 0
    delivered: int = 0
    undelivered_minutes: int = 0
    failures: int = 0
    """Titles of which minutes were not delivered."""
    refunded: int = 0
    """What their holders got back."""
    fees: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    looked: dict[str, int] = {}


def live_through(seed: int, hours: int, faults: int) -> Result:
    """One week, or less; `faults`: about so many. What is wrong is said and not raised."""
    result = Result(seed, hours)
    with surroundings():
        exchange = WeekExchange(seed)
        try:
            _live(exchange, result, faults)
        except BaseException as error:  # noqa: BLE001 # it is the week's result; the caller raises it with the seed
            lines = [
                *traceback.format_exception(error)[-6:],
                *list(exchange.world.trace)[-TRACE_SHOWN:],
                f"{type(error).__name__}: {error}",
                f"again: HOURBOOK_SEED={seed} HOURBOOK_HOURS={hours} make week",
            ]
            result.failure = "\n".join(line.rstrip() for line in lines)
        finally:
            _count(exchange, result)
            exchange.close()
    return result


def _live(exchange: WeekExchange, result: Result, faults: int) -> None:
    world = exchange.world
    world.run(exchange.has_opened)
    begun_ms = exchange.market_ms()
    trouble, when = Trouble(exchange, FAULTS), world.chance("when")
    every_ms = result.hours * MS_PER_HOUR // (faults + 1)
    next_fault_ms, next_day_ms = begun_ms + every_ms, begun_ms + DAY_HOURS * MS_PER_HOUR
    end_ms = begun_ms + result.hours * MS_PER_HOUR
    while (now_ms := exchange.market_ms()) < end_ms:
        for _ in range(20):
            assert world.step(), "everything waits for ever"
        if now_ms >= next_fault_ms:
            trouble.make()
            next_fault_ms = now_ms + round(every_ms * (0.5 + when.random()))
        if now_ms >= next_day_ms and next_day_ms < end_ms:
            Judge(exchange).look()
            next_day_ms += DAY_HOURS * MS_PER_HOUR
        exchange.check_bounds()
    trouble.calm()
    exchange.close_market()
    until_ms = world.now_ms + HEAL_MS
    while not exchange.at_rest():
        assert world.now_ms < until_ms, f"L1: not within {HEAL_MS} ms of healing: {exchange.unrest()}"
        for _ in range(200):
            assert world.step(), "everything waits for ever"
    judge = Judge(exchange)
    judge.verdict()
    result.happened = judge.happened
    result.looked = dict(sorted(judge.looked.items()))
    _audit(exchange, result)


def _audit(exchange: WeekExchange, result: Result) -> None:
    """The production audit, over the simulated logs and tables."""
    told: list[Findings] = []

    async def run() -> None:
        pool = SimPool(exchange.database, exchange.tables)
        told.append(await audit(exchange.cluster, pool, exchange.shards, None, lambda _: None))  # type: ignore[arg-type]

    exchange.world.spawn("auditor", run())
    exchange.world.run(lambda: bool(told) or "auditor" not in [each.name for each in exchange.world.processes])
    assert told, "the auditor has ended without findings"
    (found,) = told
    broken = [f"{finding.name}: {finding.breaches[0]}" for finding in found if finding.broken]
    assert not broken, "audit: " + "\n".join(broken)
    assert not found.stopped, found.stopped
    for finding in found:
        result.looked[finding.name] = result.looked.get(finding.name, 0) + finding.looked_at
    assert set(NAMES) <= result.looked.keys()


# --- What came of it ---------------------------------------------------------------------------------------------


def _count(exchange: WeekExchange, result: Result) -> None:
    result.steps = exchange.world.steps
    kinds = dict[int, str]()
    for topic in exchange.events:
        reader = ChainReader()
        for record in topic.all():
            if reader.accept(read_headers(record.headers), record.value):
                for event in decode_record(record.value).events:
                    _count_event(event, kinds, result)
    db = exchange.database
    for (kind, _, ref, asset), amount in db.balances.items():
        if asset == 0 and ref == DESK and kind in (2, 3, 4, 5, 8):
            result.desk_worth += amount
        if kind == 9:
            result.fees += amount
    status = exchange.cloud_status.values
    result.procured = int(status.get("procured_gpu_minutes", 0)) // 60
    result.delivered = sum(row["state"] == "settled" and row["title"] > 0 for row in db.rows("deliveries"))
    result.undelivered_minutes = int(status.get("undelivered_minutes", 0))
    for source, _, seq, _, _, kind, _, ref, _, amount in db.postings:
        if (source, kind, ref) == (2, 2, DESK) and db.entries[source, 0, seq, 0][4].startswith("deposit"):
            result.desk_begun += amount
    for row in db.rows("deliveries"):
        title = db.row("titles", row["contract"], row["title"])
        if row["undelivered"] and title is not None:
            result.failures += 1
            minutes = title["minutes"]
            result.refunded += title["cost"] * min(row["undelivered"], minutes) // minutes
    result.faults = Counter(exchange.did)
    for part in (*exchange.topics, exchange.database, *exchange.disks.values()):
        result.faults.update(part.did)
    result.told = exchange.receipts.told


def _count_event(event: ev.Event, kinds: dict[int, str], result: Result) -> None:
    match event:
        case ev.OrderAccepted(order=order, tif=tif, flags=flags):
            kinds[order] = f"order, {('gtc', 'gtd', 'ioc', 'fok')[tif - 1]}" + (", running" if flags & 2 else "")
        case ev.RangeAccepted(legs=legs):
            kinds.update((leg.order, "range") for leg in legs if not leg.code)
        case ev.BlockAccepted(order=order):
            kinds[order] = "block"
        case ev.QuotesPut(outcomes=outcomes):
            kinds.update((order, "quote") for one in outcomes for order in (one.bid_order, one.ask_order) if order)
        case ev.Filled():
            taker = "bought in" if not event.taker_order else kinds[event.taker_order]
            gpu_hours = event.qty * event.minutes
            for kind in (taker, kinds[event.maker_order], *(["running"] if event.moves[0].ground == 3 else [])):
                result.trades[kind] += 1
                result.gpu_hours[kind] += gpu_hours
            result.notional += event.notional
            result.trades["all"] += 1
            result.gpu_hours["all"] += gpu_hours
            if DESK in (event.buyer, event.seller):
                result.desk_trades += 1
                result.desk_gpu_hours += gpu_hours
        case _:
            pass


def table(result: Result) -> str:
    """For people."""
    lines = [f"--- {result.hours} hours of the market, seed {result.seed}, {result.steps} steps"]
    lines += [f"{'traded by (both sides)':<30}{'trades':>10}{'GPU-hours':>14}"]
    lines += [
        f"{kind:<30}{count:>10}{result.gpu_hours[kind] / 60:>14.1f}" for kind, count in sorted(result.trades.items())
    ]
    gain = result.desk_worth - result.desk_begun
    rows = {
        "notional, USD": format_usd(result.notional),
        "fees paid to treasury, USD": format_usd(result.fees),
        "the desk: trades, GPU-hours": f"{result.desk_trades}, {result.desk_gpu_hours / 60:.1f}",
        "the desk: money at the end, USD": format_usd(result.desk_worth),
        "the desk: money against its deposit, USD": f"{'-' if gain < 0 else ''}{format_usd(abs(gain))}",
        "procured for promises, GPU-hours": str(result.procured),
        "titles delivered": str(result.delivered),
        "minutes that the cloud did not deliver": str(result.undelivered_minutes),
        "titles with minutes that did not come": str(result.failures),
        "refunded to their holders, USD": format_usd(result.refunded),
        "failed buy-ins": str(result.happened["BuyInFailed"]),
    }
    lines += [f"{name:<50}{value:>20}" for name, value in rows.items()]
    for title, counts in (
        ("faults", result.faults),
        ("told to members", result.told),
        ("happened", result.happened),
        ("looked at", Counter(result.looked)),
    ):
        shown = [f"{count:>9} {name}" for name, count in sorted(counts.items()) if count]
        lines += [f"--- {title}"]
        lines += ["".join(f"{cell:<45}" for cell in shown[at : at + 3]).rstrip() for at in range(0, len(shown), 3)]
    return "\n".join(lines)
