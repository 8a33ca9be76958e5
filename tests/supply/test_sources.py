"""The list of sources: what is taken as it was, what is refused before anything is polled, and where secrets may not stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.runtime.errors import BadSettings
from services.supply.mapping import Reason
from services.supply.sources import PACKAGED, SourceSettings, read_sources

POLL = "poll_ms = 1_000\n"


def read(folder: Path, text: str, **environment: str) -> tuple[SourceSettings, ...]:
    listed = folder / "sources.toml"
    listed.write_text(text)
    return read_sources({"HOURBOOK_SUPPLY_SOURCES": str(listed), **environment})


def source(*lines: str) -> str:
    return "\n".join(["[[sources]]", *lines, POLL])


def test_the_packaged_list_is_one_recorded_file() -> None:
    (recorded,) = read_sources({})
    assert (recorded.name, recorded.recorded, recorded.connector) == ("recorded", True, "skypilot")
    assert recorded.file == PACKAGED.parent / "recorded/prices.csv"


def test_every_kind_of_source_in_the_order_in_which_they_count(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        source('name = "own"', 'catalogue = "lambda"', 'file = "own.csv"')
        + source('name = "tree"', 'folder = "catalogs/v8"')
        + source('name = "web"', 'catalogue = "nebius"', 'url = "https://example.org/vms.csv"', 'token_env = "TOKEN"')
        + source('name = "hunt"', 'connector = "gpuhunt"', 'url = "https://example.org/catalog.zip"')
        + source('name = "one"', 'connector = "gpuhunt"', 'file = "nebius.csv"')
        + source('name = "vast"', 'connector = "vast"', 'file = "offers.json"'),
        TOKEN="t0ken",
    )
    assert [(s.name, s.connector, s.catalogue) for s in found] == [
        ("own", "skypilot", "lambda"),
        ("tree", "skypilot", ""),
        ("web", "skypilot", "nebius"),
        ("hunt", "gpuhunt", ""),
        ("one", "gpuhunt", "nebius"),
        ("vast", "vast", "vast"),
    ]
    assert (found[0].file, found[1].folder) == (tmp_path / "own.csv", tmp_path / "catalogs/v8")


FILE = 'file = "x.csv"'
CLOUD = 'catalogue = "lambda"'
URL = 'url = "https://example.org/x.csv"'


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([CLOUD], "exactly one of file, folder and url"),
        ([CLOUD, FILE, URL], "exactly one of file, folder and url"),
        ([FILE], "catalogue says whose rows these are"),
        ([URL], "catalogue says whose rows these are"),
        ([CLOUD, FILE, 'connector = "excel"'], "excel"),
        ([CLOUD, FILE, "poll = 1"], "unknown field `poll`"),
        ([CLOUD, FILE, "recorded = true", 'connector = "vast"'], "only catalogues in SkyPilot's format"),
        ([CLOUD, FILE, 'token_env = "TOKEN"'], "token_env belongs to a url"),
        ([CLOUD, URL, 'token_env = "UNSET"'], "the environment variable UNSET is not set"),
        ([CLOUD, URL, 'token_env = "ODD"'], "the token in ODD is not ASCII"),
        ([CLOUD, URL, 'token = "s3cret"'], "unknown field `token`"),
        ([CLOUD, 'url = "ftp://example.org/x.csv"'], "begins with https:// or http://"),
        ([CLOUD, 'url = "https:///x.csv"'], "names a host"),
        ([CLOUD, 'url = "https://example.org:x/"'], "url: "),
        ([CLOUD, 'url = "https://me:s3cret@example.org/"'], "url holds a password"),
        ([CLOUD, 'url = "http://example.org/"', 'token_env = "TOKEN"'], "over https only"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_source_that_cannot_be_meant_is_refused_with_its_fault(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(BadSettings, match=said) as refused:
        read(tmp_path, source('name = "n"', *lines), TOKEN="t0ken", ODD="tökén")
    assert "s3cret" not in str(refused.value)


def test_a_token_written_where_its_variables_name_belongs_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="token_env names an environment variable") as refused:
        read(tmp_path, source('name = "n"', CLOUD, URL, 'token_env = "s3cret-token"'))
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 41])
def test_a_name_that_could_not_be_told_from_another_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadSettings, match="name"):
        read(tmp_path, source(f'name = "{name}"', CLOUD, FILE))


def test_two_sources_of_one_name_and_a_list_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="two sources of one name"):
        read(tmp_path, source('name = "n"', CLOUD, FILE) * 2)
    with pytest.raises(BadSettings, match="No such file"):
        read_sources({"HOURBOOK_SUPPLY_SOURCES": str(tmp_path / "none.toml")})
    with pytest.raises(BadSettings):
        read(tmp_path, "sources = []")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadSettings):
        read_sources({"HOURBOOK_SUPPLY_SOURCES": str(tmp_path / "binary.toml")})


def test_the_list_that_the_documents_show_is_read_as_it_stands(tmp_path: Path) -> None:
    document = (Path(__file__).parents[2] / "docs" / "supply.md").read_text()
    (shown,) = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)
    assert [(s.name, s.connector, s.catalogue) for s in read(tmp_path, shown, NEBIUS_TOKEN="t0ken")] == [
        ("own", "skypilot", "lambda"),
        ("tree", "skypilot", ""),
        ("web", "skypilot", "nebius"),
        ("hunt", "gpuhunt", "catalog"),
        ("vast", "vast", "vast"),
    ]


def test_every_reason_is_explained_in_the_documents() -> None:
    document = (Path(__file__).parents[2] / "docs" / "supply.md").read_text()
    told = {
        word.strip("`") for word in re.findall(r"`[a-z_]+`", document.partition("| reason |")[2].partition("\n\n")[0])
    }
    told |= {f"no_class_for{word}" for word in told if word.startswith("_")}
    assert {reason.value for reason in Reason} <= told
