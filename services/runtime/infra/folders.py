"""Temporary folders for servers."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder, removed at the end, that another user may pass through: Postgres refuses to run as root."""
    folder = Path(tempfile.mkdtemp(prefix="hourbook-"))
    try:
        folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder)
