"""Which catalogues are polled: sources.toml or the file named by HOURBOOK_SUPPLY_SOURCES."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from services.runtime.errors import BadSettings
from services.supply.connectors import ConnectorName

VARIABLE: Final = "HOURBOOK_SUPPLY_SOURCES"
PACKAGED: Final = Path(__file__).with_name("sources.toml")
_VARIABLE_NAME: Final = re.compile(r"[A-Z_][A-Z0-9_]*")


class SourceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One polled source: exactly one of `file`, `folder` and `url`."""

    name: Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[^/\s\x00-\x1f\x7f]+$")]
    catalogue: Annotated[str, Meta(max_length=40)] = ""
    """Name in mapping.toml. A folder whose catalogues go by their files' names, and an archive whose files do, have none."""
    connector: ConnectorName = "skypilot"
    file: Path | None = None
    folder: Path | None = None
    url: str = ""
    token_env: str = ""
    """Environment variable with the bearer token of the URL. A token stands nowhere else."""
    timeout_ms: Annotated[int, Meta(ge=100, le=300_000)] = 20_000
    """For the whole answer of the URL."""
    poll_ms: Annotated[int, Meta(ge=100, le=86_400_000)]
    recorded: bool = False


class _Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sources: Annotated[tuple[SourceSettings, ...], Meta(min_length=1)]


def read_sources(environment: Mapping[str, str]) -> tuple[SourceSettings, ...]:
    """In the order of the file: where two list one offer, the first counts. Raises BadSettings."""
    path = Path(environment.get(VARIABLE) or PACKAGED)
    try:
        document = msgspec.toml.decode(path.read_bytes(), type=_Document, dec_hook=_path)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise BadSettings(f"{path}: {error}") from error
    names = [source.name for source in document.sources]
    if len(set(names)) < len(names):
        raise BadSettings(f"{path}: two sources of one name")
    for source in document.sources:
        if fault := _fault(source, environment):
            raise BadSettings(f"{path}: source {source.name}: {fault}")
    return tuple(_complete(path.parent, source) for source in document.sources)


def _fault(source: SourceSettings, environment: Mapping[str, str]) -> str:
    """What is wrong with it; empty: nothing."""
    if (source.file is not None) + (source.folder is not None) + bool(source.url) != 1:
        return "exactly one of file, folder and url says where it is"
    if not source.catalogue and source.folder is None and source.connector == "skypilot":
        return "catalogue says whose rows these are"
    if source.recorded and source.connector != "skypilot":
        return "only catalogues in SkyPilot's format can be recorded ones"
    if source.token_env and not source.url:
        return "token_env belongs to a url"
    if source.token_env and not _VARIABLE_NAME.fullmatch(source.token_env):
        # Perhaps the token itself: it is not repeated here.
        return "token_env names an environment variable, in capitals"
    if source.token_env and not environment.get(source.token_env, "").strip().isascii():
        return f"the token in {source.token_env} is not ASCII"
    if source.token_env and not environment.get(source.token_env, "").strip():
        return f"the environment variable {source.token_env} is not set"
    return _fault_of_url(source) if source.url else ""


def _fault_of_url(source: SourceSettings) -> str:
    try:
        parts = urlsplit(source.url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"url: {error}"
    if parts.scheme not in {"http", "https"} or not host or not source.url.isprintable():
        return "url begins with https:// or http:// and names a host"
    if parts.username or parts.password:
        return "url holds a password; token_env keeps secrets out of files"
    if source.token_env and parts.scheme == "http" and host not in {"localhost", "127.0.0.1", "::1"}:
        return "a token is sent over https only"
    return ""


def _complete(folder: Path, source: SourceSettings) -> SourceSettings:
    """Paths are relative to the list's own folder. Vast's answers are of Vast; gpuhunt names a file like its provider."""
    catalogue = source.catalogue
    if not catalogue and source.connector == "vast":
        catalogue = "vast"
    if not catalogue and source.file is not None:
        catalogue = source.file.name.partition(".")[0]
    return msgspec.structs.replace(
        source,
        catalogue=catalogue,
        file=None if source.file is None else folder / source.file,
        folder=None if source.folder is None else folder / source.folder,
    )


def _path(kind: type, value: object) -> object:
    assert kind is Path
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a path")  # noqa: TRY004  msgspec answers ValueError with the field's name
    return Path(value)
