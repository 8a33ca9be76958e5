"""A clear error put right in cash, by two operators who are not one, in public."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.events import Code
from tests.matching.faults import Fault, code_of, pairs
from tests.matching.market import Market, rows

WRONG_TRADE = "carl sells 1 at 4.00\nana buys 1 at 4.00"


def given() -> Market:
    """Trade 1 was a mistake. Olga and Otto are operators, Omar is Otto's second account. Carl has 12 µUSD bound in a bid."""
    market = Market.given(owners="otto=omar", money={"olga": "0", "otto": "0", "omar": "0", "carl": "5.00"})
    return market.when(WRONG_TRADE).when("carl buys 1 at 2.00")


def test_cash_goes_from_one_to_the_other_and_the_trade_stands() -> None:
    """Titles, escrow and holds are not touched."""
    market = given()

    market.when("olga and otto correct 2.00 from carl to ana for trade 1")

    olga, otto, carl, ana = map(market.account, ("olga", "otto", "carl", "ana"))
    assert market.events == [ev.CashCorrected(0, olga, otto, carl, ana, 2_000_000, 1, "typed wrong")]
    assert market.balances("carl", "ana") == rows("""
        who  | cash   | held     | collateral | free
        carl | 3.00   | 2.000001 | 0.00       | 0.999999
        ana  | 998.00 | 0.00     | 0.00       | 998.00
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | carl    | ana    | declared | 1    | 3.98     | 4.00 | 4.00
    """)


@pytest.mark.parametrize(("usd", "done"), [("2.999999", True), ("3.00", False)])
def test_a_payer_pays_what_is_available_to_the_micro_and_no_more(usd: str, done: bool) -> None:
    """What a bid holds is not his to give."""
    market = given().when(f"olga and otto correct {usd} from carl to ana for trade 1")

    if done:
        assert market.balances("carl")[1] == ("carl", "2.000001", "2.000001", "0.00", "0.00")
    else:
        assert market.said() == ["olga is refused: insufficient_funds (needs 3.00, has 2.999999)"]


def test_operators_may_be_members_of_the_trade_and_the_payee_may_be_one_of_them() -> None:
    """Two owners have to agree; who they are to be otherwise is for the rules of the house."""
    market = given().when("carl and ana correct 1.00 from carl to ana for trade 1")

    assert market.said() == ["carl pays ana 1.00 back"]


FAULTS: dict[str, Fault] = {
    "no operator": (Code.UNKNOWN_ACCOUNT, {"operator": 900}),
    "no second operator": (Code.UNKNOWN_ACCOUNT, {"second_operator": 0}),
    "no payer": (Code.UNKNOWN_ACCOUNT, {"payer": 77}),
    "no payee": (Code.UNKNOWN_ACCOUNT, {"payee": -1}),
    "one operator for both": (Code.WRONG_OWNER, {"operator": 102}),
    "two accounts of one operator": (Code.WRONG_OWNER, {"operator": 103}),
    "from an account to itself": (Code.WRONG_OWNER, {"payee": 104}),
    "nothing": (Code.WRONG_AMOUNT, {"amount": 0}),
    "less than nothing": (Code.WRONG_AMOUNT, {"amount": -1}),
    "more than the largest transfer": (Code.WRONG_AMOUNT, {"amount": 10**16 + 1}),
    "no trade": (Code.UNKNOWN_TRADE, {"trade": 0}),
    "a trade to come": (Code.UNKNOWN_TRADE, {"trade": 2}),
    "too little money": (Code.INSUFFICIENT_FUNDS, {"amount": 10**16}),
}


def body_of(market: Market) -> cmd.CorrectCash:
    """1.00 from Carl to Ana."""
    olga, otto, omar, carl, ana = map(market.account, ("olga", "otto", "omar", "carl", "ana"))
    assert (olga, otto, omar, carl) == (101, 102, 103, 104)
    return cmd.CorrectCash(olga, otto, carl, ana, 1_000_000, 1, "typed wrong")


@pytest.fixture(scope="module")
def refused() -> Market:
    """For bodies that change nothing."""
    return given()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_correction_with_one_fault_is_refused_for_it(fault: str) -> None:
    """Whoever asked hears it: the first operator."""
    market = given()
    code, changes = FAULTS[fault]
    wrong = replace(body_of(market), **changes)

    (said,) = market.tell(wrong)

    assert isinstance(said, ev.Rejected)
    assert (said.code, said.account) == (code, wrong.operator)
    assert code_of(market.tell(body_of(market))) is None, "without it, it is done"


@pytest.mark.parametrize(("first", "second"), pairs(FAULTS))
def test_a_correction_with_two_faults_is_refused_for_the_earlier_one(first: str, second: str, refused: Market) -> None:
    assert code_of(refused.tell(replace(body_of(refused), **FAULTS[first][1], **FAULTS[second][1]))) == FAULTS[first][0]


def test_trades_are_counted_in_the_shard() -> None:
    """The last one is known, the next one is not; one that was long ago is known as well."""
    market = given().when("carl sells 1 at 2.10\nana buys 1 at 2.10")
    body = body_of(market)

    assert [code_of(market.tell(replace(body, trade=trade, amount=1))) for trade in (1, 2, 3, 4)] == [
        None,
        None,
        Code.UNKNOWN_TRADE,
        Code.UNKNOWN_TRADE,
    ]
