"""`make mutants`: plant each bug of mutants.toml in a copy of the tree and see its test turn red.

A mutant counts as caught only when its test ran and failed: an import or type error, a collection error, a
time-out or a test that did not run is not a catch. Prints caught/planted; exits 1 when one survived.
`python -m tests.mutants NAME ...` runs some of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from msgspec import Struct, convert

ROOT: Final = Path(__file__).resolve().parents[2]
COPIED: Final = ("schemas", "services", "tests", "pyproject.toml")
NOT_A_CATCH: Final = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError", "AttributeError", "TypeError")
TIMEOUT_S: Final = 300


class Mutant(Struct):
    """One planted bug: `old` (which occurs exactly once in `file`) becomes `new`."""

    name: str
    invariant: str
    file: str
    old: str
    new: str
    test: str
    """What pytest runs; it must fail."""


def load() -> list[Mutant]:
    """The list, checked: names are unique and every `old` is found exactly once."""
    text = (Path(__file__).parent / "mutants.toml").read_text()
    mutants = [convert(row, Mutant) for row in tomllib.loads(text)["mutant"]]
    assert len({mutant.name for mutant in mutants}) == len(mutants), "two mutants share a name"
    for mutant in mutants:
        count = (ROOT / mutant.file).read_text().count(mutant.old)
        assert count == 1, f"{mutant.name}: its text occurs {count} times in {mutant.file}; bring it up to date"
        assert mutant.old != mutant.new, f"{mutant.name} changes nothing"
    return mutants


def plant(mutant: Mutant, tree: Path) -> None:
    """Copy the project to `tree` and change one place in it."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    path = tree / mutant.file
    path.write_text(path.read_text().replace(mutant.old, mutant.new))


def verdict(mutant: Mutant) -> str:
    """`caught`, or why not."""
    with tempfile.TemporaryDirectory(prefix="hourbook-mutant-") as folder:
        plant(mutant, Path(folder))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", mutant.test]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return "timed out"
    if done.returncode == 0:
        return "survived"
    if done.returncode != 1:
        return f"did not run (pytest exit {done.returncode})\n{done.stdout[-2000:]}"
    errors = [line for line in done.stdout.splitlines() if line.startswith("E  ")]
    if any(error.split()[1].rstrip(":") in NOT_A_CATCH for error in errors if len(error.split()) > 1):
        return f"broke the code instead of the rule: {errors[0]}"
    return "caught"


def main(names: list[str]) -> int:
    """Run all, or those named."""
    mutants = [mutant for mutant in load() if not names or mutant.name in names]
    caught = 0
    for number, mutant in enumerate(mutants, 1):
        said = verdict(mutant)
        caught += said == "caught"
        print(f"{number:>3}/{len(mutants)} {mutant.invariant:<3} {mutant.name:<40} {said}  [{mutant.test}]", flush=True)
    print(f"{caught} caught / {len(mutants)} planted")
    return 0 if mutants and caught == len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
