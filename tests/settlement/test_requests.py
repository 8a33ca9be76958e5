"""Requests: one answer each, whatever is repeated; every refusal with its code and numbers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import commands as cmd
from schemas import requests as rq
from schemas.commands import Fees, Ground, Role
from schemas.units import AMOUNT_MAX, MONEY_MAX, MS_PER_HOUR
from services.settlement import requests
from services.settlement.ledger import EXTERNAL, REQUEST
from services.settlement.requests import digest_of
from tests.settlement.people import CONTRACT, HOUR, T0, Market

U64 = 2**64 - 1


@pytest.fixture
def market() -> Market:
    """ana, account 1, has 5 µUSD in her wallet."""
    market = Market("ana", money="0.00")
    market.ask(rq.Deposit("d", 1, 5, "bank", "ref-1"))
    return market


def listing(**other: object) -> rq.ListClass:
    first = rq.ListClass("c", 0, "NEW.1", b"x = 1", 1, 10, 1_000, Fees())
    return msgspec.structs.replace(first, **other)


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (rq.OpenAccount("o", 0, "", 0), ("wrong_name", 100, 0)),
        (rq.OpenAccount("o", 0, "a\x00", 0), ("wrong_name", 100, 0)),
        (rq.OpenAccount("o", 7, "bob", 0), ("unknown_owner", 0, 0)),
        (rq.OpenAccount("o", 0, "bob", 3), ("wrong_role", 0, 0)),
        (rq.OpenAccount("o", 0, "bob", 0, 1), ("not_offered_yet", 0, 0)),
        (rq.SetAccountRole("r", 9, 0, 0), ("unknown_account", 0, 0)),
        (rq.SetAccountRole("r", 1, -1, 0), ("wrong_role", 0, 0)),
        (rq.SetAccountRole("r", 1, 1, 2), ("not_offered_yet", 0, 0)),
        (listing(shard=1), ("unknown_shard", 0, 0)),
        (listing(class_id="new"), ("wrong_class", 0, 0)),
        (listing(class_id="TEST.0"), ("wrong_class", 0, 0)),
        (listing(lot=U64), ("wrong_class", 0, 0)),
        (listing(list_price=1_005), ("wrong_class", 0, 0)),
        (listing(fees=Fees(0, 0, 0, 1_001)), ("wrong_class", 0, 0)),
        (listing(collar_low_bp=10_001), ("wrong_class", 0, 0)),
        (listing(specification=b"\xff"), ("wrong_class", 0, 0)),
        (listing(specification=b"\x00"), ("wrong_class", 0, 0)),
        (rq.Deposit("e", 2, 5, "bank", "r"), ("unknown_account", 0, 0)),
        (rq.Deposit("e", 1, 0, "bank", "r"), ("wrong_amount", 0, 0)),
        (rq.Deposit("e", 1, AMOUNT_MAX + 1, "bank", "r"), ("wrong_amount", 0, 0)),
        (rq.Deposit("e", 1, 5, "", "r"), ("wrong_provider", 0, 0)),
        (rq.Deposit("e", 1, 5, "bank", "ref-1"), ("deposit_known", 0, 0)),
        (rq.Withdraw("w", 2, 5, "iban"), ("unknown_account", 0, 0)),
        (rq.Withdraw("w", 1, -1, "iban"), ("wrong_amount", 0, 0)),
        (rq.Withdraw("w", 1, 5, ""), ("wrong_destination", 200, 0)),
        (rq.Withdraw("w", 1, 6, "iban"), ("insufficient_funds", 6, 5)),
        (rq.PayoutMoved("p", 1, "sent", "bank"), ("unknown_payout", 0, 0)),
        (rq.ToTrading("t", 2, 0, 5), ("unknown_account", 0, 0)),
        (rq.ToTrading("t", 1, 0, 0), ("wrong_amount", 0, 0)),
        (rq.ToTrading("t", 1, 1, 5), ("unknown_shard", 0, 0)),
        (rq.ToTrading("t", 1, 0, 6), ("insufficient_funds", 6, 5)),
        (rq.FromTrading("f", 1, 5, 5), ("unknown_shard", 0, 0)),
        (rq.FromTrading("f", 1, 0, U64), ("wrong_amount", 0, 0)),
        (rq.Back("b", 2, 1, (HOUR,), 1, 1, 0, 1), ("unknown_account", 0, 0)),
        (rq.Back("b", 1, 9, (HOUR,), 1, 1, 0, 1), ("unknown_class", 0, 0)),
        (rq.Back("b", 1, 1, (), 1, 1, 0, 1), ("wrong_hours", 1024, 0)),
        (rq.Back("b", 1, 1, (HOUR,), 1, 1, 0, 2**63), ("stale_version", 0, 0)),
        (rq.Back("b", 1, 1, (U64,), 1, 1, 0, 1), ("unknown_contract", 0, 0)),
        (rq.Back("b", 1, 1, (HOUR,), 1, 1, 10**10 + 1, 1), ("wrong_collateral", 0, 0)),
        # Judged by the engine:
        (rq.Back("b", 1, 1, (HOUR,), Ground.PROMISED, 1, 0, 1), ("wrong_role", 0, 0)),
        (rq.Back("b", 1, 1, (HOUR - 50,), Ground.DECLARED, 1, 0, 1), ("unknown_contract", HOUR - 50, 0)),
        (rq.Back("b", 1, 1, (HOUR,), Ground.DECLARED, 1, 0, 1), ("stale_version", 0, 1)),
    ],
)
def test_a_refusal_has_a_code_and_changes_no_money(market: Market, request_: rq.Request, refusal: tuple) -> None:
    before = market.state.ledger.balances()
    row = market.ask(request_)
    assert (row.state, row.code, row.need, row.have, row.outcome) == ("refused", *refusal, {})
    assert market.state.ledger.balances() == before
    assert market.ask(listing(request_id="after")).state == "done", (
        "whatever was refused, the class can still be listed"
    )


def test_the_same_body_twice_happens_once(market: Market) -> None:
    """A repeat, also after a restart, leaves the first outcome and moves nothing."""
    asked = rq.ToTrading("t", 1, 0, 3)
    first = market.ask(asked)
    for _ in range(2):
        market.restart()
        assert market.tell(msgspec.msgpack.encode(asked)) == ""
        assert market.store.request("t") == first
    assert (first.state, first.outcome) == ("done", {"amount": 3, "balance": 3})
    assert market.state.ledger.wallet(1) == 2
    assert first.digest == digest_of(msgspec.msgpack.encode(asked))


def test_the_same_id_with_another_body_is_refused_and_noted(market: Market) -> None:
    market.ask(rq.Withdraw("w", 1, 2, "iban"))
    assert market.tell(msgspec.msgpack.encode(rq.Withdraw("w", 1, 3, "iban"))) == "request_reused"
    assert market.store.request("w").outcome == {"payout": 1}
    assert market.state.ledger.wallet(1) == 3
    (refusal,) = market.store.rows["refusals"].values()
    assert (refusal[0], refusal[3]) == (REQUEST, "request_reused")
    assert "amount=3" in refusal[4]


def test_a_refused_request_stays_refused(market: Market) -> None:
    """Who wants to try again takes a new id: the first answer holds for ever."""
    assert market.ask(rq.Withdraw("w", 1, 9, "iban")).code == "insufficient_funds"
    market.ask(rq.Deposit("more", 1, 9, "bank", "ref-2"))
    assert market.ask(rq.Withdraw("w", 1, 9, "iban")).code == "insufficient_funds"
    assert market.ask(rq.Withdraw("w2", 1, 9, "iban")).state == "done"


def test_a_deposit_counts_once_under_any_request_id(market: Market) -> None:
    assert market.ask(rq.Deposit("other", 1, 5, "bank", "ref-1")).code == "deposit_known"
    assert market.ask(rq.Deposit("third", 1, 5, "bank", "ref-2")).state == "done"
    assert market.ask(rq.Deposit("fourth", 1, 5, "other bank", "ref-1")).state == "done"
    assert market.state.ledger.wallet(1) == 15


def test_all_deposits_together_stay_below_what_a_number_of_the_database_can_hold(market: Market) -> None:
    """Whoever typed too many zeros a thousand times is refused; the ledger goes on."""
    for number in range(MONEY_MAX // AMOUNT_MAX - 1):
        assert (
            market.ask(rq.Deposit(f"d{number}", 1, AMOUNT_MAX, f"bank {number % 3}", f"much-{number}")).state == "done"
        )
    inside = sum(-market.state.ledger.balance(EXTERNAL, 0, bank) for bank in market.state.providers.values())

    refused = market.ask(rq.Deposit("last", 1, AMOUNT_MAX, "bank 0", "too-much"))

    assert (refused.code, refused.need, refused.have) == ("wrong_amount", MONEY_MAX - inside, 0)
    assert market.ask(rq.Deposit("rest", 1, MONEY_MAX - inside, "bank 0", "the-rest")).state == "done"


def test_requests_of_one_read_know_each_other(market: Market) -> None:
    """What the first of them did is known to the next, before any of it is stored."""
    asked = [
        rq.Deposit("a", 1, 7, "bank", "new"),
        rq.Deposit("a", 1, 7, "bank", "new"),
        rq.Deposit("b", 1, 7, "bank", "new"),
    ]
    known = requests.Known({}, set())
    codes = [
        requests.take(market.state, requests.decode(900 + place, T0, msgspec.msgpack.encode(one)), known)
        for place, one in enumerate(asked)
    ]
    assert codes == ["", "", "deposit_known"]
    assert market.state.ledger.wallet(1) == 5 + 7


def test_an_account_is_open_when_every_shard_has_it() -> None:
    market = Market(shards=2)
    market.tell(msgspec.msgpack.encode(rq.OpenAccount("o", 0, "ana", Role.PROVIDER, desk=True)))
    assert market.store.request("o").state == "pending"
    first, second = market.state.shards
    for shard in (first, second):
        (row,) = shard.unconfirmed.values()
        market.command(msgspec.msgpack.decode(row.body, type=cmd.SetAccount), shard=shard.number)
        assert market.store.request("o").state == ("pending" if shard is first else "done")
    assert market.store.request("o").outcome == {"account": 1, "owner": 1}
    assert market.state.accounts[1].desk


def test_a_second_account_of_an_owner(market: Market) -> None:
    assert market.ask(rq.OpenAccount("o", 1, "ana's second", 0)).outcome == {"account": 2, "owner": 1}


def test_a_class_is_listed_once_and_never_changes(market: Market) -> None:
    assert market.ask(listing()).outcome == {"class_no": 2}
    assert market.ask(listing(request_id="again")).outcome == {"class_no": 2}
    assert market.ask(listing(request_id="other", tick=20)).code == "wrong_class"
    assert market.ask(listing(request_id="third", class_id="NEW.2")).outcome == {"class_no": 3}
    assert market.state.classes[2].listed
    assert {contract.class_no for contract in market.state.contracts.values()} == {1, 2, 3}


def test_a_payout_goes_one_way(market: Market) -> None:
    market.ask(rq.Withdraw("w", 1, 5, "iban"))
    assert market.ask(rq.PayoutMoved("1", 1, "paid", "bank")).code == "wrong_state"
    assert market.ask(rq.PayoutMoved("2", 1, "lost", "bank")).code == "wrong_state"
    assert market.ask(rq.PayoutMoved("3", 1, "sent", "bank")).outcome == {"payout": 1, "state": "sent"}
    assert market.ask(rq.PayoutMoved("4", 1, "sent", "bank")).code == "wrong_state"
    assert market.ask(rq.PayoutMoved("5", 1, "paid", "bank")).state == "done"
    assert market.ask(rq.PayoutMoved("6", 1, "returned", "bank")).code == "wrong_state"
    assert not market.state.payouts


def test_backing_that_is_not_sold_ends_at_its_gate() -> None:
    """What is owed stays owed; the next hour keeps what was declared for it."""
    market = Market("ana bob")
    market.back("ana", Ground.DECLARED, 9, version=2, hours=[HOUR, HOUR + 1])
    market.trade("ana sells 2 to bob at 2.00")
    market.tick(HOUR * MS_PER_HOUR - 300_000)
    of_ana = {key: row[3:] for key, row in market.store.rows["backing"].items() if key[0] == market.numbers["ana"]}
    assert of_ana == {
        (1, CONTRACT, Ground.DECLARED): (0, 0, 2, 2),
        (1, CONTRACT + 1, Ground.DECLARED): (9, 0, 2, 0),
    }


def test_a_role_changes_when_the_shard_says_so(market: Market) -> None:
    assert market.ask(rq.SetAccountRole("r", 1, Role.MARKET_MAKER, 0)).outcome == {"account": 1, "role": 2}
    assert market.state.accounts[1].role == Role.MARKET_MAKER


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"\xc1", "malformed"),
        (b"\x95\x04\xa1\xff\x01\x05\xa1x", "malformed"),  # a request id that is not UTF-8
        (b"\x91" * 10**6, "malformed"),
        (msgspec.msgpack.encode([99, "id"]), "malformed"),
        (msgspec.msgpack.encode([3, "id", "1", 5, "bank", "r"]), "malformed"),
        (msgspec.msgpack.encode(rq.Withdraw("", 1, 5, "iban")), "wrong_request_id"),
        (msgspec.msgpack.encode(rq.Withdraw("x" * 65, 1, 5, "iban")), "wrong_request_id"),
        (msgspec.msgpack.encode(rq.Withdraw("a\x00b", 1, 5, "iban")), "wrong_request_id"),
    ],
)
def test_a_record_that_is_no_request_is_noted_and_passed(market: Market, value: bytes, code: str) -> None:
    requests = len(market.store.rows["requests"])
    assert market.tell(value) == code
    assert [row[3] for row in market.store.rows["refusals"].values()] == [code]
    assert len(market.store.rows["requests"]) == requests


numbers = st.integers(-(2**63), U64) | st.integers(-2, 3)
texts = st.text(max_size=70)
anything = st.one_of(
    st.builds(rq.OpenAccount, texts, numbers, texts, numbers, numbers, st.booleans()),
    st.builds(
        rq.ListClass,
        texts,
        numbers,
        texts,
        st.binary(max_size=9),
        *[numbers] * 3,
        st.builds(Fees, *[numbers] * 4),
        *[numbers] * 7,
    ),
    st.builds(rq.Deposit, texts, numbers, numbers, texts, texts),
    st.builds(rq.Withdraw, texts, numbers, numbers, texts),
    st.builds(rq.PayoutMoved, texts, numbers, texts, texts),
    st.builds(rq.ToTrading, texts, numbers, numbers, numbers),
    st.builds(rq.FromTrading, texts, numbers, numbers, numbers),
    st.builds(rq.Back, texts, numbers, numbers, st.lists(numbers, max_size=3).map(tuple), *[numbers] * 4),
    st.builds(rq.SetAccountRole, texts, numbers, numbers, numbers),
    st.builds(
        rq.Procure,
        texts,
        numbers,
        numbers,
        st.lists(numbers, max_size=3).map(tuple),
        numbers,
        numbers,
        texts | st.just("simulated-cloud"),
        numbers,
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(anything, min_size=1, max_size=4))
def test_whatever_is_asked_fits_into_the_tables(asked: list[rq.Request]) -> None:
    """No request can stop settlement: every value that would not fit a column is refused before it is written."""
    market = Market("ana", money="1.00")
    for request in asked:
        market.tell(msgspec.msgpack.encode(request))
    market.carry()
    for name, table in market.store.rows.items():
        for row in table.values():
            for value in row:
                assert not isinstance(value, int) or -(2**63) <= value < 2**63, f"{name}: {row}"
                assert not isinstance(value, str) or len(value.encode()) >= len(value)
                assert not isinstance(value, str) or "\x00" not in value, f"{name}: {row}"
