"""Settings of every service, from environment variables named HOURBOOK_*.

A service names the settings it cannot do without (`needs`); everything else has a default. Secrets never appear in `repr`.

    settings = Settings.from_environment(os.environ, needs=("kafka", "postgres"))
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from schemas.ids import SHARDS_MAX
from services.runtime.errors import BadSettings


@dataclass(frozen=True, slots=True)
class Login:
    """As whom a process speaks to the brokers."""

    user: str
    password: str = field(repr=False)
    ca: Path | None = None
    """Certificates by which the brokers are known. With them connections are encrypted (TLS), without them they are not."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. Fields that a service did not name as needed may be empty."""

    kafka: str = ""
    """HOURBOOK_KAFKA: `host:port[,host:port]` of the brokers."""
    kafka_user: str = ""
    """HOURBOOK_KAFKA_USER: this process's login at the brokers; without it none is sent, as in a sandbox."""
    kafka_password: str = field(default="", repr=False)
    """HOURBOOK_KAFKA_PASSWORD: of that login."""
    kafka_ca: Path | None = None
    """HOURBOOK_KAFKA_CA: file of the certificates (PEM) by which the brokers are known; set, connections to them are TLS."""
    postgres: str = field(default="", repr=False)
    """HOURBOOK_POSTGRES: connection string; may hold a password."""
    shards: int = 0
    """HOURBOOK_SHARDS: how many shards there are."""
    shard: int = 0
    """HOURBOOK_SHARD: which of them this process serves."""
    data: Path | None = None
    """HOURBOOK_DATA: folder for snapshots and archives."""
    master_key: bytes = field(default=b"", repr=False)
    """HOURBOOK_MASTER_KEY: base64 of 32 bytes."""
    http_port: int = 0
    """HOURBOOK_HTTP_PORT: the gateway's, or market data's for the gateway; 0: any free port."""
    status_port: int = 0
    """HOURBOOK_STATUS_PORT: `/status` and `/metrics`; 0: any free port."""
    listen: str = "127.0.0.1"
    """HOURBOOK_LISTEN: the address of this machine on which both ports are opened; neither is encrypted."""
    run: Path | None = None
    """HOURBOOK_RUN: folder for `<name>.json`, by which `hourbook status` finds every process."""
    topic_prefix: str = ""
    """HOURBOOK_TOPIC_PREFIX: put before every topic's name."""
    name: str = ""
    """HOURBOOK_NAME: this process among others of its kind; default: the service's own name."""
    feed_key: bytes = field(default=b"", repr=False)
    """HOURBOOK_FEED_KEY: base64 of 32 bytes, derived from the master key; tokens of the private feed are made with it."""
    feed_port: int = 0
    """HOURBOOK_FEED_PORT: market data's WebSocket."""
    feed_url: str = ""
    """HOURBOOK_FEED_URL: the feed's address as clients see it; default: the port's own."""
    market: str = ""
    """HOURBOOK_MARKET: `http://host:port` of market data, for gateways and the router."""
    delivery: str = ""
    """HOURBOOK_DELIVERY: `http://host:port` of the delivery room, for the gateway."""
    delivery_key: bytes = field(default=b"", repr=False)
    """HOURBOOK_DELIVERY_KEY: base64 of 32 bytes, derived from the master key; the delivery room's."""
    router: str = ""
    """HOURBOOK_ROUTER: `http://host:port` of the router, for the gateway."""
    router_key: bytes = field(default=b"", repr=False)
    """HOURBOOK_ROUTER_KEY: base64 of 32 bytes, derived from the master key; the router's."""
    gateway: str = ""
    """HOURBOOK_GATEWAY: `http://host:port` of a gateway, for the router, which trades by the public API."""

    @property
    def login(self) -> Login | None:
        """For `Cluster`."""
        return Login(self.kafka_user, self.kafka_password, self.kafka_ca) if self.kafka_user else None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], needs: Iterable[str] = ()) -> Settings:
        """Reads HOURBOOK_* variables. Raises BadSettings naming every variable at fault."""
        values: dict[str, object] = {}
        faults: list[str] = []
        for setting, parse in _PARSERS.items():
            variable = f"HOURBOOK_{setting.upper()}"
            text = environment.get(variable, "")
            if not text:
                if setting in needs:
                    faults.append(f"{variable} is not set")
                continue
            try:
                values[setting] = parse(text)
            except ValueError as error:
                faults.append(f"{variable} {error}")
        unknown = set(needs) - set(_PARSERS)
        assert not unknown, f"no such settings: {unknown}"
        settings = cls(**values)  # type: ignore[arg-type]  # each parser returns its field's type
        if settings.shards and settings.shard >= settings.shards:
            faults.append(f"HOURBOOK_SHARD is {settings.shard}, of {settings.shards} shards")
        if not faults and bool(settings.kafka_user) != bool(settings.kafka_password):
            there, missing = ("USER", "PASSWORD") if settings.kafka_user else ("PASSWORD", "USER")
            faults.append(f"HOURBOOK_KAFKA_{there} is set and HOURBOOK_KAFKA_{missing} is not: a login is both")
        if not faults and settings.kafka_ca and not settings.kafka_user:
            faults.append("HOURBOOK_KAFKA_CA is set and HOURBOOK_KAFKA_USER is not: TLS is for logins")
        if faults:
            raise BadSettings("; ".join(faults))
        return settings


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"is {text!r}, wanted is a whole number from {low} to {high}")
        return int(text)

    return parse


def _addresses(text: str) -> str:
    for address in text.split(","):
        host, colon, port = address.rpartition(":")
        if not host or not colon or not port.isdigit() or "@" in host:
            raise ValueError(f"is {_without_logins(text)!r}, wanted is host:port, several joined by commas")
    return text


def _without_logins(text: str) -> str:
    """Addresses as they may be shown: whoever writes `user:password@host` into one has written down a secret."""
    return re.sub(r"[^/,]*@", "***@", text)


def _readable_file(text: str) -> Path:
    try:
        with Path(text).open("rb"):
            return Path(text)
    except OSError as error:
        raise ValueError(f"is {text!r}, wanted is a file that can be read: {error.strerror}") from None


def _own_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(f"is {text!r}, wanted is an IP address of this machine, 0.0.0.0 for all") from None


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not text.startswith(tuple(f"{scheme}://" for scheme in schemes)) or text.endswith("/"):
            raise ValueError(
                f"is {_without_logins(text)!r}, wanted is {schemes[0]}://host:port without a slash at the end"
            )
        return text

    return parse


def _key(text: str) -> bytes:
    # The value is a secret: it is never repeated in the sentence.
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("is not base64") from None
    if len(key) != 32:
        raise ValueError(f"is {len(key)} bytes long, wanted are 32")
    return key


_PARSERS: Final[Mapping[str, Callable[[str], object]]] = {
    "kafka": _addresses,
    "kafka_user": str,
    "kafka_password": str,
    "kafka_ca": _readable_file,
    "postgres": str,
    "shards": _whole_number(1, SHARDS_MAX),
    "shard": _whole_number(0, SHARDS_MAX - 1),
    "data": Path,
    "master_key": _key,
    "feed_key": _key,
    "http_port": _whole_number(0, 65_535),
    "feed_port": _whole_number(0, 65_535),
    "feed_url": _url("ws", "wss"),
    "market": _url("http", "https"),
    "delivery": _url("http", "https"),
    "delivery_key": _key,
    "router": _url("http", "https"),
    "router_key": _key,
    "gateway": _url("http", "https"),
    "status_port": _whole_number(0, 65_535),
    "listen": _own_address,
    "run": Path,
    "topic_prefix": str,
    "name": str,
}
