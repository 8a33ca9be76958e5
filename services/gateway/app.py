"""The ASGI application over a wired gateway: routes, who asks, problems, limits."""

from __future__ import annotations

from functools import cache

import msgspec
from litestar import Litestar, MediaType, Response, get
from litestar.di import Provide

from services.gateway import openapi
from services.gateway.auth import Caller
from services.gateway.edge import BODY_MAX, JsonRequest, problem, rate_limit_headers
from services.gateway.market import MarketData
from services.gateway.metrics import count_request
from services.gateway.routes import ROUTES
from services.gateway.wiring import Gateway, Wired
from services.runtime.http import quiet


def build(gateway: Gateway) -> Litestar:
    """The ASGI application over a wired gateway."""

    async def provide_gateway() -> Gateway:
        return gateway

    async def provide_market_data() -> MarketData:
        return gateway.market_data

    async def provide_caller(request: JsonRequest, gateway: Wired) -> Caller:  # noqa: ARG001 # so that it comes second
        # For two things that do not need each other Litestar starts tasks: nearly as much work as all the rest of a request.
        caller: Caller = request.state.caller
        return caller

    @cache
    def document() -> bytes:
        return msgspec.json.encode(openapi.document(app))

    # The document alone: pages for it would fetch scripts from strangers.
    @get([openapi.PATH, f"{openapi.PATH}/openapi.json"])
    async def get_openapi() -> Response[bytes]:
        return Response(document(), media_type=MediaType.JSON)

    app = Litestar(
        route_handlers=[*ROUTES, get_openapi],
        request_class=JsonRequest,
        dependencies={
            "gateway": Provide(provide_gateway),
            "caller": Provide(provide_caller),
            "market_data": Provide(provide_market_data),
        },
        before_request=gateway.admit,
        before_send=[rate_limit_headers(gateway.limits), count_request],
        exception_handlers={Exception: problem},  # every refusal leaves in one form
        request_max_body_size=BODY_MAX,
        openapi_config=None,
        on_app_init=[quiet],
    )
    return app
