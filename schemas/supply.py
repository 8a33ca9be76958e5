"""What clouds offer: bodies of the topic `offers` (one partition).

Written by: supply. Read by: the desk, gateways (`hourbook supply`). Delivery: at least once; an offer is keyed by
(cloud, region, instance_type, kind) and a record replaces the one before, so repeats change nothing.
Record: key = the four parts joined by `|`, value = one MessagePack array.
"""

from __future__ import annotations

from msgspec import Struct

from schemas.units import Gpus, Millis, Price


class OfferSeen(Struct, array_like=True, frozen=True, gc=False, tag=1):
    """A cloud lists this instance at this price. Listed is not available."""

    cloud: str
    region: str
    """The cloud's own name."""
    instance_type: str
    kind: str
    """`on_demand` or `spot`."""
    class_id: str
    gpus: Gpus
    """GPUs in one instance."""
    price: Price
    """µUSD per GPU-hour, rounded up."""
    vcpus: int
    """Per instance."""
    memory_mib: int
    """Host RAM per instance."""
    source: str
    """Where the fact is from: file or URL, and its date."""
    as_of_ms: Millis
    """When the source says that the price held: its own date, else since when it has said nothing else of this offer. Never
    later than `seen_ms`."""
    seen_ms: Millis
    """When supply read it."""
    poll: str = ""
    """The source that polls it, as in `PollDone.source`: when its polls stop, the offer is stale."""


class OfferGone(Struct, array_like=True, frozen=True, gc=False, tag=2):
    """The authoritative source no longer lists it."""

    cloud: str
    region: str
    instance_type: str
    kind: str
    seen_ms: Millis


class ClassReference(Struct, array_like=True, frozen=True, gc=False, tag=3):
    """Per class, from the firm offers of one poll."""

    class_id: str
    median: Price
    cheapest: Price
    clouds: int
    offers: int
    as_of_ms: Millis


class PollDone(Struct, array_like=True, frozen=True, gc=False, tag=4):
    """One poll of one source: rows read = mapped + refused, refusals counted by reason.

    Repeated between polls, at least every 5 s, while the last one went well: a source whose `PollDone`s stop is stale.
    """

    source: str
    rows: int
    mapped: int
    refused: int
    reasons: dict[str, int]
    seen_ms: Millis
    looked_ms: Millis = 0
    """When the source was last asked; 0: by a writer that did not say. `seen_ms` goes on between polls."""


OfferRecord = OfferSeen | OfferGone | ClassReference | PollDone
