"""A clear error put right in cash, by two operators who are not one, in public."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.events import Code
from tests.matching.faults import Fault, code_of, pairs
from tests.matching.market import T0_MS, Market, rows

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


def test_under_one_approval_one_correction_is_made_however_often_it_is_sent() -> None:
    """In one record, in the next, and with other words: the first one is made, also where a snapshot came between."""
    market = given()
    body = body_of(market)

    made = market.tell(body, body)
    again = [market.tell(each) for each in (body, replace(body, amount=1, reason="another error"))]

    assert [code_of(made), *map(code_of, again)] == [Code.WRONG_APPROVAL] * 3
    assert isinstance(made[0], ev.CashCorrected)
    assert market.balances("carl", "ana")[1:] == [
        ("carl", "4.00", "2.000001", "0.00", "1.999999"),
        ("ana", "997.00", "0.00", "0.00", "997.00"),
    ]


def test_a_refused_correction_does_not_use_its_approval_up() -> None:
    """It is made once there is enough money."""
    market = given()
    wish = replace(body_of(market), amount=4_000_000)

    assert code_of(market.tell(wish)) == Code.INSUFFICIENT_FUNDS
    market.send(cmd.Credit(market.outbox(), wish.payer, 2_000_000))
    assert isinstance(market.tell(wish)[0], ev.CashCorrected)


def test_an_approval_is_remembered_for_as_long_as_it_is_good_and_no_longer() -> None:
    """Where it is forgotten it is too late for what it was given for: nothing in between is both."""
    market = given()
    body = body_of(market)
    other = replace(body, approval="a2")
    market.tell(body)

    market.wait(to_ms=body.valid_until_ms)
    assert code_of(market.tell(body)) == Code.WRONG_APPROVAL
    market.wait(ms=1)
    assert code_of(market.tell(body)) == Code.TOO_LATE
    later = market.engine.time_ms + 1_000
    assert code_of(market.tell(replace(other, valid_until_ms=later))) is None
    assert market.engine.approvals == {"a2": later}, "the first one takes no room any more"


FAULTS: dict[str, Fault] = {
    "late": (Code.TOO_LATE, {"valid_until_ms": 0}),
    "good for too long": (Code.WRONG_VALIDITY, {"valid_until_ms": T0_MS + 2 * 1_200_000}),
    "no operator": (Code.UNKNOWN_ACCOUNT, {"operator": 900}),
    "no second operator": (Code.UNKNOWN_ACCOUNT, {"second_operator": 0}),
    "no payer": (Code.UNKNOWN_ACCOUNT, {"payer": 77}),
    "no payee": (Code.UNKNOWN_ACCOUNT, {"payee": -1}),
    "no approval": (Code.WRONG_APPROVAL, {"approval": ""}),
    "an approval of two words": (Code.WRONG_APPROVAL, {"approval": "a 1"}),
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
    return cmd.CorrectCash(olga, otto, carl, ana, 1_000_000, 1, "typed wrong", "a1", market.engine.time_ms + 600_000)


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

    assert [code_of(market.tell(replace(body, trade=n, amount=1, approval=f"a{n}"))) for n in (1, 2, 3, 4)] == [
        None,
        None,
        Code.UNKNOWN_TRADE,
        Code.UNKNOWN_TRADE,
    ]
