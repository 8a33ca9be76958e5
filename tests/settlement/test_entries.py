"""Every kind of entry, line by line, as the chart of accounts (docs/decisions/002-ledger.md) has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import requests as rq
from schemas.commands import Ground, Role
from services.settlement import rows
from services.settlement.ledger import EVENT, Kind, Ledger, Origin
from tests.settlement.people import CONTRACT, Market, table

USD = 0


def entries(market: Market, since: int = 0) -> list[list[str]]:
    """what | kind | shard | ref | asset | amount, a line each, of the entries posted since."""
    found = [["entry", "account", "shard", "ref", "asset", "amount"]]
    names = {number: name for name, number in market.numbers.items()} | {CONTRACT: "contract", 0: "-"}
    for *entry, _line, kind, shard, ref, asset, amount in market.store.postings:
        what = market.store.entries[tuple(entry)][4]
        shown = names.get(ref, str(ref)) if kind != Kind.EXTERNAL else str(ref)
        found.append(
            [what, Kind(kind).name.lower(), str(shard), shown, "usd" if asset == USD else "minutes", str(amount)]
        )
    return [found[0], *found[1 + since :]]


def posted(market: Market) -> int:
    return len(market.store.postings)


def test_money_comes_in_goes_to_trading_and_back() -> None:
    market = Market("ana", money="0.00")
    market.ask(rq.Deposit("d", 1, 70, "bank", "ref"))
    market.ask(rq.ToTrading("t", 1, 0, 50))
    market.ask(rq.FromTrading("f", 1, 0, 30))
    assert entries(market) == table("""
        entry      | account  | shard | ref | asset | amount
        deposit    | external | 0     | 1   | usd   | -70
        deposit    | wallet   | 0     | ana | usd   | 70
        to_trading | wallet   | 0     | ana | usd   | -50
        to_trading | transit  | 0     | ana | usd   | 50
        credited   | transit  | 0     | ana | usd   | -50
        credited   | trading  | 0     | ana | usd   | 50
        swept      | trading  | 0     | ana | usd   | -30
        swept      | wallet   | 0     | ana | usd   | 30
    """)


def test_nothing_swept_is_no_entry() -> None:
    market = Market("ana", money="0.00")
    row = market.ask(rq.FromTrading("f", 1, 0, 30))
    assert (row.state, row.outcome, posted(market)) == ("done", {"amount": 0, "balance": 0}, 0)


def test_money_leaves_by_a_payout_or_comes_back() -> None:
    market = Market("ana", money="0.00")
    market.ask(rq.Deposit("d", 1, 70, "simulated-faucet", "ref"))
    before = posted(market)
    for number, end in ((1, "paid"), (2, "returned")):
        market.ask(rq.Withdraw(f"w{number}", 1, 10 * number, "iban"))
        market.ask(rq.PayoutMoved(f"s{number}", number, "sent", "bank"))
        market.ask(rq.PayoutMoved(f"e{number}", number, end, "bank"))
    assert entries(market, before) == table("""
        entry           | account  | shard | ref | asset | amount
        withdraw        | wallet   | 0     | ana | usd   | -10
        withdraw        | payout   | 0     | ana | usd   | 10
        payout_paid     | payout   | 0     | ana | usd   | -10
        payout_paid     | external | 0     | 2   | usd   | 10
        withdraw        | wallet   | 0     | ana | usd   | -20
        withdraw        | payout   | 0     | ana | usd   | 20
        payout_returned | payout   | 0     | ana | usd   | -20
        payout_returned | wallet   | 0     | ana | usd   | 20
    """)
    assert entries(market)[1][0] == "deposit_simulated", "a stand-in for the outside world says so in the ledger"


def test_a_refused_credit_goes_back_to_the_wallet() -> None:
    market = Market("ana", money="0.00")
    market.ask(rq.Deposit("d", 1, 70, "bank", "ref"))
    before = posted(market)
    market.engines[0].accounts.clear()  # as if the shard did not know her
    row = market.ask(rq.ToTrading("t", 1, 0, 50))
    assert (row.state, row.code) == ("refused", "unknown_account")
    assert entries(market, before)[3:] == table("""
        credit_refused | transit | 0 | ana | usd | -50
        credit_refused | wallet  | 0 | ana | usd | 50
    """)


def test_a_fill_of_a_new_title_and_its_resale() -> None:
    """No line of zero: ana gets nothing at once for what she has yet to deliver."""
    market = Market("ana bob cid")
    before = posted(market)
    market.trade("ana sells 2 to bob at 2.00")
    market.trade("bob sells 1 to cid at 3.00")
    assert entries(market, before) == table("""
        entry  | account  | shard | ref      | asset   | amount
        filled | trading  | 0     | bob      | usd     | -4000000
        filled | escrow   | 0     | contract | usd     | 4000000
        filled | titles   | 0     | ana      | minutes | -120
        filled | novation | 0     | contract | minutes | 120
        filled | novation | 0     | contract | minutes | -120
        filled | titles   | 0     | bob      | minutes | 120
        filled | trading  | 0     | cid      | usd     | -3000000
        filled | trading  | 0     | bob      | usd     | 2000000
        filled | escrow   | 0     | contract | usd     | 1000000
        filled | titles   | 0     | bob      | minutes | -60
        filled | novation | 0     | contract | minutes | 60
        filled | novation | 0     | contract | minutes | -60
        filled | titles   | 0     | cid      | minutes | 60
    """)


def test_an_hour_ends_and_promised_titles_are_paid_out() -> None:
    """Escrow and collateral leave the shard; the last promised title of the obligor frees the collateral."""
    market = Market("bob")
    market.open("ana", role=Role.MARKET_MAKER)
    market.back("ana", Ground.PROMISED, 2, 20_000_000)
    market.trade("ana sells 1 to bob at 2.00")
    before = posted(market)
    market.end_hour()
    market.deliver("all", 30)
    assert entries(market, before) == table("""
        entry               | account    | shard | ref      | asset   | amount
        collateral_moved    | trading    | 0     | ana      | usd     | -20000000
        collateral_moved    | collateral | 0     | ana      | usd     | 20000000
        hour_ended          | escrow     | 0     | contract | usd     | -2000000
        hour_ended          | clearing   | 0     | contract | usd     | 2000000
        delivered_simulated | clearing   | 0     | contract | usd     | -2000000
        delivered_simulated | wallet     | 0     | ana      | usd     | 995000
        delivered_simulated | wallet     | 0     | bob      | usd     | 1000000
        delivered_simulated | treasury   | 0     | -        | usd     | 5000
        delivered_simulated | titles     | 0     | bob      | minutes | -60
        delivered_simulated | novation   | 0     | contract | minutes | 60
        delivered_simulated | novation   | 0     | contract | minutes | -60
        delivered_simulated | titles     | 0     | ana      | minutes | 60
        collateral_freed    | collateral | 0     | ana      | usd     | -20000000
        collateral_freed    | wallet     | 0     | ana      | usd     | 20000000
    """)


def test_collateral_waits_for_the_last_promised_title() -> None:
    market = Market("bob cid", money="1000.00")
    market.open("dee", role=Role.MARKET_MAKER)
    market.back("dee", Ground.PROMISED, 2, 20_000_000)
    market.trade("dee sells 1 to bob at 2.00")
    market.trade("dee sells 1 to cid at 2.00")
    market.end_hour()
    market.deliver(1, 0)
    assert market.money()[-1] == ["collateral", "40.00", ""]
    market.restart()
    market.deliver(2, 60)
    assert market.money() == table("""
        who      | wallet | trading
        bob      | 0.00   | 998.00
        cid      | 2.00   | 998.00
        dee      | 41.99  | 960.00
        treasury | 0.01   |
    """)


def test_an_entrys_id_is_where_it_comes_from() -> None:
    market = Market("ana bob")
    market.trade("ana sells 1 to bob at 2.00")
    market.end_hour()
    market.deliver("all", 0)
    ids = [key for key, entry in market.store.entries.items() if entry[4] == "filled"]
    assert ids == [(EVENT, 0, market.seqs[0] - 1, 1)]
    assert [key for key, entry in market.store.entries.items() if entry[4] == "delivered_simulated"] == [(3, 0, 0, 1)]


# --- The ledger itself ---------------------------------------------------------------------------------------

AT = Origin(EVENT, 0, 1, 5)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([(2, 0, 1, 0, 5), (1, 0, 1, 0, -4)], "M1"),
        ([(11, 0, 1, 9, 60), (11, 0, 2, 9, -59)], "M1"),
        ([(10, 0, 9, 9, 60), (11, 0, 2, 9, -60)], "M8"),
        ([(2, 0, 1, 0, -5), (3, 0, 1, 0, 5)], "M3"),
        ([(11, 0, 1, 9, 60), (11, 0, 2, 8, -60)], "two contracts"),
    ],
)
def test_a_wrong_entry_stops_the_process(lines: list, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        Ledger().post(AT, 0, "wrong", lines)


@given(st.lists(st.lists(st.tuples(st.integers(1, 3), st.integers(-9, 9)), max_size=4), max_size=9))
def test_balance_changes_of_batches_add_up_to_the_balances(batches: list[list[tuple[int, int]]]) -> None:
    """M2: what `take` tells the store, and what the ledger has in memory, are the same."""
    ledger, stored = Ledger(), {}
    for number, batch in enumerate(batches):
        for index, (ref, amount) in enumerate(batch):
            ledger.post(
                Origin(EVENT, 0, number, 0), index, "x", ((11, 0, ref, 9, amount), (11, 0, ref + 1, 9, -amount))
            )
        taken = ledger.take()
        assert [change.key for change in taken.balances] == sorted(change.key for change in taken.balances)
        for change in taken.balances:
            assert change.delta != 0
            assert change.known == (stored.get(change.key, 0) != 0)
            stored[change.key] = stored.get(change.key, 0) + change.delta
    assert {key: amount for key, amount in stored.items() if amount} == ledger.balances()


def test_the_rows_are_the_columns() -> None:
    """Rows are written by position: a key of the right length, and columns that exist."""
    for kind in rows.ROWS:
        assert 0 < kind.TABLE.key <= len(kind.__struct_fields__)
        assert set(kind.TABLE.changing) <= set(kind.__struct_fields__[kind.TABLE.key :])
