"""One thing in a log of the second engine version is told wrongly: exactly the invariants that it breaks turn red, by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Fees, Ground, Role, State
from schemas.events import Reason
from tests.audit.second_tale import BUY, SELL, of, the_second_tale
from tests.audit.tale import ANA, BEA, BOB, CID, CONTRACT, DEE, EVE, HOUR, ROLE, T0_MS, Tale
from tests.audit.test_log_breaks import Plant, plus

PLANTS: list[tuple[Plant, set[str]]] = []
OF_LEDGER_AND_ENGINE = {"M1", "M2", "M4", "M5", "M8", "B5", "D1", "D2", "H1", "H2", "H3", "R1", "R2", "R3", "R4"}


def breaks(*names: str) -> Callable[[Plant], Plant]:
    """The function changes one thing; these invariants turn red by it, and no others."""

    def register(plant: Plant) -> Plant:
        PLANTS.append((plant, set(names)))
        return plant

    return register


# --- Blocks --------------------------------------------------------------------------------------------------


@breaks("B8")
def a_block_says_another_sum_than_its_hours_cost(tale: Tale) -> None:
    tale.end("bob's block takes 2")
    tale.alter("bob's block takes 2", ev.BlockFilled, average_price_num=plus(1))


@breaks("B8")
def a_block_says_other_hours_than_it_has(tale: Tale) -> None:
    tale.end("bob's block takes 2")
    tale.alter("bob's block takes 2", ev.BlockFilled, hours=1)


@breaks("B8")
def a_block_trades_in_one_of_its_hours_only(tale: Tale) -> None:
    """The second hour's fill is left out, and out of the sum."""
    tale.end("bob's block takes 2")
    tale.drop("bob's block takes 2", ev.Filled, nth=1)
    tale.alter("bob's block takes 2", ev.BlockFilled, average_price_num=2_000)


@breaks("B8")
def a_fill_says_that_more_of_its_hour_is_still_to_come(tale: Tale) -> None:
    tale.end("bob's block takes 2")
    tale.alter("bob's block takes 2", ev.Filled, nth=1, taker_leaves=1)


@breaks("B2")
def a_block_pays_more_than_its_limit_on_average(tale: Tale) -> None:
    """It offers 990, and takes two hours at 1000 each."""
    tale.end("bob's block takes 2")
    tale.both("bob's block takes 2", ev.BlockAccepted, price=990)


@breaks("B2", "B8", "B9")
def a_block_takes_less_than_its_minimum(tale: Tale) -> None:
    """eve wanted all 4 of 4, and got 3; what is left waits beside cid's, which has it."""
    tale.end("eve's block takes 3")
    tale.both("eve's block takes 3", ev.BlockAccepted, qty=4, qty_min=4)
    for nth, leaves in ((0, 3), (2, 1)):
        tale.alter("eve's block takes 3", ev.BlockFilled, nth, leaves=leaves)


@breaks("B3", "O1")
def two_blocks_trade_at_another_price_than_the_resting_one(tale: Tale) -> None:
    """cid's offer was for 1040 from the beginning, and his sale is at 1050; nobody knows what he cancels."""
    tale.end("eve's block takes 3")
    tale.both("cid's block waits", ev.BlockAccepted, price=1_040)
    tale.add("eve's block takes 3", ev.OrderCancelled(of(tale, "cid's block waits"), CID, CONTRACT, 1, Reason.ASKED))


@breaks("B2", "B9")
def a_block_waits_beside_one_that_it_could_trade_with(tale: Tale) -> None:
    """eve pays 1100 for three, cid sells four for 1050; both wait."""
    tale.end("eve's block takes 3")
    accepted = tale.said("eve's block takes 3", ev.BlockAccepted)
    tale.stamp("eve's block takes 3", lambda record: replace(record, events=[accepted]))


@breaks("B2", "B9")
def a_retry_comes_a_command_late(tale: Tale) -> None:
    tale.end("bob's block goes")
    accepted, *effects = tale.told[tale.place("cid asks 3 at 880 in the next")].record.events
    tale.stamp("cid asks 3 at 880 in the next", lambda record: replace(record, events=[accepted]))
    tale.stamp("bob's block goes", lambda record: replace(record, events=[*effects, *record.events]))


@breaks("B2", "B7")
def two_blocks_of_one_owner_trade(tale: Tale) -> None:
    """eve turns out to be cid's; by the books she would have taken ana's hours alone."""
    tale.end("eve's block takes 3")
    tale.both(f"open {EVE}", ev.AccountSet, owner=CID)


@breaks("O1")
def a_block_is_cancelled_and_leaves_a_gpu(tale: Tale) -> None:
    tale.end("bob's block goes")
    tale.alter("bob's block goes", ev.OrderCancelled, qty=1)


@breaks("C2")
def a_block_offers_hours_that_nobody_has(tale: Tale) -> None:
    """cid has 20 machines."""
    tale.end("cid's block waits")
    tale.both("cid's block waits", ev.BlockAccepted, qty=21)


@breaks("M3")
def a_block_waits_that_its_owner_cannot_pay(tale: Tale) -> None:
    """5 GPUs, two hours, 900 each, a fee of 9 and a µUSD for each of ten."""
    tale.end("bob's block waits")
    tale.credit(BOB, 4_004 + 9_018)


@breaks("O3")
def a_block_has_the_id_of_another_place(tale: Tale) -> None:
    tale.end("cid's block waits")
    tale.alter("cid's block waits", ev.BlockAccepted, order=plus(1))


# --- Ranges, amends, quotes ----------------------------------------------------------------------------------


@breaks("O3")
def a_leg_of_a_range_has_no_outcome(tale: Tale) -> None:
    tale.end("bob's range")
    tale.alter("bob's range", ev.RangeAccepted, legs=lambda legs: legs[:2])


@breaks("O3")
def a_leg_of_a_range_has_the_id_of_another(tale: Tale) -> None:
    tale.end("bob's range")
    tale.alter(
        "bob's range", ev.RangeAccepted, legs=lambda legs: (replace(legs[0], order=legs[0].order + 7), *legs[1:])
    )


@breaks("C3")
def a_leg_is_accepted_in_an_hour_that_is_not_listed(tale: Tale) -> None:
    tale.end("bob's range")
    order = of(tale, "bob's range") + 2

    def accept(legs: tuple[ev.LegOutcome, ...]) -> tuple[ev.LegOutcome, ...]:
        return (*legs[:2], ev.LegOutcome(2, order))

    tale.alter("bob's range", ev.RangeAccepted, legs=accept)


@breaks("O2")
def a_range_that_is_repeated_is_another_order(tale: Tale) -> None:
    tale.end("bob's range again")
    tale.alter("bob's range again", ev.OrderRepeated, order=plus(1))


@breaks("B4")
def a_larger_order_keeps_its_place(tale: Tale) -> None:
    tale.end("eve takes more")
    tale.alter("eve takes more", ev.OrderAmended, kept_place=True)


@breaks("O3")
def an_order_is_amended_to_another_size_than_asked(tale: Tale) -> None:
    tale.end("eve takes more")
    tale.alter("eve takes more", ev.OrderAmended, qty=6)


@breaks("O1")
def an_order_of_somebody_else_is_amended(tale: Tale) -> None:
    tale.end("eve takes more")
    tale.both("eve takes more", ev.OrderAmended, account=BEA)


@breaks("O3")
def a_mass_cancel_counts_one_too_many(tale: Tale) -> None:
    tale.alter("bob wants nothing", ev.MassCancelAccepted, count=2)


@breaks("O3")
def a_mass_cancel_leaves_an_order(tale: Tale) -> None:
    tale.end("bob wants nothing")
    tale.alter("bob wants nothing", ev.MassCancelAccepted, count=0)
    tale.drop("bob wants nothing", ev.OrderCancelled)


@breaks("O3")
def a_side_of_a_former_quote_stays(tale: Tale) -> None:
    tale.end("dee quotes less")
    tale.drop("dee quotes less", ev.OrderCancelled)


@breaks("O3")
def a_quote_is_open_with_more_than_was_asked(tale: Tale) -> None:
    tale.end("dee quotes")

    def more(outcomes: tuple[ev.QuoteOutcome, ...]) -> tuple[ev.QuoteOutcome, ...]:
        return (replace(outcomes[0], bid_qty=3), *outcomes[1:])

    tale.alter("dee quotes", ev.QuotesPut, outcomes=more)


@breaks("O3")
def a_quote_that_keeps_its_place_grows(tale: Tale) -> None:
    """2 were bid and 1 is; 3 at the same price would be another order."""
    tale.end("dee quotes less")

    def more(outcomes: tuple[ev.QuoteOutcome, ...]) -> tuple[ev.QuoteOutcome, ...]:
        return (replace(outcomes[0], bid_qty=3),)

    tale.alter("dee quotes less", ev.QuotesPut, outcomes=more)
    asked = tale.told[tale.place("dee quotes less")].frame.commands[0]
    tale.ask("dee quotes less", quotes=(replace(asked.quotes[0], bid_qty=3),))


@breaks("O3")
def quotes_with_a_number_that_was_used_up(tale: Tale) -> None:
    tale.end("dee quotes less")
    tale.both("dee quotes less", ev.QuotesPut, number=1)


@breaks("M6")
def a_quote_gets_rates_that_are_not_its_classs(tale: Tale) -> None:
    tale.end("dee quotes")
    tale.alter("dee quotes", ev.QuotesPut, ask_bp=0)


# --- Time, states, references --------------------------------------------------------------------------------


@breaks("C3")
def an_order_outlives_its_moment(tale: Tale) -> None:
    tale.end("a minute later")
    tale.drop("a minute later", ev.OrderCancelled)


@breaks("C3")
def an_order_expires_early(tale: Tale) -> None:
    tale.end("eve's switch")
    tale.add("eve's switch", ev.OrderCancelled(of(tale, "bea bids for a minute"), BEA, CONTRACT, 1, Reason.EXPIRED))


@breaks("O3")
def a_switch_is_set_for_another_moment(tale: Tale) -> None:
    tale.end("eve's switch")
    tale.alter("eve's switch", ev.CancelAllAfterSet, at_ms=plus(1))


@breaks("C3")
def a_switch_does_not_fire(tale: Tale) -> None:
    tale.end("the switch fires")
    tale.drop("the switch fires", ev.DeadManFired)


@breaks("C3")
def a_switch_leaves_an_order(tale: Tale) -> None:
    tale.end("the switch fires")
    tale.drop("the switch fires", ev.OrderCancelled)


@breaks("C3")
def a_halt_ends_without_a_reopening(tale: Tale) -> None:
    tale.end("reopen")
    tale.alter("reopen", ev.StateSet, state=int(State.OPEN))


@breaks("C3")
def a_reopening_does_not_go_on(tale: Tale) -> None:
    tale.end("post-only")
    tale.drop("post-only", ev.StateReached)


@breaks("C3")
def a_contract_opens_before_its_time(tale: Tale) -> None:
    tale.end("post-only")
    tale.add("post-only", ev.StateReached(1, HOUR, State.OPEN), 1)


@breaks("C3")
def a_halted_contract_trades(tale: Tale) -> None:
    """In the same frame, just before."""
    name = "eve takes the quote"
    halted, halt = tale.said("halt", ev.StateSet), tale.told[tale.place("halt")].frame.commands[0]
    tale.end(name)
    told = tale.told[tale.place(name)]
    accepted, filled = told.record.events
    order = accepted.order + (1 << 10)
    accepted, filled = replace(accepted, index=1, order=order), replace(filled, taker_order=order)
    tale.stamp(name, lambda record: replace(record, events=[halted, accepted, filled]))
    told.frame = told.frame._replace(commands=[halt, *told.frame.commands])


@breaks("C5")
def a_collar_is_not_where_its_reference_is(tale: Tale) -> None:
    tale.end("the reference rises")
    tale.alter("the reference rises", ev.ReferenceMoved, high=2_210)


@breaks("C5")
def an_unsold_promise_stays_below_the_new_cap(tale: Tale) -> None:
    tale.end("the reference rises")
    tale.drop("the reference rises", ev.BackingCut)


@breaks("C5")
def more_is_cut_than_is_not_sold(tale: Tale) -> None:
    tale.end("the reference rises")
    tale.alter("the reference rises", ev.BackingCut, qty=7)


def test_what_is_bought_back_is_promised_again_at_the_collateral_that_it_had() -> None:
    """Its hour has a reference of its own, so that the class's says nothing of it. Found in 2,000 random days."""
    tale = Tale()
    tale.tell("start", cmd.StartShard(0, 2, T0_MS))
    tale.tell("list", cmd.SetClass(tale.outbox(), 1, "TEST", 1, 10, 1_000, Fees(0, 10, 50, 30), horizon_hours=3))
    for account in (ANA, BOB, DEE):
        tale.tell(f"open {account}", cmd.SetAccount(tale.outbox(), account, account, ROLE.get(account, Role.MEMBER), 0))
        tale.tell(f"credit {account}", cmd.Credit(tale.outbox(), account, 100_000))
    tale.back("ana declares 20", ANA, Ground.DECLARED, 20, 1)
    tale.back("dee promises 8", DEE, Ground.PROMISED, 8, 1)
    tale.order("dee asks 3", DEE, SELL, 3, 1_000)
    tale.order("bob takes them", BOB, BUY, 3, 1_000)
    tale.tell("the hour's reference rises", cmd.MoveReference(1, HOUR, 1_100, "index"))
    tale.order("ana asks 3", ANA, SELL, 3, 1_000)
    tale.order("dee buys back", DEE, BUY, 3, 1_000)
    tale.tell("the class's reference rises", cmd.MoveReference(1, 0, 1_050, "index"))

    assert "C5" not in tale.findings().broken()


# --- The cover deadline --------------------------------------------------------------------------------------


@breaks("C5")
def a_buy_in_pays_up_to_more_than_its_collateral(tale: Tale) -> None:
    tale.end("cover")
    tale.alter("cover", ev.BuyIn, limit=2_010)


@breaks("C5")
def a_buy_in_is_for_less_than_is_owed(tale: Tale) -> None:
    """And then it says that more is still to be bought than that."""
    tale.end("cover")
    tale.alter("cover", ev.BuyIn, qty=1)


@breaks("B2", "C5")
def a_buy_in_is_beyond_its_limit(tale: Tale) -> None:
    tale.end("cover")
    tale.alter("cover", ev.BuyIn, limit=1_290)


@breaks("C5")
def a_failed_promise_is_not_told(tale: Tale) -> None:
    tale.end("cover")
    tale.drop("cover", ev.BuyInFailed)


@breaks("C5")
def an_ask_within_the_limit_is_passed_over(tale: Tale) -> None:
    """Nothing is bought of the one that cid offers, and both fail."""
    tale.end("cover")
    tale.drop("cover", ev.Filled)
    tale.alter("cover", ev.BuyInFailed, qty=2)


@breaks("C3", "C5")
def promises_outlive_their_cover_deadline(tale: Tale) -> None:
    """Nothing of it is told: dee promises still, and owes, and ready machines are said for what is no promise any more."""
    tale.end("cover")
    for kind in (ev.BuyIn, ev.Filled, ev.BuyInFailed):
        tale.drop("cover", kind)
    known = tale.said("dee promises 8", ev.BackingSet)
    late = replace(known, index=1, outbox=17, hours=(HOUR,), collateral_price=2_200, version=2, qty=2)
    tale.add("cover", late)
    told = tale.told[tale.place("cover")]
    asked = tale.told[tale.place("dee promises 8")].frame.commands[0]
    asked = replace(asked, outbox=17, hours=(HOUR,), collateral_price=2_200, version=2, qty=2)
    told.frame = told.frame._replace(commands=[*told.frame.commands, asked])


# --- The running phase ---------------------------------------------------------------------------------------


@breaks("M6")
def more_minutes_are_sold_than_are_left(tale: Tale) -> None:
    tale.end("eve buys 2 at once")
    tale.alter("eve buys 2 at once", ev.Filled, minutes=40)


@breaks("C1", "C2")
def a_running_hour_is_sold_on_machines_for_later(tale: Tale) -> None:
    tale.end("eve buys 2 at once")
    tale.move("eve buys 2 at once", 0, ground=Ground.DECLARED)


@breaks("C6")
def a_running_purchase_closes_a_title(tale: Tale) -> None:
    tale.end("eve buys 2 at once")
    title = tale.said("eve buys 2 at once", ev.Filled).moves[0].title
    tale.move("eve buys 2 at once", 0, closes=title, closed=title)


@breaks("C2", "C5")
def what_is_ready_is_sold_twice(tale: Tale) -> None:
    """dee had one ready from the beginning, and offers two: her collateral is for one."""
    tale.end("dee asks 1 at 1400")
    tale.both("dee is ready with 2", ev.BackingSet, collateral_price=2_190)
    tale.both("dee asks 1 at 1400", ev.OrderAccepted, qty=3)


@breaks("C3")
def a_bid_waits_in_the_running_phase(tale: Tale) -> None:
    tale.end("eve buys 2 at once")
    accepted = tale.said("eve buys 2 at once", ev.OrderAccepted)
    tale.stamp("eve buys 2 at once", lambda record: replace(record, events=[accepted]))
    tale.both("eve buys 2 at once", ev.OrderAccepted, tif=1, price=1_300)


@breaks("C3")
def an_ask_waits_behind_the_running_phase(tale: Tale) -> None:
    tale.end("closed")
    tale.drop("closed", ev.OrderCancelled)


@breaks("C3")
def an_ask_stays_behind_the_gate_that_did_not_ask_to(tale: Tale) -> None:
    tale.end("gate")
    tale.both("ana asks 2 at 1500", ev.OrderAccepted, flags=0)


@breaks("C5")
def collateral_of_what_was_ready_stays_in_the_shard(tale: Tale) -> None:
    """dee owes bob one as promised, and eve one that was ready."""
    tale.alter("end", ev.CollateralMoved, amount=2_002)


# --- Corrections ---------------------------------------------------------------------------------------------


@breaks("B7")
def one_owner_corrects_alone(tale: Tale) -> None:
    tale.end("correct")
    tale.both("correct", ev.CashCorrected, operator=BOB, second_operator=BEA, payer=CID)


@breaks("B7")
def one_approval_corrects_twice(tale: Tale) -> None:
    """Both times as it should be, but for the approval."""
    tale.end("correct more")
    tale.ask("correct more", approval="a1")


@breaks("B7")
def an_approval_corrects_when_its_time_is_over(tale: Tale) -> None:
    tale.end("correct")
    tale.ask("correct", valid_until_ms=0)


@breaks("O3")
def an_error_is_corrected_in_a_trade_that_was_never_made(tale: Tale) -> None:
    tale.end("correct")
    tale.both("correct", ev.CashCorrected, trade=99)


@breaks("M3")
def a_correction_takes_more_than_is_there(tale: Tale) -> None:
    tale.end("correct")
    tale.both("correct", ev.CashCorrected, amount=100_000)


# --- The tests -----------------------------------------------------------------------------------------------


def test_the_second_tale_as_it_was_told_is_clean() -> None:
    """And everything that a log by itself can show was looked at, of each kind that it has."""
    found = the_second_tale().findings()
    assert {finding.name: finding.breaches for finding in found if finding.broken} == {}
    assert {finding.name for finding in found if not finding.looked_at} == OF_LEDGER_AND_ENGINE
    delivered = {"M5", "M6", "C6", "S1"}
    assert {name for name in found.unseen() if name not in OF_LEDGER_AND_ENGINE | delivered} == set()


@pytest.mark.parametrize(
    ("plant", "broken"), [pytest.param(*pair, id=pair[0].__name__.replace("_", " ")) for pair in PLANTS]
)
def test_what_is_told_wrongly_of_the_second_version_is_named(plant: Plant, broken: set[str]) -> None:
    tale = the_second_tale()
    plant(tale)
    breaches = {finding.name: finding.breaches for finding in tale.findings() if finding.broken}
    assert breaches.keys() == broken
