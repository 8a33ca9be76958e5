"""Volume, in all and the desk's: each fill once, in its hour; what is over is read once; and everybody may ask."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator

import asyncpg
import msgspec
import pytest

from schemas import http
from schemas.ids import contract_of
from schemas.market_clock import MarketClock
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE
from services.gateway.database import Database
from services.gateway.volume import FRESH_MS, Volume
from services.runtime.infra import LocalPostgres
from services.runtime.postgres import migrate, migrate_runtime, open_pool
from services.settlement.__main__ import MIGRATIONS
from tests.clock import HandClock
from tests.gateway.exchange import Exchange, Member

pytestmark = pytest.mark.postgres
NOW = 494_900
"""The hour that runs."""
DESK, ANA, BERT = 9, 1, 2
PEOPLE = {"desk": DESK, "ana": ANA, "bert": BERT}
CLASSES = {1: "H100", 2: "L40S"}


class Progress:
    """Two shards, both as far as the clock."""

    def __init__(self, now_ms: int) -> None:
        self.time_ms = [now_ms, now_ms + 1_000]


class Listed:
    """Classes by their number."""

    async def number(self, number: int) -> dict[str, str]:
        return {"class_id": CLASSES[number]}


class Counting(Database):
    """How often fills were looked through."""

    queries = 0

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        self.queries += "settlement.fills" in query
        return await super().fetch(query, *arguments)


class Market:
    """Fills in the tables of settlement, and what is said of them."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.clock = HandClock(NOW * MS_PER_HOUR + 30 * MS_PER_MINUTE)  # half past
        self.progress = Progress(self.clock.ms)
        self.database = Counting(pool)
        self.volume = self.started()
        self.trades = 0

    def started(self) -> Volume:
        """As it is after a start."""
        market = MarketClock(0, 1, sandbox=False)
        return Volume(self.database, Listed(), self.progress, self.clock, market)  # type: ignore[arg-type]  # no log is read

    async def trade(self, drawn: str) -> None:
        """`ana sells 2 H100 to desk at 3.00, 5 hours ago`, or `for 30 minutes` in place of a whole hour."""
        began_ms = self.clock.ms // MS_PER_HOUR * MS_PER_HOUR
        pattern = r"(\w+) sells (\d+) (\w+) to (\w+) at ([\d.]+)(?: for (\d+) minutes)?, (\d+) hours ago"
        for line in filter(None, map(str.strip, drawn.splitlines())):
            match = re.fullmatch(pattern, line)
            assert match is not None, line
            seller, qty, name, buyer, price, minutes, ago = match.groups()
            class_no = next(number for number, class_id in CLASSES.items() if class_id == name)
            micros, self.trades = round(float(price) * 1_000_000), self.trades + 1
            fill = (
                *(class_no - 1, self.trades, self.trades, contract_of(class_no, NOW + 3), micros, int(qty)),
                *(int(minutes or 60), 1, 0, 0, PEOPLE[buyer], PEOPLE[seller]),
                *(-(-micros * int(qty) * int(minutes or 60) // 60), 0, 0, began_ms - int(ago) * MS_PER_HOUR + 1),
            )
            await self.pool.copy_records_to_table("fills", schema_name="settlement", records=[fill])

    async def shown(self, volume: Volume | None = None) -> dict[str, list[str]]:
        """Period → a line per class."""
        answer = await (volume or self.volume).answer()
        return {
            f"{period.hours} hours": [_line(row) for row in (*period.classes, period.total)]
            for period in answer.periods
        }

    def later(self, ms: int) -> None:
        """Time passes, and settlement keeps up."""
        self.clock.ms += ms
        self.progress.time_ms = [each + ms for each in self.progress.time_ms]


def _line(row: http.VolumeRow) -> str:
    hours, desk = row.gpu_minutes / 60, row.desk_gpu_minutes / 60
    share = f"{row.desk_share_bp / 100:g} %"
    return f"{row.class_id or 'all'}: {hours:g} for {row.notional}; desk {desk:g} for {row.desk_notional}, {share}"


@pytest.fixture(scope="module")
def tables(postgres: LocalPostgres) -> Iterator[str]:
    """Those of settlement, with people and without fills."""
    name = f"volume{secrets.token_hex(4)}"
    dsn = postgres.create_database(name)
    asyncio.run(_open(dsn))
    yield dsn
    postgres.drop_database(name)


async def _open(dsn: str) -> None:
    pool = await open_pool(dsn)
    await migrate_runtime(pool)
    await migrate(pool, "settlement", MIGRATIONS)
    for name, account in PEOPLE.items():
        await pool.execute(
            "INSERT INTO settlement.accounts VALUES ($1, $1, $2, 0, 0, $3, 0)", account, name, account == DESK
        )
    await pool.close()


@pytest.fixture
async def market(tables: str) -> AsyncIterator[Market]:
    pool = await open_pool(tables)
    yield Market(pool)
    await pool.execute("TRUNCATE settlement.fills")
    await pool.close()


async def test_each_fill_counts_once_and_as_the_desk_s_where_it_is_on_either_side(market: Market) -> None:
    """The hour that runs and 24 before it, or 168; an older one not any more. A running hour has the minutes that were left."""
    await market.trade("""
        ana sells 2 H100 to bert at 3.00, 169 hours ago
        ana sells 4 H100 to bert at 2.00, 168 hours ago
        desk sells 3 L40S to ana at 1.00, 25 hours ago
        ana sells 1 H100 to bert at 3.00, 24 hours ago
        ana sells 2 H100 to desk at 3.00, 1 hours ago
        desk sells 1 H100 to bert at 3.00 for 20 minutes, 0 hours ago
    """)

    assert await market.shown() == {
        "24 hours": [
            "H100: 3.33333 for 10.00; desk 2.33333 for 7.00, 70 %",
            "all: 3.33333 for 10.00; desk 2.33333 for 7.00, 70 %",
        ],
        "168 hours": [
            "H100: 7.33333 for 18.00; desk 2.33333 for 7.00, 31.82 %",
            "L40S: 3 for 3.00; desk 3 for 3.00, 100 %",
            "all: 10.3333 for 21.00; desk 5.33333 for 10.00, 51.61 %",
        ],
    }


async def test_where_nothing_was_traded_it_says_so(market: Market) -> None:
    assert await market.shown() == {
        "24 hours": ["all: 0 for 0.00; desk 0 for 0.00, 0 %"],
        "168 hours": ["all: 0 for 0.00; desk 0 for 0.00, 0 %"],
    }


async def test_whoever_asks_within_seconds_reads_the_same_and_the_database_nothing(market: Market) -> None:
    await market.trade("ana sells 1 H100 to bert at 3.00, 0 hours ago")
    first = await market.shown()
    queries = market.database.queries
    await market.trade("desk sells 1 H100 to bert at 3.00, 0 hours ago")

    assert (await market.shown(), market.database.queries) == (first, queries)
    market.later(FRESH_MS)
    assert (await market.shown())["24 hours"] == [
        "H100: 2 for 6.00; desk 1 for 3.00, 50 %",
        "all: 2 for 6.00; desk 1 for 3.00, 50 %",
    ]


async def test_an_hour_that_is_over_is_read_once_and_the_week_moves_on_with_the_clock(market: Market) -> None:
    """One query an answer then, of the hours that are new; and each answer is that of a gateway that has just started."""
    await market.trade("ana sells 4 H100 to bert at 2.00, 167 hours ago")
    await market.shown()
    for _ in range(3):
        market.later(MS_PER_HOUR)
        await market.trade("desk sells 1 L40S to bert at 1.00, 0 hours ago")
        queries = market.database.queries
        answered = await market.shown()
        assert market.database.queries == queries + 1
        assert answered == await market.shown(market.started())

    assert answered["168 hours"] == [
        "L40S: 3 for 3.00; desk 3 for 3.00, 100 %",
        "all: 3 for 3.00; desk 3 for 3.00, 100 %",
    ]


async def test_what_a_shard_settles_late_is_counted_all_the_same(market: Market) -> None:
    """One of two shards stands still for two hours: neither hour is over before it has passed it."""
    market.clock.ms += 2 * MS_PER_HOUR
    market.progress.time_ms[1] += 2 * MS_PER_HOUR
    await market.trade("desk sells 1 L40S to bert at 1.00, 0 hours ago")
    await market.shown()
    market.progress.time_ms[0] = market.clock.ms
    await market.trade("ana sells 3 H100 to bert at 2.00, 1 hours ago")
    market.later(FRESH_MS)

    assert (await market.shown())["24 hours"] == [
        "H100: 3 for 6.00; desk 0 for 0.00, 0 %",
        "L40S: 1 for 1.00; desk 1 for 1.00, 100 %",
        "all: 4 for 7.00; desk 1 for 1.00, 25 %",
    ]


# --- At the door ---------------------------------------------------------------------------------------------


def test_the_desk_s_share_of_volume_is_public(exchange: Exchange, ana: Member) -> None:
    """Without a key, and like the fills of those who traded: three GPU-hours more in all, two of them the desk's."""
    hour = exchange.fresh_hour()
    before = traded(exchange)
    seller, desk = exchange.seller(hour), exchange.seller(hour, desk=True)
    desk.placed(hour, "sell", 2, "3.00")
    seller.placed(hour, "sell", 1, "3.10")
    fills = ana.placed(hour, "buy", 3, "3.10")["fills"]
    exchange.until(lambda: traded(exchange) != before, "the figures are made anew", 2 * FRESH_MS / 1_000)
    after = traded(exchange)

    assert [(fill["counterparty"], fill["qty"]) for fill in fills] == [("desk", 2), ("member", 1)]
    assert [after[name] - before[name] for name in ("gpu_minutes", "desk_gpu_minutes")] == [180, 120]


def traded(exchange: Exchange) -> dict[str, int]:
    """The day's total, as anybody may read it."""
    exchange.settled()
    answer = exchange.http.get(f"{exchange.url}/v1/volume")
    assert answer.status_code == 200, answer.text
    day, week = msgspec.json.decode(answer.content, type=http.VolumeAnswer).periods
    assert (day.hours, week.hours) == (24, 168)
    return {"gpu_minutes": day.total.gpu_minutes, "desk_gpu_minutes": day.total.desk_gpu_minutes}
