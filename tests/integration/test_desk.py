"""The desk as deployed: its own process, a member's key, a whole exchange of two shards behind the gateway."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from schemas.http import NewKeyAnswer
from schemas.specifications import published
from services.cli.stack import Stack, write_private
from services.runtime.config import Login
from services.runtime.infra import ApacheKafka, LocalPostgres, Program, Supervisor, free_port, open_folder
from services.runtime.topics import ALL, PROBE
from tests.integration.alarms import DEPLOY, RULES, Sample, metrics_of, ringing, scraped
from tests.integration.asking import asking

PRICES = Path(__file__).parents[2] / "services" / "supply" / "recorded" / "prices.csv"
H100, H100_NODE, RTX4090 = "H100.SXM.80.US", "H100.SXM.80.X8.US", "RTX4090.24.EU.COMM"
SHARDS = {H100: 0, H100_NODE: 1, RTX4090: 1}
RECORDED = {H100: ("3.19", "3.41"), H100_NODE: ("2.325", "2.485"), RTX4090: ("0.339", "0.363")}
"""RunPod's 3.29, a node of Hyperstack at 19.20, Lium's 0.35: less and plus 3 %, the ask with the seller's fee, to the tick."""
WINDOW = 4
STALE_S = 12
SOURCES = """
[[sources]]
name = "recorded"
catalogue = "recorded"
file = "prices.csv"
recorded = true
poll_ms = 200
"""
LIMITS = f"""
capital_micros = 100_000_000_000
gpus_max = 8
gpu_hours_max = 1_000
loss_per_day_micros = 10_000_000_000
stale_after_ms = {STALE_S * 1000}
jump_bp = 10_000
settle_ms = 1_000
window_hours = {WINDOW}
spread_bp = 300
margin_bp = 100
age_bp = 0
dispersion_share_bp = 0
dispersion_bp = 0
skew_bp = 0
perish_bp = 0
book_share_bp = 0
book_band_bp = 0
collateral_over_cap_bp = 5_000
cover_lead_ms = 0
running_gpus = 8
dead_man_ms = 10_000
requests_per_second = 50
order_valid_ms = 5_000
refresh_ms = 1_000
"""
T = TypeVar("T")


class Exchange:
    """Broker, database, two shards, gateway, supply, desk; and what a test may do to them."""

    def __init__(self, stack: Stack, supervisor: Supervisor) -> None:
        self.stack = stack
        self.supervisor = supervisor
        self.http = httpx.Client(base_url=stack.url, timeout=10)
        self.prices = stack.home / "prices.csv"
        self.desk_key = stack.home / "desk.key"

    # --- Setting up ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Topics, processes, classes, the desk's account and key, supply, the desk."""
        asyncio.run(self.stack.create(sandbox=True))
        self.stack.start(self.supervisor)
        self.operator = asyncio.run(self.stack.first_operator_key()).bearer
        self.until(lambda: self.ask("GET", "/v1/keys", self.operator).is_success, "the gateway opens", 60)
        for class_id, shard in SHARDS.items():
            self.settle("/v1/admin/classes", {"shard": shard, "specification": published()[class_id].decode()})
        self.desk_account = self.account("desk", role="market_maker", desk=True)
        self.buyer = self.bearer(self.account("buyer"), "read", "trade")
        answer = self.ask("POST", "/v1/admin/keys", self.operator, self.key_request(self.desk_account, "supply"))
        assert answer.is_success, answer.text
        write_private(self.desk_key, answer.content)
        self.write_prices(PRICES.read_text())
        (self.stack.home / "sources.toml").write_text(SOURCES)
        (self.stack.home / "limits.toml").write_text(LIMITS)
        self.supervisor.start(self.stack.supply(self.stack.home / "sources.toml"))
        self.supervisor.start(self.desk_program())

    def desk_program(self) -> Program:
        program = self.stack.desk(self.desk_key)
        limits = {"HOURBOOK_DESK_LIMITS": str(self.stack.home / "limits.toml")}
        return Program(program.name, program.argv, {**program.env, **limits})

    def key_request(self, account: int, *more: str) -> dict[str, Any]:
        return {"account": account, "owner": account, "scopes": ["read", "trade", *more]}

    def account(self, name: str, **more: Any) -> int:
        account = self.settle("/v1/admin/accounts", {"name": name, **more})["account"]
        deposit = {"account": account, "amount": "500000", "provider": "simulated-faucet", "provider_ref": name}
        self.settle("/v1/admin/deposits", deposit)
        return int(account)

    def bearer(self, account: int, *scopes: str) -> str:
        body = {"account": account, "owner": account, "scopes": scopes}
        answer = self.ask("POST", "/v1/admin/keys", self.operator, body)
        assert answer.is_success, answer.text
        bearer = msgspec.json.decode(answer.content, type=NewKeyAnswer).bearer
        self.until(lambda: self.ask("GET", "/v1/account", bearer).is_success, "the key is known")
        return bearer

    # --- Asking -------------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, bearer: str = "", body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        headers["Idempotency-Key"] = secrets.token_hex(8)
        try:
            return self.http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            return httpx.Response(599, text=repr(error))

    def settle(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.ask("POST", path, self.operator, body)
        assert answer.status_code == 200, answer.text
        return answer.json()["outcome"]

    def hours(self, class_id: str, phase: str = "forward") -> list[dict[str, Any]]:
        """Rows of the grid. The first forward hour has no promises in it once its cover deadline is over."""
        answer = self.ask("GET", f"/v1/classes/{class_id}/grid")
        rows = answer.json()["rows"] if answer.is_success else []
        found = [row for row in rows if row["phase"] == phase]
        return found[1:] if phase == "forward" else found

    def quotes(self, class_id: str) -> list[tuple[str, int, str, int]]:
        """Best bid and ask of each forward hour that has one: price, GPUs, price, GPUs."""
        rows = [(row["bid"], row["bid_qty"], row["ask"], row["ask_qty"]) for row in self.hours(class_id)]
        return [row for row in rows if row[0] or row[2]]

    def desk_status(self) -> dict[str, Any]:
        """Empty while it does not answer."""
        try:
            run = json.loads((self.stack.home / "run" / "market_maker.json").read_text())
            return httpx.get(f"http://{run['status']}/status").json()
        except (OSError, httpx.TransportError):
            return {}

    def metrics(self) -> list[Sample]:
        """What every process tells."""
        files = (self.stack.home / "run").glob("*.json")
        return scraped({file.stem: json.loads(file.read_text())["status"] for file in files})

    # --- The world outside --------------------------------------------------------------------------------------------

    def write_prices(self, text: str) -> None:
        temporary = self.prices.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.replace(self.prices)

    def until(self, holds: Callable[[], T], what: str, seconds: float = 20) -> T:
        """The first answer that is true, restarting meanwhile who has ended."""
        deadline = time.monotonic() + seconds
        while True:
            self.supervisor.poll()
            if result := holds():
                return result
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.logs()}"
            time.sleep(0.05)

    def until_quotes(self, class_id: str, bid: str, ask: str, qty: int = 8, seconds: float = 20) -> None:
        """In every hour of the window but the first."""
        wanted = [(bid, qty, ask, qty)] * (WINDOW - 1)
        self.until(
            lambda: self.quotes(class_id) == wanted, f"{class_id} at {wanted}, last {self.quotes(class_id)}", seconds
        )

    def logs(self) -> str:
        files = sorted(self.supervisor.logs.glob("*.log"))
        return "\n".join(f"--- {file.stem}\n" + file.read_text()[-1_500:] for file in files)


@contextmanager
def opened(walled_kafka: ApacheKafka, postgres: LocalPostgres) -> Iterator[Exchange]:
    prefix, database = f"t{secrets.token_hex(4)}-", f"t{secrets.token_hex(4)}"
    dsn = postgres.create_database(database)
    with open_folder() as home, Supervisor(home / "logs") as supervisor:
        ports = {name: free_port() for name in ("http_port", "feed_port", "market_port", "delivery_port")}
        stack = Stack(
            walled_kafka.bootstrap, dsn, home, shards=2, topic_prefix=prefix, logins=walled_kafka.logins, **ports
        )
        exchange = Exchange(stack, supervisor)
        exchange.open()
        yield exchange
        exchange.http.close()
    postgres.drop_database(database)


@pytest.fixture(scope="module")
def exchange(walled_kafka: ApacheKafka, postgres: LocalPostgres) -> Iterator[Exchange]:
    with opened(walled_kafka, postgres) as found:
        yield found


@pytest.fixture(autouse=True)
def as_recorded(exchange: Exchange) -> None:
    """Each test begins with the recorded prices and the quotes that follow from them."""
    exchange.write_prices(PRICES.read_text())
    for class_id, (bid, ask) in RECORDED.items():
        said = (bid, ask)
        exchange.until(lambda: {(q[0], q[2]) for q in exchange.quotes(class_id)} == {said}, f"{class_id} at {said}", 60)  # noqa: B023  called at once


def test_both_sides_stand_around_the_cheapest_offer(exchange: Exchange) -> None:
    for class_id, (bid, ask) in RECORDED.items():
        exchange.until_quotes(class_id, bid, ask)
    supply = exchange.ask("GET", f"/v1/supply?class={H100}").json()
    assert supply["offers"][0]["price"] == "3.29"
    assert supply["references"][0]["clouds"] >= 2


def test_the_quotes_move_when_the_price_file_moves(exchange: Exchange) -> None:
    text = PRICES.read_text()
    assert text.count(",19.2,,US-1,") == 1
    exchange.write_prices(text.replace(",19.2,,US-1,", ",20.8,,US-1,"))
    began = time.monotonic()
    exchange.until_quotes(H100_NODE, "2.52", "2.695")
    assert time.monotonic() - began < 10


def test_when_the_offers_are_gone_everything_is_pulled_and_the_status_says_why(exchange: Exchange) -> None:
    lines = PRICES.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line_of(line, H100_NODE)]
    exchange.write_prices("".join(kept))
    exchange.until(lambda: not exchange.quotes(H100_NODE), "the node's quotes are pulled", 10)
    exchange.until(lambda: exchange.desk_status()[f"quote {H100_NODE}"] == "none: no firm offer", "it says why")
    exchange.until_quotes(H100, *RECORDED[H100])


def line_of(line: str, class_id: str) -> bool:
    """Whether a recorded row is of nodes of eight H100, the only ones in the file with this count and name."""
    assert class_id == H100_NODE
    return "H100" in line and ",8," in line.replace("8.0", "8")


def test_when_supply_stops_everything_is_pulled_as_stale_and_comes_back_with_it(exchange: Exchange) -> None:
    pid = exchange.supervisor.pid("supply")
    os.kill(pid, signal.SIGSTOP)
    try:
        exchange.until(lambda: not any(map(exchange.quotes, SHARDS)), "everything is pulled", STALE_S + 15)
        assert exchange.desk_status()[f"quote {H100}"].startswith("none: stale: last polled recorded at ")
        assert {"SourcesStale", "NoAnswer"} <= ringing(exchange.metrics())
    finally:
        os.kill(pid, signal.SIGCONT)
    exchange.until_quotes(H100, *RECORDED[H100], seconds=30)


def test_a_member_buys_from_the_desk_and_what_was_sold_is_not_offered_again(exchange: Exchange) -> None:
    """And pays what everybody pays: the fee on the fill is the class's, and the private fill says who was on the other side."""
    bid, ask = RECORDED[RTX4090]
    exchange.until_quotes(RTX4090, bid, ask)
    contract = exchange.hours(RTX4090)[0]["contract"]
    order = {"contract": contract, "side": "buy", "qty": 3, "price": ask, "tif": "ioc"}
    answer = exchange.ask("POST", "/v1/orders", exchange.buyer, order)
    assert answer.status_code == 201, answer.text
    fill = answer.json()["fills"][0]
    assert (fill["qty"], fill["price"], fill["fee"], fill["counterparty"]) == (3, ask, "0.00", "desk")
    left = [(bid, 8, ask, 5)] + [(bid, 8, ask, 8)] * (WINDOW - 2)
    exchange.until(lambda: exchange.quotes(RTX4090) == left, f"{left} is left, last {exchange.quotes(RTX4090)}")
    assert exchange.until(lambda: exchange.desk_status().get("open_promises"), "it counts its promises") == 3

    key = msgspec.json.decode(exchange.desk_key.read_bytes(), type=NewKeyAnswer).bearer
    sold = exchange.ask("GET", "/v1/fills?limit=1", key).json()[0]
    notional = 3 * int(ask.replace("0.", "")) * 1_000
    assert (sold["side"], sold["role"], sold["fee"]) == ("sell", "maker", f"0.{-(-notional * 50 // 10_000):06d}")


def test_the_running_hour_is_sold_on_demand(exchange: Exchange) -> None:
    """One H100, now: an order and no wait. A title of the minutes that are left; in some minutes of an hour none is sold."""
    if 49 <= time.gmtime().tm_min < 56:
        return
    (row,) = exchange.until(
        lambda: [r for r in exchange.hours(H100, "running") if r["ask"]], "it asks in the hour that runs"
    )
    order = {"contract": row["contract"], "side": "buy", "qty": 1, "price": row["ask"], "tif": "ioc"}
    fill = exchange.ask("POST", "/v1/orders", exchange.buyer, order).json()["fills"][0]
    assert (fill["qty"], fill["counterparty"]) == (1, "desk")
    assert 1 <= fill["minutes"] <= 60


def test_a_member_sells_to_the_desk(exchange: Exchange) -> None:
    """What was bought dearer is taken back at the desk's bid, and the desk offers it again."""
    bid, ask = RECORDED[H100]
    exchange.until_quotes(H100, bid, ask)
    contract = exchange.hours(H100)[1]["contract"]
    for side, price in (("buy", ask), ("sell", bid)):
        order = {"contract": contract, "side": side, "qty": 2, "price": price, "tif": "ioc"}
        answer = exchange.ask("POST", "/v1/orders", exchange.buyer, order)
        assert [fill["counterparty"] for fill in answer.json()["fills"]] == ["desk"], answer.text
    exchange.until_quotes(H100, bid, ask)


def test_a_killed_desk_comes_back_to_its_quotes_and_they_keep_their_places(exchange: Exchange) -> None:
    exchange.until_quotes(H100, *RECORDED[H100])
    restarts = exchange.supervisor.restarts()["market_maker"]
    os.kill(exchange.supervisor.pid("market_maker"), signal.SIGKILL)
    exchange.until(lambda: exchange.supervisor.restarts()["market_maker"] > restarts, "it is started again")
    exchange.until(lambda: exchange.desk_status().get("asks"), "it quotes")
    exchange.until_quotes(H100, *RECORDED[H100])


def test_a_desk_that_stands_still_loses_its_quotes_to_the_dead_man_s_switch(exchange: Exchange) -> None:
    pid = exchange.supervisor.pid("market_maker")
    os.kill(pid, signal.SIGSTOP)
    try:
        exchange.until(lambda: not any(map(exchange.quotes, SHARDS)), "its quotes go", 30)
    finally:
        os.kill(pid, signal.SIGCONT)
    exchange.until_quotes(H100, *RECORDED[H100], seconds=30)


def test_while_one_shard_stands_still_the_others_are_quoted_on(exchange: Exchange) -> None:
    """Both of its processes stopped; a desk that begins then quotes where it can, and the rest once the shard is back."""
    pids = [exchange.supervisor.pid(name) for name in ("matching-1a", "matching-1b")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        os.kill(exchange.supervisor.pid("market_maker"), signal.SIGKILL)
        exchange.write_prices(PRICES.read_text().replace(",3.29,", ",3.19,"))
        exchange.until(lambda: exchange.quotes(H100)[0][0] == "3.09", "shard 0 is quoted anew", 40)
        silent = "none: shard 1 does not answer"
        exchange.until(lambda: exchange.desk_status().get(f"quote {H100_NODE}") == silent, silent, 40)
        assert "DeskUnheard" in ringing(exchange.metrics())
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    exchange.until_quotes(H100_NODE, *RECORDED[H100_NODE], seconds=60)


def test_the_desk_outlives_a_crash_of_the_gateway_and_follows_what_it_missed(exchange: Exchange) -> None:
    exchange.until_quotes(H100, *RECORDED[H100])
    restarts = exchange.supervisor.restarts()["market_maker"]
    os.kill(exchange.supervisor.pid("gateway"), signal.SIGKILL)
    exchange.write_prices(PRICES.read_text().replace(",19.2,,US-1,", ",18.4,,US-1,"))
    exchange.until_quotes(H100_NODE, "2.23", "2.385", seconds=40)
    exchange.until_quotes(H100, *RECORDED[H100])
    assert exchange.supervisor.restarts()["market_maker"] == restarts


def test_every_metric_of_the_alerts_and_the_dashboard_is_told_by_some_process(exchange: Exchange) -> None:
    """On a whole exchange, as deployed; and nobody is told of a metric without its meaning in docs/operations.md."""
    exchange.until(lambda: exchange.ask("GET", "/v1/orders?limit=1", exchange.buyer).is_success, "the gateway answers")
    told = {sample.name for sample in exchange.metrics()}
    dashboard = json.loads((DEPLOY / "grafana" / "hourbook.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    expressions += [rule["expr"] for rule in RULES]

    named = set().union(*map(metrics_of, expressions))

    assert len(named) > 40
    assert named - told == {"hourbook_waiting"}, "and that one while somebody waits: tests/integration/test_faults.py"
    operations = (DEPLOY.parent / "docs" / "operations.md").read_text()
    assert [rule["alert"] for rule in RULES if f"| `{rule['alert']}` |" not in operations] == []


def test_the_desk_knows_no_address_but_the_broker_and_the_gateway(exchange: Exchange) -> None:
    """The process as deployed: its settings, its connections, the rights of its key."""
    pid = exchange.supervisor.pid("market_maker")
    assert {name for name in environment(pid) if name.startswith("HOURBOOK_")} == {
        "HOURBOOK_KAFKA", "HOURBOOK_KAFKA_USER", "HOURBOOK_KAFKA_PASSWORD", "HOURBOOK_TOPIC_PREFIX", "HOURBOOK_RUN",
        "HOURBOOK_GATEWAY", "HOURBOOK_KEY", "HOURBOOK_DESK_LIMITS",
    }  # fmt: skip
    ports = {exchange.stack.http_port, int(exchange.stack.bootstrap.rpartition(":")[2])}
    assert remote_ports(pid) <= ports
    assert remote_ports(pid)

    key = msgspec.json.decode(exchange.desk_key.read_bytes(), type=NewKeyAnswer)
    assert set(key.key.scopes) == {"read", "trade", "supply"}
    refused = exchange.ask("POST", "/v1/admin/states", key.bearer, {"class": H100, "state": "halted", "reason": "x"})
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")


async def test_with_the_desk_s_login_the_broker_gives_offers_to_read_and_nothing_else(exchange: Exchange) -> None:
    """While it quotes: with the credentials that its process has, every topic is asked for everything."""
    exchange.until_quotes(H100, *RECORDED[H100])
    has = environment(exchange.supervisor.pid("market_maker"))
    login = Login(has["HOURBOOK_KAFKA_USER"], has["HOURBOOK_KAFKA_PASSWORD"])
    prefix = has["HOURBOOK_TOPIC_PREFIX"]

    async with asking(has["HOURBOOK_KAFKA"], login) as desk:
        found = {topic: await desk.may(prefix + topic) for topic in (*ALL, PROBE)}
        governed = {word for topic in found for word in await desk.may_govern(prefix + topic)}

    assert found == dict.fromkeys((*ALL, PROBE), "") | {"offers": "told read"}
    assert governed == set()


def environment(pid: int) -> dict[str, str]:
    """As the process has it."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


def remote_ports(pid: int) -> set[int]:
    """Ports on the other end of the process's TCP connections that it has opened itself."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = link.readlink().as_posix()
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    listening = {line[1].split(":")[1] for line in lines if line[3] == "0A" and line[9] in inodes}
    own = [line for line in lines if line[9] in inodes and line[3] == "01" and line[1].split(":")[1] not in listening]
    assert all(socket.inet_ntoa(struct.pack("<I", int(line[2].split(":")[0], 16))) == "127.0.0.1" for line in own)
    return {int(line[2].split(":")[1], 16) for line in own}


def test_the_desk_is_built_of_nothing_but_schemas_and_runtime() -> None:
    code = (
        "import sys, services.market_maker.__main__\n"
        "print(*sorted({'.'.join(m.split('.')[:2]) for m in sys.modules if m.startswith('services.')}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["services.market_maker", "services.runtime"]


def test_an_orderly_stop_pulls_everything(exchange: Exchange) -> None:
    """Last of all: the desk is not started again."""
    os.kill(exchange.supervisor.pid("market_maker"), signal.SIGTERM)
    exchange.until(lambda: not exchange.supervisor.is_running("market_maker"), "it ends", 15)
    exchange.until(lambda: not any(map(exchange.quotes, SHARDS)), "nothing is quoted any more", 5)
