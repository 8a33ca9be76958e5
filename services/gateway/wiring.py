"""What handlers are given: the wired gateway, and the caller, who is known before anything else of a request is looked at."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from schemas import http
from schemas.market_clock import MarketClock
from schemas.requests import Request as SettlementRequest
from schemas.units import format_usd
from services.gateway.auth import Caller, authenticate
from services.gateway.auth import Request as Judged
from services.gateway.blocks import Blocks
from services.gateway.classes import Classes
from services.gateway.corrections import Corrections
from services.gateway.delivery import DeliveryRoom
from services.gateway.edge import ADMITTED, Admitted, JsonRequest, check_path
from services.gateway.errors import ApiError
from services.gateway.keyring import Keyring
from services.gateway.limits import Limits
from services.gateway.market import MarketData
from services.gateway.offers import Offers
from services.gateway.orders import Orders
from services.gateway.previews import Previews
from services.gateway.progress import Progress
from services.gateway.quotes import Quotes
from services.gateway.ranges import Ranges
from services.gateway.reads import Reads
from services.gateway.requests import Outcome, Requests, refusal_of, refuse
from services.gateway.router import Acting, Router
from services.gateway.shards import Shards
from services.gateway.volume import Volume
from services.runtime.log import Clock

_MONEY: Final = ("amount", "balance", "cost")
"""Of the outcomes of requests: µUSD inside, decimal strings at the edge."""
_INT64_MAX: Final = 2**63 - 1


class Gateway:
    """Everything a handler may call, wired once in `__main__`."""

    def __init__(
        self,
        *,
        shards: Shards,
        classes: Classes,
        reads: Reads,
        progress: Progress,
        requests: Requests,
        orders: Orders,
        ranges: Ranges,
        blocks: Blocks,
        quotes: Quotes,
        previews: Previews,
        corrections: Corrections,
        keyring: Keyring,
        limits: Limits,
        offers: Offers,
        market_data: MarketData,
        delivery: DeliveryRoom,
        router: Router,
        acting: Acting,
        volume: Volume,
        market: MarketClock,
        clock: Clock,
        master_key: bytes,
    ) -> None:
        self.shards = shards
        self.classes = classes
        self.reads = reads
        self.progress = progress
        self.requests = requests
        self.orders = orders
        self.ranges = ranges
        self.blocks = blocks
        self.quotes = quotes
        self.previews = previews
        self.corrections = corrections
        self.keyring = keyring
        self.limits = limits
        self.offers = offers
        self.market_data = market_data
        self.delivery = delivery
        self.router = router
        self.acting = acting
        self.volume = volume
        self.market = market
        self.clock = clock
        self.master_key = master_key

    async def admit(self, request: Request[Any, Any, Any]) -> None:
        """Before anything else of a request is looked at: whoever asks privately is known. Raises ApiError."""
        assert isinstance(request, JsonRequest), "the application's request class"
        request.state.began_s = time.perf_counter()
        handler = request.route_handler
        if "caller" in handler.parsed_fn_signature.parameters:
            request.state.caller = await self._caller(request)
        check_path(request)
        if handler.parsed_data_field is not None and not await request.body():
            raise ApiError("malformed", "a body is missing")

    async def _caller(self, request: JsonRequest) -> Caller:
        admitted = request.scope.get(ADMITTED)
        if isinstance(admitted, Admitted):
            request.state.verdict = admitted.verdict
            return admitted.caller
        caller = await self.acting.caller(request.headers, request.method, request.scope["path_template"])
        if caller is None:
            address = request.client.host if request.client else ""
            judged = Judged(request.method, request.target, await request.body(), request.headers, address)
            caller = authenticate(self.keyring.keys, judged, self.clock.now_ms())
        self.charge(request, caller, 1)
        return caller

    def charge(self, request: JsonRequest, caller: Caller, cost: int) -> None:
        """So much of what the key may ask is used. Raises ApiError rate_limited: nothing is."""
        verdict = request.state.verdict = self.limits.take(caller.key_id, self.clock.elapsed_ms(), cost)
        if verdict.wait_ms:
            raise ApiError("rate_limited", f"wait {verdict.wait_ms} ms")

    async def settle(self, request: SettlementRequest) -> Response[http.RequestAnswer]:
        """A request that is not an order: 200 when its outcome is known, 202 before. Raises ApiError."""
        outcome = refuse(await self.requests.ask(request))
        return Response(self.answer(outcome), status_code=202 if outcome.state == "pending" else 200)

    def answer(self, outcome: Outcome) -> http.RequestAnswer:
        """A request as it stands; of a refused one its code and sentence."""
        shown = {name: format_usd(v) if name in _MONEY else v for name, v in outcome.outcome.items()}
        if "payout" in shown and self.market.sandbox:
            shown["simulated"] = True  # no money moves
        if outcome.state == "refused":
            refusal = refusal_of(outcome)
            shown = {"code": refusal.code, "detail": str(refusal), **refusal.numbers()}
        return http.RequestAnswer(request_id=outcome.request_id, state=outcome.state, outcome=shown)  # type: ignore[arg-type]  # the table's CHECK has the same words


def member(caller: Caller, scope: str) -> int:
    """The caller's account. Raises ApiError."""
    caller.require(scope)
    if caller.account == 0:
        raise ApiError("unknown_account", "this key belongs to an operator without an account")
    return caller.account


Wired = NamedDependency[Gateway]
Known = NamedDependency[Caller]
LATER: Final = {202: ResponseSpec(http.RequestAnswer)}
"""What `settle` answers as well."""
IdempotencyKey = Annotated[str, HeaderParameter(name="Idempotency-Key", schema_extra={"pattern": http.OWN_ID})]
OrderId = Annotated[str, PathParameter(schema_extra={"pattern": http.ORDER_ID})]
ClassId = Annotated[str, PathParameter(schema_extra={"pattern": http.CLASS_ID})]
ClassQuery = Annotated[str, QueryParameter(name="class", schema_extra={"pattern": http.CLASS_ID})]
SymbolQuery = Annotated[str, QueryParameter(schema_extra={"pattern": http.SYMBOL})]
HourQuery = Annotated[str, QueryParameter(schema_extra={"pattern": http.HOUR})]
Number = Annotated[int, PathParameter(ge=1, le=_INT64_MAX)]
"""In a path."""
Limit = Annotated[int, QueryParameter(ge=1, le=500)]
"""Of a list."""
