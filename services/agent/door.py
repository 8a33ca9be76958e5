"""The door of one lease: an SSH server in a process of its own, which outlives the agent and ends by itself when the lease does.

    python -m services.agent.door FOLDER

It lets in whose keys its orders name, starts their shells, commands and file transfers, shows warnings on their terminals,
runs the start script, and at the end closes the port, ends sessions and kills whatever the tenant has started. Wiping is the
agent's. What is said in files: doorway.py. Exits: 0 ended, 1 could not begin (said.json says why), 2 another door has this
folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Final, cast

import asyncssh
import msgspec

from schemas.units import Millis
from services.agent import doorway, processes, sessions
from services.agent.doorway import DoorConfig, DoorOrders, DoorSaid
from services.agent.keys import KEY_VARIABLE, PROBE, authorized_keys, fingerprint
from services.agent.plan import Script
from services.agent.sessions import Session

TURN_S: Final = 0.1
"""Between two looks at the orders."""
REAP_S: Final = 1.0
LOGIN_TIMEOUT_S: Final = 30
KNOCKING_MAX: Final = 100
"""Connections that have not logged in yet; more are dropped."""
KEEPALIVE_S: Final = 60
_SFTP_SERVERS: Final = (
    "/usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server /usr/libexec/sftp-server"
)
_RUN_SFTP: Final = (
    f"for each in {_SFTP_SERVERS}; do [ -x $each ] && exec $each; done; echo no sftp-server here >&2; exit 127"
)
_TAKE_SCRIPT: Final = (
    "umask 077; cd && cat >start-script && chmod 700 start-script && exec ./start-script >start-script.log 2>&1"
)
_TAKE_WARNING: Final = "umask 077; cd && cat >>WARNINGS.txt"
_FROM_CLIENT: Final = ("LANG", "LC_")
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "::1")
_log: Final = logging.getLogger("hourbook.door")

Connection = asyncssh.SSHServerConnection


def elapsed_ms() -> Millis:
    """Since the machine's start, its sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Door:
    """One lease's."""

    def __init__(self, folder: Path, config: DoorConfig, orders: DoorOrders) -> None:
        self.folder = folder
        self.config = config
        self.orders = orders
        self.said = config.before
        self.connections: dict[Connection, str] = {}
        """Whoever has logged in: fingerprint of the key, or PROBE."""
        self.knocking: set[Connection] = set()
        """Whoever has not logged in yet."""
        self.terminals: set[Session] = set()
        self._children: set[int] = set()
        """Those that are waited for where they were started."""
        self._starting = 0
        self._tasks: set[asyncio.Task[object]] = set()
        self._orders_raw = b""

    async def run(self) -> None:
        """Until the lease is over. Raises OSError: there is no port."""
        if self.said.script == "running":
            # Whoever could say how it ended has died.
            self._say(script="failed")
        listener = await self._listen()
        self._say(port=listener.get_port(), open=False, failed="", ended=False)
        reaped_s = time.monotonic()
        # A folder that is gone is an agent's home that was removed: nobody could end this door any more.
        while not self.orders.end and elapsed_ms() < self.orders.ends_elapsed_ms and self.folder.is_dir():
            self._read_orders()
            self._follow_orders()
            if time.monotonic() - reaped_s > REAP_S:
                self.reap()
                reaped_s = time.monotonic()
            await asyncio.sleep(TURN_S)
        listener.close()
        await self._end()

    async def _listen(self) -> asyncssh.SSHAcceptor:
        *some, last = self.config.ports
        for port in some:
            try:
                return await self._listen_at(port)
            except OSError as error:
                _log.warning("port %d: %s", port, error.strerror)
        return await self._listen_at(last)

    async def _listen_at(self, port: int) -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            lambda: Gate(self),
            self.config.listen,
            port,
            server_host_keys=[str(self.folder / doorway.HOST_KEY)],
            process_factory=self._serve,
            sftp_factory=self._files if self.config.how.sftp_inside else None,
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            password_auth=False,
            kbdint_auth=False,
            login_timeout=LOGIN_TIMEOUT_S,
            keepalive_interval=KEEPALIVE_S,
        )

    def _files(self, channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        # The probe never gets here: its key has a forced command.
        return asyncssh.SFTPServer(channel)

    def reap(self) -> None:
        """Takes leave of orphans that have ended."""
        # One that is being started may have ended before its number is known here: asyncio waits for it, and must find it.
        if not self._starting:
            processes.reap(but=frozenset(self._children))

    # --- Orders ---------------------------------------------------------------------------------------------

    def _read_orders(self) -> None:
        try:
            raw = (self.folder / doorway.ORDERS).read_bytes()
            if raw != self._orders_raw:
                self.orders = msgspec.json.decode(raw, type=DoorOrders)
                self._orders_raw = raw
        except (OSError, ValueError):
            # The folder is gone, or something else stands in it: what was ordered last holds until its end.
            _log.exception("orders cannot be read")

    def _follow_orders(self) -> None:
        orders = self.orders
        if orders.open != self.said.open:
            self._say(open=orders.open)
        allowed = {PROBE, *(fingerprint(line) for line in orders.keys if orders.open)}
        for connection, key in list(self.connections.items()):
            if key not in allowed:
                connection.disconnect(
                    asyncssh.DISC_BY_APPLICATION,
                    "your time here is over, or your key was taken out",
                )
                del self.connections[connection]
        if orders.warning and orders.warning != self.said.warned:
            self._say(warned=orders.warning)
            for terminal in self.terminals:
                terminal.stdout.write(f"\r\n*** {orders.warning}\r\n".encode())
            self._begin(self._feed(_TAKE_WARNING, f"{orders.warning}\n"))
        if orders.open and orders.start_script and not self.said.script:
            self._say(script="running")
            self._begin(self._run_script(orders.start_script))

    def _begin(self, job: Coroutine[object, object, object]) -> None:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # One session's fault ends no other's.
            _log.error("a session broke off", exc_info=error)

    async def _run_script(self, script: str) -> None:
        status = await self._feed(_TAKE_SCRIPT, script)
        self._say(script="done" if status == 0 else "failed")

    async def _feed(self, command: str, text: str) -> int:
        """Run as the tenant with this on its standard input; its exit status."""
        try:
            child = await self._start(
                (*self.config.how.enter, *self.config.how.command, command), asyncio.subprocess.PIPE
            )
        except OSError as error:
            _log.warning("cannot run %r: %s", command, error)
            return 127
        await child.communicate(text.encode())
        self._children.discard(child.pid)
        return child.returncode or 0

    def _say(self, *, script: Script | None = None, **changes: object) -> None:
        if script is not None:
            self.said.script = script
        for name, value in changes.items():
            setattr(self.said, name, value)
        try:
            doorway.write(self.folder / doorway.SAID, self.said)
        except OSError:
            _log.exception("cannot say how it is")

    # --- Sessions -------------------------------------------------------------------------------------------

    def _serve(self, session: Session) -> None:
        """A shell, a command, or a file transfer of a tenant; or the probe."""
        if self.connections.get(_connection(session)) == PROBE:
            # Answered here: nothing that a tenant has done to his shell can make the machine look away.
            session.exit(0)
        elif session.subsystem not in {None, "sftp"}:
            session.exit(127)
        else:
            # A task of ours: what runs goes on when its connection is lost.
            self._begin(self._run_session(session))

    async def _run_session(self, session: Session) -> None:
        how = self.config.how
        terminal = session.term_type is not None
        enter = how.enter_terminal if terminal else how.enter
        if session.subsystem:
            words = (*enter, *how.command, _RUN_SFTP)
        elif session.command is None:
            words = (*enter, *how.login)
        else:
            words = (*enter, *how.command, session.command)
        try:
            await (self._on_terminal if terminal else self._on_pipes)(session, words)
        except OSError as error:
            _log.warning("cannot run %r: %s", words, error)
            with contextlib.suppress(*sessions.LOST):
                session.stderr.write(f"hourbook: cannot run {words[0]}: {error.strerror}\r\n".encode())
                session.exit(127)

    async def _on_terminal(self, session: Session, words: tuple[str, ...]) -> None:
        how = self.config.how
        master, slave = os.openpty()
        try:
            if how.uid is not None and how.gid is not None:
                os.fchown(slave, how.uid, how.gid)
            sessions.set_size(master, session)
            # setsid --ctty: the terminal is the session's own, so that Ctrl-C and hanging up reach what runs in it.
            child = await self._start(("setsid", "--ctty", *words), slave, slave, slave, session)
        except OSError:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self.terminals.add(session)
        try:
            await sessions.on_terminal(session, child, master)
        finally:
            self.terminals.discard(session)
            self._children.discard(child.pid)

    async def _on_pipes(self, session: Session, words: tuple[str, ...]) -> None:
        pipe = asyncio.subprocess.PIPE
        child = await self._start(words, pipe, pipe, pipe, session)
        try:
            await sessions.on_pipes(session, child)
        finally:
            self._children.discard(child.pid)

    async def _start(
        self,
        words: tuple[str, ...],
        stdin: int,
        stdout: int = asyncio.subprocess.DEVNULL,
        stderr: int = asyncio.subprocess.DEVNULL,
        session: Session | None = None,
    ) -> asyncio.subprocess.Process:
        """A process of the tenant. Raises OSError."""
        how = self.config.how
        environment = dict(how.environment)
        environment[processes.MARK] = str(self.folder)
        if session is not None:
            environment |= {name: value for name, value in session.env.items() if name.startswith(_FROM_CLIENT)}
            environment[KEY_VARIABLE] = self.connections.get(_connection(session), "")
            if session.term_type is not None:
                environment["TERM"] = session.term_type
        self._starting += 1
        try:
            child = await asyncio.create_subprocess_exec(
                *words,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                # A tenant who has removed his home gets in all the same.
                cwd=how.home if await asyncio.to_thread(os.path.isdir, how.home) else "/",
                env=environment,
                user=how.uid,
                group=how.gid,
                extra_groups=None if how.uid is None else (),
                umask=0o077,
                # With a terminal, `setsid` does it.
                start_new_session=session is None or session.term_type is None,
            )
            self._children.add(child.pid)
        finally:
            self._starting -= 1
        return child

    # --- The end --------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        for connection in list(self.connections):
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "the lease is over")
        # Their last packet goes out.
        await asyncio.sleep(TURN_S)
        for connection in list(self.connections):
            connection.abort()
        gone = processes.kill_all(lambda: processes.descendants(os.getpid()), reaping=True)
        if not gone:
            _log.error("processes of the tenant do not die: %s", processes.descendants(os.getpid()))
        for task in self._tasks:
            task.cancel()
        self._say(
            ended=gone, port=0, open=False, script="cut_off" if self.said.script == "running" else self.said.script
        )


class Gate(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.connection: Connection | None = None

    def connection_made(self, conn: Connection) -> None:
        """See asyncssh."""
        self.connection = conn
        if len(self.door.knocking) >= KNOCKING_MAX:
            # Not from within: the connection is not wholly made yet.
            asyncio.get_running_loop().call_soon(conn.abort)
        else:
            self.door.knocking.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncssh."""
        del exc
        if self.connection is not None:
            self.door.knocking.discard(self.connection)
            self.door.connections.pop(self.connection, None)

    def begin_auth(self, username: str) -> bool:
        """Only by key, and only by one that the orders name now."""
        assert self.connection is not None
        orders, config = self.door.orders, self.door.config
        if config.banner:
            self.connection.send_auth_banner(f"{config.banner}\r\n")
        text = authorized_keys(orders.keys if orders.open else (), orders.probe_keys)
        if username == config.how.user and text:
            self.connection.set_authorized_keys(asyncssh.import_authorized_keys(text))
        return True

    def auth_completed(self) -> None:
        """Somebody is in."""
        assert self.connection is not None
        self.door.knocking.discard(self.connection)
        environment = cast("dict[str, str]", self.connection.get_key_option("environment"))
        self.door.connections[self.connection] = environment[KEY_VARIABLE]

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        """`ssh -L`: to servers of the tenant on this machine (a notebook), nowhere else. The probe's key forbids it."""
        del dest_port, orig_host, orig_port
        return dest_host in _THIS_MACHINE


def _connection(session: Session) -> Connection:
    return cast("Connection", session.channel.get_connection())


def _pass_over(_number: int, _frame: object) -> None:
    """Whoever stops the agent at a terminal does not mean the tenants."""


def main(folder: Path) -> int:
    """In the background, detached from whoever started it."""
    if os.fork():
        # Without the interpreter's farewell, which is the child's.
        os._exit(0)
    os.setsid()
    with (folder / doorway.LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 2
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
        logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
        for number in (signal.SIGINT, signal.SIGHUP):
            # A handler and not SIG_IGN, which tenants' programs would inherit: Ctrl-C would not reach them.
            signal.signal(number, _pass_over)
        return _live(folder)


def _live(folder: Path) -> int:
    config = doorway.read(folder / doorway.CONFIG, DoorConfig)
    orders = doorway.read(folder / doorway.ORDERS, DoorOrders)
    if config is None or orders is None:
        return 1
    processes.become_subreaper()
    os.chdir(config.how.home)
    try:
        asyncio.run(Door(folder, config, orders).run())
    except OSError as error:
        doorway.write(folder / doorway.SAID, DoorSaid(failed=f"no port could be opened: {error.strerror or error}"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
