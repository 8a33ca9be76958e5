"""The feed as an AsyncAPI 3 document, made from the very structs that are sent. Pure."""

from __future__ import annotations

import typing
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from schemas import feeds

_SENT: Final[tuple[type[Struct], ...]] = typing.get_args(feeds.Message)
_RECEIVED: Final[tuple[type[Struct], ...]] = typing.get_args(feeds.Op)


def document(feed_url: str) -> dict[str, Any]:
    """`feed_url`: the feed's address as clients see it."""
    where = urlsplit(feed_url)
    kinds = (*_SENT, *_RECEIVED)
    found, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    messages = {
        kind.__name__: {
            "name": str(kind.__struct_config__.tag),
            "summary": (kind.__doc__ or "").partition("\n")[0],
            "payload": schema,
        }
        for kind, schema in zip(kinds, found, strict=True)
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hourbook feed",
            "version": "1",
            "description": "Depth, trades, the grid, the blocks for all; a member's account and rentals. Text: docs/feeds.md.",
        },
        "defaultContentType": "application/json",
        "servers": {"feed": {"host": where.netloc, "protocol": where.scheme}},
        "channels": {
            "feed": {
                "address": where.path,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {
            "tell": _operation("send", "What a reader is sent.", _SENT),
            "listen": _operation("receive", "What a reader sends.", _RECEIVED),
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _operation(action: str, summary: str, kinds: tuple[type[Struct], ...]) -> dict[str, Any]:
    """`action`: from the exchange's side."""
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/feed"},
        "messages": [{"$ref": f"#/channels/feed/messages/{kind.__name__}"} for kind in kinds],
    }
