"""One thing in a short log is told wrongly: exactly the invariants that it breaks turn red, by name.

Not D1: no altered log passes the replay (test_whole.py). Here the auditor has nothing but what is said and what was asked.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from schemas import events as ev
from schemas.commands import Tif
from schemas.events import Reason
from schemas.ids import order_id
from tests.audit.tale import ANA, BEA, BOB, CID, CONTRACT, DEE, EVE, NEXT, Tale, the_tale

OF_LEDGER_AND_ENGINE = {"M1", "M2", "M4", "M5", "M8", "B5", "D1", "D2", "H1", "H2", "H3", "R1", "R2", "R3", "R4"}
"""What a log by itself does not show."""
OF_BLOCKS = {"B8", "B9"}
"""Which the first engine version does not have."""

Plant = Callable[[Tale], object]
PLANTS: list[tuple[Plant, set[str]]] = []


def breaks(*names: str) -> Callable[[Plant], Plant]:
    """The function changes one thing; these invariants turn red by it, and no others."""

    def register(plant: Plant) -> Plant:
        PLANTS.append((plant, set(names)))
        return plant

    return register


def plus(amount: int) -> Callable[[int], int]:
    return lambda known: known + amount


# --- Money ---------------------------------------------------------------------------------------------------


@breaks("M3")
def an_account_trades_with_less_than_it_needs(tale: Tale) -> None:
    tale.end("eve buys 7")
    tale.credit(EVE, 5_000)


@breaks("M3")
def a_bid_waits_that_its_owner_cannot_pay(tale: Tale) -> None:
    tale.end("bob bids 3 at 900")
    tale.credit(BOB, 7_000)


@breaks("M6")
def a_notional_is_off_by_one(tale: Tale) -> None:
    tale.end("bob buys 6")
    tale.alter("bob buys 6", ev.Filled, notional=plus(1))


@breaks("M6")
def a_buyers_fee_is_off_by_one(tale: Tale) -> None:
    tale.end("bob buys 6")
    tale.alter("bob buys 6", ev.Filled, buyer_fee=plus(1))


@breaks("M6")
def a_sellers_fee_is_off_by_one(tale: Tale) -> None:
    tale.end("bob buys 6")
    tale.alter("bob buys 6", ev.Filled, nth=1, seller_fee=plus(-1))


@breaks("M6")
def a_part_of_a_fee_goes_to_another_title(tale: Tale) -> None:
    tale.end("eve buys 7")
    tale.move("eve buys 7", 2, net=1_093)


@breaks("M6")
def an_order_is_accepted_at_rates_that_are_not_its_classs(tale: Tale) -> None:
    tale.end("eve bids 2 at 800")
    tale.alter("eve bids 2 at 800", ev.OrderAccepted, taker_bp=9)


@breaks("M6")
def half_an_hour_is_sold_before_the_hour_begins(tale: Tale) -> None:
    tale.end("bob buys 6")
    tale.alter("bob buys 6", ev.Filled, nth=1, minutes=30)


@breaks("M7")
def a_credit_tells_another_balance(tale: Tale) -> None:
    tale.alter(f"credit {EVE}", ev.Credited, balance=plus(1))


@breaks("M7")
def a_sweep_takes_more_than_it_says(tale: Tale) -> None:
    tale.alter("bob takes 500 out", ev.Swept, amount=499)


# --- Capacity ------------------------------------------------------------------------------------------------


@breaks("C1", "M6")
def a_fill_moves_fewer_hours_than_it_sells(tale: Tale) -> None:
    tale.end("bob buys 6")
    tale.move("bob buys 6", 0, qty=3)


@breaks("C1", "C6")
def a_purchase_closes_nothing_of_what_the_buyer_owes(tale: Tale) -> None:
    """ana then holds an hour and owes one."""
    tale.end("ana buys 2 back")
    tale.move("ana buys 2 back", 0, closes=0, closed=0, released_buyer=0)


@breaks("C2", "O1")
def more_is_offered_than_there_are_machines(tale: Tale) -> None:
    """cid has 6 left and offers 7; when he takes machines away only 2 are cancelled."""
    tale.both("cid asks 2 at 1200", ev.OrderAccepted, qty=7)


@breaks("C2")
def an_hour_is_sold_on_a_promise_that_nobody_gave(tale: Tale) -> None:
    tale.end("bob buys 6")
    tale.move("bob buys 6", 0, ground=2)


@breaks("C2")
def asks_stay_when_machines_go(tale: Tale) -> None:
    tale.end("cid declares 4")
    tale.drop("cid declares 4", ev.OrderCancelled)


@breaks("C2")
def a_title_goes_over_to_machines_that_are_not_there(tale: Tale) -> None:
    tale.end("bob takes 500 out")
    tale.add("bob takes 500 out", ev.TitleCovered(CONTRACT, 4, 4, 4, 1))


@breaks("C3")
def an_order_is_accepted_behind_the_gate(tale: Tale) -> None:
    told = tale.told[tale.place("closed")]
    late = replace(
        tale.said("eve bids 2 at 800", ev.OrderAccepted), order=order_id(0, told.record.offset, 0), tif=Tif.IOC
    )
    gone = ev.OrderCancelled(late.order, EVE, CONTRACT, 2, Reason.IOC)
    tale.stamp("closed", lambda record: replace(record, events=[*record.events[:-1], late, gone]))
    asked = tale.told[tale.place("eve bids 2 at 800")].frame.commands[0]
    told.frame = told.frame._replace(commands=[replace(asked, tif=Tif.IOC, valid_until_ms=told.record.time_ms)])


@breaks("C3")
def a_gate_does_not_close(tale: Tale) -> None:
    tale.drop("gate", ev.GateClosed)


@breaks("C3")
def a_gate_closes_early(tale: Tale) -> None:
    tale.end("two at once")
    tale.add("two at once", ev.GateClosed(NEXT))


@breaks("C3")
def an_order_stays_behind_the_gate(tale: Tale) -> None:
    tale.drop("gate", ev.OrderCancelled)


@breaks("C3")
def an_hour_is_listed_before_its_time(tale: Tale) -> None:
    tale.end("two at once")
    tale.add("two at once", ev.ContractListed(NEXT + 3))


@breaks("C3")
def time_goes_back(tale: Tale) -> None:
    tale.stamp("an old message", lambda record: replace(record, time_ms=record.time_ms - 5_000))


@breaks("C4")
def a_repeated_declaration_changes_something(tale: Tale) -> None:
    tale.both("dee promises 6 again", ev.BackingSet, qty=7)


@breaks("C4")
def a_repeated_declaration_says_that_it_changed_something(tale: Tale) -> None:
    tale.alter("dee promises 6 again", ev.BackingSet, changed=True)


@breaks("C4")
def an_older_declaration_comes_into_force(tale: Tale) -> None:
    tale.both("cid declares 4", ev.BackingSet, version=0)


@breaks("C4", "O3")
def a_class_is_listed_again_with_another_tick(tale: Tale) -> None:
    """Nobody asked for it, either."""
    tale.add("two at once", replace(tale.said("list", ev.ClassSet), index=2, outbox=20, tick=20))


@breaks("C5")
def a_promise_is_made_below_the_collars_cap(tale: Tale) -> None:
    tale.end("dee promises 6")
    tale.both("dee promises 6", ev.BackingSet, collateral_price=1_990)


@breaks("C5", "M3")
def a_promise_is_made_that_its_cash_does_not_cover(tale: Tale) -> None:
    tale.end("dee promises 6")
    tale.credit(DEE, 20_000)


@breaks("C5")
def collateral_is_off_by_one_when_the_hour_ends(tale: Tale) -> None:
    tale.alter("end", ev.CollateralMoved, amount=plus(-1))


@breaks("C5")
def collateral_stays_in_the_shard_when_the_hour_ends(tale: Tale) -> None:
    tale.drop("end", ev.CollateralMoved)


@breaks("C6")
def a_title_is_sold_before_an_older_one(tale: Tale) -> None:
    """bob has 4 of ana's and 2 of cid's, at the same cost: a resale takes cid's."""
    tale.end("eve buys 7")
    tale.move("eve buys 7", 2, source=2)


@breaks("C6")
def a_resale_releases_too_much(tale: Tale) -> None:
    tale.end("eve buys 7")
    tale.move("eve buys 7", 2, released_seller=1_002)


@breaks("C6")
def a_title_ends_with_another_escrow(tale: Tale) -> None:
    tale.alter("end", ev.TitleEnded, escrow=plus(1))


@breaks("C6")
def a_title_ends_for_another_holder(tale: Tale) -> None:
    tale.alter("end", ev.TitleEnded, holder=EVE)


@breaks("C6")
def a_title_is_forgotten_when_the_hour_ends(tale: Tale) -> None:
    tale.drop("end", ev.TitleEnded)


@breaks("C6")
def an_hour_ends_with_a_micro_dollar_too_much(tale: Tale) -> None:
    tale.alter("end", ev.HourEnded, escrow=plus(1))


# --- The book ------------------------------------------------------------------------------------------------


@breaks("B1")
def an_ask_rests_at_the_best_bid(tale: Tale) -> None:
    tale.end("cid asks 2 at 1200")
    tale.both("cid asks 2 at 1200", ev.OrderAccepted, price=900)


@breaks("B2")
def a_trade_passes_over_a_better_price(tale: Tale) -> None:
    """eve takes everything up to 1100; dee's 1010 comes first, and then cid's 1000."""
    tale.end("eve buys 7")
    accepted, of_cid, of_dee, of_bob = tale.told[-1].record.events
    of_dee = replace(of_dee, trade=3, taker_leaves=3, moves=(replace(of_dee.moves[0], title=3),))
    of_cid = replace(of_cid, trade=4, taker_leaves=1, moves=(replace(of_cid.moves[0], title=4),))
    tale.stamp("eve buys 7", lambda record: replace(record, events=[accepted, of_dee, of_cid, of_bob]))


@breaks("B2")
def a_trade_is_beyond_the_takers_limit(tale: Tale) -> None:
    tale.end("bob buys 6")
    tale.both("bob buys 6", ev.OrderAccepted, price=990)


@breaks("B3")
def a_trade_is_at_the_takers_price(tale: Tale) -> None:
    """bob offers 1010, and pays that instead of 1000; everything follows from it."""
    tale.end("bob buys 6")
    tale.both("bob buys 6", ev.OrderAccepted, price=1_010)
    for nth, qty in ((0, 4), (1, 2)):
        cash = 1_010 * qty
        buyer_fee, seller_fee = -(-cash * 10 // 10_000), -(-cash * 50 // 10_000)
        tale.alter("bob buys 6", ev.Filled, nth, price=1_010, notional=cash, buyer_fee=buyer_fee, seller_fee=seller_fee)
        tale.move("bob buys 6", nth, net=cash - seller_fee, cost=cash + buyer_fee)


@breaks("B3")
def the_resting_order_is_said_to_be_the_newcomer(tale: Tale) -> None:
    tale.end("bob buys 6")
    tale.alter("bob buys 6", ev.Filled, nth=1, taker_side=2)


@breaks("B4")
def the_younger_order_trades_first(tale: Tale) -> None:
    """Both ask for 1000. cid came later, and bob's first 4 are his."""
    tale.end("bob buys 6")
    of_ana, of_cid = (order_id(0, tale.place(name), 0) for name in ("ana asks 4 at 1000", "cid asks 4 at 1000"))
    for nth, maker, seller in ((0, of_cid, CID), (1, of_ana, ANA)):
        tale.alter("bob buys 6", ev.Filled, nth, maker_order=maker, seller=seller)


@breaks("B6", "O3")
def an_order_is_accepted_twice(tale: Tale) -> None:
    tale.add("cid asks 2 at 1200", tale.said("cid asks 2 at 1200", ev.OrderAccepted))


@breaks("B6", "O3")
def an_order_is_lost_and_trades(tale: Tale) -> None:
    tale.drop("dee asks 4 at 1010", ev.OrderAccepted)


@breaks("B4", "B6")
def an_order_trades_in_another_book(tale: Tale) -> None:
    """Where it does not wait, and is nobody's turn."""
    tale.end("bob buys 6")
    tale.alter("bob buys 6", ev.Filled, nth=1, contract=NEXT)


@breaks("B7")
def both_sides_belong_to_one_owner(tale: Tale) -> None:
    """eve turns out to be bob's, from the beginning."""
    tale.both(f"open {EVE}", ev.AccountSet, owner=BOB)


@breaks("B7", "O3")
def an_account_gets_another_owner(tale: Tale) -> None:
    """And nobody asked for it."""
    tale.add("two at once", replace(tale.said(f"open {BEA}", ev.AccountSet), index=2, owner=BEA, outbox=20))


# --- Orders --------------------------------------------------------------------------------------------------


@breaks("O1")
def a_cancel_leaves_a_gpu(tale: Tale) -> None:
    tale.alter("eve cancels", ev.OrderCancelled, qty=1)


@breaks("O1")
def a_fill_leaves_one_too_many(tale: Tale) -> None:
    tale.alter("bob buys 6", ev.Filled, maker_leaves=1)


@breaks("O1")
def what_could_not_be_filled_at_once_rests(tale: Tale) -> None:
    tale.both("eve bids 2 at 800", ev.OrderAccepted, tif=int(Tif.IOC))


@breaks("O2")
def one_client_id_is_two_orders(tale: Tale) -> None:
    tale.end("eve bids 2 at 800")
    tale.both("eve bids 2 at 800", ev.OrderAccepted, account=BOB, client_id="bob-1")


@breaks("O2")
def a_repeat_is_answered_with_another_order(tale: Tale) -> None:
    tale.alter("bob bids 3 again", ev.OrderRepeated, order=order_id(0, 1, 0))


@breaks("O2")
def another_order_stands_in_the_way_of_a_client_id(tale: Tale) -> None:
    tale.alter("bob bids 2 under the same id", ev.Rejected, have=order_id(0, 1, 0))


@breaks("O3")
def a_command_has_no_outcome(tale: Tale) -> None:
    tale.drop("two at once", ev.StateSet)


@breaks("O3")
def a_command_has_two_outcomes(tale: Tale) -> None:
    tale.add("two at once", tale.said("two at once", ev.StateSet, 1))


@breaks("O3")
def outcomes_come_in_another_order(tale: Tale) -> None:
    tale.add("two at once", tale.drop("two at once", ev.StateSet))


@breaks("O3")
def an_order_is_accepted_at_another_price_than_asked(tale: Tale) -> None:
    tale.alter("eve bids 2 at 800", ev.OrderAccepted, price=790)


@breaks("O3")
def another_amount_is_credited_than_was_sent(tale: Tale) -> None:
    tale.ask(f"credit {EVE}", amount=99_999)


@breaks("O3")
def more_is_swept_than_was_asked(tale: Tale) -> None:
    tale.ask("bob takes 500 out", amount=499)


@breaks("O3")
def an_order_comes_from_the_future(tale: Tale) -> None:
    tale.ask("eve bids 2 at 800", valid_until_ms=2**62)


@breaks("O3")
def an_order_comes_too_late(tale: Tale) -> None:
    tale.ask("eve bids 2 at 800", valid_until_ms=0)


@breaks("O3")
def an_order_has_the_id_of_another_place(tale: Tale) -> None:
    elsewhere = order_id(0, 900, 0)
    tale.alter("eve bids 2 at 800", ev.OrderAccepted, order=elsewhere)
    tale.both("eve cancels", ev.CancelAccepted, order=elsewhere)
    tale.alter("eve cancels", ev.OrderCancelled, order=elsewhere)


@breaks("O3")
def a_sentence_of_a_later_engine_version(tale: Tale) -> None:
    tale.add("two at once", ev.DeadManFired(BOB))


# --- Numbers -------------------------------------------------------------------------------------------------


@breaks("D4")
def a_record_is_missing(tale: Tale) -> None:
    del tale.told[tale.place("an old message")]


@breaks("D4")
def a_record_comes_twice(tale: Tale) -> None:
    tale.told.insert(tale.place("an old message"), tale.told[tale.place("an old message")])


@breaks("D4")
def a_trades_number_is_left_out(tale: Tale) -> None:
    tale.end("bob buys 6")
    tale.alter("bob buys 6", ev.Filled, nth=1, trade=3)


@breaks("D4")
def a_titles_number_is_left_out(tale: Tale) -> None:
    tale.end("bob buys 6")
    tale.move("bob buys 6", 1, title=7)


@breaks("S1")
def a_message_is_confirmed_twice(tale: Tale) -> None:
    tale.both("bob takes 500 out", ev.Swept, outbox=18)


# --- The tests -----------------------------------------------------------------------------------------------


def test_the_tale_as_it_was_told_is_clean() -> None:
    """And everything that a log by itself can show was looked at."""
    found = the_tale().findings()
    assert {finding.name: finding.breaches for finding in found if finding.broken} == {}
    assert {finding.name for finding in found if not finding.looked_at} == OF_LEDGER_AND_ENGINE | OF_BLOCKS


@pytest.mark.parametrize(
    ("plant", "broken"), [pytest.param(*pair, id=pair[0].__name__.replace("_", " ")) for pair in PLANTS]
)
def test_what_is_told_wrongly_is_named(plant: Plant, broken: set[str]) -> None:
    tale = the_tale()
    plant(tale)
    breaches = {finding.name: finding.breaches for finding in tale.findings() if finding.broken}
    assert breaches.keys() == broken
