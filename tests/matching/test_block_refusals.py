"""Why a block is refused: each check of docs/engine.md, in its order."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Side, Tif
from schemas.events import Code
from tests.matching.faults import Fault, code_of, pairs
from tests.matching.market import CLASS, HOUR_NOW, Market, clock
from tests.matching.sources import engine_with

AT_MS = clock("22:57")
"""The story's own hour runs; the two after it are forward, of the next two one is halted and one post-only."""
RUNS, FIRST, SECOND, HALTED, POST_ONLY, CROWDED = range(HOUR_NOW + 2, HOUR_NOW + 8)
BLOCKS: dict[str, Fault] = {
    "too late": (Code.TOO_LATE, {"valid_until_ms": AT_MS - 1}),
    "valid for too long": (Code.WRONG_VALIDITY, {"valid_until_ms": AT_MS + 600_001}),
    "no account": (Code.UNKNOWN_ACCOUNT, {"account": 77}),
    "no client id": (Code.WRONG_CLIENT_ID, {"client_id": "a b"}),
    "another's client id": (Code.DUPLICATE_CLIENT_ID, {"client_id": "used"}),
    "no class": (Code.UNKNOWN_CLASS, {"class_no": 9}),
    "no hours": (Code.WRONG_HOURS, {"hours": 0}),
    "169 hours": (Code.WRONG_HOURS, {"hours": 169}),
    "from hour 0": (Code.WRONG_HOURS, {"first_hour": 0}),
    "to an hour of 25 bits": (Code.WRONG_HOURS, {"first_hour": (1 << 24) - 1}),
    "not listed": (Code.UNKNOWN_CONTRACT, {"first_hour": HOUR_NOW + 99}),
    "gate closed": (Code.WRONG_PHASE, {"first_hour": RUNS}),
    "halted": (Code.HALTED, {"first_hour": SECOND}),
    "no side": (Code.WRONG_SIDE, {"side": 0}),
    "no time in force": (Code.WRONG_TIF, {"tif": 5}),
    "a date that is over": (Code.WRONG_EXPIRY, {"tif": Tif.GTD, "expires_ms": AT_MS}),
    "a date without its kind": (Code.WRONG_TIF, {"expires_ms": AT_MS + 1}),
    "immediate while one hour is post-only": (Code.WRONG_TIF, {"tif": Tif.IOC, "first_hour": POST_ONLY}),
    "post-only": (Code.WRONG_FLAGS, {"flags": 1}),
    "running": (Code.WRONG_FLAGS, {"flags": 2}),
    "cancel-oldest": (Code.WRONG_FLAGS, {"flags": 4}),
    "no quantity": (Code.WRONG_QTY, {"qty": 3}),
    "no minimum": (Code.WRONG_QTY, {"qty_min": 0}),
    "half a lot at least": (Code.WRONG_QTY, {"qty_min": 1}),
    "all at once, and less at least": (Code.WRONG_QTY, {"tif": Tif.FOK, "qty_min": 2}),
    "no price": (Code.WRONG_PRICE, {"price": 2_000_001}),
    "below the collars": (Code.OUTSIDE_COLLAR, {"price": 990_000}),
    "above the collars": (Code.OUTSIDE_COLLAR, {"price": 4_010_000}),
    "too many orders": (Code.TOO_MANY_ORDERS, {"account": 101}),
    "too many client ids": (Code.TOO_MANY_ORDERS, {"account": 102}),
    "too many blocks": (Code.TOO_MANY_ORDERS, {"account": 103}),
    "too many blocks over an hour": (Code.TOO_MANY_ORDERS, {"first_hour": CROWDED}),
    "too little money": (Code.INSUFFICIENT_FUNDS, {"qty": 900_000}),
    "nothing behind it": (Code.INSUFFICIENT_BACKING, {"qty": 900_000, "side": Side.SELL}),
    "cannot fill": (Code.CANNOT_FILL, {"tif": Tif.FOK, "qty_min": 4}),
}
NO_PAIRS = (
    # A million GPUs and four of them are not the same, so all or nothing has another minimum then: an earlier fault.
    ("too little money", "cannot fill"),
    ("nothing behind it", "cannot fill"),
    ("no quantity", "cannot fill"),
    # Sellers have a queue of their own.
    ("too many blocks over an hour", "nothing behind it"),
    # What is all at once does not come to rest, whatever else rests there.
    ("too many blocks", "cannot fill"),
    ("too many blocks over an hour", "cannot fill"),
)


def market_of_blocks() -> tuple[Market, cmd.PlaceBlock]:
    """Ana has four orders, Bert two client ids, Carl two blocks: as many as there may be. Emil would bid for two hours."""
    people = {"ana": "9000", "bert": "9000", "carl": "9000", "emil": "9000"}
    bounds = engine_with(open_orders_max=4, client_ids_max=2, blocks_max=2, blocks_over_hour_max=2)
    market = Market.given(lot=2, money=people, engine=bounds, hours=4, horizon_hours=7).wait(to="22:57", ms=-600_000)
    market.when("""
        ana buys 2 at 1.00 in hours +1 +2 +3 +4 as used
        bert buys 2 at 1.00 in hour +1 as used
        bert buys 2 at 1.00 in hour +1 as b
        emil buys 2 at 1.00 in hour +1 as used
    """)
    market.when(
        "carl bids a block of 2 for 2 hours from +5 at 1.00 as used\ncarl bids a block of 2 for 2 hours from +5 at 1.00"
    )
    market.tell(
        cmd.SetState(900, CLASS, HALTED, cmd.State.HALTED, ""),
        cmd.SetState(900, CLASS, POST_ONLY, cmd.State.POST_ONLY, ""),
    )
    market.wait(to="22:57")
    body = cmd.PlaceBlock(
        market.account("emil"), CLASS, FIRST, 2, Side.BUY, 4, 4, 2_000_000, Tif.GTC, 0, "fresh", AT_MS + 1
    )
    return market, body


@pytest.fixture(scope="module")
def refused() -> tuple[Market, cmd.PlaceBlock]:
    """For bodies that change nothing."""
    return market_of_blocks()


@pytest.mark.parametrize("fault", BLOCKS)
def test_a_block_with_one_fault_is_refused_for_it(fault: str) -> None:
    """And the answer repeats account and client id."""
    market, body = market_of_blocks()
    code, changes = BLOCKS[fault]
    wrong = replace(body, **changes)

    (said,) = market.tell(wrong)

    assert isinstance(said, ev.Rejected)
    assert (said.code, said.account, said.client_id) == (code, wrong.account, wrong.client_id)
    assert code_of(market.tell(body)) is None, "without it, it is taken"


@pytest.mark.parametrize(("first", "second"), pairs(BLOCKS, *NO_PAIRS))
def test_a_block_with_two_faults_is_refused_for_the_earlier_one(
    first: str, second: str, refused: tuple[Market, cmd.PlaceBlock]
) -> None:
    market, body = refused

    assert code_of(market.tell(replace(body, **BLOCKS[first][1], **BLOCKS[second][1]))) == BLOCKS[first][0]


@pytest.mark.parametrize(
    ("changes", "code", "need"),
    [
        ({"first_hour": RUNS, "hours": 9}, Code.WRONG_PHASE, RUNS),
        ({"first_hour": HOUR_NOW - 1, "hours": 9}, Code.UNKNOWN_CONTRACT, HOUR_NOW - 1),
        ({"hours": 168}, Code.UNKNOWN_CONTRACT, HOUR_NOW + 9),
        ({"first_hour": HOUR_NOW + 9, "hours": 168}, Code.UNKNOWN_CONTRACT, HOUR_NOW + 9),
        ({"first_hour": -5, "hours": 168}, Code.WRONG_HOURS, 0),
        ({"first_hour": 2**64 - 1, "hours": 1}, Code.WRONG_HOURS, 0),
        ({"first_hour": 1 << 24, "hours": 1}, Code.WRONG_HOURS, 0),
        ({"hours": -1}, Code.WRONG_HOURS, 0),
        ({"hours": 2**64 - 1}, Code.WRONG_HOURS, 0),
    ],
)
def test_the_first_hour_that_takes_no_block_is_named(changes: dict[str, int], code: Code, need: int) -> None:
    market, body = market_of_blocks()

    (said,) = market.tell(replace(body, **changes))

    assert isinstance(said, ev.Rejected)
    assert (said.code, said.need, said.have) == (code, need, 0)


@pytest.mark.parametrize(
    ("qty", "qty_min"),
    [(0, 0), (-2, -2), (3, 2), (1_000_002, 2), (2**64 - 2, 2), (4, 0), (4, -2), (4, 1), (4, 6), (4, 2**64 - 2)],
)
def test_quantity_and_minimum_are_lots_and_the_minimum_is_no_more(qty: int, qty_min: int) -> None:
    """The refusal says the lot."""
    market, body = market_of_blocks()

    (said,) = market.tell(replace(body, qty=qty, qty_min=qty_min))

    assert isinstance(said, ev.Rejected)
    assert (said.code, said.need, said.have) == (Code.WRONG_QTY, 2, 0)


def test_what_does_not_wait_counts_neither_the_account_s_blocks_nor_the_hours() -> None:
    """Carl's third block may trade at once; and where two wait over an hour, a third may as well."""
    market, body = market_of_blocks()
    carl = replace(body, account=market.account("carl"), tif=Tif.IOC, client_id="")

    for first_hour in (FIRST, CROWDED):
        assert isinstance(market.tell(replace(carl, first_hour=first_hour))[0], ev.BlockAccepted)
