"""Logins at the brokers: what every connection is opened with, and why a broker does not let us in.

The library says of both a broker that is away and one that refuses a login that it could not connect. What to do is not the
same: the one is waited for, the other is an operator's to change. So whoever could not connect asks `refusal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from services.runtime.config import Login
from services.runtime.errors import BadSettings

MECHANISM: Final = "PLAIN"
_ASK_MS: Final = 3_000


def options(login: Login | None) -> dict[str, Any]:
    """Arguments of every client of the library. Without a login none: plain connections, as to a sandbox's broker."""
    if login is None:
        return {}
    encrypted = {"security_protocol": "SASL_SSL", "ssl_context": _trust(login.ca)} if login.ca else {}
    return {
        "security_protocol": "SASL_PLAINTEXT",
        **encrypted,
        "sasl_mechanism": MECHANISM,
        "sasl_plain_username": login.user,
        "sasl_plain_password": login.password,
    }


@functools.cache
def _trust(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise BadSettings(f"HOURBOOK_KAFKA_CA is {ca}, and no certificates in PEM are in it: {error}") from error


async def refusal(bootstrap: str, login: Login | None) -> str:
    """Why a broker that answers does not let us in, in words that name the setting. Empty: it does, or none answers."""
    for address in bootstrap.split(","):
        try:
            reason = await _refusal(address, login)
        except (KafkaError, OSError, TimeoutError):
            continue
        if reason:
            return reason
    return ""


async def _refusal(address: str, login: Login | None) -> str:
    try:
        async with _connected(address, login) as connection:
            await connection.send(MetadataRequest([]))
    except SaslAuthenticationFailed:
        assert login is not None
        return (
            f"HOURBOOK_KAFKA_USER is {login.user!r}, and the broker at {address} refuses it: "
            "no such user, or HOURBOOK_KAFKA_PASSWORD is not its password"
        )
    except ssl.SSLError as error:
        assert login is not None
        return f"HOURBOOK_KAFKA_CA is {login.ca}, and the broker at {address} does not pass it: {error}"
    except (IllegalSaslStateError, UnsupportedSaslMechanismError):
        return f"HOURBOOK_KAFKA_USER is set, and the broker at {address} takes no logins ({MECHANISM})"
    except KafkaConnectionError:
        # So it answers whoever asks without having logged in, by closing the connection; but so does one that dies just now.
        if login is None and await _takes_logins(address):
            return f"HOURBOOK_KAFKA_USER is not set, and the broker at {address} wants a login"
    return ""


async def _takes_logins(address: str) -> bool:
    async with _connected(address, None) as connection:
        return bool((await connection.send(SaslHandShakeRequest(MECHANISM))).enabled_mechanisms)


@contextlib.asynccontextmanager
async def _connected(address: str, login: Login | None) -> AsyncIterator[AIOKafkaConnection]:
    host, _, port = address.rpartition(":")
    connection = await create_conn(host, int(port), request_timeout_ms=_ASK_MS, **options(login))
    try:
        yield connection
    finally:
        connection.close()
        await asyncio.sleep(0)  # until its reader has noticed


class _InTheClear(logging.Filter):
    """Drops the library's remark on each connection that a password was sent in the clear: HOURBOOK_KAFKA_CA decides that."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "in the clear" not in record.getMessage()


logging.getLogger("aiokafka.conn").addFilter(_InTheClear())
