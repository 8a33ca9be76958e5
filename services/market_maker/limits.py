"""What the desk may risk: limits.toml or the file named by HOURBOOK_DESK_LIMITS. Pure but for reading the packaged file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from schemas.units import BP, BasisPoints, Gpus, Micros, Millis

_Margin = Annotated[BasisPoints, Meta(ge=0, le=BP)]
_Gpus = Annotated[Gpus, Meta(ge=0, le=100_000)]


class BadLimits(ValueError):
    """The file is not a set of limits."""


class ClassLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a class differs; None: as for all."""

    margin_bp: _Margin | None = None
    gpus_max: _Gpus | None = None


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    capital_micros: Annotated[Micros, Meta(ge=0)]
    """Collateral over all classes and hours."""
    margin_bp: _Margin
    window_hours: Annotated[int, Meta(ge=1, le=168)]
    gpus_max: _Gpus
    """Per class and hour, sold and unsold together."""
    stale_after_ms: Annotated[Millis, Meta(ge=1_000)]
    requests_per_second: Annotated[int, Meta(ge=1, le=1_000)]
    in_flight_max: Annotated[int, Meta(ge=1, le=64)]
    order_valid_ms: Annotated[Millis, Meta(ge=500, le=600_000)]
    """An order that has not reached the book by then never will."""
    refresh_ms: Annotated[Millis, Meta(ge=200)]
    """How often everything is read again, for fills and what else it has not been told."""
    classes: Mapping[str, ClassLimits] = {}

    def margin_of(self, class_id: str) -> BasisPoints:
        """The class's margin."""
        own = self.classes.get(class_id)
        return self.margin_bp if own is None or own.margin_bp is None else own.margin_bp

    def gpus_of(self, class_id: str) -> Gpus:
        """The class's GPUs per hour, at most."""
        own = self.classes.get(class_id)
        return self.gpus_max if own is None or own.gpus_max is None else own.gpus_max


def parse_limits(text: bytes) -> Limits:
    """Raises BadLimits."""
    try:
        return msgspec.toml.decode(text, type=Limits)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLimits(str(error)) from error


def packaged_limits() -> Limits:
    """The limits of this build."""
    return parse_limits((resources.files("services.market_maker") / "limits.toml").read_bytes())
