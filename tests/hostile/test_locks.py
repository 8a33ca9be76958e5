"""What is installed is what was locked: exact versions, a hash for every file, and no address of anything else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
_LINE = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[0-9][0-9a-z.+!-]*)(?: ; (?P<marker>.+))?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


class Locked(NamedTuple):
    """One requirement of a lock file."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def locked(file: str) -> list[Locked]:
    """Every line is one of three things: a comment, a requirement with an exact version, or a hash of the one before."""
    found: list[Locked] = []
    for line in (ROOT / file).read_text().splitlines():
        words = line.removesuffix("\\").strip()
        if not words or words.startswith("#"):
            continue
        if _HASH.fullmatch(words):
            found[-1] = found[-1]._replace(hashes=(*found[-1].hashes, words))
            continue
        match = _LINE.fullmatch(words)
        assert match, f"{file}: {line!r} is neither a requirement with its version nor a hash"
        found.append(Locked(match["name"], match["version"], match["marker"] or "", ()))
    return found


@pytest.mark.parametrize("file", LOCKS)
def test_every_requirement_has_an_exact_version_and_hashes_and_no_address(file: str) -> None:
    """An option line, an address or an editable would be none of the three things that a line may be."""
    requirements = locked(file)
    assert len(requirements) > 25
    assert [each.name for each in requirements if not each.hashes] == []
    places = [(each.name, each.marker) for each in requirements]
    assert len(places) == len(set(places))
    assert not re.search(r"https?:|file:|git\+|--index|--find-links|--trusted", (ROOT / file).read_text())


def test_the_tools_stand_on_what_runs() -> None:
    """Whatever runs the exchange is tested in the very version and the very files that run it."""
    run, all_of_them = locked(LOCKS[0]), {(each.name, each.marker): each for each in locked(LOCKS[1])}
    assert [each.name for each in run if all_of_them.get((each.name, each.marker)) != each] == []


def test_everything_that_is_declared_is_locked_and_at_least_as_new() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *declared["dependencies"],
        *(each for extra in declared["optional-dependencies"].values() for each in extra),
    ]
    found = {each.name: each.version for each in locked(LOCKS[1])}
    for requirement in wanted:
        match = re.match(r"([A-Za-z0-9-]+)(?:\[[a-z,]+\])?>=([0-9.]+)", requirement)
        assert match, f"{requirement!r} has no lower bound"
        name, least = match[1].lower(), match[2]
        assert _number(found[name]) >= _number(least), requirement
    run = {each.name for each in locked(LOCKS[0])}
    assert {re.split(r"[>=;\[]", each)[0].lower() for each in declared["dependencies"]} <= run


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def test_nothing_is_installed_past_the_lock() -> None:
    """Each script and image that installs asks for hashes, or for nothing from outside."""
    files = [
        ROOT / "deploy/install.sh",
        *(ROOT / "deploy").rglob("*Dockerfile*"),
        *(ROOT / "deploy").rglob("*Containerfile*"),
    ]
    installs = [
        (file.name, line.strip())
        for file in files
        for line in re.sub(r"\\\n", " ", file.read_text()).splitlines()
        if re.search(r"\bpip\b.*\binstall\b", line)
    ]
    assert len(installs) >= 2
    bare = [each for each in installs if not re.search(r"--require-hashes|--no-index|--no-deps", each[1])]
    assert bare == []
