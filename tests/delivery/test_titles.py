"""Whose hours they are: the same as in the engine, after every trade."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.commands import Ground
from schemas.events import Filled, TitleCovered, TitleMove
from services.delivery.titles import Contradiction, Titles
from services.matching.titles import Register

CONTRACT = 7


def filled(seller: int, buyer: int, qty: int, moves: tuple[TitleMove, ...], minutes: int = 60) -> Filled:
    return Filled(1, CONTRACT, 100, qty, minutes, 1, 1, 2, 0, 0, buyer, seller, qty * 100, 0, 0, moves)


def engine_s(register: Register) -> dict[int, tuple[int, int, int, int, int]]:
    return {
        title.number: (title.owing.account, title.holding.account, title.owing.ground, title.qty, title.cost)
        for title in register.titles()
    }


def ours(titles: Titles) -> dict[int, tuple[int, int, int, int, int]]:
    return {
        title.title: (title.obligor, title.holder, title.ground, title.qty, title.cost)
        for title in titles.of.get(CONTRACT, {}).values()
    }


trades = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(1, 500)), min_size=1, max_size=25
)


@settings(max_examples=300)
@given(trades=trades)
def test_titles_are_the_engine_s_after_every_trade(trades: list[tuple[int, int, int, int]]) -> None:
    register, titles, last = Register(), Titles(), 0
    for account in range(1, 5):
        register.of(account).declared.qty = 60 if account % 2 else 0
        register.of(account).promised.qty = 0 if account % 2 else 60
    for seller, buyer, qty, price in trades:
        if seller == buyer or register.of(seller).capacity() < qty:
            continue
        moves = register.trade(register.of(buyer), register.of(seller), qty, 60, qty * price, qty, last)
        last = register.title_last
        titles.fill(filled(seller, buyer, qty, moves))

        assert {number: row[:4] for number, row in ours(titles).items()} == {
            number: row[:4] for number, row in engine_s(register).items()
        }


def test_a_promise_that_machines_take_over_is_declared_from_then_on() -> None:
    titles = Titles()
    titles.fill(filled(1, 2, 4, (TitleMove(0, 1, Ground.PROMISED, 4, 400, 400, 0),)))

    titles.cover(TitleCovered(CONTRACT, 1, 2, 3, Ground.DECLARED))

    assert ours(titles) == {1: (1, 2, Ground.PROMISED, 1, 100), 2: (1, 2, Ground.DECLARED, 3, 300)}


@pytest.mark.parametrize(
    ("move", "sentence"),
    [
        (TitleMove(9, 9, 0, 1, 1, 1, 1), "never made"),
        (TitleMove(1, 1, 0, 2, 1, 1, 1), "the whole of it"),
        (TitleMove(1, 2, 0, 4, 1, 1, 1), "a piece of 4"),
    ],
)
def test_a_move_that_cannot_be_is_a_contradiction(move: TitleMove, sentence: str) -> None:
    titles = Titles()
    titles.fill(filled(1, 2, 3, (TitleMove(0, 1, Ground.DECLARED, 3, 300, 300, 0),)))

    with pytest.raises(Contradiction, match=sentence):
        titles.fill(filled(2, 3, move.qty, (move,)))
