"""A green run says which servers it had. These rules are in tests/conftest.py; here they are tried on a small suite."""

import os
import re
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
SUITE = """
import pytest
from tests.conftest import Skip

def test_plain():
    pass

@pytest.mark.skip(reason="does not work on my machine")
def test_with_an_excuse():
    pass

@pytest.mark.kafka
def test_without_kafka():
    pytest.skip(Skip.NO_KAFKA)

@pytest.mark.postgres
def test_with_postgres():
    pass

@pytest.mark.xfail(strict=True, reason="known")
def test_expected_to_fail():
    assert False
"""


def test_a_skip_needs_a_listed_reason(tmp_path: Path) -> None:
    code, outcomes, _ = run(tmp_path, SUITE)

    assert outcomes == {
        "test_plain": "PASSED",
        "test_with_an_excuse": "ERROR",
        "test_without_kafka": "SKIPPED",
        "test_with_postgres": "PASSED",
        "test_expected_to_fail": "XFAIL",
    }
    assert code == 1


def test_where_servers_must_run_even_a_listed_skip_fails(tmp_path: Path) -> None:
    code, outcomes, output = run(tmp_path, SUITE, "--must-run=kafka,postgres")

    assert outcomes["test_without_kafka"] == "FAILED"
    assert "must run here, as it needs kafka" in output
    assert "ran: 0 kafka, 1 postgres" in output
    assert code == 1


def test_where_servers_must_run_a_suite_without_them_fails(tmp_path: Path) -> None:
    """Otherwise a suite from which the tests have disappeared would be the greenest."""
    code, outcomes, output = run(tmp_path, "def test_plain():\n    pass\n", "--must-run=kafka")

    assert outcomes == {"test_plain": "PASSED"}
    assert "ran: 0 kafka" in output
    assert code == 1


def test_a_module_that_skips_itself_needs_a_listed_reason_too(tmp_path: Path) -> None:
    code, _, output = run(tmp_path, "import pytest\npytest.importorskip('no_such_library')\n")

    assert "skipped for a reason that tests/conftest.py does not list" in output
    assert code != 0


def test_several_processes_count_together(tmp_path: Path) -> None:
    two = ("-p", "xdist", "-n", "2", "--must-run=postgres")
    test = "@pytest.mark.postgres\ndef test_{}():\n    pass\n"

    code, _, output = run(tmp_path, "import pytest\n" + test.format("one") + test.format("two"), *two)

    assert "ran: 2 postgres" in output
    assert code == 0
    assert run(tmp_path, "def test_plain():\n    pass\n", *two)[0] == 1


def run(folder: Path, suite: str, *options: str) -> tuple[int, dict[str, str], str]:
    """Exit code, outcome per test, and all that was printed."""
    (folder / "test_suite.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-v", "-c", os.devnull, f"--rootdir={folder}"]
    done = subprocess.run(
        [*command, "-p", "tests.conftest", "-p", "no:cacheprovider", *options, folder],
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    outcomes = dict(re.findall(r"::(test_\w+) (\w+)", done.stdout))
    return done.returncode, outcomes, done.stdout + done.stderr
