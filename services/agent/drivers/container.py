"""Drivers `docker` and `podman`: each lease is a container of the tenant's image, with its GPUs and nothing else.

**Written against the documented command lines, and never run against a real docker or podman**: tests see the words that are
used, and a program that stands in for them. docs/agent.md says so to whoever chooses it.

The tenant comes in by the same door as with the other drivers, outside the container: his sessions are `exec` in it. So an image needs no
SSH server, only a shell and `sleep`, and his keys never have to get into it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Final, Literal

from schemas.agents import Driver as DriverName
from schemas.agents import Lease
from services.agent.doorway import How
from services.agent.drivers.base import Failed, Place, Stuck, WithDoor, run
from services.agent.errors import Unusable

IMAGE_LABEL: Final = "hourbook.image"
PULL_S: Final = 1_800.0
"""An image may be large."""
_LOGIN: Final = "cd; if [ -x /bin/bash ]; then exec /bin/bash -l; fi; exec /bin/sh -l"
_COMMAND: Final = 'cd; exec /bin/sh -c "$1"'


class ContainerDriver(WithDoor):
    """For machines that strangers rent."""

    banner = ""

    def __init__(self, place: Place, program: Literal["docker", "podman"], image: str) -> None:
        super().__init__(place)
        self.name: DriverName = program
        self.program = program
        self.image = image
        """Where a lease names none."""

    @staticmethod
    def check(program: str) -> None:
        """Raises Unusable: this machine cannot."""
        if shutil.which(program) is None:
            raise Unusable(f"driver `{program}` needs the program {program}, which is not on the PATH")

    async def make(self, lease: Lease, folder: Path) -> How:
        """See WithDoor. The image is fetched now and started when its seats are free."""
        name = container_name(lease.lease)
        image = lease.image or self.image
        if not image or image.startswith("-"):
            raise Failed(f"{image!r} is not the name of an image")
        label = f'{{{{index .Config.Labels "{IMAGE_LABEL}"}}}}'
        code, said = await run(self.program, "inspect", "--type", "container", "--format", label, name)
        # A label and not the image's own name, which podman writes out in full: what runs must not be made anew.
        if code != 0 or said != image:
            await self._create(lease, name, image)
        return How(
            user="root",
            home=str(folder),
            shell=("/bin/sh", "-c", _LOGIN),
            # The command line is an argument of its own: nothing has to be quoted.
            command=("/bin/sh", "-c", _COMMAND, "sh"),
            enter=(self.program, "exec", "--interactive", name),
            enter_terminal=(self.program, "exec", "--interactive", "--tty", "--env", "TERM", name),
            # Of the program, outside the container: where its daemon is, whose containers are meant. Nothing of it gets inside.
            environment={name: value for name, value in os.environ.items() if not name.startswith("HOURBOOK_")},
        )

    async def _create(self, lease: Lease, name: str, image: str) -> None:
        code, said = await run(self.program, "pull", "--quiet", image, patience_s=PULL_S)
        if code != 0:
            raise Failed(f"image {image} cannot be fetched: {said}")
        await run(self.program, "rm", "--force", "--volumes", name)
        code, said = await run(*create_words(self.program, lease, name, image, gpus=self.place.gpus_are_real))
        if code != 0:
            raise Failed(f"image {image} cannot be made a container: {said}")

    async def begin(self, lease: Lease) -> str:
        """See Driver."""
        name, image = container_name(lease.lease), lease.image or self.image
        code, said = await run(self.program, "start", name)
        if code != 0:
            raise Failed(f"image {image} does not start: {said}")
        # Started is not running: one whose first process ends at once has been started as well.
        code, said = await run(self.program, "exec", name, "/bin/sh", "-c", "true")
        if code != 0:
            _, last = await run(self.program, "logs", "--tail", "3", name)
            raise Failed(f"image {image} does not stay up: {last or said}")
        if not lease.ports:
            return ""
        _, said = await run(self.program, "port", name)
        return "ports: " + ", ".join(said.splitlines())

    async def unmake(self, lease: Lease, folder: Path) -> None:
        """See WithDoor."""
        del folder
        name = container_name(lease.lease)
        code, said = await run(self.program, "rm", "--force", "--volumes", name)
        there, _ = await run(self.program, "inspect", "--type", "container", "--format", "{{.Id}}", name)
        if there == 0:
            raise Stuck(f"container {name} cannot be removed ({code}): {said}")
        if there == 127:
            raise Stuck(f"container {name} cannot be removed: {said}")


def create_words(program: str, lease: Lease, name: str, image: str, *, gpus: bool) -> tuple[str, ...]:
    """The command that makes a container; nothing of it runs yet."""
    words = [program, "create", "--name", name, "--hostname", name, "--init", "--security-opt", "no-new-privileges"]
    words += ["--label", f"{IMAGE_LABEL}={image}"]
    if gpus and program == "docker":
        # Quotation marks within: docker reads the value as a line of CSV, and several devices stand in one field.
        words += ["--gpus", f'"device={",".join(lease.seats)}"']
    elif gpus:
        # podman knows GPUs by the container device interface, whose names nvidia-ctk writes.
        words += [word for seat in lease.seats for word in ("--device", f"nvidia.com/gpu={seat}")]
    for port in lease.ports:
        # To a free port of the machine, which `port` tells.
        words += ["--publish", str(port)]
    return (*words, "--entrypoint", "sleep", image, "infinity")


def container_name(lease: str) -> str:
    """Always the same for a lease."""
    return f"hourbook-{hashlib.blake2b(lease.encode(), digest_size=8).hexdigest()}"
