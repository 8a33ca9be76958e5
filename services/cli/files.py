"""Files that only their owner may read."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(file: Path, data: bytes) -> None:
    """Mode 0600, whole or not there."""
    temporary = file.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
    temporary.replace(file)
