"""What an obligor reads of his income is what the ledger booked for it, to the µUSD: on a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from schemas.commands import Fees, Ground
from schemas.http import IncomeAnswer
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR, parse_usd
from services.gateway.classes import Classes
from services.gateway.database import Database
from services.gateway.reads.income import Income
from services.runtime.postgres import open_pool
from services.settlement.state import Batch
from tests.settlement.people import CONTRACT, HOUR, Market
from tests.settlement.test_upgrade import stored

NEXT = contract_of(1, HOUR + 1)
IN_THE_HOUR = HOUR * MS_PER_HOUR + 1
pytestmark = pytest.mark.postgres


@asynccontextmanager
async def reading(database: str) -> AsyncIterator[Income]:
    """What the gateway reads with."""
    pool = await open_pool(database)
    there = Database(pool)
    try:
        yield Income(there, Classes(there))
    finally:
        await pool.close()


async def of(
    income: Income, account: int, *, now_ms: int = IN_THE_HOUR, before: int = 0, limit: int = 100
) -> list[IncomeAnswer]:
    return await income.income(account, before, limit, now_ms)


def story() -> Market:
    """Ana and dan owe; bob resells to cid at a gain, and ana buys two back, one dearer and one cheaper."""
    market = Market("ana bob cid dan eve", fees=Fees(0, 10, 50, 70))
    market.back("ana", Ground.DECLARED, 10, hours=(HOUR + 1,))
    market.trade("ana sells 3 to bob at 2.00")
    market.trade("bob sells 1 to cid at 2.50")
    market.trade("dan sells 2 to eve at 1.99")
    market.trade("dan sells 1 to ana at 2.07")
    market.trade("dan sells 1 to ana at 1.50")
    market.trade("ana sells 2 to eve at 2.11", NEXT)
    return market


async def test_what_is_paid_is_what_the_ledger_booked(database: str, batches: list[Batch]) -> None:
    market = story()
    market.end_hour()
    wallets = {name: market.state.ledger.wallet(number) for name, number in market.numbers.items()}
    owed = {title.title: title for title in market.state.shards[0].titles.of(CONTRACT) if title.obligor}
    gains: dict[int, int] = {}
    for claim in (each for number in owed for each in market.state.shards[0].titles.claims_of(owed[number])):
        gains[claim.account] = gains.get(claim.account, 0) + claim.gain
    for place, number in enumerate(sorted(owed)):
        market.deliver(number, (0, 13, 7, 60)[place % 4], allowance=(5, 0, 60, 0)[place % 4])
    await stored(database, batches)

    async with reading(database) as income:
        for name in ("ana", "dan"):
            account = market.numbers[name]
            (row,) = await of(income, account, before=HOUR + 1)
            mine = [title for title in owed.values() if title.obligor == account]
            assert parse_usd(row.paid) == market.state.ledger.wallet(account) - wallets[name], name
            assert (row.state, row.gpus, row.minutes) == (
                "paid",
                sum(t.qty for t in mine),
                sum(t.qty * 60 for t in mine),
            )
            assert row.delivered + row.allowance + row.undelivered == row.minutes
            assert parse_usd(row.expected) == sum(title.proceeds for title in mine) + gains.get(account, 0)
        assert await of(income, market.numbers["cid"]) == [], "who holds has no income"


async def test_an_hour_goes_its_way_from_to_come_to_paid(database: str, batches: list[Batch]) -> None:
    """Delivered wholly, what was expected is paid."""
    market = story()
    market.end_hour()
    market.deliver("all")
    ana = market.numbers["ana"]
    await stored(database, batches)

    async with reading(database) as income:
        later, over = await of(income, ana)
        assert [(each.state, each.gpus, each.paid) for each in (later, over)] == [
            ("to come", 2, "0.00"),
            ("paid", 1, over.expected),
        ]
        assert (over.delivered, over.allowance, over.undelivered) == (60, 0, 0)
        assert later.expected == "4.1989"
        running = await of(income, ana, now_ms=(HOUR + 1) * MS_PER_HOUR)
        assert [each.state for each in running] == ["running", "paid"]
        counting = await of(income, ana, now_ms=(HOUR + 2) * MS_PER_HOUR)
        assert [each.state for each in counting] == ["being counted", "paid"]
        assert await of(income, ana, before=HOUR + 1) == [over]
        assert await of(income, ana, limit=1) == [later]
        assert await of(income, ana, before=HOUR + 10_000) == [], "so far back nobody looks"
        assert msgspec.json.decode(msgspec.json.encode(over))["class"] == over.class_id


async def test_what_was_bought_back_wholly_at_a_gain_is_income_though_nothing_is_owed_any_more(
    database: str, batches: list[Batch]
) -> None:
    market = Market("ana bob dan", fees=Fees(0, 10, 50, 70))
    market.trade("ana sells 1 to bob at 2.00")
    market.trade("dan sells 1 to ana at 1.50")
    market.end_hour()
    before = {name: market.state.ledger.wallet(number) for name, number in market.numbers.items()}
    market.deliver("all")
    await stored(database, batches)

    async with reading(database) as income:
        (row,) = await of(income, market.numbers["ana"], before=HOUR + 1)
        paid = market.state.ledger.wallet(market.numbers["ana"]) - before["ana"]
        assert (row.gpus, row.minutes, row.state) == (0, 0, "paid")
        assert parse_usd(row.paid) == parse_usd(row.expected) == paid > 0
        assert await of(income, market.numbers["bob"], before=HOUR + 1) == []


async def test_what_comes_back_to_who_went_without_is_no_income(database: str, batches: list[Batch]) -> None:
    """Bob has sold an hour on at a gain, and sat on another machine of ana's that failed: one line of his wallet has both."""
    market = Market("ana bob cid", fees=Fees(0, 10, 50, 70))
    market.trade("ana sells 2 to bob at 2.00")
    market.trade("bob sells 1 to cid at 2.50")
    market.end_hour()
    bob = market.numbers["bob"]
    (sold,) = [title for title in market.state.shards[0].titles.of(CONTRACT) if title.holder == market.numbers["cid"]]
    (claim,) = market.state.shards[0].titles.claims_of(sold)
    market.deliver(sold.title, 20, refunds={"bob": 20})
    await stored(database, batches)

    async with reading(database) as income:
        (row,) = await of(income, bob, before=HOUR + 1)
        assert parse_usd(row.paid) == claim.gain * 40 // 60 + claim.loss * 20 // 60
        assert row.state == "paid"
