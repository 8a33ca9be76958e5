"""B8 in the books: a block's trade is the same quantity in each hour, hour after hour, and nothing else is believed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import events as ev
from schemas.commands import Ground
from schemas.events import Reason
from schemas.ids import contract_of
from services.settlement import rows
from services.settlement.ledger import Contradiction
from tests.settlement.people import CONTRACT, HOUR, table
from tests.settlement.told import BUY, SELL, Told

SECOND = CONTRACT + 1
SHOWN = ("account", "side", "qty", "leaves", "filled", "cancelled", "state", "trade_qty", "trade_hours", "trade_gpus")


@pytest.fixture
def told() -> Told:
    """ana and cid have machines in both hours."""
    told = Told("ana bob cid")
    for name in ("ana", "cid"):
        told.back(name, Ground.DECLARED, 10, hours=(HOUR, HOUR + 1))
    return told


def block_filled(told: Told, block: int, name: str, qty: int, leaves: int, cash: int) -> ev.BlockFilled:
    return ev.BlockFilled(block, told.numbers[name], 1, HOUR, 2, qty, leaves, cash)


def sweep(told: Told) -> tuple[int, list[ev.Event]]:
    """bob's block of 4 takes 3: in the first hour ana's 3 at 2.00, in the second 1 of ana's at 1.00 and 2 of cid's at 2.00."""
    asks = [
        told.order("ana", SELL, 3, 2_000_000),
        told.order("ana", SELL, 1, 1_000_000, contract=SECOND),
        told.order("cid", SELL, 5, 2_000_000, contract=SECOND),
    ]
    block = told.block("bob", BUY, 4, 1_900_000)
    said: list[ev.Event] = [
        told.fill(asks[0], block, 3, 2_000_000, "bob", "ana"),
        told.fill(asks[1], block, 1, 1_000_000, "bob", "ana", leaves=(0, 2), contract=SECOND),
        told.fill(asks[2], block, 2, 2_000_000, "bob", "cid", leaves=(3, 0), contract=SECOND),
        block_filled(told, block, "bob", 3, 1, 11_000_000),
    ]
    return block, said


def test_a_block_takes_hour_orders_in_all_of_its_hours(told: Told) -> None:
    _, said = sweep(told)
    told.say(*said)
    assert told.rows_of(rows.Block, *SHOWN, "trade_cash") == table("""
        account | side | qty | leaves | filled | cancelled | state | trade_qty | trade_hours | trade_gpus | trade_cash
        bob     | 1    | 4   | 1      | 3      | 0         | open  | 0         | 0           | 0          | 0
    """)
    assert told.rows_of(rows.Title, "contract", "obligor", "holder", "qty", "cost") == table(f"""
        contract   | obligor | holder | qty | cost
        {CONTRACT} | ana     | bob    | 3   | 6006000
        {SECOND}   | ana     | bob    | 1   | 1001000
        {SECOND}   | cid     | bob    | 2   | 4004000
    """)


def test_a_life_may_end_between_two_records_of_a_blocks_trade(told: Told) -> None:
    """An output of many fills is several records. What the trade has come to is stored, and loaded again after each."""
    block, said = sweep(told)
    stages = []
    for event in said:
        told.say(event, last=event is said[-1])
        stages.append(told.rows_of(rows.Block, "leaves", "trade_qty", "trade_hours", "trade_gpus", "trade_cash")[1])
    assert stages == [
        ["4", "3", "1", "0", "6000000"],
        ["4", "3", "1", "1", "7000000"],
        ["4", "3", "2", "0", "11000000"],
        ["1", "0", "0", "0", "0"],
    ]
    told.say(ev.OrderCancelled(block, told.numbers["bob"], CONTRACT, 1, Reason.ASKED))
    assert told.rows_of(rows.Block, *SHOWN[1:7], "reason") == table("""
        side | qty | leaves | filled | cancelled | state     | reason
        1    | 4   | 0      | 3      | 1         | cancelled | 1
    """)
    assert not told.state.blocks


def test_two_blocks_of_one_range_trade_at_the_resting_ones_price(told: Told) -> None:
    resting = told.block("ana", SELL, 5, 1_800_000)
    taking = told.block("bob", BUY, 2, 1_900_000)
    told.say(
        told.fill(resting, taking, 2, 1_800_000, "bob", "ana"),
        told.fill(resting, taking, 2, 1_800_000, "bob", "ana", contract=SECOND),
        block_filled(told, resting, "ana", 2, 3, 7_200_000),
        block_filled(told, taking, "bob", 2, 0, 7_200_000),
    )
    assert told.rows_of(rows.Block, *SHOWN[:7]) == table("""
        account | side | qty | leaves | filled | cancelled | state
        ana     | 2    | 5   | 3      | 2      | 0         | open
        bob     | 1    | 2   | 0      | 2      | 0         | filled
    """)
    assert [row[-2] for row in told.store.rows["fills"].values()] == [18_000, 18_000], "ana pays as a maker, 50 bp"


Change = dict[str, int | str]


@pytest.mark.parametrize(
    ("place", "other"),
    [
        (0, {"taker_leaves": 1}),  # 4 to come in the first hour, and the second one says 3
        (0, {"taker_leaves": 2}),  # more than the block has
        (0, {"contract": SECOND}),
        (0, {"contract": contract_of(2, HOUR)}),
        (0, {"buyer": 1}),
        (0, {"buyer_fee": 0}),
        (0, {"taker_side": SELL}),
        (1, {"taker_leaves": 1}),
        (2, {"contract": CONTRACT}),
        (2, {"qty": 1}),
        (3, {"qty": 4}),
        (3, {"leaves": 2}),
        (3, {"average_price_num": 11_000_001}),
        (3, {"account": 1}),
        (3, {"hours": 3}),
        (3, {"order": 99}),
    ],
)
def test_a_trade_that_is_not_the_same_in_all_hours(told: Told, place: int, other: dict[str, int]) -> None:
    _, said = sweep(told)
    said[place] = replace(said[place], **other)
    with pytest.raises(Contradiction):
        told.say(*said)


def test_a_block_that_says_it_traded_before_its_last_hour_did(told: Told) -> None:
    """Two of its three GPUs are still to come in the second hour."""
    block, said = sweep(told)
    with pytest.raises(Contradiction):
        told.say(*said[:2], block_filled(told, block, "bob", 3, 1, 7_000_000))


def test_a_block_that_is_cancelled_in_the_middle_of_its_trade(told: Told) -> None:
    block, said = sweep(told)
    with pytest.raises(Contradiction):
        told.say(said[0], ev.OrderCancelled(block, told.numbers["bob"], CONTRACT, 4, Reason.ASKED))
