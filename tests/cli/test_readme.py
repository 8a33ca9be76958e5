"""What README.md tells a newcomer to type is typed, in a sandbox that has only what comes as wheels."""

import re
import shutil
import subprocess
import sys

import pytest

from services.cli.__main__ import hourbook
from tests.cli.conftest import CHECKOUT, Sandbox, closing, wait_for_asks
from tests.cli.documents import blocks, commands, samples, shape, within_a_day

STARTS = ("make install", "make run", "make test")


def test_the_sandbox_is_ready_within_fifteen_seconds(sandbox: Sandbox) -> None:
    """Until orders are taken and somebody bids and asks: so many times later as Python itself starts later on a busy machine."""
    print(
        f"first trade possible after {sandbox.ready_s:.1f} s, on a machine {sandbox.slowness:.1f} times slower than idle"
    )
    assert sandbox.ready_s < 15 * sandbox.slowness


def test_the_first_lines_say_what_to_type_next(sandbox: Sandbox) -> None:
    """The commands of the README, with prices a little above what is asked; where no hour runs, a forward one in its place."""
    suggested = [line for line in sandbox.said().splitlines() if ".venv/bin/hourbook" in line]
    shown = blocks("README.md")[2].splitlines()
    assert list(map(shape, suggested[1:])) == list(map(shape, shown[1:]))
    assert shape(suggested[0]) in {shape(shown[0]), shape(shown[0].replace("--now", '--hour "in 3 hours"'))}


def test_make_run_is_what_is_started_here() -> None:
    """The existing .venv stands in for `make install`, the fixture for `make run`."""
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "run"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == ".venv/bin/hourbook sandbox"


@pytest.mark.usefixtures("before_the_gate", "inside")
def test_every_command_of_the_readme_works(sandbox: Sandbox) -> None:
    typed = [command for command in commands("README.md") if command not in STARTS]
    if closing():
        typed = [command for command in typed if not re.search(r"--now| ssh | stop$", command)]
    elif shutil.which("ssh") is None:
        typed = [command for command in typed if " ssh " not in command]
    wait_for_asks("H100.SXM.80.US")
    # The audit reads all that the desk has quoted so far, which on a busy machine takes minutes.
    ends = {command: sandbox.run(command, timeout_s=250) for command in typed}

    assert len(ends) >= 10
    assert {command: (done.code, done.err) for command, done in ends.items() if done.code} == {}
    assert "H100.SXM.80.US" in ends[".venv/bin/hourbook positions"].out
    assert "bought 8 in each hour" in next(done.out for command, done in ends.items() if "--block" in command)
    assert "to_trading" in ends[".venv/bin/hourbook ledger"].out
    assert "none broken" in ends[".venv/bin/hourbook audit --young"].out


def test_the_readme_shows_what_is_printed(sandbox: Sandbox) -> None:
    shown = samples("README.md")

    assert len(shown) == 1
    for sample in shown:
        done = sandbox.run(sample.command)
        assert within_a_day(done.out) == shape(sample.output)


@pytest.mark.usefixtures("before_the_gate")
def test_a_resold_hour_and_what_it_brought(sandbox: Sandbox) -> None:
    """The ask of the README waits, since the desk's is lower; it is in the book, can be cancelled, and is gone."""
    sold = sandbox.json("sell", "1", "H100.SXM.80.US", "--hour", "in 3 hours", "--price", "3.60")
    assert (sold["state"], sold["leaves"]) == ("open", 1)
    book = sandbox.json("book", "H100.SXM.80.US", "--hour", "in 3 hours")
    assert "3.60" in [price for price, _ in book["asks"]]
    said = sandbox.hourbook("cancel", sold["order_id"]).out
    assert within_a_day(said) == "order N-N-N-N: N GPU of HN.SXM.N.US, D N D N:N (N:N UTC) cancelled"
    assert sold["order_id"] not in [order["order_id"] for order in sandbox.json("orders")]


@pytest.mark.parametrize(
    "document", ["README.md", "docs/operations.md", "docs/supply.md", "docs/api.md", "docs/engine.md"]
)
def test_what_documents_name_is_there(document: str) -> None:
    """Targets of the Makefile, files that are linked, commands of the command line."""
    text = (CHECKOUT / document).read_text()
    targets = set(re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    folder = (CHECKOUT / document).parent
    typed = set(re.findall(r"`(?:\.venv/bin/)?hourbook ([a-z]+)", text))

    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets
    assert [link for link in re.findall(r"\]\(([^)#:]+)[^)]*\)", text) if not (folder / link).exists()] == []
    assert typed <= set(hourbook.commands)


@pytest.mark.usefixtures("before_the_gate")
def test_the_signed_requests_of_the_api_document_work_as_they_stand(sandbox: Sandbox) -> None:
    """An order that waits, and is cancelled again."""
    (example,) = blocks("docs/api.md", "Keys")

    done = sandbox.run([sys.executable, "-c", example])

    assert (done.code, done.out, done.err) == (0, "open\n1\n", "")
