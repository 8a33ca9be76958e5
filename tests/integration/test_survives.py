"""kill -9 of everything under a flow of orders, on Apache Kafka and Postgres with two shards: nothing acknowledged is lost.

Market time runs fast, so that hours are bought, end, are delivered (simulated) and paid within the test.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.events import Reason
from schemas.ids import parse_order
from schemas.units import parse_usd
from services.audit.report import NAMES
from tests.integration.hall import CLASSES, Hall, open_hall

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
RATE = 150
PRICE = {"H100.SXM.80.US": ("2.50", "2.60"), "L40S.48.US": ("0.90", "0.95")}
UNSEEN = {"D2", "H2", "H3", "R1", "R2", "R3", "R4"}
"""A short test need not have looked at these: a follower's snapshot comes after minutes, and here are no machines and rentals.

The engine's copy is looked at."""


class Members:
    """They keep trading while things die, ask again what was not answered, and write down every word that they are told."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.orders: dict[str, list[dict[str, Any]]] = {}
        """Client order id → answers."""
        self.blocks: dict[str, list[dict[str, Any]]] = {}
        """The same of blocks."""
        self.cancels: dict[str, dict[str, Any]] = {}
        """Order id → answer."""
        self.doubts = 0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._trade, args=pair, daemon=True)
            for pair in (("provider", "sell"), ("maker", "sell"), ("buyer", "buy"), ("buyer", "buy"), ("buyer", "sell"))
        ]

    def begin(self) -> None:
        """Each in a thread of his own."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """What is under way is asked to its end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=40)
            assert not thread.is_alive(), "a trader hangs"

    def place(self, who: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """An order, or a block where the body names hours. Until it is acknowledged or refused; None: refused, or given up."""
        path, known = ("/v1/blocks", self.blocks) if "hours" in body else ("/v1/orders", self.orders)
        for _ in range(40):
            answer = self.hall.ask("POST", path, self.hall.bearers[who], body)
            if answer.status_code == 201:
                told: dict[str, Any] = answer.json()
                known.setdefault(body["client_order_id"], []).append(told)
                return told
            if answer.status_code < 500 and answer.json()["outcome"] == "rejected":
                return None
            self.doubts += 1
            time.sleep(0.3)
        return None

    def _trade(self, who: str, side: str) -> None:
        chance = random.Random(f"{who} {side}")
        while not self._stop.is_set():
            class_id = chance.choice(CLASSES)
            hours = self.hall.hours(class_id)[1:6]
            if not hours:
                time.sleep(0.2)
                continue
            body = {
                "side": side,
                "qty": chance.randint(1, 3),
                "price": chance.choice(PRICE[class_id]),
                "client_order_id": f"{who}-{uuid.uuid4().hex[:16]}",
                "tif": chance.choice(["gtc", "gtc", "ioc"]),
                "valid_for_ms": 5_000,
            }
            is_block = chance.random() < 0.2
            if is_block:
                body |= {"class": class_id, "from": chance.choice(hours[:3])["hour"], "hours": chance.randint(2, 3)}
            else:
                body["contract"] = chance.choice(hours)["contract"]
            told = self.place(who, body)
            if told is not None and chance.random() < 0.2:
                self.place(who, body)  # the same again is the same order
            if told is not None and told["state"] == "open" and not is_block and chance.random() < 0.3:
                self._cancel(who, told["order_id"])

    def _cancel(self, who: str, order_id: str) -> None:
        for _ in range(10):
            answer = self.hall.ask("DELETE", f"/v1/orders/{order_id}", self.hall.bearers[who])
            if answer.is_success:
                self.cancels[order_id] = answer.json()
            if answer.status_code < 500:
                return
            time.sleep(0.3)


@pytest.fixture
def hall() -> Iterator[Hall]:
    with open_hall(RATE) as opened:
        yield opened


@pytest.mark.timeout(420)
def test_nothing_acknowledged_is_lost_when_everything_dies(hall: Hall) -> None:
    """Matching, standby, settlement, gateway, Postgres and Kafka are killed under orders; then the audit is clean."""
    members = Members(hall)
    _leave_a_book(members)
    members.begin()
    hall.let_pass(3)
    for name in ("matching-0a", "matching-1b", "settlement", "matching-0b", "gateway", "matching-1a"):
        os.kill(hall.supervisor.pid(name), signal.SIGKILL)
        hall.let_pass(2.5)
    hall.postgres.kill9()
    hall.let_pass(1.5)
    hall.postgres.start()
    _goes_on(hall, members)
    hall.kafka.kill9()
    hall.let_pass(1)
    hall.kafka.start()
    _goes_on(hall, members)
    members.end()
    hall.until_settled()
    _everything_is_there_as_it_was_acknowledged(hall, members)
    _every_cancel_is_there(hall, members)
    _hours_end_and_are_paid(hall, members)
    _audit_is_clean(hall)


def _goes_on(hall: Hall, members: Members) -> None:
    """Orders are acknowledged again, by the processes that there are."""
    before = len(members.orders)
    hall.until(lambda: len(members.orders) > before + 5, "trading goes on")


def _leave_a_book(members: Members) -> None:
    """An ask and a bid wait in the last hour that is backed, where nobody else trades, until the audit comes.

    A block is bought there as well, and one waits: without these it would be luck whether any of them trades.
    """
    hours = members.hall.hours(CLASSES[0])
    contract, first = hours[11]["contract"], hours[9]["hour"]
    for who, side, price in (("provider", "sell", "2.60"), ("buyer", "buy", "2.40")):
        body = {"contract": contract, "side": side, "qty": 1, "price": price, "client_order_id": f"waits-{side}"}
        assert members.place(who, body) is not None
    for who, side, qty in (("provider", "sell", 3), ("buyer", "buy", 1)):
        asked = {"class": CLASSES[0], "from": first, "hours": 3, "side": side, "qty": qty, "price": "2.60"}
        block = members.place(who, {**asked, "min_qty": 1, "client_order_id": f"block-{side}"})
        assert block is not None


def _everything_is_there_as_it_was_acknowledged(hall: Hall, members: Members) -> None:
    """S2: terms and fills, to the µUSD. O2 from outside: each client order id is one order, or one block."""
    fills: dict[int, list[tuple[int, ...]]] = {}
    for row in hall.rows("SELECT * FROM settlement.fills ORDER BY shard, trade"):
        fee = row["buyer_fee"] if row["taker_side"] == 1 else row["seller_fee"]
        fills.setdefault(row["taker_order"], []).append(
            (row["shard"], row["trade"], row["qty"], row["price"], row["notional"], fee)
        )
    assert len(members.orders) > 20, f"only {len(members.orders)} orders were acknowledged"
    assert members.doubts > 0, "every answer came at once: nothing was tried"
    for table, id_name, acknowledged in (
        ("orders", "order_id", members.orders),
        ("blocks", "block_id", members.blocks),
    ):
        rows = hall.rows(f"SELECT * FROM settlement.{table}")
        settled = {row["client_id"]: row for row in rows}
        assert len(settled) == len(rows), "a client order id became two"
        told = {name: [_terms(answer, id_name) for answer in answers] for name, answers in acknowledged.items()}
        assert told == {name: [_terms_there(settled.get(name))] * len(answers) for name, answers in told.items()}
        first = [answer for answers in acknowledged.values() for answer in answers if not answer["repeated"]]
        told_fills = {answer[id_name]: _fills(answer) for answer in first}
        settled_fills = {name: fills.get(parse_order(name), []) for name in told_fills}
        if table == "blocks":  # one that rests takes again when it is tried again, later than its answer
            settled_fills = {name: found[: len(told_fills[name])] for name, found in settled_fills.items()}
        assert told_fills == settled_fills
        assert any(told_fills.values()), f"nothing was traded by {table}"


def _terms(answer: dict[str, Any], id_name: str) -> tuple[Any, ...]:
    """What cannot change any more."""
    names = ("client_order_id", "side", "qty", "tif")
    return (parse_order(answer[id_name]), parse_usd(answer["price"]), *(answer[name] for name in names))


def _terms_there(row: Any) -> tuple[Any, ...] | None:
    if row is None:
        return None
    side, tif = {1: "buy", 2: "sell"}[row["side"]], {1: "gtc", 3: "ioc"}[row["tif"]]
    return (row["order_id"], row["price"], row["client_id"], side, row["qty"], tif)


def _fills(answer: dict[str, Any]) -> list[tuple[int, ...]]:
    return [
        (
            *map(int, fill["trade"].split("-")),
            fill["qty"],
            *(parse_usd(fill[name]) for name in ("price", "notional", "fee")),
        )
        for fill in answer["fills"]
    ]


def _every_cancel_is_there(hall: Hall, members: Members) -> None:
    """What was said to be cancelled is cancelled, as asked, and so much of it."""
    rows = hall.rows(f"SELECT order_id, cancelled FROM settlement.orders WHERE reason = {int(Reason.ASKED)}")
    cancelled = {row["order_id"]: row["cancelled"] for row in rows}
    told = {parse_order(name): answer["cancelled"] for name, answer in members.cancels.items()}
    assert told, "nothing was cancelled"
    assert told == {order: cancelled.get(order) for order in told}


def _hours_end_and_are_paid(hall: Hall, members: Members) -> None:
    """An hour in which something was traded ends; its simulated delivery records pay it out, one of them in part."""
    traded = {answer["contract"] for answers in members.orders.values() for answer in answers if answer["fills"]}
    for class_id in CLASSES:
        # Symbols of one class sort by their hour.
        first = min((symbol for symbol in traded if symbol.startswith(class_id)), default=None)
        if first is not None:
            record = {"contract": first, "simulated": True, "undelivered_minutes": 17}
            assert hall.ask("POST", "/v1/admin/deliveries", hall.operator, record).status_code == 202
    hall.until(
        lambda: (
            hall.rows("SELECT coalesce(sum(amount), 0) AS paid FROM settlement.balances WHERE kind = 9")[0]["paid"] > 0
        ),
        "an hour ends and its delivery pays fees to treasury",
        120,
    )


def _audit_is_clean(hall: Hall) -> None:
    found = hall.audited()
    broken = {finding.name: finding.breaches for finding in found if finding.broken}
    assert not broken, broken
    unseen = [name for name in NAMES if found[name].looked_at == 0 and name not in UNSEEN]
    assert not unseen, f"nothing was looked at for {unseen}"
