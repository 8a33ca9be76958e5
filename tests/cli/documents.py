"""Commands, tables and samples out of the project's documents."""

import re
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(make|(\.venv/bin/)?hourbook|psql|export|kill|[A-Z_]+=\S+) ")
_WORD = re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b")
_NUMBER = re.compile(r"\d+(\.\d+)?")


class Sample(NamedTuple):
    """What a document says that a command prints."""

    command: str
    output: str


def blocks(name: str, section: str = "") -> list[str]:
    """Fenced blocks of a document, or of the section with this heading, in order."""
    text = (CHECKOUT / name).read_text()
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return _FENCE.findall(text)


def commands(name: str) -> list[str]:
    """Every line of every block that consists of commands."""
    found = [block.strip().splitlines() for block in blocks(name)]
    return [line for lines in found if all(map(_COMMAND.match, lines)) for line in lines]


def samples(name: str) -> list[Sample]:
    """Blocks in which a `$ command` is followed by its output."""
    shown = [block.removeprefix("$ ").partition("\n") for block in blocks(name) if block.startswith("$ ")]
    return [Sample(command, output) for command, _, output in shown]


def shape(text: str) -> str:
    """Numbers, days and months are other ones each time; words, order and punctuation are not."""
    return _NUMBER.sub("N", _WORD.sub("D", text)).rstrip()


def within_a_day(text: str) -> str:
    """Its shape, where midnight may lie between an hour here and the same in UTC."""
    return shape(text).replace("(D N:N UTC)", "(N:N UTC)")


def table(name: str, first_column: str) -> list[list[str]]:
    """Rows of the table whose first column has this head."""
    lines = iter((CHECKOUT / name).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first_column} |"):
            next(lines)
            break
    rows = []
    for line in lines:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows
