"""Members who trade while everything breaks: each does one thing at a time, and asks again, under the same id, until it is told.

Repeats go to whichever gateway comes first: a member's second try need not reach the process that has heard the first.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final

import httpx

from services.cli.furnishing import HOST_CLASS
from tests.chaos.exchange import Exchange, Member, members
from tests.chaos.receipts import Receipt, Receipts

PROVIDERS: Final = 4
MAKERS: Final = 2
TRADERS: Final = 16
RENTERS: Final = 2
RENTALS: Final = 2
"""Of a renter at one time: as many GPUs together as the two machines have, at most."""
USD: Final = "200000"
CLASSES: Final = 2
"""Of those listed, the first of each shard."""
HOURS: Final = 10
"""So many open hours are traded, those that come next."""
PAUSE_S: Final = 0.35
"""Between two requests of a member, on average."""
TIMEOUT_S: Final = 7.0
"""A gateway gives up after five seconds, and says so."""
AGAIN_S: Final = 0.4
VALID_MS: Final = 120_000
"""Market time: four seconds of ours."""
WHOLESALER: Final = "wholesaler"
"""Has money in both shards and asks for nothing: `moments` writes in its name."""
NOBODY: Final[dict[str, Any]] = {"outcome": "unknown", "code": "nobody_answers"}
KEYED: Final = ("deposit", "transfer", "withdrawal", "backing", "rental")
"""What has an Idempotency-Key."""
UNSENT: Final[dict[str, Any]] = {"outcome": "rejected", "code": "not_ready", "retryable": True}


class Load:
    """Lives in the background's loop; the storm starts, holds and ends it."""

    def __init__(self, exchange: Exchange, seed: str) -> None:
        self.receipts = Receipts()
        self._exchange = exchange
        self._seed = seed
        self._urls = [f"http://127.0.0.1:{lane.port}" for lane in exchange.doors.values()]
        self._members: dict[str, Member] = {}
        self._operator = ""
        self._hours: dict[str, list[dict[str, Any]]] = {}
        self.machines: dict[str, Any] = {}
        """The class whose hours machines deliver."""
        self._classes: list[dict[str, Any]] = []
        self._going = asyncio.Event()
        self._busy = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._acknowledged_s = time.monotonic()
        self.outage_s = 0.0
        """The longest time in which nobody was told that anything was done, though all were asking."""
        self.requests = 0

    # --- Of the storm's thread --------------------------------------------------------------------------------

    def begin(self) -> None:
        """Accounts, backing, then everybody at once."""
        wanted = {
            **{f"provider-{number}": ("provider", "1000") for number in range(PROVIDERS)},
            **{f"maker-{number}": ("market_maker", USD) for number in range(MAKERS)},
            **{f"trader-{number}": ("member", USD) for number in range(TRADERS)},
            **{f"renter-{number}": ("member", USD) for number in range(RENTERS)},
            WHOLESALER: ("market_maker", USD),
        }
        self._members = members(self._exchange, wanted)
        self._exchange.wholesaler = self._members.pop(WHOLESALER)
        operator = json.loads((self._exchange.home / "operator.json").read_bytes())
        self._operator = operator["key"]["bearer"]
        self._exchange.background.do(self._start())

    def hold(self) -> None:
        """Nobody asks for anything new; what is under way is asked to its end."""
        self._exchange.background.loop.call_soon_threadsafe(self._going.clear)

    def go_on(self) -> None:
        def again() -> None:
            self._acknowledged_s = time.monotonic()
            self._going.set()

        self._exchange.background.loop.call_soon_threadsafe(again)

    @property
    def under_way(self) -> int:
        """Requests that nobody knows the end of yet."""
        return self._busy

    # --- Everybody ----------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(TIMEOUT_S, connect=2.0), trust_env=False, limits=httpx.Limits(max_connections=100)
        )
        await self._look()
        self._going.set()
        self._acknowledged_s = time.monotonic()
        self._tasks.append(asyncio.ensure_future(self._keep_looking()))
        for member in self._members.values():
            chance = random.Random(f"{self._seed}/{member.name}")
            does = DOES[member.name.partition("-")[0]]
            self._tasks.append(asyncio.ensure_future(self._live(does(self, member, chance))))
        cashier = Member("cashier", "operator", 0, self._operator)
        self._tasks.append(asyncio.ensure_future(self._live(Cashier(self, cashier, random.Random(f"{self._seed}/c")))))

    async def _live(self, actor: Actor) -> None:
        while True:
            await asyncio.sleep(actor.chance.expovariate(1 / (PAUSE_S * actor.slower)))
            await self._going.wait()
            self._busy += 1
            try:
                await actor.act()
            finally:
                self._busy -= 1

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(2)
            await self._look()

    async def _look(self) -> None:
        """Which hours there are. Whoever is not answered goes on with what it knew."""
        while not self._classes:
            status, classes = await self._send("GET", "/v1/classes", "")
            if status == 200:
                single = [each for each in classes if each["lot"] == 1]
                self._classes = [next(each for each in single if each["shard"] == shard) for shard in range(CLASSES)]
                self.machines = next(each for each in classes if each["class"] == HOST_CLASS)
            else:
                await asyncio.sleep(AGAIN_S)
        for each in self._classes:
            status, found = await self._send("GET", f"/v1/contracts?class={each['class']}", "")
            if status == 200:
                self._hours[each["class"]] = [hour for hour in found if hour["phase"] == "forward"]

    def hours(self, class_id: str) -> list[dict[str, Any]]:
        """The next ones."""
        return self._hours[class_id][:HOURS]

    @property
    def classes(self) -> list[dict[str, Any]]:
        return self._classes

    @property
    def members(self) -> dict[str, Member]:
        return self._members

    # --- One request --------------------------------------------------------------------------------------------

    async def _send(
        self, method: str, path: str, bearer: str, body: Any = None, key: str = "", chance: random.Random | None = None
    ) -> tuple[int, Any]:
        """(status, document); (0, one of ours) where none came."""
        self.requests += 1
        url = (chance or random).choice(self._urls)
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        if key:
            headers["Idempotency-Key"] = key
        try:
            answer = await self._client.request(method, url + path, json=body, headers=headers)
            return answer.status_code, answer.json()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return 0, UNSENT
        except (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, json.JSONDecodeError):
            return 0, NOBODY

    async def ask(
        self,
        receipt: Receipt,
        member: Member,
        method: str,
        path: str,
        chance: random.Random,
        *,
        again: bool = True,
    ) -> dict[str, Any] | None:
        """Until it is acknowledged (what was told) or refused (None). Without `again` nobody asks twice after an unknown fate."""
        self.receipts.all.append(receipt)
        key = receipt.name if receipt.what in KEYED else ""
        while True:
            receipt.sent += 1
            body = receipt.body or None
            status, told = await self._send(method, path, member.bearer, body, key, chance)
            if 200 <= status < 300:
                self._heard()
                told = told if isinstance(told, dict) else {"all": told}
                if told.get("state") == "pending":
                    told = await self._outcome(receipt, member, chance)
                    if told is None:
                        return None
                receipt.answers.append(told)
                return dict(told)
            if told["outcome"] == "unknown":
                receipt.doubts += 1
                if not again:
                    return None
            elif not told["retryable"]:
                self._heard()
                receipt.refusal = told["code"]
                return None
            await asyncio.sleep(AGAIN_S * (0.5 + chance.random()))

    async def look(self, path: str, member: Member, chance: random.Random) -> None:
        """Once, whatever comes: what is read leaves nothing behind."""
        await self._send("GET", path, member.bearer, chance=chance)

    async def _outcome(self, receipt: Receipt, member: Member, chance: random.Random) -> dict[str, Any] | None:
        """Of a request that takes longer."""
        while True:
            await asyncio.sleep(AGAIN_S)
            status, told = await self._send("GET", f"/v1/requests/{receipt.name}", member.bearer, chance=chance)
            if status == 200 and told["state"] == "done":
                return dict(told)
            if status == 200 and told["state"] == "refused":
                receipt.refusal = str(told["outcome"].get("code", "refused"))
                return None

    def _heard(self) -> None:
        now_s = time.monotonic()
        if self._going.is_set():
            self.outage_s = max(self.outage_s, now_s - self._acknowledged_s)
        self._acknowledged_s = now_s


class Actor:
    """One member's habits."""

    slower = 1.0

    def __init__(self, load: Load, member: Member, chance: random.Random) -> None:
        self.load = load
        self.member = member
        self.chance = chance
        self.open: list[str] = []
        """Order ids that may still rest."""
        self.version = 0

    async def act(self) -> None:
        """One thing."""
        habits = self.habits()
        (does,) = self.chance.choices(list(habits), list(habits.values()))
        await does()

    def habits(self) -> dict[Callable[[], Awaitable[None]], float]:
        raise NotImplementedError

    async def ask(self, what: str, name: str, body: Any, method: str, path: str, *, again: bool = True) -> Any:
        receipt = Receipt(self.member.account, what, name, body)
        return await self.load.ask(receipt, self.member, method, path, self.chance, again=again)

    def name(self) -> str:
        return f"{self.member.name}-{uuid.UUID(int=self.chance.getrandbits(128)).hex[:16]}"

    def pick(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A class and its hours."""
        of_class = self.chance.choice(self.load.classes)
        return of_class, self.load.hours(of_class["class"])

    def price(self, of_class: dict[str, Any], side: str) -> str:
        """About the list price: buyers and sellers often meet."""
        tick = Decimal(of_class["tick"])
        away = self.chance.randint(-12, 6) * (1 if side == "buy" else -1)
        whole = Decimal(of_class["list_price"]) // tick + away
        return str(whole * tick)

    async def order(self, side: str) -> None:
        of_class, hours = self.pick()
        if not hours:
            return
        body = {
            "contract": self.chance.choice(hours)["contract"],
            "side": side,
            "qty": self.chance.randint(1, 4),
            "price": self.price(of_class, side),
            "tif": self.chance.choice(["gtc", "gtc", "gtc", "ioc"]),
            "client_order_id": self.name(),
            "valid_for_ms": VALID_MS,
        }
        told = await self.ask("order", body["client_order_id"], body, "POST", "/v1/orders")
        if told is None:
            return
        if told["state"] == "open":
            self.open.append(told["order_id"])
        if self.chance.random() < 0.05:
            # The very same again: what was acknowledged stays one order.
            await self.ask("repeat", body["client_order_id"], body, "POST", "/v1/orders")

    async def range(self, side: str) -> None:
        of_class, hours = self.pick()
        if len(hours) < 4:
            return
        body = {
            "class": of_class["class"],
            "from": hours[self.chance.randint(0, 1)]["hour"],
            "count": self.chance.randint(2, 3),
            "side": side,
            "qty": self.chance.randint(1, 2),
            "price": self.price(of_class, side),
            "client_order_id": self.name(),
            "valid_for_ms": VALID_MS,
        }
        told = await self.ask("range", body["client_order_id"], body, "POST", "/v1/ranges")
        for leg in told["legs"] if told else ():
            if leg["order"] and leg["order"]["state"] == "open":
                self.open.append(leg["order"]["order_id"])

    async def block(self, side: str) -> None:
        of_class, hours = self.pick()
        if len(hours) < 6:
            return
        body = {
            "class": of_class["class"],
            "from": hours[self.chance.randint(0, 2)]["hour"],
            "hours": self.chance.randint(2, 3),
            "side": side,
            "qty": self.chance.randint(1, 3),
            "min_qty": 1,
            "price": self.price(of_class, side),
            "tif": self.chance.choice(["gtc", "ioc"]),
            "client_order_id": self.name(),
            "valid_for_ms": VALID_MS,
        }
        await self.ask("block", body["client_order_id"], body, "POST", "/v1/blocks")

    async def cancel(self) -> None:
        if self.open:
            order = self.open.pop(self.chance.randrange(len(self.open)))
            await self.ask("cancel", order, {}, "DELETE", f"/v1/orders/{order}")

    async def amend(self) -> None:
        """Not harmless to repeat: sent once."""
        if self.open:
            order = self.chance.choice(self.open)
            of_class = self.load.classes[int(order.split("-")[0])]
            body = {
                "qty": self.chance.randint(1, 4),
                "price": self.price(of_class, self.chance.choice(["buy", "sell"])),
            }
            body["valid_for_ms"] = VALID_MS
            await self.ask("amend", order, body, "PATCH", f"/v1/orders/{order}", again=False)

    async def transfer(self) -> None:
        body = {
            "direction": self.chance.choice(["to_trading", "to_wallet"]),
            "amount": f"{self.chance.randint(1, 9)}.{self.chance.randint(0, 999_999):06d}",
            "class": self.chance.choice(self.load.classes)["class"],
        }
        await self.ask("transfer", self.name(), body, "POST", "/v1/transfers")

    async def withdraw(self) -> None:
        body = {"amount": f"0.{self.chance.randint(1, 999_999):06d}", "destination": self.member.name}
        await self.ask("withdrawal", self.name(), body, "POST", "/v1/withdrawals")

    async def back(self, ground: str, qty: int) -> None:
        """The hours to come, in one class, as of now."""
        of_class = self.chance.choice(self.load.classes)
        hours = self.load.hours(of_class["class"])
        if not hours:
            return
        self.version += 1
        body = {
            "class": of_class["class"],
            "from": hours[0]["hour"],
            "hours": len(hours),
            "ground": ground,
            "qty": qty,
            "version": self.version,
        }
        if ground == "promised":
            body["collateral_price"] = of_class["collar_high"]
        await self.ask("backing", self.name(), body, "PUT", "/v1/capacity")


class Provider(Actor):
    """Declares machines, and sells them."""

    def habits(self) -> dict[Callable[[], Awaitable[None]], float]:
        if self.version < CLASSES:
            return {self._declare: 1}
        return {
            lambda: self.order("sell"): 8,
            lambda: self.range("sell"): 1,
            lambda: self.block("sell"): 1,
            self.cancel: 3,
            self.amend: 1,
            self._declare: 0.5,
        }

    async def _declare(self) -> None:
        await self.back("declared", self.chance.randint(300, 400))


class Maker(Actor):
    """Promises with its own money, and quotes both sides."""

    number = 0

    def habits(self) -> dict[Callable[[], Awaitable[None]], float]:
        if self.version < CLASSES:
            return {self._fund: 1, self._promise: 2}
        return {self._quote: 6, self._promise: 0.5, self.transfer: 0.5}

    async def _fund(self) -> None:
        of_class = self.chance.choice(self.load.classes)
        body = {"direction": "to_trading", "amount": "20000", "class": of_class["class"]}
        await self.ask("transfer", self.name(), body, "POST", "/v1/transfers")

    async def _promise(self) -> None:
        await self.back("promised", self.chance.randint(4, 8))

    async def _quote(self) -> None:
        of_class, hours = self.pick()
        tick, middle = Decimal(of_class["tick"]), Decimal(of_class["list_price"]) + Decimal(of_class["tick"])
        self.number += 1
        quotes = [
            {
                "hour": hour["hour"],
                "bid": str((middle // tick - self.chance.randint(4, 14)) * tick),
                "bid_qty": self.chance.randint(0, 2),
                "ask": str((middle // tick + self.chance.randint(4, 14)) * tick),
                "ask_qty": self.chance.randint(0, 2),
            }
            for hour in hours[1:7]
        ]
        if quotes:
            body = {"quotes": quotes, "number": self.number, "valid_for_ms": VALID_MS}
            told = await self.ask("quotes", str(self.number), body, "PUT", f"/v1/quotes/{of_class['class']}")
            # A gateway that fetched money has quoted those hours once more, under the next number.
            self.number = max(self.number, told["number"] if told else 0)


class Trader(Actor):
    """Buys, sells what it has, moves its money about."""

    def habits(self) -> dict[Callable[[], Awaitable[None]], float]:
        return {
            lambda: self.order("buy"): 8,
            lambda: self.order("sell"): 2,
            lambda: self.range("buy"): 1,
            lambda: self.block("buy"): 1,
            self.cancel: 3,
            self.amend: 1,
            self.transfer: 1,
            self.withdraw: 0.2,
        }


class Renter(Actor):
    """Keeps a few machines rented, and changes his mind. Nobody else buys hours of this class."""

    slower = 6.0

    def __init__(self, load: Load, member: Member, chance: random.Random) -> None:
        super().__init__(load, member, chance)
        self._rentals: list[str] = []
        """That are not stopped."""
        self._has_stopped = False
        self._launches = 0

    def habits(self) -> dict[Callable[[], Awaitable[None]], float]:
        if len(self._rentals) < RENTALS:
            return {self._rent: 1}
        # The first one soon: a short day is to see it, too.
        return {self._stop: 1 if self._has_stopped else 100, self._launch: 3, self._change: 4, self._look: 12}

    async def _rent(self) -> None:
        body = {
            "classes": [HOST_CLASS],
            "gpus": self.chance.randint(1, 2),
            "max_price": self.load.machines["collar_high"],
            "look_ahead": self.chance.randint(1, 3),
            "on_stop": self.chance.choice(["sell", "keep"]),
        }
        told = await self.ask("rental", self.name(), body, "POST", "/v1/rentals")
        if told is not None:
            self._rentals.append(told["rental"])

    async def _stop(self) -> None:
        rental = self._rentals.pop(self.chance.randrange(len(self._rentals)))
        self._has_stopped = True
        await self.ask(
            "stop", rental, {"on_stop": self.chance.choice(["sell", "keep"])}, "POST", f"/v1/rentals/{rental}/stop"
        )

    async def _change(self) -> None:
        """Harmless to repeat: it says how the rental is to be."""
        rental = self.chance.choice(self._rentals)
        body = {"look_ahead": self.chance.randint(1, 3)}
        await self.ask("change", rental, body, "PATCH", f"/v1/rentals/{rental}")

    async def _launch(self) -> None:
        self._launches += 1
        body = {"ssh_keys": [], "start_script": f"# {self._launches}"}
        await self.ask("launch", "default", body, "PUT", "/v1/launches/default")

    async def _look(self) -> None:
        """At his machines, as somebody does who wants to log in."""
        await self.load.look("/v1/leases", self.member, self.chance)


class Cashier(Actor):
    """An operator who books deposits."""

    slower = 3.0

    def habits(self) -> dict[Callable[[], Awaitable[None]], float]:
        return {self._deposit: 1}

    async def _deposit(self) -> None:
        names = [name for name in self.load.members if name.startswith("trader")]
        name = self.name()
        body = {
            "account": self.load.members[self.chance.choice(names)].account,
            "amount": f"{self.chance.randint(1, 99)}.{self.chance.randint(0, 999_999):06d}",
            "provider": "simulated-faucet",
            "provider_ref": name,
        }
        await self.ask("deposit", name, body, "POST", "/v1/admin/deposits")


DOES: Final[dict[str, type[Actor]]] = {"provider": Provider, "maker": Maker, "trader": Trader, "renter": Renter}
"""By the first part of a member's name."""
