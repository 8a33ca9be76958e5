"""What the desk may risk: limits.toml or the file named by HOURBOOK_DESK_LIMITS. Pure but for reading the packaged file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from schemas.units import BP, BasisPoints, Gpus, Micros, Millis, Price

_Share = Annotated[BasisPoints, Meta(ge=0, le=BP)]
_Gpus = Annotated[Gpus, Meta(ge=0, le=100_000)]
_Money = Annotated[Micros, Meta(ge=0)]


class BadLimits(ValueError):
    """The file is not a set of limits."""


class ClassLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a class differs; None: as for all."""

    spread_bp: _Share | None = None
    gpus_max: _Gpus | None = None


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file; limits.toml says what each is for."""

    capital_micros: _Money
    gpus_max: _Gpus
    gpu_hours_max: Annotated[int, Meta(ge=0)]
    loss_per_day_micros: _Money
    stale_after_ms: Annotated[Millis, Meta(ge=1_000)]
    jump_bp: Annotated[BasisPoints, Meta(ge=1)]
    settle_ms: Annotated[Millis, Meta(ge=0)]
    window_hours: Annotated[int, Meta(ge=1, le=1_000)]
    spread_bp: _Share
    margin_bp: _Share
    age_bp: _Share
    dispersion_share_bp: _Share
    dispersion_bp: _Share
    skew_bp: _Share
    perish_bp: _Share
    book_share_bp: _Share
    book_band_bp: _Share
    collateral_over_cap_bp: _Share
    cover_lead_ms: Annotated[Millis, Meta(ge=0)]
    running_gpus: _Gpus
    dead_man_ms: Annotated[Millis, Meta(ge=3_000, le=86_400_000)]
    requests_per_second: Annotated[int, Meta(ge=1, le=1_000)]
    order_valid_ms: Annotated[Millis, Meta(ge=500, le=600_000)]
    refresh_ms: Annotated[Millis, Meta(ge=200)]
    classes: Mapping[str, ClassLimits] = {}

    def spread_of(self, class_id: str) -> BasisPoints:
        """The class's spread on each side, before age and dispersion."""
        own = self.classes.get(class_id)
        return self.spread_bp if own is None or own.spread_bp is None else own.spread_bp

    def gpus_of(self, class_id: str) -> Gpus:
        """The class's GPUs per hour and side, at most."""
        own = self.classes.get(class_id)
        return self.gpus_max if own is None or own.gpus_max is None else own.gpus_max

    def collateral_price(self, cap: Price) -> Price:
        """Above the collar's cap, so that a cap that rises a little does not cut the promise."""
        return cap + cap * self.collateral_over_cap_bp // BP


def parse_limits(text: bytes) -> Limits:
    """Raises BadLimits."""
    try:
        return msgspec.toml.decode(text, type=Limits)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLimits(str(error)) from error


def packaged_limits() -> Limits:
    """The limits of this build."""
    return parse_limits((resources.files("services.market_maker") / "limits.toml").read_bytes())
