"""What the machine says it has: read off the GPUs by NVML, else declared by its owner, else simulated; and which of these it is.

NVML comes with the driver; its Python names with the package nvidia-ml-py (`pip install 'hourbook[gpu]'`). What it does not tell stays
away, and is never made up. Written against NVML's reference and tested with a stand-in for it: no machine with a GPU was at hand.
"""

from __future__ import annotations

import importlib
import os
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

import msgspec

from schemas.agents import GPUS_MAX, Gpu, Source
from services.agent.errors import Unusable
from services.agent.store import write_durably

SEATS: Final = "seats.json"
MIB: Final = 1024 * 1024
_SLOWED: Final = (
    "nvmlClocksThrottleReasonHwSlowdown",
    "nvmlClocksThrottleReasonSwThermalSlowdown",
    "nvmlClocksThrottleReasonHwThermalSlowdown",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
)
"""Reasons for a slower clock that are none of the owner's or the tenant's making: heat and power."""


class Inventory(Protocol):
    """What a machine has."""

    source: Source

    def read(self) -> tuple[Gpu, ...]:
        """As it is now."""


class Stated:
    """Seats that are only said: declared by the owner, or simulated."""

    def __init__(self, source: Source, seats: tuple[Gpu, ...]) -> None:
        self.source: Source = source
        self._seats = seats

    def read(self) -> tuple[Gpu, ...]:
        """See Inventory."""
        return self._seats


class Nvml:
    """GPUs of NVIDIA."""

    source: Source = "nvml"

    def __init__(self, nvml: ModuleType, count: int) -> None:
        self._nvml: Any = nvml
        self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        self._driver = _text(self._nvml.nvmlSystemGetDriverVersion())

    def read(self) -> tuple[Gpu, ...]:
        """See Inventory. A GPU that does not even say which it is has fallen off, and is missing. Raises Unusable: all have."""
        found = tuple(gpu for handle in self._handles if (gpu := self._read(handle)) is not None)
        if not found:
            raise Unusable("no GPU of this machine answers any more; nvidia-smi may tell why")
        return found

    def _read(self, handle: object) -> Gpu | None:
        nvml = self._nvml
        uuid_ = self._ask("nvmlDeviceGetUUID", handle)
        if uuid_ is None:
            return None
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        power_mw = self._ask("nvmlDeviceGetPowerManagementLimit", handle)
        utilisation = self._ask("nvmlDeviceGetUtilizationRates", handle)
        reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        slowed = sum(getattr(nvml, name, 0) for name in _SLOWED)
        rows = self._ask("nvmlDeviceGetRemappedRows", handle)
        bus = self._ask("nvmlDeviceGetPciInfo", handle)
        return Gpu(
            uuid=_text(uuid_),
            name=_text(self._ask("nvmlDeviceGetName", handle) or ""),
            memory_mib=memory.total // MIB if memory is not None else 0,
            pci_bus=_text(bus.busId) if bus is not None else "",
            driver=self._driver,
            power_limit_w=None if power_mw is None else power_mw // 1000,
            temperature_c=self._ask("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU),
            utilisation_percent=None if utilisation is None else utilisation.gpu,
            throttled=None if reasons is None else bool(reasons & slowed),
            ecc_uncorrected=self._ask(
                "nvmlDeviceGetTotalEccErrors",
                handle,
                nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                nvml.NVML_AGGREGATE_ECC,
            ),
            retired_pages=self._retired(handle),
            # (corrected, uncorrected, pending, failed)
            remapped_rows=None if rows is None else rows[0] + rows[1],
        )

    def _retired(self, handle: object) -> int | None:
        causes = (
            self._nvml.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,
            self._nvml.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
        )
        pages = [self._ask("nvmlDeviceGetRetiredPages", handle, cause) for cause in causes]
        return None if None in pages else sum(len(each) for each in pages)

    def _ask(self, function: str, *arguments: object) -> Any:  # noqa: ANN401 # whatever NVML answers
        """None: this GPU does not tell, or this NVML does not know the question."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except (self._nvml.NVMLError, AttributeError):
            return None


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def find(home: Path, count: int | None, *, simulated: bool) -> Inventory:
    """Of this machine; `count`: as many, else all there are. Raises Unusable."""
    if count is not None and not 1 <= count <= GPUS_MAX:
        raise Unusable(f"--gpus is {count}, wanted is a number from 1 to {GPUS_MAX}")
    if simulated:
        return Stated("simulated", seats(home, count or 1, "simulated", "simulated GPU"))
    nvml, found = _open_nvml()
    if nvml is None:
        return Stated("declared", seats(home, count or 1, "declared", "declared, not verified"))
    if count is not None and count > found:
        raise Unusable(f"--gpus is {count}, and this machine has {found}")
    return Nvml(nvml, min(count or found, GPUS_MAX))


def _open_nvml() -> tuple[ModuleType | None, int]:
    """With the number of GPUs; None: there is no GPU, or nothing that could ask it."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None, 0
    try:
        nvml.nvmlInit()
        found = int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError:
        return None, 0
    return (nvml, found) if found else (None, 0)


def seats(home: Path, count: int, kind: str, name: str) -> tuple[Gpu, ...]:
    """`count` of them, with the same UUIDs at every start. Raises Unusable, OSError."""
    file = home / SEATS
    try:
        known = msgspec.json.decode(file.read_bytes(), type=list[str])
    except FileNotFoundError:
        known = []
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unusable(f"{file} is no list of seats; take it away, and the machine gets new ones") from None
    ours = [each for each in known if each.startswith(f"{kind}-")]
    missing = count - len(ours)
    if missing > 0:
        more = [f"{kind}-{uuid.uuid4()}" for _ in range(missing)]
        write_durably(file, msgspec.json.encode([*known, *more]))
        ours += more
    return tuple(Gpu(uuid=each, name=name) for each in ours[:count])


def boot_id() -> str:
    """Of this start of the machine; the kernel's."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        raise Unusable(
            f"the kernel of this machine ({os.uname().sysname}) tells no boot id: the agent needs Linux"
        ) from None
