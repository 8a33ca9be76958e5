"""Many who ask at once what their ids stand for ask together, and each gets his own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from services.gateway.database import Database
from services.gateway.errors import ApiError
from services.gateway.reads.client_ids import ClientIds

ANA, BERT = 1, 2


class Settled:
    """A database that answers when it is told to, and has seen what it was asked."""

    def __init__(self, *known: tuple[int, str]) -> None:
        self.known = known
        self.asked: list[list[tuple[int, str]]] = []
        self.may_answer = asyncio.Event()
        self.away = False

    async def fetch(self, _: str, accounts: Sequence[int], client_ids: Sequence[str]) -> list[dict[str, Any]]:
        self.asked.append(sorted(zip(accounts, client_ids, strict=True)))
        await self.may_answer.wait()
        if self.away:
            raise ApiError("not_ready")
        return [
            {"account": account, "client_id": client_id, "order_id": 7, "is_block": False}
            for account, client_id in self.asked[-1]
            if (account, client_id) in self.known
        ]


def ids_in(settled: Settled) -> ClientIds:
    return ClientIds(cast("Database", settled))


async def asking(ids: ClientIds, *asked: tuple[int, str]) -> list[asyncio.Task[Any]]:
    """Each of them by somebody else."""
    tasks = [asyncio.ensure_future(ids.known([each])) for each in asked]
    await asyncio.sleep(0)
    return tasks


async def test_who_comes_while_a_question_is_under_way_is_in_the_next_one() -> None:
    """Two accounts may use the same id: what it stands for is each one's own."""
    settled = Settled((ANA, "old"), (BERT, "mine"))
    ids = ids_in(settled)
    first = await asking(ids, (ANA, "new"))
    later = await asking(ids, (ANA, "old"), (BERT, "old"), (ANA, "mine"), (BERT, "mine"))
    settled.may_answer.set()
    assert [list(found) for found in await asyncio.gather(*first, *later)] == [
        [],
        [(ANA, "old")],
        [],
        [],
        [(BERT, "mine")],
    ]
    assert settled.asked == [[(ANA, "new")], [(ANA, "mine"), (ANA, "old"), (BERT, "mine"), (BERT, "old")]]


async def test_an_answer_is_never_older_than_the_question() -> None:
    """Who asks after an answer asks anew."""
    settled = Settled((ANA, "a"))
    settled.may_answer.set()
    ids = ids_in(settled)
    for _ in range(2):
        assert list(await ids.known([(ANA, "a")])) == [(ANA, "a")]
    assert settled.asked == [[(ANA, "a")]] * 2


async def test_who_hangs_up_takes_nobody_along() -> None:
    """Also when it is he who asks for all: the next one does it."""
    settled = Settled((BERT, "b"))
    ids = ids_in(settled)
    (ana, bert) = await asking(ids, (ANA, "a"), (BERT, "b"))
    await asyncio.sleep(0)
    ana.cancel()
    settled.may_answer.set()
    assert list(await bert) == [(BERT, "b")]
    assert ana.cancelled() or ana.cancelling()


async def test_a_database_that_is_away_is_asked_once_for_all_who_wait() -> None:
    """Each for himself they would wait for it one after the other."""
    settled = Settled()
    settled.away = True
    ids = ids_in(settled)
    waiting = await asking(ids, *((ANA, f"{number}") for number in range(20)))
    settled.may_answer.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [cast("ApiError", answer).code for answer in answers] == ["not_ready"] * 20
    assert [len(question) for question in settled.asked] == [1, 19]
    settled.away = False
    assert await ids.known([(ANA, "1")]) == {}


async def test_of_no_ids_nothing_is_asked_for() -> None:
    settled = Settled()
    with pytest.raises(AssertionError):
        await ids_in(settled).known([])
