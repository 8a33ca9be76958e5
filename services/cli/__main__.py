"""`hourbook`: the command line. Exit codes: 0 done, 2 wrong words, 3 refused, 4 unknown outcome, 5 unreachable; see `errors`."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from services.cli import capacity, income, leases, machines, output, profile, rentals, status, tools
from services.cli.admin import admin
from services.cli.agent import agent
from services.cli.client import Client
from services.cli.errors import CliError, Refused, Unusable
from services.cli.member import COMMANDS, Context, pass_context
from services.cli.rent import rent
from services.cli.rooms import SERVICES

if TYPE_CHECKING:
    from services.cli.keeper import Keeper
    from services.cli.local import Up

# What starts exchanges is imported where it is used: the image of production has no servers, and looking needs no Kafka.


ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Hourbook(click.Group):
    """Ends every command with an exit code, and a failed one with one line, or one JSON document."""

    def main(  # click's own signature
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002
        **extra: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Never returns."""
        words = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in itertools.takewhile(lambda word: word.startswith("-"), words)
        try:
            code = super().main(words, prog_name, complete_var, standalone_mode=False, **extra)
        except click.Abort:
            sys.exit(128 + signal.SIGINT)
        except click.ClickException as raised:
            error = raised if isinstance(raised, CliError) else _unusable(raised)
            if as_json:
                output.document(error.problem())
            else:
                error.show()
            sys.exit(error.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


def _unusable(error: click.ClickException) -> Unusable:
    """Click's complaint in one line, with where to look."""
    where = "hourbook"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        where = error.ctx.command_path
    if isinstance(error, click.NoSuchOption) and error.option_name == "--json":
        return Unusable("--json goes before the command: hourbook --json balance")
    return Unusable(f"{error.format_message().rstrip('.')}; see `{where} --help`")


@click.group(cls=Hourbook, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of tables; also where it fails.")
@click.pass_context
def hourbook(context: click.Context, as_json: bool) -> None:
    """Limit order books for GPU hours."""
    context.obj = Context(as_json=as_json, make_client=lambda name: Client(profile.find(name)))
    context.call_on_close(context.obj.close)
    if context.invoked_subcommand is None and as_json:
        raise Unusable("--json goes before a command: hourbook --json balance")
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    *COMMANDS,
    rent,
    *rentals.COMMANDS,
    *leases.COMMANDS,
    *machines.COMMANDS,
    *capacity.COMMANDS,
    *income.COMMANDS,
    *tools.COMMANDS,
    admin,
    agent,
):
    hourbook.add_command(command)


# --- Starting and stopping ----------------------------------------------------------------------------------


@hourbook.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="The gateway's port; default: any free one.")
@click.option("--only-wheels", is_flag=True, help="Leave aside a Postgres that this machine has of its own.")
@click.option("--quiet", is_flag=True, help="Without demo members: only you and the desk trade.")
@click.option(
    "--plain", is_flag=True, help="A few lines in place of the screen; so it is where the output is no terminal."
)
@click.option(
    "--fast", type=click.IntRange(1, 60), default=1, help="Seconds of the market in one of ours: hours pass in minutes."
)
@pass_context
def sandbox(context: Context, port: int, only_wheels: bool, quiet: bool, plain: bool, fast: int) -> None:
    """An exchange on this machine that lives until Ctrl-C. Needs nothing but Python."""
    from services.cli import local, watching

    for number in ENDING:
        signal.signal(number, _interrupt)
    say = _progress(context)
    try:
        with local.sandbox(say, port=port, only_wheels=only_wheels, demo=not quiet, rate=fast) as (stack, keeper):
            client = context.client()
            _wait_for_quote(keeper, lambda: watching.quoted(client) is not None)
            if context.as_json:
                output.document({"url": stack.url, "home": str(profile.SANDBOX), "pid": os.getpid()})
                sys.stdout.flush()
            page = profile.page_of(profile.find("member"))
            watching.show(stack.url, page, client, keeper.lives, silent=context.as_json, plain=plain)
    except KeyboardInterrupt:
        pass
    say("stopped; nothing is left")


def _interrupt(number: int, frame: object) -> NoReturn:  # noqa: ARG001 # a signal handler's
    """A closed terminal or a plain `kill` ends it like Ctrl-C: in order, and once, however often it is pressed."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _progress(context: Context) -> Callable[[str], None]:
    """Says how far it is; with --json on standard error, where it is in nobody's way."""
    if context.as_json:
        return lambda line: click.echo(line, err=True)
    return output.console.print


def _wait_for_quote(keeper: Keeper, quoted: Callable[[], bool]) -> None:
    from services.cli import furnishing

    deadline = time.monotonic() + furnishing.READY_S
    while not quoted():
        keeper.poll()
        if hopeless := keeper.hopeless():
            raise Refused(hopeless)
        if time.monotonic() > deadline:
            raise Refused(f"the desk does not quote; see {profile.SANDBOX / 'logs'}")
        time.sleep(0.1)


@hourbook.command()
@click.option(
    "--simulated-cloud/--no-simulated-cloud",
    "cloud",
    default=True,
    help="Whether a process that calls itself simulated procures what market makers sell, and delivers.",
)
@pass_context
def up(context: Context, cloud: bool) -> None:
    """Start the durable exchange of this folder, in the background.

    Apache Kafka and Postgres keep its data in var/exchange. It is for development: its first money comes from a simulated
    faucet, and machines from a simulated cloud unless an operator is to procure them.
    """
    from services.cli import local

    done = local.up(_progress(context), cloud=cloud)
    context.show(done, lambda: _say_up(done))


def _say_up(done: Up) -> None:
    me, say = output.program(), output.console.print
    say(f"open at {done.url} (process {done.pid}); `{me} status` shows it, `{me} down` stops it and keeps the data")
    say(f"in a browser: {done.url}, with the key that is in {profile.DURABLE / 'member.json'}")
    if done.simulated_cloud:
        say(
            "SIMULATED: the member's and the desk's first money, and the cloud that procures what market makers sell and delivers"
        )
    else:
        say(
            f"SIMULATED: the member's and the desk's first money. No cloud: `{me} admin promises` says what waits for machines,"
        )
        say(
            f"`{me} admin procure` buys them, `{me} admin deliver` ends an hour; what is not covered in time is bought in"
        )


@hourbook.command()
@pass_context
def down(context: Context) -> None:
    """Stop the durable exchange; the data stays."""
    from services.cli import local

    owner = local.down()
    context.show(
        {"stopped": owner, "home": str(profile.DURABLE)},
        lambda: output.console.print(f"stopped; the data stays in {profile.DURABLE}" if owner else "nothing runs"),
    )


@hourbook.command()
@click.argument("service", type=click.Choice(SERVICES), metavar="SERVICE")
def run(service: str) -> None:
    """Run one SERVICE of an exchange in the foreground.

    SERVICE is settlement, matching, gateway, supply or market_maker; its settings are in HOURBOOK_* (docs/operations.md). Exit
    codes are the service's own.
    """
    os.execv(sys.executable, [sys.executable, "-m", f"services.{service}"])  # noqa: S606 # `service` is one of SERVICES


# --- Looking ------------------------------------------------------------------------------------------------


@hourbook.command("status")
@pass_context
def show_status(context: Context) -> None:
    """How every process is: seq, lag, lease, what it waits for.

    Exit 1: one does not run, or waits.
    """
    found = status.read()
    context.show(found, lambda: status.show(found))
    if not found.well:
        sys.exit(1)


@hourbook.command()
@click.argument("process")
@pass_context
def pid(context: Context, process: str) -> None:
    """The number of a PROCESS, for `kill`.

    Any of them may be stopped or killed at any moment. `status` lists them.
    """
    found = next((each for each in status.read().processes if each.name == process and each.state != "down"), None)
    if found is None:
        raise Refused(f"no {process!r} runs here; `{output.program()} status` lists what does")
    number = found.pid
    context.show({"process": process, "pid": number}, lambda: click.echo(number))


def main() -> None:
    """Console script."""
    hourbook.main(prog_name="hourbook")


if __name__ == "__main__":
    main()
