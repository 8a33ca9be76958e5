"""`python -m bench`: every figure, one after the other, and docs/benchmarks.md. With names: only these, and no page.

Exit 1 when a bench failed to run; a target that is missed is a result.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench import compiled
from bench.document import write
from bench.figures import FIGURES, Figure, Line

FAILED = "failed"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def run(figure: Figure) -> Line | str:
    """One bench in a process of its own, or why it has no figure; what it says of its progress goes to our stderr."""
    print(f"--- {figure.key}: {figure.title}", file=sys.stderr, flush=True)
    if figure.compiled and (reason := compiled.missing()):
        print(f"--- {figure.key} is {reason}", file=sys.stderr, flush=True)
        return reason
    done = subprocess.run([sys.executable, *figure.command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"--- {figure.key} FAILED ({done.returncode})", file=sys.stderr, flush=True)
        return FAILED
    text = done.stdout.strip().splitlines()[-1]
    print(text, flush=True)
    line: Line = json.loads(text)
    return line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(figure.name for figure in FIGURES))
    names = parser.parse_args().names
    unknown = set(names) - {figure.name for figure in FIGURES}
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}")
    started, load = time.monotonic(), os.getloadavg()[0]
    lines: dict[str, Line | str] = {}
    for figure in FIGURES:
        if figure.name in names or not names:
            lines[figure.key] = run(figure)
    for figure in FIGURES:
        line = lines.get(figure.key)
        if isinstance(line, dict):
            verdict = "reached" if figure.reached(line) else "MISSED"
            print(f"{figure.key:20} {figure.target():28} {figure.by} {line[figure.by]:<10} {verdict}", file=sys.stderr)
    if not names:
        PAGE.write_text(write(lines, time.monotonic() - started, load))
        print(f"written: {PAGE.relative_to(PAGE.parents[1])}", file=sys.stderr)
    return 1 if FAILED in lines.values() else 0


if __name__ == "__main__":
    sys.exit(main())
