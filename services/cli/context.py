"""What every command is given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import click

from services.cli import output
from services.cli.client import Client


class Context:
    """The client is made when it is first used."""

    def __init__(self, *, as_json: bool, make_client: Callable[[str], Client]) -> None:
        self.as_json = as_json
        self._make_client = make_client
        self._clients: dict[str, Client] = {}
        self._now: datetime | None = None

    def client(self, name: str = "member") -> Client:
        """Speaks as `member` or `operator`."""
        if name not in self._clients:
            self._clients[name] = self._make_client(name)
        return self._clients[name]

    def now(self, name: str = "member") -> datetime:
        """The market's, in the local zone; the same for the whole command. Raises CliError.

        A machine's own clock may be wrong, and in a fast sandbox the market's runs faster.
        """
        if self._now is None:
            self._now = self.client(name).market_now()
        return self._now

    def close(self) -> None:
        """At the end of the command."""
        for client in self._clients.values():
            client.close()

    def show(self, value: object, human: Callable[[], object]) -> None:
        """`human()` prints for people."""
        if self.as_json:
            output.document(value)
        else:
            human()


pass_context = click.make_pass_decorator(Context)
