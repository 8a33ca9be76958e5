"""A figure of the compiled build is only taken where there is one, made of the sources as they are now."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import compiled


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for room in ("schemas", "services/matching"):
        (tmp_path / room).mkdir(parents=True)
        touch(tmp_path / room / "a.py", 1_000)
    monkeypatch.setattr(compiled, "CHECKOUT", tmp_path)
    monkeypatch.setattr(compiled, "BUILD", tmp_path / "var" / "compiled")
    return tmp_path


def touch(file: Path, when_s: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, (when_s, when_s))


def test_there_is_none_before_it_is_built_and_after_a_source_has_changed(checkout: Path) -> None:
    assert compiled.missing().startswith("not built")
    touch(checkout / "var/compiled/services/matching/engine.so", 2_000)
    assert compiled.missing() == ""
    touch(checkout / "services/matching/a.py", 3_000)
    assert compiled.missing().startswith("older than its sources")
    with pytest.raises(SystemExit, match="older than its sources"):
        compiled.environment()


def test_a_process_finds_the_build_first_and_the_benches_beside_it(checkout: Path) -> None:
    touch(checkout / "var/compiled/services/matching/engine.so", 2_000)
    env = compiled.environment({"PATH": os.environ["PATH"]})
    said = subprocess.run(
        [sys.executable, "-c", "import sys; print(sys.path)"], env=env, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(f"['{checkout}/var/compiled', '{checkout}', ")


def test_this_process_runs_the_sources() -> None:
    assert not compiled.is_compiled()
