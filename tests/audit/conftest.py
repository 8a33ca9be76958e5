"""One day, lived once for the session; each test gets a copy of it to spoil."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from services.runtime.infra import LocalPostgres
from tests.audit.day import Copy, Day


@pytest.fixture(scope="session")
def day(postgres: LocalPostgres, tmp_path_factory: pytest.TempPathFactory) -> Day:
    lived = Day(postgres.create_database("audit_day"), tmp_path_factory.mktemp("snapshots"), seed="a day for auditors")
    asyncio.run(lived.live())
    return lived


@pytest.fixture
def copy(day: Day, tmp_path: Path) -> Copy:
    """Logs, snapshots and database of the day, and of nobody else."""
    return Copy(day.topics.copy(), day.dsn, shutil.copytree(day.folder, tmp_path / "snapshots"))
