"""Where `hourbook` begins: Ctrl-C is looked after before anything is imported, which on a busy machine takes seconds."""

import signal
import sys


def main() -> None:
    """Console script. Never returns."""
    try:
        from services.cli.__main__ import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
