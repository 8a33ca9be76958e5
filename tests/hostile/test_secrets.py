"""Secrets of a running exchange, and every place to which they might have leaked: none has, however much goes wrong.

What is looked for: master key, feed key, passwords of database and broker, secrets and tokens of keys, tokens of the feed, and
a text of a member's that no log is to hold. Where: logs, answers, `/status`, `/metrics`, files, database, topics.
How: as it is, in base64 of either alphabet at any place of a text, in hex, and as it stands in an address.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import asyncpg
import httpx
import pytest

from schemas.feed_token import derive_feed_key
from services.runtime.kafka import Cluster
from services.runtime.topics import ALL, PER_SHARD
from services.runtime.walls import ADMINISTRATOR
from tests.gateway.exchange import Exchange, Key, signature
from tests.market_data.wire import Wire

pytestmark = pytest.mark.postgres
MARK = "what-a-member-wrote-in-confidence"


def spellings(secret: bytes) -> set[bytes]:
    """In which it could be told apart from noise."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode(), repr(secret)[2:-1].encode()}
    found |= {quote(secret, safe="").encode(), quote_plus(secret).encode()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # Within a longer text the first and last characters depend on its neighbours.
            text = encode(bytes(before) + secret)
            found.add(text[-(-before * 8 // 6) : -4 if text.endswith(b"=") else None])
    return found


def leaks(kept: dict[str, bytes], places: Iterable[tuple[str, bytes]]) -> list[tuple[str, str]]:
    """(secret, place)."""
    spelt = {name: spellings(secret) for name, secret in kept.items()}
    return [
        (name, place)
        for place, text in places
        for name, ways in spelt.items()
        if any(way in text for way in ways)
    ]  # fmt: skip


def test_a_secret_is_found_however_it_is_written() -> None:
    """The net has no hole: base64 in the middle of a text too."""
    secret = secrets.token_bytes(32)
    for before in (b"", b"a", b"ab", b"abc"):
        for after in (b"", b"x", b"xy"):
            whole = before + secret + after
            for text in (whole, base64.b64encode(whole), base64.urlsafe_b64encode(whole), whole.hex().encode()):
                assert leaks({"it": secret}, [("there", b"in " + text + b" somewhere")]) == [("it", "there")]
    assert leaks({"it": secret}, [("there", base64.b64encode(secrets.token_bytes(64)))]) == []


class Trouble:
    """Everything goes wrong once, and what was said of it."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.ana = exchange.member()
        self.key = exchange.key(self.ana.account, "read", "trade")
        self.said: list[tuple[str, bytes]] = []
        """(where, what)."""
        self.token: str = self.ana.ask("POST", "/v1/feed-token").json()["token"]

    def answer(self, what: str, method: str, path: str, **more: Any) -> None:
        """Of the door; no secret is in an answer but in the one that makes a key."""
        got = self.ana.ask(method, path, **more)
        assert not got.is_success, what
        self.said.append((what, got.content + repr(got.headers).encode()))

    def at_the_door(self) -> None:
        bearer, secret = self.key.bearer, base64.b64encode(self.key.secret).decode()
        other = Key(self.key.key_id, secrets.token_bytes(32), "")
        for name, authorization in {
            "a token and more": f"Bearer {bearer}x",
            "a secret as a token": f"Bearer {secret}",
            "a token of another scheme": f"Basic {bearer}",
            "a key's name with a secret": f"Bearer {self.key.key_id}.{secret}",
        }.items():
            self.answer(name, "GET", "/v1/account", headers={"Authorization": authorization})
        self.answer("signed by another", "GET", "/v1/account", headers=signature(other, "GET", "/v1/account", b""))
        by_stamp = signature(self.key, "GET", "/v1/account", b"", stamp="1")
        self.answer("signed long ago", "GET", "/v1/account", headers=by_stamp)
        for name, body in {
            "no JSON": f'{{"contract": "{MARK}'.encode(),
            "another form": json.dumps({"contract": [MARK], "price": MARK}).encode(),
            "a number": json.dumps({"contract": MARK, "side": "buy", "qty": 1, "price": MARK}).encode(),
            "too long": (MARK * 10_000).encode(),
            "not UTF-8": MARK.encode() + b"\xff",
        }.items():
            self.answer(name, "POST", "/v1/orders", content=body)
        for path in (
            f"/v1/orders/{MARK}",
            f"/v1/orders/client/%00{MARK}",
            f"/v1/{MARK}",
            f"/v1/trades?contract={MARK}",
        ):
            self.answer(path, "GET", path)

    async def at_the_feed(self) -> None:
        async with Wire.open(self.exchange.stack.feed_port) as wire:
            for token in (self.token[:-2], self.token + "AA", self.key.bearer, MARK):
                await wire.say({"op": "auth", "token": token})
            await wire.say(f'{{"op": "{MARK}'.encode())
            for number in range(5):
                self.said.append((f"feed {number}", json.dumps(await wire.until("error")).encode()))

    def at_the_start(self) -> None:
        """Processes that cannot begin, each with a secret that is right somewhere else or nearly right."""
        stack = self.exchange.stack
        password = urlsplit(stack.dsn).password or ""
        master = base64.b64encode(stack.master_key).decode()
        right = stack.environment("settlement")
        cases: list[tuple[str, str, dict[str, str]]] = [
            ("a wrong password", "settlement", {"HOURBOOK_POSTGRES": stack.dsn.replace(password, f"{password}x")}),
            ("a password in the query", "settlement", {"HOURBOOK_POSTGRES": f"postgresql://127.0.0.1:1/x?password={password}&x=1"}),
            ("words and no address", "settlement", {"HOURBOOK_POSTGRES": f"host=127.0.0.1 password={password}"}),
            ("a port that is none", "settlement", {"HOURBOOK_POSTGRES": stack.dsn.replace("/hourbook", "x/hourbook")}),
            ("an unknown host", "settlement", {"HOURBOOK_POSTGRES": stack.dsn.replace("127.0.0.1", "nowhere.invalid")}),
            ("another's login", "supply", {"HOURBOOK_KAFKA_USER": "gateway"}),
            ("a login cut off", "supply", {"HOURBOOK_KAFKA_PASSWORD": stack.logins["settlement"][:-1]}),
            ("an address with a login", "supply", {"HOURBOOK_KAFKA": f"settlement:{stack.logins['settlement']}@x"}),
            ("a master key cut off", "gateway", {"HOURBOOK_MASTER_KEY": master[:-4]}),
            ("a master key in hex", "gateway", {"HOURBOOK_MASTER_KEY": stack.master_key.hex()}),
            ("a feed key that is none", "market_data", {"HOURBOOK_FEED_KEY": f"{master}!", "HOURBOOK_FEED_PORT": "0"}),
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as name_of_folder, contextlib.ExitStack() as stack_of:
            folder, begun = Path(name_of_folder), dict[str, tuple[subprocess.Popen[bytes], Path]]()
            for number, (name, room, wrong) in enumerate(cases):
                own = {"HOURBOOK_HTTP_PORT": "0", "HOURBOOK_RUN": str(folder), "HOURBOOK_NAME": f"x{number}", **wrong}
                with (folder / f"x{number}.log").open("wb") as log:
                    process = subprocess.Popen(
                        [sys.executable, "-m", f"services.{room}"],
                        env={**os.environ, **right, **own},
                        stdout=log,
                        stderr=log,
                    )
                stack_of.callback(process.wait)
                stack_of.callback(process.kill)
                begun[name] = process, folder / f"x{number}"
            for name, (process, place) in begun.items():
                self.exchange.until(lambda p=process, at=place: self._has_said(p, at), name)  # type: ignore[misc]
                status = self._status(place) if process.poll() is None else b""
                self.said.append((name, place.with_suffix(".log").read_bytes() + status))

    def _has_said(self, process: subprocess.Popen[bytes], place: Path) -> bool:
        """It has ended, or says what it waits for."""
        return process.poll() is not None or b'"last_error": ""' not in (self._status(place) or b'"last_error": ""')

    def _status(self, place: Path) -> bytes:
        """What a process says that waits; empty: it does not answer yet."""
        try:
            where = json.loads(place.with_suffix(".json").read_bytes())["status"]
            return b"".join(self.exchange.http.get(f"http://{where}/{page}").content for page in ("status", "metrics"))
        except (OSError, ValueError, httpx.HTTPError):
            return b""

    async def at_the_database(self) -> None:
        """Every connection of every process is cut."""
        connection = await asyncpg.connect(self.exchange.stack.dsn)
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        await connection.close()


@pytest.fixture(scope="module")
def trouble(exchange: Exchange) -> Trouble:
    made = Trouble(exchange)
    made.at_the_door()
    asyncio.run(made.at_the_feed())
    made.at_the_start()
    asyncio.run(made.at_the_database())
    exchange.until(lambda: exchange.answers(made.ana, "/v1/account"), "the door finds the database again")
    return made


@pytest.fixture(scope="module")
def kept(trouble: Trouble) -> dict[str, bytes]:
    """Everything that is to be kept secret, by name."""
    stack, operator = trouble.exchange.stack, trouble.exchange.operator
    found = {
        "master key": stack.master_key,
        "feed key": derive_feed_key(stack.master_key),
        "password of the database": (urlsplit(stack.dsn).password or "").encode(),
        "feed token": trouble.token.encode(),
        **{f"login of {user}": password.encode() for user, password in stack.logins.items()},
    }
    for name, key in {"operator": operator.key, "ana": trouble.ana.key, "second": trouble.key}.items():
        found[f"secret of {name}"] = key.secret
        found[f"token of {name}"] = key.bearer.partition(".")[2].encode()
    assert all(len(secret) >= 16 for secret in found.values())
    return found


def test_no_answer_repeats_a_secret(trouble: Trouble, kept: dict[str, bytes]) -> None:
    """Nor what a process says that cannot begin."""
    assert len(trouble.said) > 25
    assert all(text for _, text in trouble.said)
    assert leaks(kept, trouble.said) == []


def test_no_log_holds_a_secret_or_a_member_s_words(trouble: Trouble, kept: dict[str, bytes]) -> None:
    logs = sorted((trouble.exchange.stack.home / "logs").glob("*.log"))
    assert len(logs) >= 7
    texts = [(log.name, log.read_bytes()) for log in logs]
    assert b"started" in dict(texts)["gateway.log"]
    assert leaks({**kept, "a member's words": MARK.encode()}, texts) == []


def test_no_status_and_no_metric_holds_a_secret(trouble: Trouble, kept: dict[str, bytes]) -> None:
    """Of every process, at the port that is open to whoever reaches it."""
    exchange, texts = trouble.exchange, list[tuple[str, bytes]]()
    for file in sorted((exchange.stack.home / "run").glob("*.json")):
        where = json.loads(file.read_bytes())["status"]
        for page in ("status", "metrics"):
            texts.append((f"{file.name}/{page}", exchange.http.get(f"http://{where}/{page}").content))
    assert len(texts) >= 14
    assert all(len(text) > 50 for _, text in texts)
    assert leaks({**kept, "a member's words": MARK.encode()}, texts) == []


def test_no_file_that_others_may_read_holds_a_secret(trouble: Trouble, kept: dict[str, bytes]) -> None:
    """Of the exchange and of its broker; those that hold one are there, and are their owner's alone."""
    found = [*trouble.exchange.stack.home.rglob("*"), *trouble.exchange.kafka.home.glob("*")]
    # The database's own are a third's: it runs as another user, in a folder that nobody else may enter.
    files = sorted(path for path in found if path.is_file() and "postgres" not in path.parts)
    is_open = {path: bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)) for path in files}
    assert sum(is_open.values()) > 10
    assert leaks(kept, [(path.name, path.read_bytes()) for path in files if is_open[path]]) == []
    holding = {
        place for _, place in leaks(kept, [(path.name, path.read_bytes()) for path in files if not is_open[path]])
    }
    assert holding == {"master.key", "environment.json", "server.properties"}


def test_the_database_holds_no_secret(trouble: Trouble, kept: dict[str, bytes]) -> None:
    """Every row of every table, as text."""
    tables = trouble.exchange.rows(
        "SELECT schemaname AS folder, tablename AS name FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'"
    )
    texts = []
    for table in tables:
        rows = trouble.exchange.rows(f'SELECT t::text AS line FROM "{table["folder"]}"."{table["name"]}" t')
        texts.append((table["name"], "\n".join(row["line"] for row in rows).encode()))
    assert len(texts) > 10
    assert sum(len(text) for _, text in texts) > 10_000
    assert leaks(kept, texts) == []


def test_the_log_holds_no_secret_but_sealed_and_hashed(trouble: Trouble, kept: dict[str, bytes]) -> None:
    """Every record of every topic, with its headers and its key."""

    async def read() -> list[tuple[str, bytes]]:
        stack, found = trouble.exchange.stack, list[tuple[str, bytes]]()
        login = stack.login(ADMINISTRATOR)
        async with Cluster(stack.bootstrap, prefix=stack.topic_prefix, login=login) as cluster:
            for topic in ALL:
                for partition in range(stack.shards if topic in PER_SHARD else 1):
                    log = cluster.log(topic, partition)
                    first, end = await log.bounds()
                    while first < end:
                        for record in await log.read(first, wait_ms=1_000):
                            headers = b"".join(name.encode() + value for name, value in record.headers)
                            found.append((f"{topic}/{partition}", record.value + headers + (record.key or b"")))
                            first = record.offset + 1
        return found

    records = asyncio.run(read())
    assert {place.partition("/")[0] for place, _ in records} >= {"commands", "events", "keys", "requests"}
    assert leaks(kept, records) == []
