"""M5, S1: what members and operators asked of settlement, against what it did.

Whether a request is granted depends on the wallet at that moment, which the logs alone do not tell; so settlement's word for
it is taken, and held against everything that must follow from it. Money moves as asked or not at all, no deposit counts twice,
and each request has one fate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from schemas import requests as rq
from schemas.codec import UNREADABLE
from schemas.ids import contract_of
from services.audit import database
from services.audit import expected as chart
from services.audit.database import Connection
from services.audit.entries import Ledger
from services.audit.expected import Line
from services.audit.report import Findings

_request: msgspec.msgpack.Decoder[rq.Request] = msgspec.msgpack.Decoder(rq.Request)


async def procured(db: Connection, shard: int, values: Sequence[tuple[int, bytes]]) -> dict[int, tuple[int, int, int]]:
    """Outbox number -> (account, cost, provider's number) of machines that were asked for: their cost comes back if refused."""
    asked: dict[str, rq.Procure] = {}
    for _, value in values:
        try:
            request = _request.decode(value)
        except UNREADABLE:
            continue  # settlement refuses it; nothing is bought by it
        if isinstance(request, rq.Procure):
            asked.setdefault(request.request_id, request)
    names = {row["name"]: row["provider"] for row in await db.fetch("SELECT name, provider FROM settlement.providers")}
    sent = await database.outbox(db, shard) if asked else {}
    return {
        number: (bought.account, bought.cost, names.get(bought.provider, 0))
        for number, message in sent.items()
        if (bought := asked.get(message.request_id)) is not None
    }


class Fate(NamedTuple):
    """A row of `settlement.requests`."""

    log_offset: int
    digest: bytes
    state: str
    code: str


class Payout(NamedTuple):
    """Money that has been asked to leave."""

    account: int
    amount: int
    request_id: str


async def check_requests(db: Connection, found: Findings, shards: int, values: Sequence[tuple[int, bytes]]) -> None:
    """`values`: (offset, value) of `requests`, as far as settlement has read it."""
    rows = await db.fetch("SELECT request_id, log_offset, digest, state, code FROM settlement.requests")
    fates = {
        row["request_id"]: Fate(row["log_offset"], bytes(row["digest"]), row["state"], row["code"]) for row in rows
    }
    names = await db.fetch("SELECT name, provider FROM settlement.providers")
    sent = {message.request_id for shard in range(shards) for message in (await database.outbox(db, shard)).values()}
    asked = Asked(found, fates, {row["name"]: row["provider"] for row in names}, sent)
    refused = await database.refused(db, chart.REQUEST)
    ledger = Ledger(found, "requests", "request (offset, 0)", await database.entries(db, chart.REQUEST, 0))
    for offset, value in values:
        due, noted = asked.take(offset, value)
        found.expect("S1", noted is None or refused.get(offset) == noted, f"request {offset}: {noted} is not noted")
        if due:
            ledger.take((offset, 0), due)
    ledger.finish()
    unknown = fates.keys() - asked.seen.keys()
    found.expect("S1", not unknown, f"{sorted(unknown)[:5]} were answered and never asked")
    paid = await db.fetch("SELECT payout, account, amount, request_id FROM settlement.payouts")
    there = {row["payout"]: Payout(row["account"], row["amount"], row["request_id"]) for row in paid}
    found.expect("S1", there == asked.payouts, f"payouts are {there}, asked for are {asked.payouts}")
    bought = {
        (row["contract"], row["title"]): (row["account"], row["cost"], row["request_id"])
        for row in await db.fetch("SELECT contract, title, account, cost, request_id FROM settlement.procurements")
    }
    found.expect("S1", bought == asked.procured, f"procured are {bought}, asked for are {asked.procured}")


class Asked:
    """Requests in the log's order."""

    def __init__(
        self, found: Findings, fates: Mapping[str, Fate], providers: Mapping[str, int], sent: set[str]
    ) -> None:
        self._found = found
        self._fates = fates
        self._providers = providers
        self._sent = sent
        """Requests with a message to a shard."""
        self.seen: dict[str, bytes] = {}
        """Request id -> the first record's value."""
        self.payouts: dict[int, Payout] = {}
        self.procured: dict[tuple[int, int], tuple[int, int, str]] = {}
        """(contract, title) -> (account, cost, request) of machines for what was sold as ready."""
        self._moved: dict[int, str] = {}
        """Payout -> its state."""
        self._deposits: set[tuple[str, str]] = set()

    def take(self, offset: int, value: bytes) -> tuple[list[Line], str | None]:
        """(lines of its entry, code that must stand in `refusals`)."""
        try:
            request = _request.decode(value)
        except UNREADABLE:
            return [], "malformed"
        first = self.seen.get(request.request_id)
        if first is not None:
            return [], None if first == value else "request_reused"
        fate = self._fates.get(request.request_id)
        if fate is None and not (request.request_id.isprintable() and 1 <= len(request.request_id) <= 64):
            return [], "wrong_request_id"
        self.seen[request.request_id] = value
        digest = hashlib.blake2b(value, digest_size=16).digest()
        fits = fate is not None and (fate.log_offset, fate.digest) == (offset, digest)
        self._found.expect("S1", fits, f"request {request.request_id} at {offset} was answered as {fate}")
        return (self._lines(request, fate) if fate is not None else []), None

    def _lines(self, request: rq.Request, fate: Fate) -> list[Line]:
        done = fate.state == "done"
        match request:
            case rq.Deposit():
                return self._deposit(request, fate)
            case rq.Withdraw(account=account, amount=amount) if done:
                self.payouts[len(self.payouts) + 1] = Payout(account, amount, request.request_id)
                return chart.moved((chart.WALLET, 0, account), (chart.PAYOUT, 0, account), amount)
            case rq.PayoutMoved() if done:
                return self._payout(request)
            case rq.ToTrading(account=account, shard=shard, amount=amount) if request.request_id in self._sent:
                return chart.moved((chart.WALLET, 0, account), (chart.TRANSIT, shard, account), amount)
            case rq.Procure(account=account, cost=cost, provider=name) if request.request_id in self._sent or (
                done and request.title
            ):
                if request.title:
                    self._ready(request)
                return chart.moved((chart.WALLET, 0, account), (chart.EXTERNAL, 0, self._providers.get(name, 0)), cost)
        return []

    def _ready(self, request: rq.Procure) -> None:
        """Sold as ready, and paid for once."""
        key = (contract_of(request.class_no, request.hours[0]), request.title)
        self._found.expect("S1", key not in self.procured, f"title {key}: a machine was procured for it before")
        self.procured[key] = (request.account, request.cost, request.request_id)

    def _deposit(self, request: rq.Deposit, fate: Fate) -> list[Line]:
        key = (request.provider, request.provider_ref)
        known = key in self._deposits
        fits = (fate.state == "refused") if known else fate.code != "deposit_known"
        self._found.expect(
            "S1", fits, f"deposit {key}: {fate.state} {fate.code}, and {'' if known else 'not '}booked before"
        )
        if fate.state != "done":
            return []
        self._deposits.add(key)
        source = (chart.EXTERNAL, 0, self._providers.get(request.provider, 0))
        return chart.moved(source, (chart.WALLET, 0, request.account), request.amount)

    def _payout(self, request: rq.PayoutMoved) -> list[Line]:
        payout = self.payouts.get(request.payout)
        before = self._moved.get(request.payout, "requested")
        self._moved[request.payout] = request.state
        may_follow = {"requested": ("sent", "returned"), "sent": ("paid", "returned")}.get(before, ())
        fits = payout is not None and request.state in may_follow
        self._found.expect("S1", fits, f"payout {request.payout} goes from {before} to {request.state}")
        if payout is None or request.state == "sent":
            return []
        source = (chart.PAYOUT, 0, payout.account)
        if request.state == "returned":
            return chart.moved(source, (chart.WALLET, 0, payout.account), payout.amount)
        return chart.moved(source, (chart.EXTERNAL, 0, self._providers.get(request.provider, 0)), payout.amount)
