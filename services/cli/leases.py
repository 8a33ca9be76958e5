"""What was bought, as machines: which there are, how to log in, what is to be found on them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import click

from schemas import rental
from services.cli import output, profile, times
from services.cli.client import Client
from services.cli.context import Context, pass_context
from services.cli.errors import Refused, Unusable
from services.cli.files import write_private

KEY_S: Final = 15.0
BOUGHT_S: Final = 2.0
"""What was bought this very moment is a lease after so long at most."""
OPEN_S: Final = 60.0
"""A machine that is being prepared is waited for so long."""


@click.command()
@pass_context
def leases(context: Context) -> None:
    """Your machines: until when, and how to log in."""
    found = context.client().get("/v1/leases", list[rental.LeaseAnswer])
    context.show(
        found,
        lambda: output.table(
            "Leases",
            ("lease", "rental", "class", "state", ">GPUs", "until", "log in with", "?script", "?what is wrong", "?"),
            ((*_row(each), each.script, each.detail, _said(each)) for each in found),
            empty="none; what you bought becomes a machine when its hour begins, or at once with `buy --now`",
        ),
    )


def _row(each: rental.LeaseAnswer) -> tuple[str, ...]:
    login = f"{output.program()} ssh {each.lease}" if each.state == "open" and each.driver != "simulated" else "-"
    until = times.shown_moment(each.ends_at)
    return (each.lease, each.rental or "-", each.class_id, each.state, str(each.gpus), until, login)


def _said(each: rental.LeaseAnswer) -> str:
    if each.driver == "simulated":
        return "SIMULATED: there is no machine"
    return "isolates nothing" if each.driver == "open" else ""


@click.command()
@click.argument("name", default=rental.DEFAULT_LAUNCH)
@click.option(
    "--ssh-key", "files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A public key, or a file of them; several are possible.",
)  # fmt: skip
@click.option("--script", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Run when a lease opens.")
@click.option("--image", default="", help="Of a container, where the machine has containers.")
@click.option("--port", "ports", multiple=True, type=click.IntRange(1, 65_535), help="To be reachable beside SSH.")
@pass_context
def launch(
    context: Context, name: str, files: tuple[Path, ...], script: Path | None, image: str, ports: tuple[int, ...]
) -> None:
    """What your machines are to be set up with.

    SSH keys, a start script, an image, ports; under the NAME `default` for whoever names none. Without options: what is set. Keys
    apply at once, the rest from the next lease on.
    """
    if not re.fullmatch(rental.LAUNCH_NAME, name):
        raise Unusable(f"{name!r} is no name: small letters, digits and hyphens, 36 at most")
    client = context.client()
    if files or script or image or ports:
        body = rental.LaunchRequest(
            ssh_keys=tuple(_keys(files)),
            image=image,
            start_script=script.read_text() if script else "",
            ports=ports,
        )
        found = client.write("PUT", f"/v1/launches/{name}", body, list[rental.LaunchAnswer])
    else:
        found = client.get("/v1/launches", list[rental.LaunchAnswer])
    context.show(
        found,
        lambda: output.table(
            "Launch specifications",
            ("name", ">keys", "image", ">script", "ports"),
            (
                (
                    each.name,
                    str(len(each.ssh_keys)),
                    each.image or "-",
                    output.plural(len(each.start_script), "character"),
                    ", ".join(map(str, each.ports)) or "-",
                )
                for each in found
            ),
            empty="none: your machines wait, and nobody can log in; `hourbook launch --ssh-key ~/.ssh/id_ed25519.pub` sets one",
        ),
    )


def _keys(files: tuple[Path, ...]) -> list[str]:
    """Raises Unusable."""
    lines = [line.strip() for file in files for line in file.read_text(errors="replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    import asyncssh  # where it is needed: it takes a tenth of a second

    for key in keys:
        try:
            asyncssh.import_public_key(key)
        except ValueError:
            raise Unusable(f"{key[:30]!r} is not a public SSH key; name a .pub file") from None
    return keys


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[LEASE] [COMMAND]...")
@pass_context
def ssh(context: Context, words: tuple[str, ...]) -> None:
    """Log in to a machine of yours, or run a COMMAND on it.

    Without LEASE: to the newest. Where your account's machines do not know a key of this folder yet, one is made and kept
    beside your profile. A machine that is being prepared is waited for.
    """
    program = shutil.which("ssh")
    if program is None:
        raise Unusable("there is no ssh on this machine; `hourbook --json leases` has host, port, user and host key")
    lease, command = (words[0], words[1:]) if words and words[0].isdigit() else (None, words)
    client = context.client()
    found = _nearest(client, lease)
    identity, is_new = _identity(client, found.launch)
    found = _when_open(client, found.lease)
    # One for each lease: two logins at once would write over each other's.
    known = identity.with_suffix(f".{found.lease}.hosts")
    write_private(known, f"[{found.host}]:{found.port} {found.host_key}\n".encode())
    login = login_of(program, identity, known, found)
    if is_new:
        _until_known(login)
    sys.stdout.flush()
    os.execv(program, [*login, *command])  # noqa: S606 # `command` is for the tenant's own machine


def login_of(program: str, identity: Path, known: Path, found: rental.LeaseAnswer) -> list[str]:
    """The command. Host and user are a provider's words: whatever they are, they are no options."""
    return [
        program, "-p", str(found.port), "-i", str(identity), "-o", "IdentitiesOnly=yes",
        "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
        "--", f"{found.user}@{found.host}",
    ]  # fmt: skip


def _until_known(login: list[str]) -> None:
    """The machine learns of a new key within seconds; a login before that would only say `Permission denied`."""
    deadline = time.monotonic() + KEY_S
    while time.monotonic() < deadline:
        tried = subprocess.run(
            [login[0], "-o", "BatchMode=yes", *login[1:], "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if tried.returncode == 0:
            return
        time.sleep(0.3)


def _nearest(client: Client, lease: str | None) -> rental.LeaseAnswer:
    """That lease, or the nearest to a login. Raises Refused where there is none, or will be no login yet."""
    deadline = time.monotonic() + (BOUGHT_S if lease is None else 0)
    while not (live := _live(client, lease)) and time.monotonic() < deadline:
        time.sleep(0.2)
    if not live:
        raise Refused("you have no such lease; `hourbook leases` lists them" if lease else "you have no machine now")
    found = min(live, key=_nearness)
    if found.driver == "simulated":
        raise Refused(f"lease {found.lease} is simulated: there is no machine to log in to")
    if found.state == "waiting":
        raise Refused(f"lease {found.lease} begins at {times.shown_moment(found.starts_at)}")
    return found


def _live(client: Client, lease: str | None) -> list[rental.LeaseAnswer]:
    mine = client.get("/v1/leases", list[rental.LeaseAnswer])
    return [each for each in mine if each.state != "over" and lease in (None, each.lease)]


def _when_open(client: Client, lease: str) -> rental.LeaseAnswer:
    """Raises Refused."""
    deadline = time.monotonic() + OPEN_S
    while True:
        found = _nearest(client, lease)
        if found.state == "open" and found.port:
            return found
        if time.monotonic() > deadline:
            raise Refused(f"lease {found.lease} is {found.state}: {found.detail or 'its agent has not told of it yet'}")
        time.sleep(0.2)


def _nearness(each: rental.LeaseAnswer) -> tuple[bool, int]:
    """The one that can be logged in to, then the one that is about to; where there is no machine, last."""
    return each.driver == "simulated", ("open", "opening", "unreachable", "waiting").index(each.state)


def _identity(client: Client, launch: str) -> tuple[Path, bool]:
    """A private key that machines with this launch specification know, and whether they are only now told of it."""
    import asyncssh  # as above

    file = profile.file_of("member").with_suffix(".ssh")
    if not file.exists():
        made = asyncssh.generate_private_key("ssh-ed25519", comment="hourbook")
        write_private(file, made.export_private_key())
    public = asyncssh.read_private_key(file).export_public_key().decode().strip()
    known = {each.name: each for each in client.get("/v1/launches", list[rental.LaunchAnswer])}
    none_yet = rental.LaunchAnswer(name=launch, ssh_keys=(), image="", start_script="", ports=())
    put = known.get(launch, none_yet)
    if public.split()[1] in {key.split()[1] for key in put.ssh_keys}:
        return file, False
    body = rental.LaunchRequest(
        ssh_keys=(*put.ssh_keys, public), image=put.image, start_script=put.start_script, ports=put.ports
    )
    client.write("PUT", f"/v1/launches/{launch}", body, list[rental.LaunchAnswer])
    return file, True


COMMANDS: Final = (leases, launch, ssh)
