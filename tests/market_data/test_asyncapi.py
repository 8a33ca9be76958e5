"""The AsyncAPI document and docs/feeds.md against what is really sent and really understood."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path
from typing import Any

from schemas import feeds
from schemas.rentals_log import RentalMade, RentalNoticed, Terms
from services.market_data import sessions
from services.market_data.asyncapi import document
from services.market_data.channels import RING_MAX, WARM_MS
from services.market_data.hub import SESSIONS_MAX, Hub
from tests.market_data.flow import Flow
from tests.market_data.outlets import Pipe, op

TEXT = (Path(__file__).parents[2] / "docs/feeds.md").read_text()
DOCUMENT = document("ws://127.0.0.1:8081/v1/feed")


def _resolve(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [v for k, v in node.items() if k == "$ref"] + [r for v in node.values() for r in _references(v)]
    return [r for each in node for r in _references(each)] if isinstance(node, list) else []


def test_every_reference_leads_somewhere() -> None:
    references = _references(json.loads(json.dumps(DOCUMENT)))
    assert len(references) > 50
    for reference in references:
        assert _resolve(reference)
    assert DOCUMENT["servers"]["feed"] == {"host": "127.0.0.1:8081", "protocol": "ws"}
    assert DOCUMENT["channels"]["feed"]["address"] == "/v1/feed"


def test_every_message_of_a_day_is_declared_with_all_its_fields() -> None:
    """What is sent, by what was sent; of every type that a busy day has."""
    properties = {}
    for kind in typing.get_args(feeds.Message):
        schema = _resolve(DOCUMENT["components"]["messages"][kind.__name__]["payload"]["$ref"])
        properties[schema["properties"]["type"]["enum"][0]] = (set(schema["properties"]), set(schema["required"]))
    flow, hub = Flow("asyncapi"), Hub(1, first_seq=0, feed_key=bytes(32))
    pipe = Pipe(stuck=True)
    session = hub.connect(pipe, 0)
    session.account = 3
    terms = Terms(("TINY",), 2, 100_000, 0, 500_000, 0, 6, "sell", "default", "")
    said: dict[str, set[str]] = {}
    for number, record in enumerate(flow.day(200)):
        hub.take(record)
        session.pump()
        if number == 20:
            books = [f"book:{symbol}" for symbol in flow.levels()]
            rest = ["grid:TINY", "trades:TINY", "blocks:TINY", "corrections", "account", "rentals", "none"]
            session.receive(op("subscribe", channels=[*books, *rest]), 0)
            session.receive(op("unsubscribe", channels=["none"]), 0)
            session.receive(op("ping"), 0)
        if number == 40:
            hub.take_rental(1, RentalMade(1, 1_800_000_000_000, 1, 3, "key", terms))
            hub.take_rental(2, RentalNoticed(1, 1_800_000_000_000, 1, 500_000, "too_dear", "why"))
        for message in map(json.loads, pipe.queued):
            said.setdefault(message["type"], set()).update(message)
        pipe.queued.clear()
    assert set(properties) - set(said) <= {"authenticated", "unsubscribed", "heartbeat"}
    for kind, fields in said.items():
        allowed, required = properties[kind]
        assert required <= fields <= allowed, kind


def test_the_text_names_every_message_every_op_and_every_refusal() -> None:
    source = "".join(path.read_text() for path in Path(sessions.__file__).parent.glob("*.py"))
    codes = set(re.findall(r'(?:code=|Refused\(\s*)"([a-z_]+)"', source)) - {
        "internal",
        "not_found",
        "method_not_allowed",
    }
    assert len(codes) >= 11
    assert {code for code in codes if f"`{code}`" not in TEXT and code not in TEXT} == set()
    for kind in (*typing.get_args(feeds.Op), *typing.get_args(feeds.Message)):
        assert f"`{kind.__struct_config__.tag}`" in TEXT, kind


def test_the_text_names_the_bounds_that_hold() -> None:
    shown = re.sub(r"(?<=\d),(?=\d{3})", "", TEXT)
    for bound in (
        f"{sessions.CHANNELS_MAX} channels a connection", f"{sessions.OPS_MAX} messages in {sessions.OPS_MS // 1000} s",
        f"a message of more than {sessions.MESSAGE_MAX // 1024} KiB", f"more than {sessions.WAITING_MAX >> 20} MiB wait",
        f"at most {RING_MAX} messages", f"every {sessions.HEARTBEAT_MS // 1000} s", f"{SESSIONS_MAX} readers",
        f"{sessions.ASKED_MAX} channels named",
    ):  # fmt: skip
        assert bound in shown, bound
    assert (WARM_MS, sessions.PRIVATE_MS) == (120_000, 600_000), "two minutes, ten minutes"
