"""Machines bought for an account: the wallet pays a stand-in for a cloud, and DECLARED backing rises. Both happen or neither."""

from __future__ import annotations

import msgspec
import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas import requests as rq
from schemas.commands import Ground, Role, Tif
from schemas.events import TitleCovered
from schemas.units import promise_collateral
from services.settlement import rows
from services.settlement.ledger import EXTERNAL
from services.settlement.state import decode_outbox
from tests.settlement.people import CONTRACT, HOUR, table
from tests.settlement.told import BUY, CAP, FEES, SELL, Told

WALLET = 1_000_000_000


@pytest.fixture
def told() -> Told:
    """mia, account 1, owes bob 3 as promised."""
    told = Told()
    told.open("mia", Role.MARKET_MAKER)
    told.open("bob", Role.MEMBER)
    told.back("mia", Ground.PROMISED, 3, 4_000_000)
    ask, bid = told.order("mia", SELL, 3, 2_000_000), told.order("bob", BUY, 3, 2_000_000)
    told.say(told.fill(ask, bid, 3, 2_000_000, "bob", "mia", ground=Ground.PROMISED))
    return told


def procure(**other: object) -> rq.Procure:
    return msgspec.structs.replace(rq.Procure("p", 1, 1, (HOUR,), 2, 3_000_000, "simulated-cloud"), **other)


def message(told: Told) -> cmd.OutboxCommand:
    """What is on its way to the shard."""
    (row,) = told.state.shards[0].unconfirmed.values()
    return decode_outbox(row.body)


def test_the_wallet_pays_and_the_machines_stand_behind_what_was_promised(told: Told) -> None:
    """The entry says that it is a simulation. In the shard the oldest promised title moves over, and its collateral is free."""
    row = told.ask(procure(), answer=False)
    assert (row.state, message(told)) == (
        "pending",
        cmd.SetBacking(message(told).outbox, 1, 1, (HOUR,), Ground.DECLARED, 2, 0, 1),
    )
    told.say(
        told.taken(next(iter(told.state.shards[0].unconfirmed.values()))),
        TitleCovered(CONTRACT, 1, 2, 2, Ground.DECLARED),
    )
    row = told.store.request("p")
    assert (row.state, row.outcome["declared"], row.outcome["cost"]) == ("done", 2, 3_000_000)
    (entry,) = [key for key, entry in told.store.entries.items() if entry[4] == "simulated procurement"]
    cloud = told.state.providers["simulated-cloud"]
    assert [line[5:] for line in told.store.postings if line[:4] == entry] == [
        (2, 0, 1, 0, -3_000_000),
        (1, 0, cloud, 0, 3_000_000),
    ]
    assert told.rows_of(rows.Backing, "ground", "qty", "owed", "version") == table("""
        ground | qty | owed | version
        1      | 2   | 2    | 1
        2      | 3   | 1    | 1
    """)


def test_what_the_shard_refuses_is_given_back(told: Told) -> None:
    """Its gate has closed meanwhile: machines that stand behind nothing are not kept."""
    told.ask(procure(), answer=False)
    told.say(ev.OutboxRejected(0, message(told).outbox, 1, ev.Code.WRONG_PHASE, HOUR))
    row = told.store.request("p")
    assert (row.state, row.code, row.need, row.outcome) == ("refused", "wrong_phase", HOUR, {})
    assert told.state.ledger.wallet(1) == WALLET
    assert told.state.ledger.balance(EXTERNAL, 0, told.state.providers["simulated-cloud"]) == 0
    assert [entry[4] for entry in told.store.entries.values()][-2:] == [
        "simulated procurement",
        "simulated procurement returned",
    ]


def test_more_is_added_to_what_is_there(told: Told) -> None:
    """Two hours, each with 2 already: 5 in each, under the next version."""
    told.ask(procure(hours=(HOUR, HOUR + 1)))
    told.ask(procure(request_id="more", hours=(HOUR, HOUR + 1), qty=3))
    declared = [row for row in told.backing("mia") if row.ground == Ground.DECLARED]
    assert [(row.contract, row.qty, row.version) for row in declared] == [(CONTRACT, 5, 2), (CONTRACT + 1, 5, 2)]
    assert told.state.ledger.wallet(1) == WALLET - 2 * 3_000_000


def test_a_second_one_waits_for_the_answer_to_the_first(told: Told) -> None:
    """Else both would build on the same number of machines, and one of them be paid for nothing."""
    told.ask(procure(), answer=False)
    row = told.ask(procure(request_id="q"), answer=False)
    assert (row.state, row.code, told.state.ledger.wallet(1)) == ("refused", "not_ready", WALLET - 3_000_000)


@pytest.mark.parametrize(
    ("other", "refusal"),
    [
        ({"account": 9}, ("unknown_account", 0, 0)),
        ({"class_no": 9}, ("unknown_class", 0, 0)),
        ({"hours": ()}, ("wrong_hours", 1024, 0)),
        ({"hours": (0,)}, ("unknown_contract", 0, 0)),
        ({"hours": (HOUR, HOUR + 1)}, ("different_backing", 0, 0)),  # 1 is declared in the one, and none in the other
        ({"account": 2}, ("wrong_role", 0, 0)),
        ({"qty": 0}, ("wrong_qty", 1, 0)),
        ({"qty": 1_000_001}, ("wrong_qty", 1, 0)),
        ({"qty": 1_000_000}, ("wrong_qty", 1, 0)),  # with the one that is there
        ({"cost": 0}, ("wrong_amount", 0, 0)),
        ({"cost": WALLET}, ("insufficient_funds", WALLET, WALLET - 1_000_000)),
        ({"provider": ""}, ("wrong_provider", 0, 0)),
        ({"provider": "a real cloud"}, ("not_offered_yet", 0, 0)),
    ],
)
def test_a_refusal_moves_nothing(told: Told, other: dict[str, object], refusal: tuple) -> None:
    told.ask(procure(request_id="before", qty=1, cost=1_000_000))
    balances = told.state.ledger.balances()
    row = told.ask(procure(**other), answer=False)
    assert (row.state, row.code, row.need, row.have) == ("refused", *refusal)
    assert told.state.ledger.balances() == balances
    assert not told.state.shards[0].unconfirmed


# --- On demand: what was sold as ready -----------------------------------------------------------------------


@pytest.fixture
def running() -> Told:
    """Behind the gate mia, a market maker, has sold 37 minutes of two GPUs as ready to bob: title 1, at 3.10 an hour."""
    told = Told("pia bob")
    told.open("mia", Role.MARKET_MAKER)
    told.back("mia", Ground.READY, 3, CAP)
    ask = told.order("mia", SELL, 2, 3_100_000, flags=2)
    told.close_gate()
    bid = told.id()
    told.at_minute(
        23,
        ev.OrderAccepted(0, bid, told.numbers["bob"], CONTRACT, BUY, 2, 3_100_000, Tif.IOC, 0, "", 0, 10),
        told.fill(ask, bid, 2, 3_100_000, "bob", "mia", ground=Ground.READY, minutes=37),
    )
    return told


COST = 3_576_667
"""Two GPUs for 37 minutes at 2.90 an hour, rounded up."""


def on_demand(told: Told, **other: object) -> rq.Procure:
    ready = rq.Procure("p", told.numbers["mia"], 1, (HOUR,), 2, COST, "simulated-cloud", 1)
    return msgspec.structs.replace(ready, **other)


def close(told: Told) -> None:
    """The running phase and the hour end."""
    told.at_minute(50, ev.RunningClosed(CONTRACT))
    told.end(ev.CollateralMoved(CONTRACT, told.numbers["mia"], 2 * promise_collateral(CAP, FEES.buyer_taker)))


def test_a_machine_for_what_was_sold_as_ready_is_paid_for_and_the_shard_is_told_nothing(running: Told) -> None:
    row = running.ask(on_demand(running), answer=False)

    assert (row.state, row.outcome["cost"], row.outcome["title"]) == ("done", COST, 1)
    assert not running.state.shards[0].unconfirmed
    (entry,) = [key for key, entry in running.store.entries.items() if entry[4] == "simulated procurement"]
    mia, cloud = running.numbers["mia"], running.state.providers["simulated-cloud"]
    assert [line[5:] for line in running.store.postings if line[:4] == entry] == [
        (2, 0, mia, 0, -COST),
        (1, 0, cloud, 0, COST),
    ]
    assert running.rows_of(rows.Procurement, "contract", "title", "account", "cost") == [
        ["contract", "title", "account", "cost"],
        [str(CONTRACT), "1", "mia", str(COST)],
    ]


@pytest.mark.parametrize(
    ("procured", "undelivered", "gains"),
    [
        # 3.10 × 2 × 37 / 60 = 3.823334 and bob's fee of 3,824 come in; 19,117 are mia's fee.
        (True, 0, {"mia": 3_823_334 - COST - 19_117, "bob": 0, "cloud": COST, "treasury": 19_117 + 3_824}),
        (False, 37, {"mia": 0, "bob": 3_827_158, "cloud": 0, "treasury": 0}),
    ],
)
def test_the_seller_s_profit_is_the_price_less_the_machine_and_the_fees(
    running: Told, procured: bool, undelivered: int, gains: dict[str, int]
) -> None:
    """Nobody is paid for an hour without a machine, and no µUSD comes from nowhere: what it brings one, another has paid.

    Without a machine the hour is not delivered: bob has all of his money back, and mia her collateral.
    """
    before = {name: running.state.ledger.wallet(number) for name, number in running.numbers.items()}
    if procured:
        running.ask(on_demand(running), answer=False)
    close(running)
    running.deliver(undelivered)

    collateral = 2 * promise_collateral(CAP, FEES.buyer_taker)
    after = {name: running.state.ledger.wallet(number) - before[name] for name, number in running.numbers.items()}
    after["mia"] -= collateral
    cloud = running.state.providers.get("simulated-cloud", 0)
    after |= {
        "cloud": running.state.ledger.balance(EXTERNAL, 0, cloud),
        "treasury": running.state.ledger.balance(9, 0, 0),
    }
    assert after == {"pia": 0, **gains}
    assert sum(after.values()) == 3_823_334 + 3_824, "what bob had paid for it"
    assert running.state.procured == {}


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"title": 2}, "unknown_title"),
        ({"title": -1}, "unknown_title"),
        ({"qty": 1}, "unknown_title"),
        ({"hours": (HOUR + 1,)}, "unknown_title"),
        ({"hours": (HOUR, HOUR + 1)}, "unknown_title"),
        ({"account": 1}, "unknown_title"),
        ({"account": 2}, "unknown_title"),
        ({"cost": 0}, "wrong_amount"),
        ({"cost": 2 * WALLET}, "insufficient_funds"),
        ({"provider": "a real cloud"}, "not_offered_yet"),
    ],
)
def test_only_the_title_as_it_was_sold_is_procured_for(running: Told, other: dict[str, object], code: str) -> None:
    balances = running.state.ledger.balances()
    row = running.ask(on_demand(running, **other), answer=False)
    assert (row.state, row.code) == ("refused", code)
    assert running.state.ledger.balances() == balances


def test_it_is_paid_for_once_and_not_after_its_hour(running: Told) -> None:
    """Under another key, too; and what failed cannot be made good by a machine that comes too late."""
    running.ask(on_demand(running), answer=False)
    assert running.ask(on_demand(running, request_id="again"), answer=False).code == "procured_before"
    close(running)
    assert running.ask(on_demand(running, request_id="late"), answer=False).code == "unknown_title"
    assert running.state.ledger.balance(EXTERNAL, 0, running.state.providers["simulated-cloud"]) == COST


def test_a_promised_title_is_none_that_was_sold_as_ready(told: Told) -> None:
    assert told.ask(procure(qty=3, title=1), answer=False).code == "unknown_title"


# --- A market maker's own word -------------------------------------------------------------------------------


def test_a_market_maker_declares_no_machines_by_itself(told: Told) -> None:
    """They would be machines that nobody has paid for. Its promises it makes as before."""
    declared = rq.Back("own", 1, 1, (HOUR,), Ground.DECLARED, 2, 0, 9)
    assert told.ask(declared, answer=False).code == "wrong_role"
    ready = rq.Back("ready", 1, 1, (HOUR,), Ground.READY, 2, 4_000_000, 1)
    assert told.ask(ready).state == "done"
    assert told.backing("mia")[-1].ground == Ground.READY


def test_the_role_that_counts_is_the_one_that_the_shard_will_know(told: Told) -> None:
    """Whoever asks to be a market maker and declares machines in the same breath is one by the time that they arrive."""
    pia = told.open("pia", Role.PROVIDER)
    told.ask(rq.SetAccountRole("maker", pia, Role.MARKET_MAKER, 0), answer=False)
    declared = rq.Back("own", pia, 1, (HOUR,), Ground.DECLARED, 2, 0, 1)
    assert told.ask(declared, answer=False).code == "wrong_role"
    told.ask(rq.SetAccountRole("provider", pia, Role.PROVIDER, 0), answer=False)
    assert told.ask(msgspec.structs.replace(declared, request_id="now")).state == "done"
    assert told.state.accounts[pia].role == Role.PROVIDER
    assert not told.state.shards[0].roles
