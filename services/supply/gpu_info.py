"""The column `GpuInfo`: a nested structure as text, in three dialects, with three meanings of its numbers.

Pure. Dialects: JSON; a Python literal; a Python literal in which `null` stands for None. Its sizes are per GPU at some
clouds and summed over the instance's GPUs at others, MiB at some and GB at others, and one cloud has changed from one
to the other. So this module only lists the possible readings; `mapping` asks which of them fits the GPU that is named.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct, field

_TEXT_MAX: Final = 10_000
_GB_MAX: Final = 2_048
"""A size below this is in GB: no GPU of today has 2 GiB, and none has 2 TB."""
_MIB_PER_GB: Final = 1_024


class GpuInfo(Struct, frozen=True):
    """What the column says of the instance's GPUs."""

    name: str
    size: int
    """As written: MiB or GB, of one GPU or of all."""


class BadGpuInfo(ValueError):
    """The text is in none of the dialects, or not one kind of GPU."""


class _Memory(Struct, frozen=True, rename="pascal"):
    size_in_mib: Annotated[float, Meta(gt=0, le=1e9)] = field(name="SizeInMiB")


class _Gpu(Struct, frozen=True, rename="pascal"):
    name: str
    memory_info: _Memory


class _Document(Struct, frozen=True, rename="pascal"):
    gpus: tuple[_Gpu]
    """One kind of GPU in an instance."""


def parse_gpu_info(text: str) -> GpuInfo:
    """Raises BadGpuInfo."""
    if len(text) > _TEXT_MAX:
        raise BadGpuInfo(f"{len(text)} characters")
    try:
        document = msgspec.convert(_literal(text), _Document)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise BadGpuInfo(f"{text[:80]!r}: {str(error)[:80]!a}") from error
    (gpu,) = document.gpus
    if not gpu.name.isprintable():
        raise BadGpuInfo(f"{text[:80]!r}: the name cannot be printed")
    size = gpu.memory_info.size_in_mib
    if size != int(size):
        raise BadGpuInfo(f"{text[:80]!r}: size {size}")
    return GpuInfo(gpu.name, int(size))


def _literal(text: str) -> object:
    """JSON or a Python literal → plain lists and dicts.

    Raises ValueError, TypeError (a list as a key), SyntaxError, RecursionError, MemoryError.
    """
    try:
        document: object = json.loads(text)
    except ValueError:
        with warnings.catch_warnings():
            # Python warns of texts like '\\d' and `1or 2`, to programmers; here they are somebody's data.
            warnings.simplefilter("ignore")
            document = ast.literal_eval(re.sub(r"\bnull\b", "None", text))
    return document


def readings_mib(info: GpuInfo, gpus: int, *, summed: bool | None) -> tuple[int, ...]:
    """What the size may mean, as MiB per GPU. `summed`: is it the sum over the GPUs; None: not known."""
    assert gpus > 0
    size = info.size * _MIB_PER_GB if info.size < _GB_MAX else info.size
    if summed is None:
        return tuple(dict.fromkeys((size, size // gpus)))
    return (size // gpus,) if summed else (size,)
