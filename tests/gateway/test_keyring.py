"""Which keys are in force: the topic `keys`, read whole and followed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec
import pytest

from schemas.keys import KeyIssued, KeyRevoked
from schemas.signing import signature
from services.gateway.auth import Request, authenticate
from services.gateway.errors import ApiError
from services.gateway.keyring import Keyring
from services.runtime.errors import Halt
from services.runtime.kafka import Cluster
from services.runtime.keys import Issued, issue_key
from services.runtime.log import Outgoing

MASTER = b"m" * 32


@pytest.fixture
async def log(broker, topic_prefix):
    async with Cluster(broker.bootstrap, prefix=topic_prefix) as cluster:
        await cluster.create_topic("keys", 1, 1, {})
        yield cluster.log("keys")


async def write(log, *records: KeyIssued | KeyRevoked) -> None:
    await log.append([Outgoing(msgspec.msgpack.encode(record)) for record in records])


def issued(account: int, scopes: Sequence[str] = ("read",), *, master: bytes = MASTER) -> Issued:
    return issue_key(master, account=account, owner=account, scopes=tuple(scopes), label="of a test")


def opens(keyring: Keyring, key: Issued) -> str:
    """Whose account the bearer token opens, or the refusal's code."""
    try:
        request = Request("GET", "/", b"", {"authorization": f"Bearer {key.bearer}"}, "")
        return str(authenticate(keyring.keys, request, 0).account)
    except ApiError as error:
        return error.code


async def test_a_key_works_from_its_record_on_until_it_is_revoked(log) -> None:
    """Issued before the start, issued afterwards, revoked: each is in force as soon as its record is read."""
    ana, bert = issued(1), issued(2)
    await write(log, ana.record)
    keyring = Keyring(log, MASTER)

    await keyring.load()
    assert [opens(keyring, key) for key in (ana, bert)] == ["1", "unauthenticated"]

    await write(log, bert.record, KeyRevoked(ana.record.key_id))
    while len(keyring.keys) != 1 or ana.record.key_id in keyring.keys:
        await keyring.follow(wait_ms=1_000)
    assert [opens(keyring, key) for key in (ana, bert)] == ["unauthenticated", "2"]


async def test_a_key_revoked_before_the_start_is_not_in_force_after_it(log) -> None:
    """The topic is read whole before the first request, the last word counts."""
    ana = issued(1)
    await write(log, ana.record, KeyRevoked(ana.record.key_id), KeyRevoked("never-issued"))
    keyring = Keyring(log, MASTER)
    await keyring.load()
    assert keyring.keys == {}


async def test_the_secret_that_was_shown_once_signs(log) -> None:
    """Sealed in the log, opened with the master key: what its holder was given is what the door compares with."""
    import base64

    ana = issued(1)
    await write(log, ana.record)
    keyring = Keyring(log, MASTER)
    await keyring.load()
    secret = base64.b64decode(ana.secret)
    headers = {
        "hourbook-key": ana.record.key_id,
        "hourbook-timestamp": "0",
        "hourbook-signature": signature(secret, "0", "GET", "/", b""),
    }
    assert authenticate(keyring.keys, Request("GET", "/", b"", headers, ""), 0).account == 1
    assert secret not in msgspec.msgpack.encode(ana.record)
    assert ana.bearer.encode() not in msgspec.msgpack.encode(ana.record)


async def test_a_key_sealed_with_another_master_key_is_left_out_and_said(log, caplog: pytest.LogCaptureFixture) -> None:
    """The others work: one foreign record does not close the door."""
    foreign, ana = issued(1, master=b"n" * 32), issued(2)
    await write(log, foreign.record, ana.record)
    keyring = Keyring(log, MASTER)
    with caplog.at_level(logging.WARNING):
        await keyring.load()
    assert [opens(keyring, key) for key in (foreign, ana)] == ["unauthenticated", "2"]
    assert foreign.record.key_id in caplog.text


@pytest.mark.parametrize("sealed", [b"", b"seven..", bytes(12), bytes(13)], ids=len)
async def test_a_key_whose_secret_is_no_seal_is_left_out(log, sealed: bytes) -> None:
    """One such record must not stop every gateway, now and at each start."""
    ana = issued(2)
    await write(log, msgspec.structs.replace(issued(1).record, secret_sealed=sealed), ana.record)
    keyring = Keyring(log, MASTER)
    await keyring.load()
    assert list(keyring.keys) == [ana.record.key_id]


async def test_a_record_that_is_no_key_stops_the_door(log) -> None:
    """Skipping it could leave a revoked key in force."""
    await log.append([Outgoing(b"\x93\x02")])
    with pytest.raises(Halt, match="keys offset 0 is not a key record"):
        await Keyring(log, MASTER).load()
