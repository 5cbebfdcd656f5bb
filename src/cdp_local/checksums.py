"""Checksums of the files of local tables, so that a damaged file is found before its table is used.

Delta stores no checksums of its files. Sail and delta-rs neither write nor verify the checksums of Parquet pages.
Without own checksums, a changed byte can become a wrong figure, and a table that loses its last commit silently shows
its earlier rows. The home folder therefore has one record per table, `checksums/<schema>.<table>.json`. It holds the
size, the time of the last change and the CRC-32 of each file.

The files of a Delta table never change after they are written, except for the hint `_last_checkpoint`. A file that is
not in the record is not checked: a killed run may have written it, or another program may have changed the table.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from cdp_lib.errors import CdpError

_LOG = "_delta_log"
_NEEDED = (".json", ".parquet")
"""Suffixes of the files that no reader can do without. A version checksum, `.crc`, may be missing."""

_CHUNK_BYTES = 1 << 20

_Entries = dict[str, list[int]]
"""Size in bytes, time of the last change in nanoseconds, and CRC-32 of each file, by its path in the table's folder."""


def record_files(folder: Path) -> None:
    """Add new files of a table to its record, and remove the files that no longer exist.

    Cost: each new file is read once.

    Args:
        folder: Folder of the table, `<home>/warehouse/<schema>/<table>`.
    """
    known = _read(folder)
    entries = {name: known.get(name) or _entry(path) for name, path in _files_of(folder)}
    if entries != known:
        path = _path_of_record(folder)
        path.parent.mkdir(exist_ok=True)
        building = path.with_suffix(".part")
        building.write_text(json.dumps({"checksum": _checksum_of(entries), "files": entries}), encoding="utf-8")
        building.replace(path)


def check_files(folder: Path, *, reads_all: bool = False) -> None:
    """Compare the files of a table with its record.

    Args:
        folder: Folder of the table.
        reads_all: Whether to read every file. If false, a file is read only if its size or its time of the last change
            differs from the record.

    Raises:
        CdpError: A file was changed or is lost. The message names the file.
    """
    damaged = {}
    for name, (size, changed_at, checksum) in _read(folder).items():
        path = folder / name
        if not path.is_file():
            damaged[name] = "is lost"
            continue
        stat = path.stat()
        is_same = stat.st_size == size and stat.st_mtime_ns == changed_at and not reads_all
        if not is_same and (stat.st_size != size or _checksum_of_file(path) != checksum):
            damaged[name] = "was changed"
    if damaged and (name := _needed(folder, damaged)):
        raise CdpError(
            f"File {folder / name} of table {folder.parent.name}.{folder.name} {damaged[name]}. Restore the file from a"
            f" backup, or delete the folder {folder}: the next run builds the table again."
        )


def forget_files(folder: Path) -> None:
    """Remove the record of a table. Call this before a table is created again, or its log is rewritten."""
    _path_of_record(folder).unlink(missing_ok=True)


def _path_of_record(folder: Path) -> Path:
    return folder.parents[2] / "checksums" / f"{folder.parent.name}.{folder.name}.json"


def _read(folder: Path) -> _Entries:
    path = _path_of_record(folder)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries: _Entries = content["files"]
        if content["checksum"] != _checksum_of(entries):
            raise ValueError("its content was changed")
    except FileNotFoundError:
        return {}
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise CdpError(
            f"{path} can't be read ({error}): delete it. Without it, the files of {folder.parent.name}.{folder.name}"
            " are checked again after the next write."
        ) from None
    return entries


def _files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the path of each file of the table, relative to its folder and absolute. Skip hints and temporary files."""
    for parent, _, names in os.walk(folder):
        place = Path(parent).relative_to(folder).as_posix()
        suffixes = (*_NEEDED, ".crc") if place == _LOG else ".parquet"
        for name in names:
            if name.endswith(suffixes) and not name.startswith((".", "_")):
                yield f"{place}/{name}".removeprefix("./"), Path(parent, name)


def _entry(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, _checksum_of_file(path)]


def _checksum_of_file(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def _checksum_of(entries: _Entries) -> int:
    return zlib.crc32(json.dumps(entries, sort_keys=True).encode())


def _needed(folder: Path, damaged: Collection[str]) -> str:
    """Return one of the damaged files that the table needs. Empty if it needs none of them.

    A commit is not needed if a later checkpoint exists, because Delta then removes the commit. A data file is not
    needed if a later version of the table has replaced it, because a vacuum then removes the file.
    """
    checkpoints = (path.name for path in (folder / _LOG).glob("*.checkpoint*.parquet"))
    newest = max((_version_of(name) for name in checkpoints if f"{_LOG}/{name}" not in damaged), default=-1)
    data = set()
    for name in damaged:
        if not name.startswith(_LOG):
            data.add(name.rpartition("/")[2])
        elif _version_of(name.rpartition("/")[2]) > newest and (name.endswith(_NEEDED) or (folder / name).exists()):
            return name
    if not data:
        return ""
    try:
        active = {uri.rpartition("/")[2] for uri in DeltaTable(folder).file_uris()}
    except DeltaError:
        active = data
    return next((name for name in damaged if name.rpartition("/")[2] in data & active), "")


def _version_of(name: str) -> int:
    number = name.partition(".")[0]
    return int(number) if number.isdecimal() else -1
