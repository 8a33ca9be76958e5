"""How a command fails: one line on standard error, and an exit code that says what to do.

CliError
├── Unusable     2  the command's words or the profile are wrong: change them
├── Refused      3  the exchange refused; nothing happened
├── Unknown      4  it may or may not have happened: ask again as the line says
├── Unreachable  5  nobody answers at the address
└── ToolEnded       another room's tool ended with a code of its own: 1 fault or broken, 65 halted, 69 away, 78 settings

With --json the line's place is taken by one JSON document on standard output, of the form in which the API answers a problem
(`schemas.http.Problem`); where the API has answered one, it is that very one.
"""

from __future__ import annotations

from typing import IO, Any, ClassVar, Literal

import click

from schemas.http import Problem


class CliError(click.ClickException):
    """A sentence, a code for programs, an exit code."""

    code: ClassVar[str]
    title: ClassVar[str]
    outcome: ClassVar[Literal["rejected", "unknown"]] = "rejected"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, answered: Problem | None = None) -> None:
        # One line, whatever it was made of.
        super().__init__(" ".join(message.split()))
        self.answered = answered

    def problem(self) -> Problem:
        """For programs. `status` 0: no HTTP answer has led to it."""
        return self.answered or Problem(
            type=f"/problems/{self.code}",
            title=self.title,
            status=0,
            detail=self.message,
            code=self.code,
            request_id="",
            retryable=self.retryable,
            outcome=self.outcome,
        )

    def show(self, file: IO[Any] | None = None) -> None:
        """The line, without click's own prefix."""
        click.echo(f"hourbook: {self.message}", file=file, err=file is None)


class Unusable(CliError):
    """Change the words."""

    exit_code = 2
    code = "wrong_words"
    title = "The command cannot be used like this"


class Refused(CliError):
    """It had no effect."""

    exit_code = 3
    code = "refused"
    title = "The exchange refused"


class Unknown(CliError):
    """It may have had an effect."""

    exit_code = 4
    code = "outcome_unknown"
    title = "It may or may not have happened"
    outcome = "unknown"
    retryable = True


class Unreachable(CliError):
    """Nobody answers."""

    exit_code = 5
    code = "unreachable"
    title = "Nobody answers"
    retryable = True


class ToolEnded(CliError):
    """Another room's tool did not end well."""

    code = "tool_ended"
    title = "The tool did not end well"

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click's is the class's; this one is the tool's own
