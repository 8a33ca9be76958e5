"""How a command fails: one line, and an exit code that says what to do.

CliError
├── Unusable     2  the command's words or the profile are wrong: change them
├── Refused      3  the exchange refused; nothing happened
├── Unknown      4  it may or may not have happened: ask again as the line says
└── Unreachable  5  nobody answers at the address
"""

from __future__ import annotations

from typing import IO, Any

import click


class CliError(click.ClickException):
    """One line on standard error."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Without click's own prefix."""
        click.echo(f"hourbook: {self.message}", file=file, err=file is None)


class Unusable(CliError):
    """Change the words."""

    exit_code = 2


class Refused(CliError):
    """It had no effect."""

    exit_code = 3


class Unknown(CliError):
    """It may have had an effect."""

    exit_code = 4


class Unreachable(CliError):
    """Nobody answers."""

    exit_code = 5
