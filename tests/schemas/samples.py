"""Three examples of every kind of message: plain values, values at the limits, and one by a writer that knew fewer fields.

Values follow from a field's name, so that two fields next to each other never have the same, and a swap shows.
"""

from __future__ import annotations

import itertools
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct

from schemas import codec, commands, events, ids
from schemas.commands import Fees, QuoteHour
from schemas.delivery import Refund
from schemas.events import LegOutcome, QuoteOutcome, TitleMove
from schemas.leases import Served
from schemas.rentals_log import Terms
from tests.schemas.kinds import Kind, cut, pack

HOUR = 498_741
CONTRACT = ids.contract_of(3, HOUR)
ORDER = ids.order_id(1, 1842, 3)
NOW_MS = 1_795_467_600_000
FEES = Fees(5, 10, 40, 50)
CHAIN = bytes(range(16))

PLAIN: dict[str, Any] = {
    "allowance": 4, "ask_bp": 40, "bid_bp": 5, "delivered": 41, "detail": "no answer within 5 s", "driver": "open", "epoch": 12,
    "from_ms": NOW_MS - 60_000, "host": "192.0.2.7", "image": "", "launch": "default", "lease": 88, "machine": "rack-7",
    "ports": (8080, 8888), "seats": (2, 3), "ssh_keys": ("ssh-ed25519 AAAAC3Nz ana",), "start_script": "nvidia-smi",
    "code:str": "too_dear", "key": "monday-1", "on_stop": "sell", "rental": 17,
    "terms": Terms(("H100.SXM.80.US",), 8, 2_500_000, 400_000_000, HOUR, 24, 6, "keep", "default", "https://ana.example/hook"),
    "unusable": (1,), "uuids": ("GPU-1f", "GPU-2a", "GPU-3c"), "why": "taken away", "works": True,
    "windows": ((HOUR, HOUR + 4), (HOUR + 48, HOUR + 49)),
    "account": 1001, "after_ms": 15_000, "amount": 12_600_000, "approval": "5f6c7a80",
    "as_of_ms": NOW_MS - 3_600_000, "at_ms": NOW_MS + 15_000,
    "average_price_num": 25_560_000, "balance": 87_400_000, "bearer_hash": bytes(range(32)), "budget_notional": 90_000_000,
    "budget_qty": 40, "buyer": 1001, "buyer_fee": 6_390, "changed": True, "cheapest": 1_990_000, "class_id": "H100.SXM.80.US",
    "class_no": 3, "client_id": "spring-1", "cloud": "nebius", "clouds": 6, "code": 13, "collar_high_bp": 20_000,
    "collar_low_bp": 5_000, "collateral": 8_520_000, "collateral_price": 4_260_000, "contract": CONTRACT, "cost": 6_390_000,
    "count": 17, "cover_ms": 1_800_000, "desk": True, "destination": "simulated-bank:DE02", "engine_version": 1,
    "escrow": 6_396_390, "expected": 5012, "expires_ms": NOW_MS + 600_000, "fee_plan": 0, "fees": FEES, "first_hour": HOUR,
    "flags": 4, "format": 1, "frame_no": 300, "gate_ms": 300_000, "gpus": 8, "ground": 2, "hash": CHAIN, "have": 10_000_000,
    "high": 4_260_000,
    "holder": 1002, "horizon_hours": 168, "hour": HOUR, "hours:int": 4, "hours": (HOUR, HOUR + 1, HOUR + 5), "index": 3,
    "instance_type": "gpu-h100-sxm", "is_taken": True,
    "kept_place": True, "key_id": "k_7Jb2", "kind": "on_demand", "label": "laptop",
    "last": True, "leaves": 2, "legs": (LegOutcome(0, ORDER), LegOutcome(1, 0, 13, 12_600_000, 10_000_000)),
    "limit": 4_260_000, "low": 1_065_000,
    "list_price": 2_130_000, "looked_ms": NOW_MS - 3_000,
    "lot": 8, "maker_bp": 40, "maker_leaves": 5, "maker_order": ORDER - 1024, "mapped": 118,
    "median": 2_490_000, "moved": 1, "memory_mib": 204_800, "minutes": 60, "name": "Ana's lab", "need": 12_600_000,
    "moves": (
        TitleMove(0, 771, 2, 2, 4_238_700, 4_264_260, 0),
        TitleMove(640, 772, 0, 1, 2_119_350, 2_132_130, 2_100_000, 655, 773, 2_000_000),
    ),
    "networks": ("192.0.2.0/24", "2001:db8::/32"), "notional": 6_390_000, "number": 41, "obligor": 1003, "offers": 23,
    "offset": 1842, "operator:str": "operator-9", "operator": 9, "order": ORDER, "outbox": 5011, "owner": 77, "part": 0,
    "partition": 1,
    "payee": 1005, "payer": 1004, "payout": 31, "poll": "nebius-catalogue", "price": 2_130_000, "proceeds": 6_358_050,
    "protect_qty": 25, "protect_window_ms": 1_000, "provider": "simulated-faucet", "provider:int": 1003,
    "provider_ref": "f-2210", "qty": 3,
    "qty_min": 2, "rate": 1, "reason": 5, "reason:str": "a wrong price was typed", "refunds": (Refund(1005, 15),),
    "reasons": {"no class": 4, "spot": 2},
    "record_id": "d-55", "refused": 6, "region": "us-central1", "request_id": "r-0193", "role": 1, "rows": 124,
    "running_close_ms": 600_000, "sandbox": False, "scopes": ("read", "trade"), "second_operator": 10,
    "secret_sealed": bytes(range(44)), "seen_ms": NOW_MS - 1_000, "seq": 5012, "seller": 1003, "seller_fee": 31_950, "shard": 1,
    "short": 6, "side": 2, "source": 640, "source:str": "simulated", "source:Literal": "declared",
    "specification": b'class_id = "H100.SXM.80.US"\n',
    "state": 2, "state:str": "sent", "t0_ms": NOW_MS - 86_400_000, "taker_bp": 50, "taker_leaves": 4, "taker_order": ORDER,
    "taker_side": 1, "tick": 5_000, "tif": 3, "time_ms": NOW_MS, "title": 772, "titles": 12,
    "titles:tuple": (Served(772, 1), Served(773, 1, 774, 1)), "trade": 9001, "undelivered": 15,
    "until_ms": NOW_MS + 200, "valid_until_ms": NOW_MS + 30_000, "vcpus": 26, "version": 4,
    "writer": 2,
    "quotes": (QuoteHour(HOUR, 2_080_000, 5, 2_180_000, 6), QuoteHour(HOUR + 1, 0, 0, 2_200_000, 7)),
    "outcomes": (
        QuoteOutcome(HOUR, ORDER, ORDER + 1, 0, 2_080_000, 5, 2_180_000, 6),
        QuoteOutcome(HOUR + 1, 0, 0, 19),
    ),
    "bodies": (commands.Tick(NOW_MS), commands.CancelOrder(1001, ORDER, "", NOW_MS + 30_000)),
    "events": [events.Ticked(0, NOW_MS), events.OrderCancelled(ORDER, 1001, CONTRACT, 3, 1)],
}  # fmt: skip
"""Field → value; `field:type` where fields of one name have two types."""

LIMITS = (
    0,
    -1,
    127,
    128,
    -32,
    -33,
    255,
    256,
    65_535,
    65_536,
    -129,
    -32_769,
    2**32 - 1,
    2**32,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
)
"""Where MessagePack takes a longer form, and the ends of 64 bits."""
TEXTS = ("", "µUSD × ½", "x" * 31, "x" * 32, "x" * 255, "x" * 256)


def examples(kind: Kind) -> Iterator[tuple[str, Any, list[str]]]:
    """(what it shows, value, pieces)."""
    if kind.type is codec.Frame:
        value = codec.Frame(2**32 + 5, 300, PLAIN["bodies"])
        yield "two commands of a gateway", value, kind.write(value)
        return
    if kind.type is codec.Envelope:
        value = codec.Envelope(5012, CHAIN, 2**32 + 5, 300, (1001, 1003), 12)
        yield "plain values", value, kind.write(value)
        value = codec.Envelope(2**64 - 1, bytes(16), 0, 2**64 - 1, (), 0)
        yield "the largest numbers, and nobody concerned", value, kind.write(value)
        return
    plain = kind.type(**{field.name: _plain(field) for field in msgspec.structs.fields(kind.type)})
    yield "plain values", plain, kind.write(plain)
    numbers, texts = itertools.cycle(LIMITS), itertools.cycle(TEXTS)
    if kind.type is not codec.EventsRecord:  # its events are examples of their own
        limits = kind.type(**{f.name: _limit(f.type, numbers, texts) for f in msgspec.structs.fields(kind.type)})
        yield "values where the bytes take another form", limits, kind.write(limits)
    required = [f.name for f in msgspec.structs.fields(kind.type) if f.default is NODEFAULT]
    if len(required) < len(kind.type.__struct_fields__):
        short = kind.type(**{name: getattr(plain, name) for name in required})
        tag = kind.type.__struct_config__.tag
        array = [] if tag is None else [tag]
        yield (
            "by a writer that knew no field with a default",
            short,
            cut(pack([*array, *(getattr(short, name) for name in required)])),
        )


def _plain(field: msgspec.structs.FieldInfo) -> Any:
    named = PLAIN.get(f"{field.name}:{getattr(field.type, '__name__', '')}", PLAIN.get(field.name))
    assert named is not None, f"tests/schemas/samples.py says no value of a field `{field.name}`: add one"
    return named


def _limit(of: Any, numbers: Iterator[int], texts: Iterator[str]) -> Any:
    if of is int:
        return next(numbers)
    if of is str:
        return next(texts)
    if of is bool:
        return True
    if of is bytes:
        return b""
    if typing.get_origin(of) is typing.Literal:
        return typing.get_args(of)[0]
    if isinstance(of, type) and issubclass(of, Struct):
        return of(**{field.name: _limit(field.type, numbers, texts) for field in msgspec.structs.fields(of)})
    assert typing.get_origin(of) in {tuple, dict}, f"a field of type {of}"
    return typing.get_origin(of)()
