"""docs/rules.md: every rule names a test, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([a-z_]+/test_[a-z_0-9]+\.py)::(test_[A-Za-z_0-9]+)`", TEXT)


def test_every_test_that_the_rule_book_names_is_there() -> None:
    assert len(NAMED) > 40
    missing = [
        f"{file}::{name}"
        for file, name in NAMED
        if not (ROOT / "tests" / file).exists()
        or f"def {name}(" not in (ROOT / "tests" / file).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_every_line_of_a_table_of_rules_names_one() -> None:
    rules = False
    bare = []
    for line in TEXT.splitlines():
        if not line.startswith("|"):
            rules = False
        elif line.endswith("| test |"):
            rules = True
        elif rules and "---" not in line and "::test_" not in line:
            bare.append(line)
    assert bare == []
