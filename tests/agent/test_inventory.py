"""What a machine says it has, and where it says it from."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from schemas.agents import Gpu
from services.agent import inventory
from services.agent.errors import Unusable


class Told(Exception):
    """NVMLError."""


def stand_in(*gpus: dict[str, object]) -> SimpleNamespace:
    """NVML, as far as it is asked: what a GPU does not have, it answers with its error."""

    def of(name: str):
        def ask(handle: dict[str, object], *rest: object) -> object:
            key = name if not rest else f"{name}/{'/'.join(map(str, rest))}"
            if key not in handle:
                raise Told("not supported")
            return handle[key]

        return ask

    names = (
        "UUID Name MemoryInfo PciInfo PowerManagementLimit Temperature UtilizationRates "
        "CurrentClocksThrottleReasons TotalEccErrors RetiredPages RemappedRows"
    ).split()
    return SimpleNamespace(
        NVMLError=Told,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(gpus),
        nvmlDeviceGetHandleByIndex=lambda index: gpus[index],
        nvmlSystemGetDriverVersion=lambda: b"580.1",
        NVML_TEMPERATURE_GPU="gpu",
        NVML_MEMORY_ERROR_TYPE_UNCORRECTED="uncorrected",
        NVML_AGGREGATE_ECC="aggregate",
        NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS="single",
        NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR="double",
        nvmlClocksThrottleReasonHwSlowdown=8,
        nvmlClocksThrottleReasonSwThermalSlowdown=32,
        **{f"nvmlDeviceGet{name}": of(name) for name in names},
    )


FULL = {
    "UUID": b"GPU-1",
    "Name": "NVIDIA H100",
    "MemoryInfo": SimpleNamespace(total=80 * 1024**3),
    "PciInfo": SimpleNamespace(busId=b"00000000:17:00.0"),
    "PowerManagementLimit": 700_000,
    "Temperature/gpu": 41,
    "UtilizationRates": SimpleNamespace(gpu=97),
    "CurrentClocksThrottleReasons": 32 | 1,
    "TotalEccErrors/uncorrected/aggregate": 2,
    "RetiredPages/single": [1, 2],
    "RetiredPages/double": [3],
    "RemappedRows": (4, 1, 0, 0),
}


def test_gpus_are_read_and_what_they_do_not_tell_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", stand_in(FULL, {"UUID": "GPU-2"}))
    found = inventory.find(tmp_path, None, simulated=False)
    assert found.source == "nvml"
    assert found.read() == (
        Gpu(
            uuid="GPU-1",
            name="NVIDIA H100",
            memory_mib=81_920,
            pci_bus="00000000:17:00.0",
            driver="580.1",
            power_limit_w=700,
            temperature_c=41,
            utilisation_percent=97,
            throttled=True,
            ecc_uncorrected=2,
            retired_pages=3,
            remapped_rows=5,
        ),
        Gpu(uuid="GPU-2", name="", driver="580.1"),
    )
    assert len(inventory.find(tmp_path, 1, simulated=False).read()) == 1
    with pytest.raises(Unusable, match="this machine has 2"):
        inventory.find(tmp_path, 3, simulated=False)


def test_a_gpu_that_has_fallen_off_is_missing_and_with_the_last_one_the_agent_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = dict(FULL), {"UUID": "GPU-2"}
    monkeypatch.setitem(sys.modules, "pynvml", stand_in(one, other))
    found = inventory.find(tmp_path, None, simulated=False)
    one.clear()
    assert [gpu.uuid for gpu in found.read()] == ["GPU-2"]
    other.clear()
    with pytest.raises(Unusable, match="no GPU of this machine answers"):
        found.read()


@pytest.mark.parametrize("nvml", [None, stand_in()])
def test_without_a_gpu_seats_are_declared_and_keep_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nvml: object
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    found = inventory.find(tmp_path, 2, simulated=False)
    assert found.source == "declared"
    first = found.read()
    assert len({gpu.uuid for gpu in first}) == 2 and all(gpu.name == "declared, not verified" for gpu in first)
    more = inventory.find(tmp_path, 3, simulated=False).read()
    assert more[:2] == first
    assert inventory.find(tmp_path, 2, simulated=False).read() == first


def test_simulated_seats_are_called_so_and_are_never_taken_for_declared_ones(tmp_path: Path) -> None:
    simulated = inventory.find(tmp_path, 1, simulated=True)
    assert simulated.source == "simulated"
    declared = inventory.find(tmp_path, 1, simulated=False)
    assert {gpu.uuid for gpu in simulated.read()}.isdisjoint(gpu.uuid for gpu in declared.read())


def test_a_list_of_seats_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / inventory.SEATS).write_text("seats")
    with pytest.raises(Unusable, match="is no list of seats"):
        inventory.find(tmp_path, 1, simulated=True)
