"""A row of a catalogue → its offers in classes, or a refusal with a named reason.

Pure. A row is read in four steps, and the first that fails is the reason: who sells it, which GPU it is, what it costs,
and which class it meets. Nothing is guessed: a row that leaves a question open is refused and counted.

A lot is one machine, so an instance meets a class only where its GPUs are exactly one lot: eight singles are not a node
of eight, and half of a pair cannot be rented. Scratch disk, bandwidth and egress are not in catalogues; whether a
machine has what the specification promises of them shows at delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from typing import Final

from msgspec import Struct

from schemas.specifications import Access, Specification, Tier
from schemas.units import MICROS_PER_USD, PRICE_MAX, Gpus, Price, collar, format_usd
from services.supply.gpu_info import BadGpuInfo, GpuInfo, parse_gpu_info, readings_mib
from services.supply.rows import BrokenRow, Row
from services.supply.rules import Form, Rules

ACCESS_RANK: Final[dict[Access, int]] = {"container": 0, "vm": 1, "bare_metal": 2}
_MIB_PER_GIB: Final = 1_024


class Reason(StrEnum):
    """Why a row is not in any class, in the order in which the questions are asked."""

    BROKEN_ROW = "broken_row"
    """It cannot be read."""
    NOT_AVAILABLE = "not_available"
    """The source itself says that it cannot be had now."""
    CPU_ONLY = "cpu_only"
    UNKNOWN_FLAG = "unknown_flag"
    """The source sets it apart from ordinary offers by a word that mapping.toml does not know."""
    UNKNOWN_CLOUD = "unknown_cloud"
    """The seller is not in mapping.toml: nobody says what tier he is."""
    RESERVE_PRICE = "reserve_price"
    """The cloud lists reserves of auctions, not prices."""
    UNKNOWN_GPU = "unknown_gpu"
    CONTRADICTING_GPU = "contradicting_gpu"
    """The name and the instance type tell different models."""
    BROKEN_GPU_INFO = "broken_gpu_info"
    WRONG_MEMORY = "wrong_memory"
    """No reading of the memory fits the model, or not the size that the name states."""
    AMBIGUOUS_MEMORY = "ambiguous_memory"
    """The model exists in several sizes, and the row does not tell which."""
    NO_PRICE = "no_price"
    NO_CLASS_FOR_GPU = "no_class_for_gpu"
    NO_CLASS_FOR_MEMORY = "no_class_for_memory"
    UNKNOWN_FORM = "unknown_form"
    """Classes tell SXM from PCIe, the row does not."""
    CONTRADICTING_FORM = "contradicting_form"
    NO_CLASS_FOR_FORM = "no_class_for_form"
    NO_CLASS_FOR_SPOT = "no_class_for_spot"
    """Offered as spot only, and the classes are firm: what may be taken away is never sold as firm."""
    NO_CLASS_FOR_FIRM = "no_class_for_firm"
    NO_CLASS_FOR_TIER = "no_class_for_tier"
    UNKNOWN_REGION = "unknown_region"
    CONTRADICTING_REGION = "contradicting_region"
    NO_CLASS_FOR_REGION = "no_class_for_region"
    NO_CLASS_FOR_COUNT = "no_class_for_count"
    """The instance's GPUs are not one lot."""
    NO_CLASS_FOR_ACCESS = "no_class_for_access"
    BELOW_MINIMA = "below_minima"
    """Too few vCPUs or too little RAM per GPU, or not stated."""
    OUTLIER_PRICE = "outlier_price"
    """Outside the class's collar: no order could be placed there."""
    DUPLICATE = "duplicate"
    """The catalogue has listed the same offer before, or another source already does."""


class Refused(Struct, frozen=True):
    """The row is in no class."""

    reason: Reason
    detail: str = ""


class Offer(Struct, frozen=True, kw_only=True):
    """A row is in a class, once per kind."""

    cloud: str
    region: str
    instance_type: str
    kind: str
    """`on_demand` or `spot`."""
    class_id: str
    gpus: Gpus
    price: Price
    """µUSD per GPU-hour, rounded up."""
    vcpus: int
    memory_mib: int


class _Machine(Struct, frozen=True, kw_only=True):
    """What a row says, in the exchange's own terms."""

    name: str
    """Its instance type, for the operator, as is `place`."""
    place: str
    model: str
    memory_gb: int
    forms: frozenset[Form]
    tier: Tier
    access: Access
    countries: frozenset[str]
    gpus: Gpus
    vcpus: int
    memory_mib: int


def map_row(
    row: Row | BrokenRow, catalogue: str, rules: Rules, classes: Sequence[Specification]
) -> list[Offer] | Refused:
    """`catalogue`: name of the catalogue it stands in; a row that names its own `cloud` stands in that one's."""
    if isinstance(row, BrokenRow):
        return Refused(Reason.BROKEN_ROW, row.why)
    catalogue = row.cloud or catalogue
    if not row.available:
        return Refused(Reason.NOT_AVAILABLE, row.instance_type)
    if not row.gpu_name and not row.gpus:
        return Refused(Reason.CPU_ONLY)
    unknown = sorted(set(row.flags) - rules.harmless_flags)
    if unknown:
        return Refused(Reason.UNKNOWN_FLAG, f"{row.instance_type}: {', '.join(unknown)}")
    seller = rules.seller_of(catalogue, row.instance_type)
    cloud = rules.cloud_of(seller)
    if cloud is None:
        return Refused(Reason.UNKNOWN_CLOUD, f"{seller or row.instance_type} is not in mapping.toml")
    if rules.clouds[cloud].reserve_price:
        return Refused(Reason.RESERVE_PRICE, cloud)
    machine = _machine(row, catalogue, cloud, rules)
    if isinstance(machine, Refused):
        return machine
    prices = _prices(row, rules)
    if not prices:
        return Refused(Reason.NO_PRICE)
    offers: list[Offer] = []
    refusals: list[Refused] = []
    for kind, price in prices.items():
        found = _class_of(machine, kind, price, classes)
        if isinstance(found, Refused):
            refusals.append(found)
            continue
        offer = Offer(
            cloud=cloud, region=row.zone or row.region, instance_type=row.instance_type, kind=kind,
            class_id=found.class_id, gpus=machine.gpus, price=price, vcpus=machine.vcpus, memory_mib=machine.memory_mib,
        )  # fmt: skip
        offers.append(offer)
    return offers or refusals[0]


def _machine(row: Row, catalogue: str, cloud: str, rules: Rules) -> _Machine | Refused:
    """Which GPU it is. The names come first; the memory only tells variants apart and contradicts."""
    model = rules.model_of(row.gpu_name)
    if model is None:
        return Refused(Reason.UNKNOWN_GPU, row.gpu_name)
    named = rules.models_in((row.instance_type, row.upstream_id))
    if named - {model}:
        return Refused(Reason.CONTRADICTING_GPU, f"{row.gpu_name}, but {row.instance_type} {row.upstream_id}".rstrip())
    info: GpuInfo | None = None
    if row.gpu_info:
        try:
            info = parse_gpu_info(row.gpu_info)
        except BadGpuInfo as error:
            return Refused(Reason.BROKEN_GPU_INFO, str(error))
    texts = (row.instance_type, row.upstream_id, row.gpu_name, info.name if info else "")
    memory_gb = _memory_gb(row, info, model, catalogue, texts, rules)
    if isinstance(memory_gb, Refused):
        return memory_gb
    return _Machine(
        name=row.instance_type,
        place=f"{row.region} {row.zone}".rstrip(),
        model=model,
        memory_gb=memory_gb,
        forms=frozenset(rules.forms_in(model, cloud, texts)),
        tier=row.tier or rules.tier_of(cloud, row.instance_type),
        access=rules.clouds[cloud].access,
        countries=frozenset(rules.countries(catalogue, cloud, (row.region, row.zone))),
        gpus=row.gpus,
        vcpus=int(row.vcpus or 0),
        memory_mib=int((row.memory_gib or 0) * _MIB_PER_GIB),
    )


def _memory_gb(
    row: Row, info: GpuInfo | None, model: str, catalogue: str, texts: Sequence[str], rules: Rules
) -> int | Refused:
    sizes = {rule.gb for rule in rules.models[model].memory}
    stated = rules.stated_memory_gb(model, texts)
    if len(stated) > 1:
        return Refused(Reason.WRONG_MEMORY, f"the names state {sorted(stated)} GB")
    readings: tuple[int, ...] = ()
    if row.gpu_memory_mib is not None:
        readings = (row.gpu_memory_mib,)
    elif info is not None:
        readings = readings_mib(info, row.gpus, summed=rules.catalogue(catalogue).summed)
    if readings:
        fitting = rules.memory_gb(model, readings)
        if not fitting or (stated and not stated & fitting):
            return Refused(Reason.WRONG_MEMORY, f"{model} of {readings} MiB, {row.gpus} GPUs")
        sizes = fitting
    candidates = stated or sizes
    if len(candidates) > 1:
        return Refused(Reason.AMBIGUOUS_MEMORY, f"{model} of {sorted(candidates)} GB")
    return candidates.pop()


def _prices(row: Row, rules: Rules) -> dict[str, Price]:
    """Kind → µUSD per GPU-hour, rounded up. A spot price equal to the price is no other offer."""
    on_demand, spot = row.price, row.spot_price
    if rules.is_spot((row.instance_type, row.upstream_id)):
        on_demand, spot = None, spot or on_demand
    prices = {"on_demand": on_demand, "spot": None if spot == on_demand else spot}
    per_gpu = {kind: _per_gpu(price, row.gpus) for kind, price in prices.items() if price}
    return {kind: price for kind, price in per_gpu.items() if 0 < price <= PRICE_MAX}


def _per_gpu(price: Decimal, gpus: Gpus) -> Price:
    return int((price * MICROS_PER_USD / gpus).to_integral_value(ROUND_CEILING))


def _class_of(machine: _Machine, kind: str, price: Price, classes: Sequence[Specification]) -> Specification | Refused:
    """Narrow the classes question by question; the question that leaves none is the reason."""
    firmness = "SPOT" if kind == "spot" else "FIRM"
    no_firmness = Reason.NO_CLASS_FOR_SPOT if kind == "spot" else Reason.NO_CLASS_FOR_FIRM
    form = _one(machine.forms, Reason.UNKNOWN_FORM, Reason.CONTRADICTING_FORM, Reason.NO_CLASS_FOR_FORM)
    country = _one(machine.countries, Reason.UNKNOWN_REGION, Reason.CONTRADICTING_REGION, Reason.NO_CLASS_FOR_REGION)
    questions: list[tuple[Reason, Callable[[Specification], bool]]] = [
        (Reason.NO_CLASS_FOR_GPU, lambda c: c.hardware.gpu == machine.model),
        (Reason.NO_CLASS_FOR_MEMORY, lambda c: c.hardware.memory_gb == machine.memory_gb),
        (form, lambda c: machine.forms == {c.hardware.form}),
        (no_firmness, lambda c: c.service.firmness == firmness),
        (Reason.NO_CLASS_FOR_TIER, lambda c: c.service.tier == machine.tier),
        (country, lambda c: len(machine.countries) == 1 and machine.countries <= set(c.hardware.countries)),
        (Reason.NO_CLASS_FOR_COUNT, lambda c: c.trading.lot == machine.gpus),
        (Reason.NO_CLASS_FOR_ACCESS, lambda c: ACCESS_RANK[c.service.access] <= ACCESS_RANK[machine.access]),
        (Reason.BELOW_MINIMA, lambda c: _meets_minima(machine, c)),
        (Reason.OUTLIER_PRICE, lambda c: _within_collar(price, c)),
    ]
    left = list(classes)
    for reason, holds in questions:
        left = [specification for specification in left if holds(specification)]
        if not left:
            return Refused(reason, _detail(machine, reason, price))
    # Classes that differ in their minima only: the most demanding one, as it is worth most.
    return max(left, key=lambda c: (c.minima.vcpus, c.minima.ram_gib, c.class_id))


def _detail(machine: _Machine, reason: Reason, price: Price) -> str:
    """What the answer to the question was, so that an operator sees whether the row is odd or a rule is missing."""
    what = f"{machine.name}, {machine.gpus} {machine.model} {machine.memory_gb} GB"
    match reason:
        case Reason.UNKNOWN_FORM | Reason.CONTRADICTING_FORM | Reason.NO_CLASS_FOR_FORM:
            return f"{what}: {' and '.join(sorted(machine.forms)) or 'SXM or PCIe?'}"
        case Reason.UNKNOWN_REGION | Reason.CONTRADICTING_REGION | Reason.NO_CLASS_FOR_REGION:
            return f"{what} in {machine.place}: {' and '.join(sorted(machine.countries)) or 'which country?'}"
        case Reason.NO_CLASS_FOR_TIER:
            return f"{what}: {machine.tier}"
        case Reason.BELOW_MINIMA:
            return f"{what}: {machine.vcpus} vCPU, {machine.memory_mib // _MIB_PER_GIB} GiB"
        case Reason.OUTLIER_PRICE:
            return f"{what}: {format_usd(price)} USD per GPU-hour"
        case _:
            return what


def _one(values: Collection[str], none: Reason, several: Reason, one: Reason) -> Reason:
    """The reason for a question whose answer needs exactly one value."""
    if not values:
        return none
    return one if len(values) == 1 else several


def _meets_minima(machine: _Machine, specification: Specification) -> bool:
    """What is not stated counts as nothing."""
    minima = specification.minima
    enough_vcpus = machine.vcpus >= minima.vcpus * machine.gpus
    return enough_vcpus and machine.memory_mib >= minima.ram_gib * _MIB_PER_GIB * machine.gpus


def _within_collar(price: Price, specification: Specification) -> bool:
    trading = specification.trading
    low, high = collar(trading.list_price_micros, trading.collar_low_bp, trading.collar_high_bp)
    return low <= price <= high
