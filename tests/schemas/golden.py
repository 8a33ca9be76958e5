"""Golden bytes: one text file a kind of message, read by people and by `test_golden.py`.

    python -m tests.schemas.golden      writes what is missing: a kind without a file, a field that was appended

Never changes or removes an example: these bytes stand in logs that are read for ever. A file looks like this:

    commands.Tick
    Lets time pass to `until_ms` ...

    example: plain values
      until_ms = 1795467600200
    bytes
      92 29 cf000001a2...

One group of bytes for the array's head, one for the tag, one for each field in order. A value that has no group is
the default of a field that the writer did not know.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.schemas.kinds import Kind, fields_of, kinds
from tests.schemas.samples import examples

FOLDER: Final = Path(__file__).parent / "golden"
WIDTH: Final = 120


class Example(NamedTuple):
    """One message."""

    about: str
    fields: dict[str, str]
    """Field → value as JSON."""
    pieces: list[str]


def path_of(name: str) -> Path:
    """Where a kind's golden bytes are."""
    return FOLDER / f"{name}.txt"


def load(name: str) -> list[Example]:
    """A kind's examples, oldest first."""
    _, *blocks = path_of(name).read_text(encoding="utf-8").split("\nexample: ")
    return [_parse(block) for block in blocks]


def _parse(block: str) -> Example:
    values, _, pieces = block.partition("\nbytes\n")
    about, *lines = values.splitlines()
    fields = dict(line.strip().split(" = ", 1) for line in lines)
    return Example(about, fields, pieces.split())


def _render(about: str, value: Any, pieces: list[str]) -> str:
    lines = [f"  {name} = {said}" for name, said in fields_of(value).items()]
    groups = textwrap.fill(
        " ".join(pieces),
        WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join([f"\nexample: {about}", *lines, "bytes", groups, ""])


def complete(kind: Kind, example: Example) -> bool:
    """Whether it has every field of today, so that today's writer gives the same bytes."""
    return kind.write(kind.read(example.pieces)) == example.pieces


def write_missing() -> list[str]:
    """What was written."""
    written = []
    for name, kind in kinds().items():
        path = path_of(name)
        if not path.exists():
            text = "".join(_render(*example) for example in examples(kind))
            path.write_text(f"{name}\n{kind.about}\n{text}", encoding="utf-8")
            written.append(f"{name}: new")
        elif not any(complete(kind, example) for example in load(name)):
            _, value, pieces = next(examples(kind))
            with path.open("a", encoding="utf-8") as file:
                file.write(_render(f"with {', '.join(list(fields_of(value))[-1:])} appended", value, pieces))
            written.append(f"{name}: one more example")
    return written


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    print("\n".join(write_missing()) or "nothing was missing", file=sys.stderr)
