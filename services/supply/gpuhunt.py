"""A catalogue of the library gpuhunt: `catalog.zip` with a CSV file per provider, or one such file by itself.

Pure. The library reads each row (which columns there are, what an empty one means, how old files name vendors), so that it is
its maintainers who follow their format. Not its `Catalog`: that one fetches by itself, and passes over what it cannot read
with a line in the log, where we count. Prices are taken from the text, since the library makes floats of them.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

from services.supply.rows import BadCatalogue, BrokenRow, Row, count, name, number, present, price
from services.supply.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuhunt import CatalogItem

NEEDED: Final = frozenset(
    {"instance_name", "location", "price", "cpu", "memory", "gpu_count", "gpu_name", "gpu_memory", "spot"}
)
UNPACKED_BYTES_MAX: Final = 64 * 1024 * 1024
MEMBERS_MAX: Final = 100
_MIB_PER_GIB: Final = 1_024
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


def read_rows(data: bytes) -> Iterator[Row | BrokenRow]:
    """Bytes of an archive or of a file → its rows. Raises BadCatalogue."""
    if data.startswith(b"PK"):
        for provider, member in _members(data):
            try:
                yield from _read_file(member, provider)
            except BadCatalogue as error:
                raise BadCatalogue(f"{provider}.csv: {error}") from error
    else:
        yield from _read_file(data, "")


def _members(data: bytes) -> list[tuple[str, bytes]]:
    """Provider and content of each CSV file of the archive, unpacked within bounds."""
    files: list[tuple[str, bytes]] = []
    left = UNPACKED_BYTES_MAX
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [info for info in archive.infolist() if info.filename.endswith(".csv")]
            if len(names) > MEMBERS_MAX:
                raise BadCatalogue(f"{len(names)} files in the archive, allowed are {MEMBERS_MAX}")
            for info in names:
                with archive.open(info) as member:
                    # What the archive says of sizes is not believed.
                    content = member.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise BadCatalogue(f"more than {UNPACKED_BYTES_MAX} bytes when unpacked")
                stem = info.filename.rpartition("/")[2].removesuffix(".csv")
                files.append((present(stem, "a file's name"), content))
    except BadCatalogue:
        raise
    except _BROKEN_ZIP as error:
        raise BadCatalogue(f"the zip archive is broken: {str(error)[:120]!a}") from error
    if not files:
        raise BadCatalogue("no CSV file in the archive")
    return files


def _read_file(data: bytes, provider: str) -> Iterator[Row | BrokenRow]:
    parse = _library()
    for entry in read_table(data, NEEDED):
        if isinstance(entry, BrokenRow):
            yield entry
            continue
        line, texts = entry
        try:
            yield _row(line, texts, parse(texts, provider=provider), provider)
        except (ValueError, RecursionError) as error:
            yield BrokenRow(line, ascii(str(error)[:120])[1:-1])


def _row(line: int, texts: dict[str, str], item: CatalogItem, provider: str) -> Row:
    """Raises ValueError."""
    gpu_name = name(item.gpu_name or "", "gpu_name")
    if item.gpu_vendor is not None and item.gpu_vendor.value != "nvidia":
        gpu_name = name(f"{item.gpu_vendor.value} {gpu_name}", "gpu_name")
    memory_gib = number(texts["gpu_memory"], "gpu_memory")
    asked = price(number(texts["price"], "price"))
    return Row(
        line=line,
        instance_type=present(item.instance_name, "instance_name"),
        gpu_name=gpu_name,
        gpus=count(number(texts["gpu_count"], "gpu_count"), "gpu_count", needed=bool(gpu_name)),
        gpu_memory_mib=None if memory_gib is None else int(memory_gib * _MIB_PER_GIB),
        vcpus=number(texts["cpu"], "cpu"),
        memory_gib=number(texts["memory"], "memory"),
        price=None if item.spot else asked,
        spot_price=asked if item.spot else None,
        region=present(item.location, "location"),
        flags=tuple(name(flag, "flags") for flag in item.flags),
        cloud=provider,
    )


@cache
def _library() -> Callable[..., CatalogItem]:
    """Imported when a catalogue of this kind is read: it takes a tenth of a second, and brings `requests`."""
    from gpuhunt._internal.storage import item_from_row

    parse: Callable[..., CatalogItem] = item_from_row
    return parse
