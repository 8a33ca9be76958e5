"""How clouds name things: the file mapping.toml, decoded and compiled. Pure; the file is part of the package.

A `Rules` answers the questions that `mapping` asks of a row's texts; it decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.specifications import Access, Tier

Form = Literal["SXM", "PCIE", "NVL"]
Pattern = Annotated[str, Meta(min_length=1)]
_FLAGS: Final = re.ASCII | re.IGNORECASE


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class MemoryRule(_Table, frozen=True):
    """One memory size of a model."""

    gb: int
    mib: tuple[int, int]
    """What drivers report for it, from-to, per GPU."""
    stated: Pattern | None = None


class FormRule(_Table, frozen=True):
    """A text that tells the form."""

    pattern: Pattern
    form: Form


class TierRule(_Table, frozen=True):
    """An instance type that tells the tier."""

    pattern: Pattern
    tier: Tier


class ModelRule(_Table, frozen=True):
    """A GPU model."""

    name: Pattern
    token: Pattern
    memory: Annotated[tuple[MemoryRule, ...], Meta(min_length=1)]
    form: Form | None = None
    forms: tuple[FormRule, ...] = ()


class CatalogueRule(_Table, frozen=True):
    """How a catalogue differs from the common format."""

    seller: Pattern | None = None
    summed: bool | None = None
    regions: Mapping[str, str] = {}


class CloudRule(_Table, frozen=True):
    """Who runs the machines."""

    names: Annotated[tuple[str, ...], Meta(min_length=1)]
    tier: Tier
    access: Access
    tiers: tuple[TierRule, ...] = ()
    reserve_price: bool = False
    forms: tuple[FormRule, ...] = ()
    regions: Mapping[str, str] = {}


class _SpotRule(_Table, frozen=True):
    pattern: Pattern


class Rules(_Table, frozen=True):
    """The whole file."""

    models: Mapping[str, ModelRule]
    forms: tuple[FormRule, ...]
    spot: _SpotRule
    harmless_flags: frozenset[str]
    regions: Mapping[str, str]
    catalogues: Mapping[str, CatalogueRule]
    clouds: Mapping[str, CloudRule]

    def model_of(self, gpu_name: str) -> str | None:
        """AcceleratorName → model."""
        return next((model for model, rule in self.models.items() if _whole(rule.name, gpu_name)), None)

    def models_in(self, texts: Iterable[str]) -> set[str]:
        """Models whose token stands in one of the texts."""
        texts = tuple(texts)
        return {model for model, rule in self.models.items() if _found(rule.token, texts)}

    def cloud_of(self, seller: str) -> str | None:
        """A seller's name in a catalogue → cloud."""
        return next((cloud for cloud, rule in self.clouds.items() if seller in rule.names), None)

    def seller_of(self, catalogue: str, instance_type: str) -> str:
        """Who sells it: the catalogue's own cloud, or the aggregator's upstream seller; empty: not said."""
        rule = self.catalogue(catalogue)
        if rule.seller is None:
            return catalogue
        match = _compiled(rule.seller).search(instance_type)
        return match.group(1) if match else ""

    def catalogue(self, name: str) -> CatalogueRule:
        """A catalogue without an entry follows the common format."""
        return self.catalogues.get(name, CatalogueRule())

    def forms_in(self, model: str, cloud: str, texts: Sequence[str]) -> set[Form]:
        """Forms that the texts tell; where they tell none, the model's only form."""
        rules = (*self.forms, *self.models[model].forms, *self.clouds[cloud].forms)
        forms = {rule.form for rule in rules if _found(rule.pattern, texts)}
        only = self.models[model].form
        return forms or ({only} if only else set())

    def tier_of(self, cloud: str, instance_type: str) -> Tier:
        """The cloud's tier, or that of this instance type."""
        rule = self.clouds[cloud]
        return next((tier.tier for tier in rule.tiers if _found(tier.pattern, (instance_type,))), rule.tier)

    def countries(self, catalogue: str, cloud: str, places: Iterable[str]) -> set[str]:
        """ISO countries that the names of region and zone tell."""
        tables = (self.clouds[cloud].regions, self.catalogue(catalogue).regions, self.regions)
        found: set[str] = set()
        for place in places:
            for pattern, country in ((pattern, country) for table in tables for pattern, country in table.items()):
                # Case matters here: `us-1` is not the country code that `US` is.
                if match := re.fullmatch(pattern, place):
                    found.add(country or match.group(1))
                    break
        return found

    def is_spot(self, texts: Sequence[str]) -> bool:
        """Whether a name says that the machine is a spot machine."""
        return _found(self.spot.pattern, texts)

    def stated_memory_gb(self, model: str, texts: Sequence[str]) -> set[int]:
        """Sizes that the texts state."""
        return {rule.gb for rule in self.models[model].memory if rule.stated and _found(rule.stated, texts)}

    def memory_gb(self, model: str, readings_mib: Iterable[int]) -> set[int]:
        """Sizes of the model that one of the readings fits."""
        readings = tuple(readings_mib)
        return {
            rule.gb for rule in self.models[model].memory if any(rule.mib[0] <= mib <= rule.mib[1] for mib in readings)
        }


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Looked up sixty times a row: `re` has a cache too, and asking it takes longer than most of the searches."""
    return re.compile(pattern, _FLAGS)


def _whole(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


def _found(pattern: str, texts: Sequence[str]) -> bool:
    search = _compiled(pattern).search
    return any(search(text) for text in texts)


def parse_rules(text: bytes) -> Rules:
    """Raises msgspec.DecodeError, re.error: the file is part of the build."""
    rules = msgspec.toml.decode(text, type=Rules)
    for model in rules.models.values():
        for pattern in (model.name, model.token, *(rule.stated for rule in model.memory if rule.stated)):
            re.compile(pattern, _FLAGS)
    return rules


def packaged_rules() -> Rules:
    """The rules of this build."""
    return parse_rules((resources.files("services.supply") / "mapping.toml").read_bytes())
