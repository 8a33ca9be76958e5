"""docs/benchmarks.md: written from the lines of a run, and from bench/notes.toml, which nobody but people write."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from bench.figures import FIGURES, Figure, Line
from services.runtime.infra.kafka import JARS
from services.runtime.infra.postgres import LocalPostgres, WheelPostgres

NOTES: Final = Path(__file__).with_name("notes.toml")
HEAD: Final = """\
# Benchmarks

Written by `make bench`; what is said about single figures is kept in `bench/notes.toml`. Read the ratios: absolute figures
depend on the machine and on who else works on it. Each side runs in a process of its own, the two in turn; the ratio is the
median of the rounds' ratios, the spread their least and greatest (of our own figure where there is no peer). After its run each
bench checks that what it claims was done: fees, repeats, fills, sums. *Compiled* is our side on the build of `make compile`: the
same sources as machine code.
"""
PACKAGES: Final = ("msgspec", "aiokafka", "asyncpg", "uvloop", "litestar", "granian", "matching-engine")


def write(lines: Mapping[str, Line | str], seconds: float, load: float) -> str:
    """Figure → its line, or why there is none → the text of the page. `load`: of the minute before."""
    notes = tomllib.loads(NOTES.read_text())
    parts = [
        HEAD,
        *about(seconds, load),
        "",
        "| figure | target | ours | peer | unit | ratio | spread | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(figure, lines[figure.key]) for figure in FIGURES),
        "",
        "## What is inside",
    ]
    for name in dict.fromkeys(figure.name for figure in FIGURES):
        variants = [figure for figure in FIGURES if figure.name == name]
        parts += ["", f"**{name}** (`python -m bench.{name}`): {variants[0].inside}."]
        note = notes.get(name, {})
        missed = any(isinstance(line := lines[figure.key], dict) and not figure.reached(line) for figure in variants)
        parts += [note[key].strip() for key, wanted in (("always", True), ("missed", missed)) if wanted and key in note]
    return "\n".join(parts) + "\n"


def about(seconds: float, load: float) -> list[str]:
    """When, where, and with what. `load`: of the minute before."""
    return [
        f"- {datetime.now(UTC):%Y-%m-%d}, {seconds / 60:.0f} minutes, commit {_commit()}",
        f"- {_machine()}; load of the minute before: {load:.1f}",
        f"- {_versions()}",
    ]


def with_section(page: str, heading: str, text: str) -> str:
    """A page with `text` under one of its second headings; what people wrote under the others stays."""
    pattern = re.compile(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    section = f"## {heading}\n\n{text.strip()}\n"
    if not pattern.search(page):
        return f"{page.rstrip()}\n\n{section}"
    return pattern.sub(lambda found: section + ("\n" if found.end() < len(page) else ""), page)


def _row(figure: Figure, line: Line | str) -> str:
    if isinstance(line, str):
        return f"| {figure.key}: {figure.title} | {figure.target()} | | | | | | no figure: {line} |"
    verdict = "reached" if figure.reached(line) else "**missed**"
    spread = line["spread_ratio"] or line["spread_ours"]
    cells = (
        f"{figure.key}: {figure.title}",
        figure.target(),
        _number(line["ours"]),
        _number(line["peer"]),
        line["unit"],
        _number(line["ratio"]),
        " – ".join(_number(value) for value in spread),
        verdict,
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"


def _machine() -> str:
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())):
        model = found[1]
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory_gib:.0f} GiB, {platform.system()} {platform.machine()}"


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {package}")
    found += [f"Apache Kafka {jar.stem.removeprefix('kafka-clients-')}" for jar in JARS.glob("kafka-clients-*.jar")]
    java = _said(["java", "-version"])
    if version := re.search(r'version "([^"]+)"', java):
        found.append(f"Java {version[1]}")
    programs = LocalPostgres.programs() or WheelPostgres.programs()
    if programs and (version := re.search(r"\d+\.\d+", _said([str(programs / "postgres"), "--version"]))):
        found.append(f"Postgres {version[0]}")
    return ", ".join(found)


def _commit() -> str:
    changed = " with changes" if _said(["git", "status", "--porcelain", "--untracked-files=no"]) else ""
    return (_said(["git", "rev-parse", "--short", "HEAD"]) or "unknown") + changed


def _said(command: list[str]) -> str:
    """What a program prints; nothing where there is no such program."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        print(f"bench: {command[0]}: {error}", file=sys.stderr)
        return ""
    return (done.stdout + done.stderr).strip() if done.returncode == 0 else ""
