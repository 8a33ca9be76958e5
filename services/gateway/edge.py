"""What is HTTP about the door: bodies in, problems and headers out."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec
from litestar import MediaType, Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.datastructures import State as AppState
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from litestar.types import Message, Scope

from schemas.ids import is_client_id
from services.gateway.auth import Caller
from services.gateway.errors import ApiError
from services.gateway.limits import Limits, Verdict

BODY_MAX: Final = 64 * 1024
BODY_S: Final = 10
"""From the request's head to the end of its body: whoever sends it byte by byte holds a connection that others want."""
_JSON: Final = "application/json"
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""msgspec leaves the last two to Python: text that is not UTF-8, and arrays nested by the thousand."""
_OF_STATUS: Final = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
ADMITTED: Final = "hourbook.admitted"
"""In a request's scope: `Admitted`, where it was judged before the application."""
_log = logging.getLogger("hourbook.gateway")


class Admitted(NamedTuple):
    """Who asks, and that it counts."""

    caller: Caller
    verdict: Verdict


class JsonRequest(Request[Any, Any, AppState]):
    """Decodes its body strictly, as the struct that the handler declares: a "1" is not a 1, and 1.0 is no whole number."""

    @property
    def target(self) -> str:
        """Path and query as they were sent, which is what a signature is over."""
        raw: bytes = self.scope["raw_path"]
        query = self.scope["query_string"]
        return (raw + b"?" + query if query else raw).decode("latin-1")

    async def body(self) -> bytes:
        """All of it, in time. Raises ApiError too_slow, malformed."""
        if isinstance(self._body, bytes):
            return self._body
        if "content-length" not in self.headers and "transfer-encoding" not in self.headers:
            return await super().body()  # there is none
        try:
            async with asyncio.timeout(BODY_S):
                return await super().body()
        except TimeoutError:
            raise ApiError("too_slow") from None
        except InternalServerException:
            # The library's word for a client who has gone; nobody is left to be told, and it is no fault of ours.
            raise ApiError("malformed", "the connection ended before the body did") from None

    async def json(self) -> Any:  # noqa: ANN401 # the struct that the handler declares
        """The body. Raises ApiError wrong_content_type, malformed."""
        if self.content_type[0] != _JSON:
            raise ApiError("wrong_content_type")
        field = self.route_handler.parsed_data_field
        assert field is not None, "only handlers with a body ask for it"
        try:
            return msgspec.json.decode(await self.body(), type=field.annotation)
        except _UNREADABLE as error:
            raise ApiError("malformed", f"the body does not decode: {error}") from None


def check_path(request: JsonRequest) -> None:
    """No part of it is empty: an id that was forgotten is no id, and not the list or everything. Raises ApiError not_found.

    The router passes over empty parts: `DELETE /v1/orders/` would reach what cancels all orders.
    """
    template = request.scope["path_template"]
    if template == "/":
        return
    *fixed, last = unquote(request.target.partition("?")[0]).split("/", template.count("/"))
    # A member's own id ends some paths, and may have slashes.
    is_own_id = any(path.endswith(":path}") for path in request.route_handler.paths)
    if "" in fixed[1:] or not last or ("/" in last and not is_own_id):
        raise ApiError("not_found", "a part of the path is empty: is an id missing?")


def check_query(request: JsonRequest, *names: str) -> None:
    """Nothing is asked for that would be passed over: a name with a slip, or an empty value. Raises ApiError malformed."""
    for name, value in request.query_params.multi_items():
        if name not in names or not value:
            raise ApiError("malformed", f"the query may have {', '.join(names)}, none of them empty")


def last_part(request: JsonRequest, before: str) -> str:
    """What stands in the path after `before`, slashes included. Raises ApiError not_found."""
    path = request.target.partition("?")[0]
    try:
        return unquote(path.removeprefix(before), errors="strict")
    except UnicodeDecodeError:
        raise ApiError("not_found", "the path is not UTF-8") from None


def own_id(request: JsonRequest, before: str) -> str:
    """The same, where it is a client order id. Raises ApiError not_found, wrong_client_id."""
    client_id = last_part(request, before)
    if not is_client_id(client_id):
        raise ApiError("wrong_client_id")
    return client_id


def rate_limit_headers(limits: Limits) -> Callable[[Message, Scope], Awaitable[None]]:
    """Hook that puts RateLimit fields on every answer."""

    async def show(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            headers = MutableScopeHeaders.from_message(message)
            for name, value in limits.headers(scope.get("state", {}).get("verdict")).items():
                headers[name] = value

    return show


def problem(request: ASGIConnection[Any, Any, Any, Any], error: Exception) -> Response[bytes]:
    """Any error → application/problem+json (RFC 9457)."""
    request_id = secrets.token_hex(8)
    refusal = _refusal(error)
    if refusal.code == "internal":
        _log.error("fault in %s, request %s", request.url.path, request_id, exc_info=error)
    verdict = getattr(request.state, "verdict", None)
    headers = refusal_headers(
        refusal, request_id, verdict.wait_ms if verdict is not None and refusal.code == "rate_limited" else 1_000
    )
    if refusal.row.status == 405 and isinstance(error, HTTPException) and error.headers:
        headers["Allow"] = error.headers["allow"]
    return Response(
        problem_of(refusal, request_id), status_code=refusal.row.status, headers=headers, media_type=MediaType.JSON
    )


def problem_of(refusal: ApiError, request_id: str) -> bytes:
    """The body of a refusal's answer."""
    document = msgspec.to_builtins(refusal.problem(request_id))
    return msgspec.json.encode({name: value for name, value in document.items() if value is not None})


def refusal_headers(refusal: ApiError, request_id: str, wait_ms: int) -> dict[str, str]:
    """Of every refusal with its status."""
    headers = {"Content-Type": "application/problem+json", "Request-Id": request_id}
    if refusal.row.status in (429, 503):
        headers["Retry-After"] = str(max(1, -(-wait_ms // 1000)))
    if refusal.row.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _refusal(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ValidationException):
        faults = error.extra if isinstance(error.extra, list) else []
        said = "; ".join(
            f"{fault.get('key', '')}: {fault.get('message', '')}" for fault in faults if isinstance(fault, dict)
        )
        return ApiError("malformed", said or str(error.detail))
    if isinstance(error, HTTPException):
        code = _OF_STATUS.get(error.status_code)
        if code is not None:
            return ApiError(code)
        if 400 <= error.status_code < 500:
            return ApiError("malformed", str(error.detail))
    return ApiError("internal", "the fault is logged under this request_id")
