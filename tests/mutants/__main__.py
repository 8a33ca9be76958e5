"""`make mutants`: plant each bug of mutants.toml in a copy of the tree and see the test that it names turn red.

A mutant is caught only when that very test, which passes without the bug, fails with it on an assertion (or on an exception that
was wanted and did not come). An import error, a type error, a collection error, a time-out or a test that did not run is not a
catch. Prints a line per mutant and caught/planted; exits 1 when one was not caught.

    python -m tests.mutants                    all of them, two at a time
    python -m tests.mutants "queue" M6         those whose name contains a word, or that break an invariant
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from msgspec import Struct, convert

ROOT: Final = Path(__file__).resolve().parents[2]
COPIED: Final = ("bench", "deploy", "docs", "schemas", "services", "tests", "README.md", "pyproject.toml")
AT_ONCE: Final = 2
TIMEOUT_S: Final = 120
"""For each test of a run: a bug may make one wait for ever."""
CATCHES: Final = ("AssertionError", "assert ", "Failed: DID NOT RAISE")
"""How the message of a failure begins that says: a rule does not hold."""


class Mutant(Struct, frozen=True):
    """One planted bug: `old` (which occurs exactly once in `file`) becomes `new`."""

    name: str
    invariant: str
    file: str
    old: str
    new: str
    test: str
    """What pytest runs; it must fail."""


class Unusable(Exception):
    """The list does not fit the tree; a sentence for whoever changed one of them."""


@cache
def load() -> list[Mutant]:
    """The list. Raises Unusable, with every fault that it has."""
    text = (Path(__file__).parent / "mutants.toml").read_text()
    mutants = [convert(row, Mutant) for row in tomllib.loads(text)["mutant"]]
    names = [mutant.name for mutant in mutants]
    faults = [f"{name}: two mutants have this name" for name in sorted({n for n in names if names.count(n) > 1})]
    faults += [f"{mutant.name}: {fault}" for mutant in mutants if (fault := _fault(mutant))]
    if faults:
        raise Unusable("mutants.toml does not fit the tree:\n" + "\n".join(faults))
    return mutants


def _fault(mutant: Mutant) -> str:
    path = ROOT / mutant.file
    if not path.is_file():
        return f"{mutant.file} is not there"
    count = path.read_text().count(mutant.old)
    if count != 1:
        return (
            f"its text occurs {count} times in {mutant.file}, wanted is once: bring it up to date\n    {mutant.old!r}"
        )
    if mutant.old == mutant.new:
        return "it changes nothing"
    if path.suffix == ".py":
        try:
            ast.parse(planted(mutant, path.read_text()))
        except SyntaxError as error:
            return f"it breaks the grammar instead of a rule: {error}"
    file, _, function = mutant.test.partition("::")
    if not (ROOT / file).is_file():
        return f"its test {file} is not there"
    if f"def {function.partition('[')[0]}(" not in (ROOT / file).read_text():
        return f"its test {function} is not in {file}"
    return ""


def planted(mutant: Mutant, text: str) -> str:
    """The file's text with the bug in it."""
    return text.replace(mutant.old, mutant.new)


# --- Running -------------------------------------------------------------------------------------------------


class Tree:
    """A copy of the project in which one bug at a time is planted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            # With the compiled files: those of a planted file are never written, and never fit.
            source, target = ROOT / name, folder / name
            shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)

    @contextmanager
    def with_bug(self, mutant: Mutant) -> Iterator[None]:
        path = self.folder / mutant.file
        text = path.read_text()
        path.write_text(planted(mutant, text))
        try:
            yield
        finally:
            path.write_text(text)

    def run(self, *tests: str) -> tuple[int, list[tuple[str, str]]]:
        """(pytest's exit code, (test, message) of what failed). Raises TimeoutExpired."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(self.folder)}
        environment.pop("HOURBOOK_SEED", None)
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S * len(tests),
            check=False,
        )
        if not report.exists():
            return done.returncode, [("pytest", done.stdout[-2000:] + done.stderr[-2000:])]
        failed = []
        for case in ET.parse(report).getroot().iter("testcase"):
            for kind in ("failure", "error"):
                for trouble in case.iter(kind):
                    message = trouble.get("message", "") if kind == "failure" else f"error: {trouble.get('message')}"
                    failed.append((case.get("name", ""), message))
        return done.returncode, failed


def verdict(tree: Tree, mutant: Mutant) -> str:
    """`caught`, or why not."""
    with tree.with_bug(mutant):
        try:
            code, failed = tree.run(mutant.test)
        except subprocess.TimeoutExpired:
            return f"took more than {TIMEOUT_S} s"
    if code == 0:
        return "SURVIVED"
    wanted = mutant.test.partition("::")[2].partition("[")[0]
    for test, message in failed:
        if test.partition("[")[0] != wanted:
            return f"did not run: {test}: {message}"
        if not message.startswith(CATCHES):
            return f"broke the code instead of the rule: {message.splitlines()[0] if message else test}"
    return "caught" if failed else f"did not run (pytest exit {code})"


def run_all(mutants: list[Mutant]) -> list[Mutant]:
    """Those that were not caught. Prints as it goes."""
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory(prefix="hourbook-mutants-") as home:
        trees: SimpleQueue[Tree] = SimpleQueue()
        for number in range(AT_ONCE):
            folder = Path(home) / str(number)
            folder.mkdir()
            trees.put(Tree(folder))
        tests = sorted({mutant.test for mutant in mutants})
        print(f"{len(tests)} tests without a bug", flush=True)
        tree = trees.get()
        code, failed = tree.run(*tests)
        trees.put(tree)
        if code:
            raise Unusable(
                "\n".join(["tests fail without any bug:", *(f"{test}: {message}" for test, message in failed)])
            )

        def judge(mutant: Mutant) -> tuple[str, float]:
            began = time.monotonic()
            mine = trees.get()
            try:
                return verdict(mine, mutant), time.monotonic() - began
            finally:
                trees.put(mine)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for number, (mutant, (said, took_s)) in enumerate(zip(mutants, pool.map(judge, mutants), strict=True), 1):
                line = f"{number:>3}/{len(mutants)} {mutant.invariant:<2} {mutant.name:<52} {took_s:4.1f} s  {said}"
                print(line if said == "caught" else f"{line}\n        [{mutant.test}]", flush=True)
                if said != "caught":
                    survivors.append(mutant)
    return survivors


def main(words: list[str]) -> int:
    """Exit code."""
    try:
        mutants = [m for m in load() if not words or any(word in m.name or word == m.invariant for word in words)]
        survivors = run_all(mutants) if mutants else []
    except Unusable as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(mutants) - len(survivors)} caught / {len(mutants)} planted")
    return 0 if mutants and not survivors else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
