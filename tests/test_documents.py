"""docs: every file and every function that a page names is there, under the name that the page gives it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|toml|sql|sh))(?::([A-Za-z_][A-Za-z_0-9.]*))?`")
"""`gateway/door.py`, `gateway/door.py:Door.submit`."""
PAGES = sorted(page.relative_to(ROOT) for page in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_a_page_names_is_there(page: Path) -> None:
    named = NAMED.findall((ROOT / page).read_text(encoding="utf-8"))
    assert [f"{path}:{name}" if name else path for path, name in named if not _is_there(path, name)] == []


@pytest.mark.parametrize(("page", "least"), [("architecture.md", 90), ("glossary.md", 60)])
def test_the_pages_that_show_the_way_name_many(page: str, least: int) -> None:
    """Else the test above would look at nothing."""
    named = NAMED.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert len(named) >= least


def test_a_name_that_is_not_there_is_found_out() -> None:
    assert _is_there("gateway/door.py", "Door.submit")
    assert _is_there("schemas/codec.py", "")
    assert not _is_there("gateway/door.py", "Door.submitted")
    assert not _is_there("gateway/window.py", "")


def _is_there(path: str, name: str) -> bool:
    """From the root, below services/ or below tests/; a name is a class, a function, a method or a constant."""
    files = [file for folder in ("", "services", "tests") if (file := ROOT / folder / path).is_file()]
    return bool(files) and (not name or any(name in _names(file) for file in files))


@cache
def _names(file: Path) -> frozenset[str]:
    found = set[str]()

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    look(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(
                    prefix + part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)
                )

    look(ast.parse(file.read_text(encoding="utf-8")).body, "")
    return frozenset(found)


ROOMS = sorted(page.parent for page in (ROOT / "services").rglob("__init__.py") if page.parent.name != "routes")


@pytest.mark.parametrize("room", [*ROOMS, ROOT / "schemas"], ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_s_page_names_each_of_its_modules(room: Path) -> None:
    """Else a stranger does not learn what a new one is for."""
    words = set(re.findall(r"[a-z_]+", _page(room)))
    modules = {file.stem for file in room.glob("*.py")} - {"__init__", "__main__"}
    assert sorted(modules - words) == []


@pytest.mark.parametrize("folder", ["bench", *(f"tests/{room.name}" for room in (ROOT / "tests").glob("[a-z]*/"))])
def test_every_folder_of_code_has_a_page(folder: str) -> None:
    assert len(_page(ROOT / folder)) > 60


def _page(folder: Path) -> str:
    """The docstring of the package, or of its main module, or of what its tests are given."""
    for name in ("__init__.py", "__main__.py", "conftest.py"):
        if (folder / name).is_file() and (page := ast.get_docstring(ast.parse((folder / name).read_text("utf-8")))):
            return page
    return ""
