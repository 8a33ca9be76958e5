"""The public API for production's own clients: an httpx transport that hands each request to a gateway's route handler.

What is left out is what stands before a handler: sockets, signatures, rate limits. Requests go over a member's `Line`, so
gateways die under them and answers are lost; the bytes of bodies and answers are those of the wire.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args
from urllib.parse import unquote

import httpx
import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from services.gateway import market as gateway_market
from services.gateway.auth import Caller
from services.gateway.errors import ApiError
from services.gateway.routes import account, machines, market, operators, trading
from services.gateway.wiring import Gateway
from services.market_data import app as market_app
from services.market_data.public import Refused
from tests.simulation.members import LOST, Line
from tests.simulation.world import Process, Wait

if TYPE_CHECKING:
    from tests.simulation.exchange import Exchange

Route = tuple[str, re.Pattern[str], HTTPRouteHandler]


def _routes(handlers: list[Any]) -> list[Route]:
    found = []
    for handler in handlers:
        for path in handler.paths:
            pattern = re.sub(r"\{(\w+):(\w+)\}", lambda m: f"(?P<{m[1]}>{'.+' if m[2] == 'path' else '[^/]+'})", path)
            found += [(method, re.compile(pattern), handler) for method in handler.http_methods]
    # As a router does: the longer a path's fixed part, the sooner it is tried.
    return sorted(found, key=lambda route: -len(route[1].pattern.split("(?P", 1)[0]))


GATEWAY: Final = _routes(
    [*market.ROUTES, *account.ROUTES, *machines.ROUTES, *trading.ROUTES, *operators.ROUTES, *gateway_market.ROUTES]
)
MARKET_DATA: Final = _routes([market_app.get_grid, market_app.get_book, market_app.get_references])


def _find(routes: list[Route], method: str, path: str) -> tuple[HTTPRouteHandler, dict[str, str]]:
    for known, pattern, handler in routes:
        if method == known and (match := pattern.fullmatch(path)):
            return handler, {name: unquote(part) for name, part in match.groupdict().items()}
    raise AssertionError(f"the simulation knows no {method} {path}")


class Wanted(NamedTuple):
    """One argument of a handler."""

    name: str
    alias: str
    """In the query."""
    kind: Any
    default: Any


@functools.cache
def _wanted(handler: HTTPRouteHandler) -> list[Wanted]:
    found = []
    for name, parameter in inspect.signature(handler.fn, eval_str=True).parameters.items():
        annotation = parameter.annotation
        beside = getattr(annotation, "__metadata__", ())
        alias = next((each.name for each in beside if getattr(each, "name", None)), name)
        found.append(Wanted(name, alias, get_args(annotation)[0] if beside else annotation, parameter.default))
    return found


def _arguments(handler: HTTPRouteHandler, given: dict[str, Any], query: httpx.QueryParams) -> dict[str, Any]:
    """What the handler's signature asks for, of path, query and what is `given`."""
    found = {}
    for each in _wanted(handler):
        value = given.get(each.name, query.get(each.alias))
        if value is not None:
            found[each.name] = msgspec.convert(value, each.kind, strict=False) if isinstance(value, str) else value
        else:
            assert each.default is not inspect.Parameter.empty, f"{handler} wants {each.name}"
    return found


class GatewayTransport(httpx.AsyncBaseTransport):
    """One client's way to the gateways."""

    def __init__(
        self,
        exchange: Exchange,
        line: Line,
        caller: Caller,
        amended: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda _, body: body,
    ) -> None:
        """`amended`: what is done to a body on its way, by path."""
        self._exchange = exchange
        self._line = line
        self._caller = caller
        self._amended = amended

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async def run(gateway: Gateway) -> httpx.Response:
            return await _handled(gateway, request, self._caller, self._amended)

        answer = await self._line.ask(run)
        if answer is LOST:
            raise httpx.ReadError("simulated: the connection broke", request=request)
        if isinstance(answer, ApiError):
            body = msgspec.json.encode(answer.problem("simulated"))
            return httpx.Response(answer.row.status, content=body, request=request)
        assert isinstance(answer, httpx.Response)
        return answer


async def _handled(
    gateway: Gateway, request: httpx.Request, caller: Caller, amended: Callable[[str, dict[str, Any]], dict[str, Any]]
) -> httpx.Response:
    path = request.url.path
    handler, parts = _find(GATEWAY, request.method, path)
    given: dict[str, Any] = {
        **parts,
        "gateway": gateway,
        "market_data": gateway.market_data,
        "caller": caller,
        "key": request.headers.get("Idempotency-Key", ""),
        # What a handler asks of the framework's own: path and query as they came.
        "request": SimpleNamespace(target=request.url.raw_path.decode(), query_params=request.url.params),
    }
    data = next((each for each in _wanted(handler) if each.name == "data"), None)
    if data is not None:
        body = msgspec.json.encode(amended(path, msgspec.json.decode(request.content)))
        try:
            given["data"] = msgspec.json.decode(body, type=data.kind)
        except msgspec.ValidationError as error:
            raise ApiError("malformed", str(error)) from None
    answer = await handler.fn(**_arguments(handler, given, request.url.params))
    if isinstance(answer, Response):
        content = answer.content if isinstance(answer.content, bytes) else msgspec.json.encode(answer.content)
        return httpx.Response(answer.status_code or 200, content=content, request=request)
    return httpx.Response(handler.status_code, content=msgspec.json.encode(answer), request=request)


class MarketTransport(httpx.AsyncBaseTransport):
    """A gateway's way to market data."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        world = self._exchange.world
        await Wait(world.now_ms + 1)
        alive = [room for process, room in self._exchange.market_rooms if process.alive]
        if not alive:
            raise httpx.ConnectError("simulated: nobody is there", request=request)
        handler, parts = _find(MARKET_DATA, request.method, request.url.path)
        try:
            answer = await handler.fn(**_arguments(handler, {**parts, "room": alive[-1]}, request.url.params))
        except Refused as error:
            body = msgspec.json.encode({"code": error.code, "detail": str(error)})
            return httpx.Response(503, content=body, request=request)
        return httpx.Response(200, content=msgspec.json.encode(answer), request=request)


class SimHttpx:
    """`httpx`, as far as the gateway's process takes it to reach market data."""

    HTTPError = httpx.HTTPError

    @staticmethod
    def AsyncClient(**_: object) -> httpx.AsyncClient:  # noqa: N802 # httpx's own name
        outside = _process().world.outside
        return httpx.AsyncClient(transport=MarketTransport(outside), trust_env=False)  # type: ignore[arg-type]  # an Exchange


def _process() -> Process:

    return asyncio.get_running_loop()  # type: ignore[return-value]  # the loop is a Process
