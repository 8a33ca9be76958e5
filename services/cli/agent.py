"""`hourbook agent`: the program on a provider's machine, which is the room `agent`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def agent(words: tuple[str, ...]) -> NoReturn:
    """Let tenants in on this machine: `hourbook agent --help`.

    For providers (docs/agent.md). Exit codes: 0 stopped, 1 fault, 2 words or machine, 3 the exchange said no.
    """
    os.execv(sys.executable, [sys.executable, "-m", "services.agent", *words])  # noqa: S606 # our own room
