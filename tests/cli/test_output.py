"""Tables that can be copied from, and what is printed for programs."""

import sys
from pathlib import Path

import pytest

from services.cli import output

ORDER = "0-68719476735-511-1023"
NAME = "an id with [brackets], :smile: and no end in sight, because members choose their own"


def test_a_table_is_never_cut_however_narrow_the_window(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order id with an ellipsis cannot be typed again; and what a member wrote is shown as he wrote it."""
    monkeypatch.setenv("COLUMNS", "40")
    output.table("Orders", ("order", ">open", "your id"), [(ORDER, "3", NAME), ("0-1-0-0", "12", "")], empty="")

    title, head, first, second = capsys.readouterr().out.splitlines()
    assert title.strip() == "Orders"
    assert head.split() == ["order", "open", "your", "id"]
    assert first.rstrip() == f"{ORDER}     3  {NAME}"
    assert second.rstrip() == f"{'0-1-0-0':{len(ORDER)}}    12"


def test_a_column_that_may_go_goes_where_it_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    output.table("", ("order", "?your id", "?why"), [("0-1-0-0", "", "ioc"), ("0-2-0-0", "", "")], empty="")

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["order", "why"],
        ["0-1-0-0", "ioc"],
        ["0-2-0-0"],
    ]


def test_an_empty_table_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    output.table("Orders", ("order",), [], empty="none open")

    assert capsys.readouterr().out == "Orders: none open\n"


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        (".venv/bin/hourbook", ".venv/bin/hourbook"),
        ("{here}/.venv/bin/hourbook", ".venv/bin/hourbook"),
        ("/somewhere/else/hourbook", "/somewhere/else/hourbook"),
        ("{path}/hourbook", "hourbook"),
        ("/usr/lib/python3/pytest", "hourbook"),
    ],
)
def test_a_suggested_command_can_be_typed_as_it_stands(
    called: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "hourbook").touch(0o755)
    monkeypatch.setenv("PATH", str(bin_folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [called.format(here=tmp_path, path=bin_folder)])

    assert output.program() == shown


def test_counted_things_have_their_number() -> None:
    assert [output.plural(count, "GPU") for count in (0, 1, 2)] == ["0 GPUs", "1 GPU", "2 GPUs"]
