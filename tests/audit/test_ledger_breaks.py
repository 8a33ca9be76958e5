"""One thing in the database is changed behind settlement's back: exactly the invariants that it breaks turn red, by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.audit.expected import CLEARING, ESCROW, NOVATION, TITLES, TRADING, TREASURY, WALLET
from tests.audit.day import Copy

Plant = Callable[[Copy], object]
PLANTS: list[tuple[Plant, set[str]]] = []


def breaks(*names: str) -> Callable[[Plant], Plant]:
    """The function changes one thing; these invariants turn red by it, and no others."""

    def register(plant: Plant) -> Plant:
        PLANTS.append((plant, set(names)))
        return plant

    return register


def book(copy: Copy, *lines: str, source: int = 2) -> None:
    """An entry that nothing calls for, with its balances; `lines`: SELECTs of (kind, shard, ref, asset, amount)."""
    copy.sql(
        f"INSERT INTO entries VALUES ({source}, 0, 900000, 0, 'planted', 0)",
        f"CREATE TEMP TABLE planted AS SELECT * FROM ({' UNION ALL '.join(f'({line})' for line in lines)})"
        " AS line(kind, shard, ref, asset, amount)",
        f"INSERT INTO postings SELECT {source}, 0, 900000, 0, row_number() OVER (), kind, shard, ref, asset, amount"
        " FROM planted",
        follow("planted"),
    )


def follow(lines: str) -> str:
    """The balances move as a table of lines says; what has no row yet gets one, at zero."""
    key = "kind, shard, ref, asset"
    return f"""
        INSERT INTO balances SELECT DISTINCT {key}, 0 FROM {lines} ON CONFLICT DO NOTHING;
        UPDATE balances b SET amount = b.amount + moved.amount
            FROM (SELECT {key}, sum(amount) AS amount FROM {lines} GROUP BY {key}) AS moved
            WHERE (b.kind, b.shard, b.ref, b.asset) = (moved.kind, moved.shard, moved.ref, moved.asset)
    """


A_FILL = "SELECT source, shard, seq, index FROM entries WHERE what = 'filled' ORDER BY shard, seq, index LIMIT 1"
A_DEPOSIT = "SELECT source, shard, seq, index FROM entries WHERE what = 'deposit_simulated' ORDER BY seq LIMIT 1"
A_DELIVERY = f"""
    SELECT e.source, e.shard, e.seq, e.index FROM entries e JOIN postings p USING (source, shard, seq, index)
    WHERE e.what = 'delivered_simulated' AND p.kind = {TREASURY} ORDER BY e.shard, e.seq, e.index LIMIT 1
"""
A_CREDIT = "SELECT source, shard, seq, index FROM entries WHERE what = 'handover_credit_simulated' LIMIT 1"
A_PROCUREMENT = (
    "SELECT source, shard, seq, index FROM entries WHERE what = 'simulated procurement' ORDER BY seq LIMIT 1"
)
A_RETURN = "SELECT source, shard, seq, index FROM entries WHERE what = 'simulated procurement returned'"
ENTRY = "ROW (source, shard, seq, index)"


# --- Money ---------------------------------------------------------------------------------------------------


@breaks("M1", "M2", "M5")
def a_posting_is_changed(copy: Copy) -> None:
    """The entry does not sum to zero, the wallet is not the sum of its postings, and no deposit calls for that line."""
    copy.sql(f"UPDATE postings SET amount = amount + 1 WHERE {ENTRY} IN ({A_DEPOSIT}) AND kind = {WALLET}")


@breaks("M2")
def a_balance_is_changed(copy: Copy) -> None:
    copy.sql(f"UPDATE balances SET amount = amount + 1 WHERE kind = {WALLET} AND ref = 6")


@breaks("M3", "S1")
def a_wallet_pays_more_than_it_has(copy: Copy) -> None:
    """By an entry that nobody asked for."""
    copy.sql("ALTER TABLE balances DROP CONSTRAINT nothing_available_is_negative")
    amount = f"(SELECT amount + 1 FROM balances WHERE kind = {WALLET} AND ref = 6)"
    book(copy, f"SELECT {WALLET}, 0, 6, 0, -{amount}", f"SELECT {WALLET}, 0, 8, 0, {amount}")


@breaks("M5")
def a_deposit_is_booked_with_another_amount(copy: Copy) -> None:
    """All sums are right; the request in the log says less."""
    copy.sql(
        f"CREATE TEMP TABLE more AS SELECT kind, account_shard AS shard, ref, asset, sign(amount)::bigint AS amount"
        f" FROM postings WHERE {ENTRY} IN ({A_DEPOSIT})",
        f"UPDATE postings SET amount = amount + sign(amount) WHERE {ENTRY} IN ({A_DEPOSIT})",
        follow("more"),
    )


@breaks("M2", "M5", "M6")
def a_fee_goes_to_a_member_instead_of_treasury(copy: Copy) -> None:
    copy.sql(f"UPDATE postings SET kind = {WALLET}, ref = 6 WHERE {ENTRY} IN ({A_DELIVERY}) AND kind = {TREASURY}")


@breaks("M6", "S1")
def treasury_is_paid_by_something_else_than_a_delivery(copy: Copy) -> None:
    book(copy, f"SELECT {WALLET}, 0, 6, 0, -1", f"SELECT {TREASURY}, 0, 0, 0, 1")


@breaks("M5", "M6")
def a_credit_is_larger_than_the_rule_allows(copy: Copy) -> None:
    """Out of treasury, which has enough."""
    copy.sql(
        f"CREATE TEMP TABLE more AS SELECT kind, account_shard AS shard, ref, asset, sign(amount)::bigint AS amount"
        f" FROM postings WHERE {ENTRY} IN ({A_CREDIT})",
        f"UPDATE postings SET amount = amount + sign(amount) WHERE {ENTRY} IN ({A_CREDIT})",
        follow("more"),
    )


@breaks("M7", "S1")
def the_money_in_transit_has_no_message(copy: Copy) -> None:
    """The transfer of the evening is on its way; its row of the outbox is gone."""
    copy.sql("DELETE FROM outbox WHERE NOT confirmed")


@breaks("M7")
def a_message_is_called_confirmed_that_the_shard_has_not_answered(copy: Copy) -> None:
    copy.sql("UPDATE outbox SET confirmed = true WHERE NOT confirmed")


@breaks("M7", "S1")
def a_trading_balance_moves_without_the_engine(copy: Copy) -> None:
    book(copy, f"SELECT {TRADING}, 0, 6, 0, -1", f"SELECT {WALLET}, 0, 6, 0, 1")


@breaks("M1", "M2", "M5", "M8")
def clearing_keeps_the_hours_of_a_fill(copy: Copy) -> None:
    copy.sql(f"DELETE FROM postings WHERE {ENTRY} IN ({A_FILL}) AND kind = {NOVATION} AND amount < 0")


# --- Capacity ------------------------------------------------------------------------------------------------


@breaks("C1", "S1")
def an_hour_is_given_away_without_a_trade(copy: Copy) -> None:
    held = f"FROM balances WHERE kind = {TITLES} AND amount > 0 ORDER BY asset DESC, ref LIMIT 1"
    book(copy, f"SELECT kind, shard, ref, asset, -60 {held}", f"SELECT kind, shard, ref + 1000, asset, 60 {held}")


@breaks("C1", "M2")
def a_position_is_changed(copy: Copy) -> None:
    copy.sql(f"UPDATE balances SET amount = amount + 60 WHERE kind = {TITLES} AND ref = 6 AND amount > 0")


@breaks("C2")
def more_machines_are_noted_than_were_declared(copy: Copy) -> None:
    copy.sql("UPDATE backing SET qty = qty + 1 WHERE account = 4 AND qty > 0")


@breaks("C3")
def a_contract_is_noted_in_another_phase(copy: Copy) -> None:
    copy.sql("UPDATE contracts SET phase = 'running' WHERE phase = 'forward'")


@breaks("C5")
def collateral_is_noted_for_less_than_it_is(copy: Copy) -> None:
    copy.sql("UPDATE collateral SET amount = amount - 1")


@breaks("C5", "S1")
def collateral_is_paid_back_before_delivery(copy: Copy) -> None:
    kept = "SELECT 8, shard, account, 0, -amount FROM collateral ORDER BY contract, account LIMIT 1"
    book(copy, kept, kept.replace("8, shard, account, 0, -amount", f"{WALLET}, 0, account, 0, amount"))


@breaks("C6")
def a_gain_belongs_to_somebody_else(copy: Copy) -> None:
    """Both lists of the title still add up to its escrow."""
    copy.sql("UPDATE claims SET account = account + 100 WHERE gain > 0")


@breaks("C6")
def a_titles_escrow_is_off_by_one(copy: Copy) -> None:
    copy.sql("UPDATE titles SET escrow = escrow + 1 WHERE state = 'live'")


@breaks("C6", "S1")
def escrow_comes_back_to_an_hour_that_has_ended(copy: Copy) -> None:
    waiting = f"SELECT kind, shard, ref, asset, -amount FROM balances WHERE kind = {CLEARING} AND amount > 0 ORDER BY ref LIMIT 1"
    book(copy, waiting, waiting.replace("kind, shard, ref, asset, -amount", f"{ESCROW}, shard, ref, asset, amount"))


# --- Book and orders -----------------------------------------------------------------------------------------


@breaks("B5", "O1")
def a_level_shows_less_than_its_orders(copy: Copy) -> None:
    copy.sql("UPDATE orders SET leaves = leaves - 1, cancelled = cancelled + 1 WHERE state = 'open' AND leaves > 1")


@breaks("B5", "B6")
def an_open_order_is_lost(copy: Copy) -> None:
    copy.sql("DELETE FROM orders WHERE order_id = (SELECT max(order_id) FROM orders WHERE state = 'open')")


@breaks("B6")
def an_order_is_indexed_twice(copy: Copy) -> None:
    """Under a second number, which the log never gave; it is over, so that no level shows it."""
    copy.sql(
        "CREATE TEMP TABLE twice AS SELECT * FROM orders WHERE state = 'filled' ORDER BY order_id LIMIT 1",
        "UPDATE twice SET order_id = order_id + 1",
        "INSERT INTO orders SELECT * FROM twice",
    )


@breaks("B6")
def an_order_is_somebody_elses(copy: Copy) -> None:
    copy.sql("UPDATE orders SET account = 8 WHERE account = 7 AND state = 'open'")


@breaks("B7")
def an_account_is_noted_for_another_owner(copy: Copy) -> None:
    copy.sql("UPDATE accounts SET owner = 7 WHERE account = 6")


@breaks("O1")
def a_fill_is_noted_as_a_cancellation(copy: Copy) -> None:
    copy.sql("UPDATE orders SET filled = filled - 1, cancelled = cancelled + 1 WHERE state = 'filled'")


@breaks("O1")
def a_blocks_fill_is_noted_as_a_cancellation(copy: Copy) -> None:
    copy.sql("UPDATE blocks SET filled = filled - 1, cancelled = cancelled + 1 WHERE state = 'filled'")


@breaks("O1")
def a_block_is_lost(copy: Copy) -> None:
    copy.sql("DELETE FROM blocks WHERE order_id = (SELECT max(order_id) FROM blocks)")


@breaks("C3")
def a_halt_is_not_shown(copy: Copy) -> None:
    copy.sql("UPDATE contracts SET state = 4 WHERE phase = 'forward'")


@breaks("C5")
def a_class_shows_another_collar(copy: Copy) -> None:
    copy.sql("UPDATE classes SET collar_high = collar_high + 1")


@breaks("C5")
def a_contract_shows_another_reference_than_it_has(copy: Copy) -> None:
    copy.sql("UPDATE contracts SET reference = reference + 1 WHERE reference > 0")


# --- Settlement ----------------------------------------------------------------------------------------------


@breaks("S1")
def a_correction_is_not_public(copy: Copy) -> None:
    copy.sql("DELETE FROM corrections")


@breaks("S1")
def a_failed_promise_cannot_be_read(copy: Copy) -> None:
    copy.sql("DELETE FROM buy_in_failures WHERE contract = (SELECT max(contract) FROM buy_in_failures)")


@breaks("S1")
def quotes_are_shown_with_another_number(copy: Copy) -> None:
    copy.sql("UPDATE quotes SET number = number + 1")


@breaks("M5")
def procured_machines_are_booked_dearer(copy: Copy) -> None:
    """All sums are right; the request in the log says less."""
    copy.sql(
        "CREATE TEMP TABLE dearer AS SELECT kind, account_shard AS shard, ref, asset, sign(amount)::bigint AS amount"
        f" FROM postings WHERE {ENTRY} IN ({A_PROCUREMENT})",
        f"UPDATE postings SET amount = amount + sign(amount) WHERE {ENTRY} IN ({A_PROCUREMENT})",
        follow("dearer"),
    )


@breaks("S1")
def machines_for_what_was_sold_as_ready_are_forgotten(copy: Copy) -> None:
    """They would be paid for a second time."""
    copy.sql("DELETE FROM procurements")


@breaks("M5", "S1", "M2")
def what_the_shard_refused_is_paid_for_all_the_same(copy: Copy) -> None:
    """The cost of machines for an hour that was over does not come back."""
    copy.sql(
        f"DELETE FROM postings WHERE {ENTRY} IN ({A_RETURN})",
        f"DELETE FROM entries WHERE {ENTRY} IN ({A_RETURN})",
    )


@breaks("M7", "S1")
def an_event_settles_twice(copy: Copy) -> None:
    """A sweep under a second index, and both balances follow."""
    first = "(SELECT source, shard, seq, index FROM entries WHERE what = 'swept' ORDER BY seq LIMIT 1)"
    copy.sql(
        "CREATE TEMP TABLE again AS SELECT source, p.shard AS of, seq, index, line, kind, account_shard AS shard, ref, asset,"
        f" amount FROM postings p WHERE {ENTRY} = {first}",
        "INSERT INTO entries SELECT DISTINCT source, of, seq, index + 100, 'swept', 0 FROM again",
        "INSERT INTO postings SELECT source, of, seq, index + 100, line, kind, shard, ref, asset, amount FROM again",
        follow("again"),
    )


@breaks("S1")
def an_entry_has_lost_its_name(copy: Copy) -> None:
    copy.sql(f"DELETE FROM entries WHERE {ENTRY} IN ({A_DEPOSIT})")


@breaks("M2", "M5", "S1")
def an_entry_has_lost_its_postings(copy: Copy) -> None:
    copy.sql(f"DELETE FROM postings WHERE {ENTRY} IN ({A_DEPOSIT})")


@breaks("S1")
def a_trade_is_not_shown(copy: Copy) -> None:
    copy.sql("DELETE FROM fills WHERE trade = 1")


@breaks("S1")
def a_trade_is_shown_at_another_price(copy: Copy) -> None:
    copy.sql("UPDATE fills SET price = price + 10 WHERE trade = 1")


@breaks("S1")
def a_delivery_is_noted_with_other_minutes(copy: Copy) -> None:
    copy.sql("UPDATE deliveries SET undelivered = undelivered + 1 WHERE title > 0 AND undelivered = 13")


@breaks("S1")
def a_request_is_answered_that_nobody_made(copy: Copy) -> None:
    copy.sql("""
        INSERT INTO requests SELECT 'nobody', account, digest, state, code, need, have, outcome, log_offset, updated_ms
            FROM requests WHERE request_id = 'open-1'
    """)


@breaks("S1")
def a_payout_is_noted_for_somebody_else(copy: Copy) -> None:
    copy.sql("UPDATE payouts SET account = 7 WHERE account = 6")


@breaks("S1")
def a_refusal_is_not_noted(copy: Copy) -> None:
    copy.sql("DELETE FROM refusals WHERE source = 2")


@breaks("S1")
def settlement_has_read_other_events(copy: Copy) -> None:
    copy.sql("UPDATE cursors SET chain = decode(md5('another'), 'hex') WHERE topic = 'events' AND partition = 1")


@breaks("S1")
def settlement_has_read_other_requests(copy: Copy) -> None:
    copy.sql("UPDATE cursors SET last_hash = decode(md5('another'), 'hex') WHERE topic = 'requests'")


# --- The test ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plant", "broken"), [pytest.param(*pair, id=pair[0].__name__.replace("_", " ")) for pair in PLANTS]
)
def test_what_is_changed_in_the_database_is_named(copy: Copy, plant: Plant, broken: set[str]) -> None:
    plant(copy)
    assert copy.broken().keys() == broken
