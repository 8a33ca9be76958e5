"""Apache Kafka on this machine: one node, KRaft, its jars brought by `make kafka`."""

import base64
import os
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from services.runtime.infra.kafka_probe import answers
from services.runtime.infra.ports import free_port
from services.runtime.infra.server import Server, ServerFailed

CHECKOUT = Path(__file__).parents[3]
JARS = CHECKOUT / "var" / "kafka" / "libs"
SETTINGS = CHECKOUT / "deploy" / "kafka"
FORMAT_S_MAX = 60.0


class ApacheKafka(Server):
    """One durable broker. Data below `home/data` survives stop and crash; a new `home` is formatted.

    Topics are never created by themselves, and keep everything unless their own settings say otherwise. With `logins`
    clients must log in, and may do what the access lists grant them, which is nothing at first; user `administrator` may do all.
    """

    name = "Apache Kafka"

    def __init__(
        self,
        home: Path,
        port: int = 0,
        *,
        flush_each: bool = False,
        heap_mib: int = 512,
        logins: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        jars: Path = JARS,
    ) -> None:
        """`logins`: user to password, of letters, digits, `-` and `_`; None: whoever reaches it may do everything.

        `flush_each` forces every append to disk before it is acknowledged: one node survives power loss that way.

        `settings` are lines of `server.properties` that are added to ours, or replace them.
        """
        super().__init__(home, port)
        self._controller_port = free_port()
        self._flush_each = flush_each
        self._heap_mib = heap_mib
        self.logins = logins
        # The broker's own login at itself; nobody else needs it, and it is a new one in every process.
        self._broker_password = secrets.token_urlsafe(24)
        self._settings = dict(settings or {})
        self._jars = jars

    @classmethod
    def missing(cls, jars: Path = JARS) -> str | None:
        """What this machine lacks to run it, in words; None when it lacks nothing."""
        if shutil.which("java") is None:
            return "no java on the PATH"
        if not any(jars.glob("kafka_*.jar")):
            return "no jars of Apache Kafka: `make kafka` fetches them, with Maven"
        return None

    @property
    def bootstrap(self) -> str:
        """Address for clients: `127.0.0.1:<port>`."""
        return f"127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        if (lack := self.missing(self._jars)) is not None:
            raise ServerFailed(f"{self.name}: {lack}")
        # It holds passwords; one that an older build has left may be read by others.
        self._properties.unlink(missing_ok=True)
        descriptor = os.open(self._properties, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self._server_properties())
        if not (self.home / "data" / "meta.properties").exists():
            self._format()

    def _server_properties(self) -> str:
        text = (SETTINGS / "server.properties").read_text()
        if self.logins is not None:
            text += (SETTINGS / "walls.properties").read_text()
        text = Template(text).substitute(
            port=self.port,
            controller_port=self._controller_port,
            data=self.home / "data",
            flush_messages=1 if self._flush_each else 2**63 - 1,
            broker_password=self._broker_password,
            users=" ".join(f'user_{user}="{password}"' for user, password in (self.logins or {}).items()),
        )
        # Of two lines with one name the later counts.
        return text + "".join(f"{name}={value}\n" for name, value in self._settings.items())

    def _format(self) -> None:
        # Kafka's own form of an id: 16 bytes in base64 for addresses, without padding, not beginning with a dash.
        cluster = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        command = [*self._java(64), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", self._properties]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_S_MAX, check=False)
        if done.returncode != 0:
            raise ServerFailed(f"{self.name}: {self.home} could not be formatted:\n{done.stdout}{done.stderr}")

    @property
    def _properties(self) -> Path:
        return self.home / "server.properties"

    def _java(self, heap_mib: int) -> list[str | Path]:
        return [
            "java",
            f"-Xmx{heap_mib}m",
            # Started for a while, on few cores: its second compiler and its other collectors take more than they give (an
            # order's half of the broker's time in the first minutes, measured with `bench.order_rate`).
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={SETTINGS / 'log4j2.properties'}",
            "-cp",
            f"{self._jars}/*",
        ]

    def _argv(self) -> Sequence[str | Path]:
        return [*self._java(self._heap_mib), "kafka.Kafka", self._properties]

    def _is_ready(self) -> bool:
        return answers(self.port)
