"""Whose hour it is, who owes it, and what the engine keeps of its money: decision 002, told in stories.

Sellers pay 50 bp. A title's *proceeds* are what its obligor has when it is delivered, its *cost* is what its holder
has when it is not; the rest of its escrow belongs to resellers and the treasury, whose lists settlement keeps.
"""

from __future__ import annotations

from schemas.commands import Fees
from tests.matching.market import Market, rows


def test_selling_what_one_has_not_makes_a_title_and_pays_nothing_yet() -> None:
    market = Market.given("bid | price | ask\n | 2.00 | 2 bert")

    market.when("ana buys 2 at 2.00")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | ana    | declared | 2    | 3.98     | 4.00 | 4.00
    """)
    assert market.balances("bert", "ana") == rows("""
        who  | cash    | held | collateral | free
        bert | 1000.00 | 0.00 | 0.00       | 1000.00
        ana  | 996.00  | 0.00 | 0.00       | 996.00
    """)
    assert market.positions() == rows("""
        who  | holds | owes
        bert | 0     | 2
        ana  | 2     | 0
    """)


def test_each_sale_makes_a_title_of_its_own() -> None:
    """Also between the same two: each keeps its price."""
    market = Market.given("bid | price | ask\n | 2.10 | 1 bert\n | 2.00 | 1 bert")

    market.when("ana buys 2 at 2.10")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | ana    | declared | 1    | 1.99     | 2.00 | 2.00
        2     | bert    | ana    | declared | 1    | 2.0895   | 2.10 | 2.10
    """)


# --- Resale --------------------------------------------------------------------------------------------------


def sold() -> Market:
    """Bert owes Ana 2 GPUs; she paid 4.00."""
    return Market.given("bid | price | ask\n | 2.00 | 2 bert", backs={"ana": 0}).when("ana buys 2 at 2.00")


def test_a_resale_at_a_gain_gives_back_what_was_paid_and_the_gain_waits_for_delivery() -> None:
    """She has her 4.00 again at once; 1.97 more are in the escrow until Bert delivers to Carl."""
    market = sold()

    market.when("ana sells 2 at 3.00\ncarl buys 2 at 3.00")

    assert market.moves() == rows("""
        from | title | gpus | net  | cost | to seller | closes | closed | to buyer
        1    | 1     | 2    | 5.97 | 6.00 | 4.00      |        |        |
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | carl   | declared | 2    | 3.98     | 6.00 | 6.00
    """)
    assert market.balances("ana") == rows("""
        who | cash    | held | collateral | free
        ana | 1000.00 | 0.00 | 0.00       | 1000.00
    """)


def test_a_resale_at_a_loss_gives_what_came_in_and_the_loss_waits_for_a_failure() -> None:
    market = sold()

    market.when("ana sells 2 at 1.00\ncarl buys 2 at 1.00")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | carl   | declared | 2    | 3.98     | 2.00 | 4.01
    """)
    assert market.balances("ana") == rows("""
        who | cash   | held | collateral | free
        ana | 997.99 | 0.00 | 0.00       | 997.99
    """)


def test_a_part_that_is_resold_is_a_title_of_its_own_and_the_rest_keeps_its_number() -> None:
    market = sold()

    market.when("ana sells 1 at 3.00\ncarl buys 1 at 3.00")

    assert market.moves() == rows("""
        from | title | gpus | net   | cost | to seller | closes | closed | to buyer
        1    | 2     | 1    | 2.985 | 3.00 | 2.00      |        |        |
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | ana    | declared | 1    | 1.99     | 2.00 | 2.00
        2     | bert    | carl   | declared | 1    | 1.99     | 3.00 | 3.00
    """)


def test_the_title_held_longest_is_resold_first() -> None:
    """Three titles; four GPUs of five are sold: the first two whole, of the third a piece."""
    market = Market.given("bid | price | ask\n | 2.20 | 2 dana\n | 2.10 | 2 carl\n | 2.00 | 1 bert", backs={"ana": 0})
    market.when("ana buys 5 at 2.20")

    market.when("ana sells 4 at 2.00\nemil buys 4 at 2.00")

    assert market.moves() == rows("""
        from | title | gpus | net  | cost | to seller | closes | closed | to buyer
        1    | 1     | 1    | 1.99 | 2.00 | 1.99      |        |        |
        2    | 2     | 2    | 3.98 | 4.00 | 3.98      |        |        |
        3    | 4     | 1    | 1.99 | 2.00 | 1.99      |        |        |
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | emil   | declared | 1    | 1.99     | 2.00 | 2.01
        2     | carl    | emil   | declared | 2    | 4.179    | 4.00 | 4.22
        3     | dana    | ana    | declared | 1    | 2.189    | 2.20 | 2.20
        4     | dana    | emil   | declared | 1    | 2.189    | 2.00 | 2.21
    """)


def test_a_title_goes_through_many_hands_and_stays_the_obligor_s() -> None:
    market = sold()

    market.when("""
        ana sells 2 at 2.50
        carl buys 2 at 2.50
        dana buys 2 at 1.50
        carl sells 2 at 1.50
    """)

    assert market.positions() == rows("""
        who  | holds | owes
        bert | 0     | 2
        dana | 2     | 0
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | dana   | declared | 2    | 3.98     | 3.00 | 5.015
    """)


# --- Buying back ---------------------------------------------------------------------------------------------


def test_whoever_buys_back_is_replaced_by_the_new_obligor() -> None:
    """Bert sold 2 for 3.98 and buys 2 for 2.00: Carl owes them to Ana now, and Bert paid nothing that he has not back."""
    market = sold()

    market.when("carl sells 2 at 1.00\nbert buys 2 at 1.00")

    assert market.moves() == rows("""
        from     | title | gpus | net  | cost | to seller | closes | closed | to buyer
        declared | 2     | 2    | 1.99 | 2.00 | 0.00      | 1      | 1      | 2.00
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | carl    | ana    | declared | 2    | 1.99     | 4.00 | 4.00
    """)
    assert market.balances("bert") == rows("""
        who  | cash    | held | collateral | free
        bert | 1000.00 | 0.00 | 0.00       | 1000.00
    """)


def test_buying_back_dearer_costs_the_difference_at_once() -> None:
    """He has back what the sale would have brought, 3.98, and paid 6.00."""
    market = sold()

    market.when("carl sells 2 at 3.00\nbert buys 2 at 3.00")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | carl    | ana    | declared | 2    | 5.97     | 4.00 | 6.02
    """)
    assert market.balances("bert") == rows("""
        who  | cash   | held | collateral | free
        bert | 997.98 | 0.00 | 0.00       | 997.98
    """)


def test_a_part_that_is_bought_back_is_split_off() -> None:
    """The piece that has a new obligor gets the next number: first the title sold, then the piece of the one closed."""
    market = sold()

    market.when("carl sells 1 at 1.00\nbert buys 1 at 1.00")

    assert market.moves() == rows("""
        from     | title | gpus | net   | cost | to seller | closes | closed | to buyer
        declared | 2     | 1    | 0.995 | 1.00 | 0.00      | 1      | 3      | 1.00
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | ana    | declared | 1    | 1.99     | 2.00 | 2.00
        3     | carl    | ana    | declared | 1    | 0.995    | 2.00 | 2.00
    """)


def test_buying_back_with_a_title_that_another_resells_joins_two_chains() -> None:
    """Carl owes Dana; Dana sells to Bert, who owes Ana: Carl owes Ana, and Dana's and Bert's parts are done."""
    market = sold().when("carl sells 2 at 1.50\ndana buys 2 at 1.50")

    market.when("dana sells 2 at 1.80\nbert buys 2 at 1.80")

    assert market.moves() == rows("""
        from | title | gpus | net   | cost | to seller | closes | closed | to buyer
        2    | 2     | 2    | 3.582 | 3.60 | 3.00      | 1      | 1      | 3.60
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | carl    | ana    | declared | 2    | 2.985    | 4.00 | 4.00
    """)
    assert market.positions() == rows("""
        who  | holds | owes
        ana  | 2     | 0
        carl | 0     | 2
    """)


def test_what_is_owed_longest_is_bought_back_first_and_a_piece_stands_behind_its_rest() -> None:
    """Ana resold 1 of the oldest: rest 1, piece 3, then title 2. Three are bought back: 1, 3 and of 2 nothing yet."""
    market = Market.given("bid | price | ask\n | 2.00 | 4 bert", backs={"ana": 0})
    market.when("""
        ana buys 3 at 2.00
        dana buys 1 at 2.00
        ana sells 1 at 2.00
        emil buys 1 at 2.00
    """)

    market.when("carl sells 3 at 2.00\nbert buys 3 at 2.00")

    assert [(row[6], row[7]) for row in market.moves()[1:]] == [("1", "1"), ("3", "3")]
    assert [row[:3] for row in market.titles()[1:]] == [
        ("1", "carl", "ana"),
        ("2", "bert", "dana"),
        ("3", "carl", "emil"),
    ]


def test_who_buys_back_his_very_own_title_owes_nobody_anything() -> None:
    """No obligor and no holder are left: the escrow waits for the hour's end as delivered."""
    market = sold()

    market.when("ana sells 2 at 1.00\nbert buys 2 at 1.00")

    assert market.moves() == rows("""
        from | title | gpus | net  | cost | to seller | closes | closed | to buyer
        1    | 1     | 2    | 1.99 | 2.00 | 1.99      | 1      | 1      | 2.00
    """)
    assert market.titles()[1:] == []
    assert market.positions()[1:] == []
    assert market.balances("ana", "bert") == rows("""
        who  | cash    | held | collateral | free
        ana  | 997.99  | 0.00 | 0.00       | 997.99
        bert | 1000.00 | 0.00 | 0.00       | 1000.00
    """)
    assert market.engine.escrows()[market.contract()] == 2_010_000, "Ana's 2.01 less: Bert's gain 1.98, fees 0.03"


def test_a_part_of_his_own_title_is_cut_once() -> None:
    market = sold()

    market.when("ana sells 1 at 1.00\nbert buys 1 at 1.00")

    assert market.moves() == rows("""
        from | title | gpus | net   | cost | to seller | closes | closed | to buyer
        1    | 2     | 1    | 0.995 | 1.00 | 0.995     | 2      | 2      | 1.00
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | ana    | declared | 1    | 1.99     | 2.00 | 2.00
    """)


# --- Crossing zero -------------------------------------------------------------------------------------------


def test_a_sale_beyond_what_is_held_sells_that_first_and_then_owes() -> None:
    """One fill of 5: 2 from Ana's title, 3 that she owes from now on."""
    market = Market.given("bid | price | ask\n | 2.00 | 2 bert").when("ana buys 2 at 2.00")

    market.when("carl buys 5 at 2.00\nana sells 5 at 2.00")

    assert market.moves() == rows("""
        from     | title | gpus | net  | cost | to seller | closes | closed | to buyer
        1        | 1     | 2    | 3.98 | 4.00 | 3.98      |        |        |
        declared | 2     | 3    | 5.97 | 6.00 | 0.00      |        |        |
    """)
    assert market.positions() == rows("""
        who  | holds | owes
        bert | 0     | 2
        ana  | 0     | 3
        carl | 5     | 0
    """)


def test_a_purchase_beyond_what_is_owed_closes_that_first_and_then_holds() -> None:
    market = sold()

    market.when("carl sells 5 at 2.00\nbert buys 5 at 2.00")

    assert market.moves() == rows("""
        from     | title | gpus | net  | cost | to seller | closes | closed | to buyer
        declared | 2     | 2    | 3.98 | 4.00 | 0.00      | 1      | 1      | 3.98
        declared | 3     | 3    | 5.97 | 6.00 | 0.00      |        |        |
    """)
    assert market.positions() == rows("""
        who  | holds | owes
        ana  | 2     | 0
        bert | 3     | 0
        carl | 0     | 5
    """)


def test_both_sides_cross_zero_in_one_fill() -> None:
    """Ana holds 2 and sells 5; Bert owes 3 and buys 5. A piece ends where either side's title does."""
    market = Market.given("bid | price | ask\n | 2.00 | 2 carl, 3 bert", backs={"ana": 10})
    market.when("ana buys 2 at 2.00\ndana buys 3 at 2.00")

    market.when("ana sells 5 at 2.00\nbert buys 5 at 2.00")

    assert market.moves() == rows("""
        from     | title | gpus | net  | cost | to seller | closes | closed | to buyer
        1        | 1     | 2    | 3.98 | 4.00 | 3.98      | 2      | 3      | 3.98
        declared | 4     | 1    | 1.99 | 2.00 | 0.00      | 2      | 2      | 1.99
        declared | 5     | 2    | 3.98 | 4.00 | 0.00      |        |        |
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        2     | ana     | dana   | declared | 1    | 1.99     | 2.00 | 2.01
        3     | carl    | dana   | declared | 2    | 3.98     | 4.00 | 4.04
        5     | ana     | bert   | declared | 2    | 3.98     | 4.00 | 4.00
    """)


# --- Grounds -------------------------------------------------------------------------------------------------


def test_machines_are_sold_before_promises_and_promises_are_bought_back_before_machines() -> None:
    """A promise costs collateral: it is made last and ended first."""
    market = Market.given(promises={"mike": 3}).when("mike is a provider\nmike declares 2")

    market.when("mike sells 4 at 2.00\nana buys 4 at 2.00")
    assert [row[3:5] for row in market.titles()[1:]] == [("declared", "2"), ("promised", "2")]

    market.when("carl sells 3 at 2.00\nmike buys 3 at 2.00")
    assert [(row[6], row[2]) for row in market.moves()[1:]] == [("2", "2"), ("1", "1")]
    assert market.positions() == rows("""
        who  | holds | owes
        mike | 0     | 1
        ana  | 4     | 0
        carl | 0     | 3
    """)


def test_a_new_obligor_owes_on_his_own_ground() -> None:
    """Mike's promise to Ana becomes Carl's machine."""
    market = Market.given(promises={"mike": 2}).when("mike sells 2 at 2.00\nana buys 2 at 2.00")
    assert market.titles()[1][3] == "promised"

    market.when("carl sells 2 at 2.00\nmike buys 2 at 2.00")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | carl    | ana    | declared | 2    | 3.98     | 4.00 | 4.02
    """)


# --- Rounding ------------------------------------------------------------------------------------------------


def test_pieces_of_a_fill_have_fees_that_are_never_negative() -> None:
    """Net 5, cost 6 over three titles of one: 1+2+2 and 1+2+3. Floors of both with the rest to the last would pay −1 once."""
    market = Market.given(fees=Fees(0, 0, 0, 1_000), tick="0.000001", list_price="0.000002", backs={"ana": 0})
    market.when("bert sells 3 at 0.000002\nana buys 1 at 0.000002\nana buys 1 at 0.000002\nana buys 1 at 0.000002")

    market.when("carl buys 3 at 0.000002\nana sells 3 at 0.000002")

    assert market.moves() == rows("""
        from | title | gpus | net      | cost     | to seller | closes | closed | to buyer
        1    | 1     | 1    | 0.000001 | 0.000001 | 0.000001  |        |        |
        2    | 2     | 1    | 0.000002 | 0.000002 | 0.000002  |        |        |
        3    | 3     | 1    | 0.000002 | 0.000003 | 0.000002  |        |        |
    """)


def test_a_piece_s_claims_are_rounded_down_and_the_rest_keeps_the_difference() -> None:
    """3 GPUs for 6 µUSD less a fee of 1: proceeds 5, of which a piece of one takes 1."""
    market = Market.given(fees=Fees(0, 0, 1_000, 0), tick="0.000001", list_price="0.000002", backs={"ana": 0})
    market.when("bert sells 3 at 0.000002\nana buys 3 at 0.000002")

    market.when("carl buys 1 at 0.000002\nana sells 1 at 0.000002")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost     | escrow
        1     | bert    | ana    | declared | 2    | 0.000004 | 0.000004 | 0.000004
        2     | bert    | carl   | declared | 1    | 0.000001 | 0.000002 | 0.000002
    """)
