"""What delivered hours bring their obligors: titles, how they were counted, and what the ledger paid for them."""

from __future__ import annotations

from typing import Final

from schemas import http
from schemas.edge import iso_hour
from schemas.ids import HOUR_MASK, hour_of
from schemas.units import MS_PER_HOUR, Hour, Millis, format_usd
from services.gateway.database import Row
from services.gateway.reads.projection import ROWS_MAX, Projection

HOURS_MAX: Final = 31 * 24
"""Hours that one answer looks at: titles are found by contract alone, and those of the account's contracts are many people's."""

# An obligor has a balance of hours (kind 11) in each contract that he ever owed in; it stays when it is zero. What is
# paid for a title is an entry of its delivery record (source 3, seq its offset, index the title) with a line of his wallet (2).
# Who bought hours back or sold them on has claims on titles that others owe: they are of his income, too. What comes back to him
# as the holder of a title is not; nor what comes back to him of another's, on whose machine he sat: of such a title what his
# claims bring is worked out, since one line of his wallet has both.
_INCOME_SQL: Final = """
    SELECT mine.contract, sold.* FROM (
        SELECT DISTINCT b.asset AS contract, b.asset & $4 AS hour FROM settlement.balances b
        WHERE b.kind = 11 AND b.ref = $1 AND b.asset & $4 >= $2 AND b.asset & $4 < $3) mine
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(t.qty) FILTER (WHERE t.obligor = $1), 0) AS gpus,
            coalesce(sum(t.qty * t.minutes) FILTER (WHERE t.obligor = $1), 0) AS minutes,
            sum(CASE WHEN t.obligor = $1 THEN t.proceeds ELSE 0 END + coalesce(c.gain, 0)) AS expected,
            coalesce(sum(CASE WHEN d.refunds ? ($1::bigint)::text THEN due.amount ELSE paid.amount END), 0) AS paid,
            coalesce(sum(t.qty * (t.minutes - d.undelivered - d.allowance)) FILTER (WHERE t.obligor = $1), 0) AS delivered,
            coalesce(sum(t.qty * d.allowance) FILTER (WHERE t.obligor = $1), 0) AS allowance,
            coalesce(sum(t.qty * d.undelivered) FILTER (WHERE t.obligor = $1), 0) AS undelivered,
            bool_and(t.state = 'settled') AS settled
        FROM settlement.titles t
        LEFT JOIN settlement.claims c ON c.shard = t.shard AND c.title = t.title AND c.account = $1
        LEFT JOIN settlement.deliveries d ON d.contract = t.contract AND d.title = t.title AND d.state = 'settled'
        LEFT JOIN LATERAL (
            SELECT sum(p.amount) AS amount FROM settlement.postings p
            WHERE p.kind = 2 AND p.ref = $1 AND p.source = 3 AND p.shard = d.shard AND p.seq = d.log_offset AND p.index = t.title
        ) paid ON true
        LEFT JOIN LATERAL (
            SELECT CASE WHEN t.obligor = $1 THEN t.proceeds * (t.minutes - d.undelivered) / t.minutes ELSE 0 END
                + coalesce(c.gain * (t.minutes - d.undelivered) / t.minutes + c.loss * d.undelivered / t.minutes, 0) AS amount
        ) due ON true
        WHERE t.contract = mine.contract AND t.holder <> $1 AND (t.obligor = $1 OR c.account IS NOT NULL)
    ) sold WHERE sold.gpus > 0 OR sold.expected > 0 ORDER BY mine.hour DESC, mine.contract LIMIT $5
"""


class Income(Projection):
    """Of an obligor."""

    async def income(self, account: int, before: Hour, limit: int, now_ms: Millis) -> list[http.IncomeAnswer]:
        """By contract, newest first: hours before `before` (0: all that are listed), at most `HOURS_MAX` of them."""
        until = before or HOUR_MASK
        since = (before or now_ms // MS_PER_HOUR) - HOURS_MAX
        rows = await self._database.fetch(_INCOME_SQL, account, since, until, HOUR_MASK, min(limit, ROWS_MAX))
        return [await self._answer(row, now_ms) for row in rows]

    async def _answer(self, row: Row, now_ms: Millis) -> http.IncomeAnswer:
        hour = hour_of(row["contract"])
        symbol = await self._classes.symbol(row["contract"])
        return http.IncomeAnswer(
            contract=symbol,
            starts_at=iso_hour(hour),
            class_id=symbol.rpartition(".")[0],
            gpus=int(row["gpus"]),
            minutes=int(row["minutes"]),
            expected=format_usd(int(row["expected"])),
            paid=format_usd(int(row["paid"])),
            delivered=int(row["delivered"]),
            allowance=int(row["allowance"]),
            undelivered=int(row["undelivered"]),
            state=_word(hour, now_ms, settled=row["settled"]),
        )


def _word(hour: Hour, now_ms: Millis, *, settled: bool) -> http.IncomeWord:
    if settled:
        return "paid"
    if now_ms < hour * MS_PER_HOUR:
        return "to come"
    return "running" if now_ms < (hour + 1) * MS_PER_HOUR else "being counted"
