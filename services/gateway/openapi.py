"""The HTTP API as an OpenAPI 3.1 document, made from the very handlers, structs and codes that answer.

Whoever generates a client from it sends what the door takes, and knows every answer: which statuses a route can have,
which codes stand behind each, and in which form they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, get_args, get_origin

import msgspec
from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, ParameterKwarg, QueryParameter
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition

from schemas.http import OWN_ID, TOLD_RANGE, Problem
from services.gateway.errors import CODES

API: Final = "/v1/"
PATH: Final = "/v1/openapi"
_REF: Final = "#/components/schemas/{name}"
_OWN_ID: Final = {"type": "string", "pattern": OWN_ID}
"""In a path, where the handler takes it from the request as it was sent."""
_HEADERS: Final = {
    "Request-Id": "Names this answer, also in our log.",
    "Retry-After": "Seconds to wait.",
    "WWW-Authenticate": "How to say who asks.",
    "Allow": "The methods that there are.",
    "RateLimit-Policy": "How much a key may ask: quota and window in seconds.",
    "RateLimit": "To a key that is known: what is left, and the seconds until all of it is there.",
}
_ONLY_ON: Final = {"Retry-After": {429, 503}, "WWW-Authenticate": {401}, "Allow": {405}}
_IN_HEADER: Final = {"type": "apiKey", "in": "header"}
_KEYS: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <token>`."},
    "key": {**_IN_HEADER, "name": "Hourbook-Key", "description": "The key's id."},
    "timestamp": {**_IN_HEADER, "name": "Hourbook-Timestamp", "description": "Milliseconds since the epoch, ±30 s."},
    "signature": {
        **_IN_HEADER,
        "name": "Hourbook-Signature",
        "description": "Hex HMAC-SHA256(base64-decoded secret, timestamp + METHOD + path with query as sent + body).",
    },
}
_EITHER: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"key": [], "timestamp": [], "signature": []}]


def document(app: Litestar) -> dict[str, Any]:
    """Every route of the API but the document's own."""
    handlers = [
        (route, handler)
        for route in app.routes
        if isinstance(route, HTTPRoute) and route.path.startswith(API) and not route.path.startswith(PATH)
        for handler in route.route_handlers
        if handler.http_methods != {"OPTIONS"}
    ]
    kinds = list(dict.fromkeys(kind for _, handler in handlers for kind in _kinds(handler)))
    found, schemas = msgspec.json.schema_components([*kinds, Problem], ref_template=_REF)
    schemas = _told(schemas)
    schema_of = dict(zip(kinds, found, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for route, handler in sorted(handlers, key=lambda each: each[0].path_format):
        for method in sorted(handler.http_methods):
            paths.setdefault(route.path_format, {})[method.lower()] = _operation(route, handler, method, schema_of)
    statuses = sorted({row.status for row in CODES.values()})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hourbook",
            "version": "1",
            "description": "Limit order books for GPU hours. Text: docs/api.md.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {f"Problem{status}": _problem(status) for status in statuses},
            "headers": {name: {"description": said, "schema": {"type": "string"}} for name, said in _HEADERS.items()},
            "securitySchemes": _KEYS,
        },
    }


def _told(node: Any) -> Any:  # noqa: ANN401 # JSON
    """With the numbers that mean something, where the decoder takes more."""
    if isinstance(node, list):
        return [_told(each) for each in node]
    if not isinstance(node, dict):
        return node
    if TOLD_RANGE in node:
        least, most = node[TOLD_RANGE]
        node = {name: value for name, value in node.items() if name != TOLD_RANGE} | {"minimum": least, "maximum": most}
    return {name: _told(value) for name, value in node.items()}


def _operation(
    route: HTTPRoute, handler: HTTPRouteHandler, method: str, schema_of: dict[Any, dict[str, Any]]
) -> dict[str, Any]:
    is_private = "caller" in handler.parsed_fn_signature.parameters
    body = handler.parsed_data_field
    answers = {str(status): _answer(schema_of[kind]) for status, kind in _answers(handler)}
    # An id of the member's own is judged before it is looked for.
    takes_text = body is not None or not set(route.path_parameters) <= set(handler.parsed_fn_signature.parameters)
    for status in _refusals(method, is_private=is_private, has_body=body is not None, takes_text=takes_text):
        answers[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    said = {
        "operationId": handler.fn.__name__,
        "summary": (handler.fn.__doc__ or "").partition("\n")[0],
        "parameters": list(_parameters(route, handler)),
        "responses": answers,
    }
    if is_private:
        said["security"] = _EITHER
    if body is not None:
        said["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[body.annotation]}},
        }
    return said


def _refusals(method: str, *, is_private: bool, has_body: bool, takes_text: bool) -> list[int]:
    """What may come instead of an answer."""
    found = {400, 404, 500, 503}
    if is_private:
        found |= {401, 403, 408, 413, 429}
    if has_body:
        found |= {415}
    if takes_text:
        found |= {422}
    if is_private and method != "GET":
        found |= {409, 422, 504}
    return sorted(found)


def _kinds(handler: HTTPRouteHandler) -> Iterator[Any]:
    """Types of its body and of its answers."""
    if handler.parsed_data_field is not None:
        yield handler.parsed_data_field.annotation
    for _, kind in _answers(handler):
        yield kind


def _answers(handler: HTTPRouteHandler) -> Iterator[tuple[int, Any]]:
    """(status, type of the body): what it returns, and what it declares beside or instead."""
    declared = {status: spec.data_container for status, spec in (handler.responses or {}).items()}
    returned = handler.parsed_fn_signature.return_type.annotation
    if get_origin(returned) is Response:
        (returned,) = get_args(returned)
    yield from ({handler.status_code: returned} | declared).items()


def _answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": "Done.",
        "headers": _header_refs(("RateLimit-Policy", "RateLimit")),
        "content": {"application/json": {"schema": schema}},
    }


def _problem(status: int) -> dict[str, Any]:
    rows = {code: row for code, row in CODES.items() if row.status == status}
    names = [name for name in _HEADERS if status in _ONLY_ON.get(name, {status})]
    ours = {"properties": {"status": {"const": status}, "code": {"enum": sorted(rows)}}}
    return {
        "description": "; ".join(f"`{code}`: {rows[code].title}" for code in sorted(rows)),
        "headers": _header_refs(names),
        "content": {"application/problem+json": {"schema": {"allOf": [{"$ref": _REF.format(name="Problem")}, ours]}}},
    }


def _header_refs(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _parameters(route: HTTPRoute, handler: HTTPRouteHandler) -> Iterator[dict[str, Any]]:
    fields = handler.parsed_fn_signature.parameters
    for name in route.path_parameters:
        schema = _parameter_schema(fields[name]) if name in fields else dict(_OWN_ID)
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name, field in fields.items():
        given = field.kwarg_definition
        if isinstance(given, QueryParameter | HeaderParameter):
            is_header = isinstance(given, HeaderParameter)
            yield {
                "name": given.name or name,
                "in": "header" if is_header else "query",
                # The one header has a default only so that its absence has an answer of its own.
                "required": is_header or not field.has_default,
                "schema": _parameter_schema(field),
            }


def _parameter_schema(field: FieldDefinition) -> dict[str, Any]:
    given = field.kwarg_definition
    assert isinstance(given, ParameterKwarg)
    (schema,), _ = msgspec.json.schema_components([field.annotation])
    bounds = {"minimum": given.ge, "maximum": given.le}
    schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    schema |= given.schema_extra or {}
    if not field.has_default:
        return schema
    if field.default != "":
        return schema | {"default": field.default}
    # Left out is the same as empty.
    return {"anyOf": [schema, {"const": ""}]} if "pattern" in schema and isinstance(given, QueryParameter) else schema
