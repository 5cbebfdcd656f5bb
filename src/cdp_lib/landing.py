"""The layout of landed batches, the same on a folder, a Unity Catalog volume and `abfss://`.

    <landing>/<source>/<entity>/<day>/<batch_id>/received/…     the answer as received, where it is not the data itself
                                                /data/…         JSON lines or parquet, one row per record;
                                                                of a file of the source in a folder `file=<name>`
                                                /manifest.json  written last: a batch without it does not exist

The name of a batch begins with a time, `20260131T235959Z-7`; its day is that of its name, `2026-01-31`. So a run lists
the few days that may hold something new, however old the landing is. A landing of an earlier version has batches beside
the days; they are read where they are.

A batch is never changed once its manifest is there. The manifest also holds how far the source has been read
(`watermark`), so that the two can't disagree.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import IO, Any, Literal, Self, get_args

import fsspec
from azure.core.exceptions import AzureError
from fsspec.implementations.local import LocalFileSystem

from cdp_lib import __version__
from cdp_lib.errors import CdpError

BatchFormat = Literal["jsonl", "parquet"]
Load = Literal["snapshot", "increment", "files"]
"""What a batch holds: all records there are; those that have changed since `after`; whole files of the source."""

Watermark = dict[str, Any]
"""How far a source has been read, in the source's own terms. JSON."""

MANIFEST = "manifest.json"

_LANDED_FILES = "landed_files.json"
"""File beside an entity's days that says which files of the source its batches have had, up to one of them."""

_MOST_MANIFESTS = 50
"""Manifests that are read to know which files have landed, before they are summed up."""

FILE_FOLDER = "file="
"""Beginning of the folder below `data/` that holds the records of one file of the source: a partition to an engine,
which reads any number of them at once and knows each row's."""

_CHUNK_BYTES = 1 << 20

_TIME, _LENGTH_OF_TIME = "%Y%m%dT%H%M%SZ", 16
"""How the name of a batch begins."""

_NAME_OF_BATCH = re.compile(r"\d{8}T\d{6}Z[A-Za-z0-9_-]*")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Names that become folders: of sources, entities, runs and batches."""


@dataclass(frozen=True)
class DataFile:
    """A data file of a landed batch.

    Attributes:
        name: Path, relative to the batch.
        bytes: Size, None where the writer could not know it.
        checksum: SHA-256, None where the writer could not know it.
        origin: Name and checksum of the source's own file that this one was made from, None where there is none.
        deletions: Whether its records are gone from the source; only their key is known.
    """

    name: str
    bytes: int | None = None
    checksum: str | None = None
    origin: Origin | None = None
    deletions: bool = False


@dataclass(frozen=True)
class Origin:
    """A file as the source has it.

    Attributes:
        name: Path, relative to the source's folder.
        bytes: Size.
        checksum: SHA-256.
        modified_at: Time of its last change, in the storage's own words.
    """

    name: str
    bytes: int
    checksum: str
    modified_at: str


@dataclass(frozen=True)
class Manifest:
    """What a landed batch holds. Data Factory leaves out what it can't know: `Landing.examine` works that out.

    Attributes:
        source: Source system.
        entity: What the source calls the table or resource.
        batch_id: Name of the batch; sorts by time of extraction.
        load: What part of the entity the batch is.
        extracted_at: Start of the run that extracted the batch, ISO 8601, UTC.
        format: Format of the data files.
        files: Data files.
        extractor_version: Version of the code that wrote the batch.
        after: Start of the extraction window: watermark of the batch before; None where all was read.
        watermark: End of the extraction window: where the next one starts; None where the source has none.
        rows: Records in the data files.
        bytes: Size of the data files.
        checksum: SHA-256 of the files' checksums, in order.
        columns: Columns or fields seen in the data, sorted; those of deletions do not count.
        schema_fingerprint: SHA-256 of the columns.
    """

    source: str
    entity: str
    batch_id: str
    load: Load
    extracted_at: str
    format: BatchFormat
    files: tuple[DataFile, ...]
    extractor_version: str
    after: Watermark | None = None
    watermark: Watermark | None = None
    rows: int | None = None
    bytes: int | None = None
    checksum: str | None = None
    columns: tuple[str, ...] | None = None
    schema_fingerprint: str | None = None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a manifest. What it does not know it passes over, as later versions may write more.

        Raises:
            ValueError: The text is no manifest.
        """
        try:
            # The first manifests knew snapshots only.
            values = {"load": "snapshot"} | _known_fields(cls, json.loads(text))
            for field, known in (("load", get_args(Load)), ("format", get_args(BatchFormat))):
                if values[field] not in known:
                    raise ValueError(f"{field} is {values[field]!r}, not one of {', '.join(known)}")
            datetime.fromisoformat(values["extracted_at"])
            values["files"] = tuple(_data_file(file) for file in values["files"])
            if values.get("columns") is not None:
                values["columns"] = tuple(values["columns"])
            return cls(**values)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a manifest: {error}") from error

    def to_json(self) -> str:
        """The manifest as it stands in the landing location."""
        return json.dumps(asdict(self), indent=2)


def _data_file(values: dict[str, Any] | str) -> DataFile:
    values = {"name": values} if isinstance(values, str) else values
    file = DataFile(**_known_fields(DataFile, values))
    if not file.name.startswith("data/") or ".." in file.name.split("/"):
        raise ValueError(f"its file {file.name} is outside of the batch's data")
    return replace(file, origin=Origin(**values["origin"])) if values.get("origin") else file


def _known_fields(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}


class Landing:
    """Landed batches under one root."""

    def __init__(self, root: str, account_key: str | None = None) -> None:
        """Open a landing location.

        Args:
            root: Folder, volume path or `abfss://` address.
            account_key: Key of the storage account of an `abfss://` address; None for the managed identity.
        """
        self.root = root.rstrip("/")
        self.fs = open_filesystem(root, account_key)
        self._flat = set[tuple[str, str, str]]()
        """Batches that were found beside the days."""

    def extraction(self, source: str, batch_id: str, extracted_at: datetime) -> Extraction:
        """Begin to land what one run extracts from a source.

        Args:
            source: Source system.
            batch_id: Name of the run's batches.
            extracted_at: Start of the run, UTC.
        """
        return Extraction(self, source, batch_id, extracted_at.isoformat())

    def batch_ids(self, source: str, entity: str, since: str = "", besides: Collection[str] = ()) -> list[str]:
        """List the names of an entity's batches that have a manifest, oldest first.

        Cost: one request for the entity, one per listed day, one per batch that is not in `besides`.

        Args:
            source: Source system.
            entity: What the source calls the table or resource.
            since: Name of a batch, or the time that it begins with: earlier days are not listed.
            besides: Names of batches to leave out.

        Raises:
            CdpError: The location can't be read, or the name of a batch has no time.
        """
        folders = self._folders(source, entity, since)
        return sorted(name for name in folders if name not in besides and self._is_landed(source, entity, name))

    def newest_first(self, source: str, entity: str) -> Iterator[str]:
        """Yield the names of an entity's batches that have a manifest, newest first; list a day when it is reached."""
        return (name for name in self._folders(source, entity) if self._is_landed(source, entity, name))

    def _folders(self, source: str, entity: str, since: str = "") -> Iterator[str]:
        """Yield the names of an entity's batch folders, newest first, with or without a manifest."""
        folder, beside = f"{self.root}/{source}/{entity}", dict[str, list[str]]()
        for name in self._folders_in(folder):
            if _DAY.fullmatch(name):
                beside.setdefault(name, [])
            elif not (since and name < since) and self._exists(f"{folder}/{name}/{MANIFEST}"):
                self._flat.add((source, entity, name))
                beside.setdefault(_day_of(name), []).append(name)
        for day in sorted(beside, reverse=True):
            if not since or day >= _day_of(since):
                yield from sorted({*beside[day], *self._folders_in(f"{folder}/{day}")}, reverse=True)

    def _folders_in(self, path: str) -> list[str]:
        """List the names of a folder's subfolders; none where the folder does not exist."""
        with self._errors("read"):
            self.fs.invalidate_cache()
            try:
                entries = self.fs.ls(path, detail=True)
            except FileNotFoundError:
                return []
        return [entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory"]

    def _folder(self, source: str, entity: str, batch_id: str) -> str:
        """Return the address of a batch's folder."""
        folder = f"{self.root}/{source}/{entity}"
        return f"{folder}/{'' if (source, entity, batch_id) in self._flat else f'{_day_of(batch_id)}/'}{batch_id}"

    def find_batch(self, source: str, entity: str, batch_id: str) -> Manifest | None:
        """The batch of that name, or None where it is not landed completely.

        Raises:
            CdpError: Its manifest can't be read.
        """
        return self._read_manifest(source, entity, batch_id) if self._is_landed(source, entity, batch_id) else None

    def batches(self, source: str, entity: str, since: str = "", besides: Collection[str] = ()) -> list[Manifest]:
        """The landed batches of an entity, oldest first; see `batch_ids`.

        Raises:
            CdpError: A manifest can't be read.
        """
        names = self.batch_ids(source, entity, since, besides)
        return [self._read_manifest(source, entity, name) for name in names]

    def find_latest_batch(self, source: str, entity: str) -> Manifest | None:
        """The batch of an entity that was landed last, or None before the first.

        Raises:
            CdpError: Its manifest can't be read.
        """
        name = next(self.newest_first(source, entity), None)
        return self._read_manifest(source, entity, name) if name else None

    def batches_of_files(self, source: str, entity: str) -> list[Manifest]:
        """Return the batches that say which files of a source have landed, oldest first.

        The first one may be a summary of many, also of removed batches. It is stored beside the days, so the cost does
        not grow with the number of batches.

        Raises:
            CdpError: A manifest can't be read.
        """
        summary = self._read_summary(source, entity)
        known = summary.batch_id if summary else ""
        names = [name for name in self.batch_ids(source, entity, known) if name > known]
        batches = [*filter(None, [summary]), *(self._read_manifest(source, entity, name) for name in names)]
        if len(names) > _MOST_MANIFESTS:
            self._write_summary(batches)
        return batches

    def _read_summary(self, source: str, entity: str) -> Manifest | None:
        path = f"{self.root}/{source}/{entity}/{_LANDED_FILES}"
        with self._errors("read"):
            self.fs.invalidate_cache()
            return Manifest.from_json(self.fs.cat_file(path).decode()) if self.fs.exists(path) else None

    def _write_summary(self, batches: Sequence[Manifest]) -> None:
        """Store one manifest with the latest version of each file in these batches, named after the last batch."""
        files, found = dict[str, DataFile](), dict[str, Any]()
        for batch in batches:
            for file in batch.files:
                if file.origin:
                    files[file.origin.name] = file
                    found.pop(file.origin.name, None)
            found |= {values["name"]: values for values in (batch.watermark or {}).get("found_landed", ())}
        summary = replace(batches[-1], files=tuple(files.values()), watermark={"found_landed": [*found.values()]})
        with self._errors("written"):
            self._write_whole(f"{self.root}/{summary.source}/{summary.entity}/{_LANDED_FILES}", summary.to_json())

    def remove_batches(self, source: str, entity: str, names: Sequence[str]) -> None:
        """Remove landed batches, but remember the source's files in them, so that these do not land again.

        Args:
            source: Source system.
            entity: What the source calls the table or resource.
            names: Names of the batches.

        Raises:
            CdpError: The location can't be written, or a manifest can't be read.
        """
        latest = self.find_latest_batch(source, entity)
        if latest and latest.load == "files":
            self._write_summary(self.batches_of_files(source, entity))
        with self._errors("written"):
            for folder in (self._folder(source, entity, name) for name in names):
                # Without a manifest there is no batch, whatever is left of it.
                self.fs.rm(f"{folder}/{MANIFEST}")
                self._remove(folder)

    def remove_attempts(self, source: str, entity: str, end_of_name: str, since: str) -> None:
        """Remove folders without a manifest that killed runs of the same batch left.

        Args:
            source: Source system.
            entity: What the source calls the table or resource.
            end_of_name: The end of the batch's name; its time may differ from run to run.
            since: Name of a batch: earlier days are not listed.

        Raises:
            CdpError: The location can't be read or written.
        """
        for name in [*self._folders(source, entity, since)]:
            if name.endswith(end_of_name) and not self._is_landed(source, entity, name):
                self._remove(self._folder(source, entity, name))

    def _write_whole(self, path: str, text: str) -> None:
        """Write a file so that nobody sees a part of it; an object store shows an object whole or not at all."""
        if isinstance(self.fs, LocalFileSystem):
            self.fs.pipe_file(f"{path}.part", text.encode())
            self.fs.mv(f"{path}.part", path)
        else:
            self.fs.pipe_file(path, text.encode())

    def path_of(self, batch: Manifest, file: str) -> str:
        """Address of a data file, as Spark reads it."""
        return f"{self._folder(batch.source, batch.entity, batch.batch_id)}/{file}"

    def name_of(self, batch: Manifest, file: str) -> str:
        """Return the path of a data file, relative to the landing location."""
        return self.path_of(batch, file).removeprefix(f"{self.root}/")

    def examine(self, batch: Manifest) -> Manifest:
        """The manifest with what it left out, once its data are found to be what it says they are.

        Raises:
            CdpError: A data file is missing, can't be read, or is not what the manifest says.
        """
        rows, size, columns = 0, 0, set[str]()
        for file in batch.files:
            found = self._examine_file(batch, file)
            rows += found.rows
            size += found.bytes
            columns |= set() if file.deletions else found.columns
        for what, said, counted in (("rows", batch.rows, rows), ("bytes", batch.bytes, size)):
            if said is not None and said != counted:
                raise self._contradiction(batch, f"it says {said} {what}, its data files have {counted}")
        if batch.checksum and batch.checksum != _checksum_of(batch.files):
            raise self._contradiction(batch, "its checksum is not that of its files' checksums")
        names = batch.columns if batch.columns is not None else tuple(sorted(columns))
        return replace(batch, rows=rows, bytes=size, columns=names, schema_fingerprint=_fingerprint(names))

    @contextmanager
    def new_batch(
        self,
        source: str,
        entity: str,
        batch_id: str,
        extracted_at: str,
        load: Load = "snapshot",
        follows: Manifest | None = None,
    ) -> Iterator[BatchWriter]:
        """Write a batch: its files inside the `with`, its manifest when the `with` ends without an error.

        What an earlier, broken attempt at the same batch left is removed first. A snapshot that is the same as the
        latest batch, to the byte, makes no new batch: the writer then has the latest batch's manifest.

        Batches of an entity are named in the order in which they land (`name_after`), whatever the clocks of their runs
        say.

        Args:
            source: Source system.
            entity: What the source calls the table or resource.
            batch_id: Name of the run's batches: that of this one, or its beginning is moved to after the latest one.
            extracted_at: Start of the run, ISO 8601.
            load: What part of the entity the batch is.
            follows: The latest batch when it was decided what is new; None where there was none, or for a snapshot that
                follows none.

        Raises:
            CdpError: A name can't be that of a folder, the batch is already complete, the location can't be written, or
                another run has landed a batch of the entity since this one began to read.
        """
        for name, form in ((source, NAME), (entity, NAME), (batch_id, _NAME_OF_BATCH)):
            if not form.fullmatch(name):
                raise CdpError(f"'{name}' can't name a folder of the landing: it has to match {form.pattern}.")
        latest_id = next(self.newest_first(source, entity), "")
        if self._is_landed(source, entity, batch_id):
            raise CdpError(f"Batch {batch_id} of {source}/{entity} is already landed: a landed batch is never changed.")
        batch_id = name_after(batch_id, latest_id)
        folder = self._folder(source, entity, batch_id)
        if (follows or load != "snapshot") and latest_id != (follows.batch_id if follows else ""):
            raise self._overtaken(source, entity)
        with self._errors("written"):
            if self.fs.exists(folder):
                self.fs.rm(folder, recursive=True)
        writer = BatchWriter(self, folder)
        try:
            yield writer
            after = follows.watermark if follows and load != "snapshot" else None
            manifest = writer.finish(source, entity, batch_id, extracted_at, load, after)
            latest = self._read_manifest(source, entity, latest_id) if latest_id else None
            if load == "snapshot" and latest and latest.load == load and latest.checksum == manifest.checksum:
                writer.manifest = latest
                self._remove(folder)
                return
            self._land_manifest(folder, manifest, latest_id)
        except BaseException:
            with suppress(Exception):
                if not self._is_landed(source, entity, batch_id):
                    self._remove(folder)
            raise

    def _land_manifest(self, folder: str, manifest: Manifest, latest: str) -> None:
        """Make the batch exist, unless another run was faster or has touched its files."""
        with self._errors("written"), self._alone(f"{self.root}/{manifest.source}/{manifest.entity}"):
            # Two runs that read at the same time would land the same changes twice.
            if next(self.newest_first(manifest.source, manifest.entity), "") != latest:
                raise self._overtaken(manifest.source, manifest.entity)
            for file in manifest.files:
                path = f"{folder}/{file.name}"
                if not self.fs.exists(path) or self.fs.size(path) != file.bytes:
                    raise CdpError(f"File {path} was changed by somebody else while it was written: run it again.")
            text = manifest.to_json().encode()
            if isinstance(self.fs, LocalFileSystem):
                self.fs.makedirs(folder, exist_ok=True)  # a batch of nothing has no files
                # Written beside and moved: a manifest cut off by a crash must not look like one.
                self.fs.pipe_file(f"{folder}/{MANIFEST}.part", text)
                self.fs.mv(f"{folder}/{MANIFEST}.part", f"{folder}/{MANIFEST}")
            else:
                # An object store shows an object whole or not at all.
                self.fs.pipe_file(f"{folder}/{MANIFEST}", text, mode="create")

    @contextmanager
    def _alone(self, folder: str) -> Iterator[None]:
        """Keep others on this machine from the end of a batch of the same entity, until this one has ended."""
        if not isinstance(self.fs, LocalFileSystem):
            yield
            return
        self.fs.makedirs(folder, exist_ok=True)
        with ExitStack() as stack:
            with suppress(OSError):  # a volume of Unity Catalog may have no locks
                folder_of_entity = os.open(self.fs._strip_protocol(folder), os.O_RDONLY)
                stack.callback(os.close, folder_of_entity)
                fcntl.flock(folder_of_entity, fcntl.LOCK_EX)
            yield

    def _is_landed(self, source: str, entity: str, batch_id: str) -> bool:
        return self._exists(f"{self._folder(source, entity, batch_id)}/{MANIFEST}")

    def _exists(self, path: str) -> bool:
        with self._errors("read"):
            self.fs.invalidate_cache()
            return bool(self.fs.exists(path))

    def _read_manifest(self, source: str, entity: str, batch_id: str) -> Manifest:
        path = f"{self._folder(source, entity, batch_id)}/{MANIFEST}"
        try:
            manifest = Manifest.from_json(self.fs.cat_file(path).decode())
            if (manifest.source, manifest.entity, manifest.batch_id) != (source, entity, batch_id):
                raise ValueError(f"it is that of {manifest.source}/{manifest.entity}/{manifest.batch_id}")
        except (ValueError, OSError, AzureError) as error:
            raise CdpError(f"Manifest {path} can't be read ({error}): restore it, or delete the batch.") from error
        return manifest

    def _examine_file(self, batch: Manifest, file: DataFile) -> _Found:
        path = self.path_of(batch, file.name)
        try:
            found = _FINDERS[batch.format](self.fs, path, needs_columns=batch.columns is None)
        except (OSError, AzureError, ValueError) as error:
            raise self._contradiction(batch, f"{file.name} can't be read ({error})") from error
        for what, said, seen in (
            ("bytes", file.bytes, found.bytes),
            ("checksum", file.checksum, found.checksum),
        ):
            if said is not None and said != seen:
                raise self._contradiction(batch, f"it says {what} {said} of {file.name}, which has {seen}")
        return found

    def _contradiction(self, batch: Manifest, reason: str) -> CdpError:
        return CdpError(
            f"Batch {batch.batch_id} of {batch.source}/{batch.entity} is not what its manifest says: {reason}."
            " Restore it, or delete its folder; nothing of it was loaded."
        )

    def _overtaken(self, source: str, entity: str) -> CdpError:
        return CdpError(
            f"Another run has landed {source}/{entity} meanwhile: nothing was landed by this one; run it again."
        )

    def _remove(self, folder: str) -> None:
        with self._errors("written"):
            self.fs.rm(folder, recursive=True)
        if isinstance(self.fs, LocalFileSystem):
            with suppress(OSError):  # other batches of the day are there
                self.fs.rmdir(folder.rsplit("/", 1)[0])

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return storage_errors(f"Landing location {self.root} can't be {what}")


@contextmanager
def storage_errors(failure: str) -> Iterator[None]:
    """Say in one line what a storage could not do, and why.

    Args:
        failure: What it could not do.

    Raises:
        CdpError: What is inside the `with` fails.
    """
    try:
        yield
    except (OSError, AzureError, RuntimeError) as error:
        # adlfs wraps what the storage says.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise CdpError(f"{failure}: {reason.rstrip('.')}.") from error


def _run_in(batch_id: str) -> str:
    """What a batch's name says of its run: all but the time, which may have been moved."""
    return batch_id[_LENGTH_OF_TIME:]


def _day_of(batch_id: str) -> str:
    """Return the name of a batch's day folder.

    Raises:
        CdpError: Its name does not begin with a time.
    """
    if not _NAME_OF_BATCH.fullmatch(batch_id):
        raise CdpError(f"Batch {batch_id} has no time in its name: rename it as 20260131T235959Z-1, or delete it.")
    return f"{batch_id[:4]}-{batch_id[4:6]}-{batch_id[6:8]}"


def name_after(batch_id: str, latest: str) -> str:
    """Return a batch's name, its time moved to one second after the latest batch where it would not sort after that.

    A clock that was ahead, a run that is repaired under its old start: the batch that lands last is the newest.

    Args:
        batch_id: Name of the batch, `<time>-<anything>`.
        latest: Name of the entity's latest batch, empty for none.

    Raises:
        CdpError: The latest batch has no time in its name.

    >>> name_after("20260131T000000Z-7", "20260130T000000Z-6")
    '20260131T000000Z-7'
    >>> name_after("20260131T000000Z-7", "20261127T235959Z-6")
    '20261128T000000Z-7'
    """
    if batch_id > latest:
        return batch_id
    try:
        moved = datetime.strptime(latest[:_LENGTH_OF_TIME], _TIME) + timedelta(seconds=1)  # noqa: DTZ007
    except (ValueError, OverflowError):
        raise CdpError(
            f"Batch {latest} has no time in its name, and sorts after every other: rename it as {batch_id}."
        ) from None
    return f"{moved:{_TIME}}{batch_id[_LENGTH_OF_TIME:]}"


def open_filesystem(address: str, account_key: str | None) -> fsspec.AbstractFileSystem:
    """The file system of a folder, a volume path or an `abfss://` address.

    Args:
        address: The address.
        account_key: Key of the storage account of an `abfss://` address; None for the managed identity.

    Raises:
        CdpError: There is no such kind of address, or the account's name is missing in it.
    """
    options: dict[str, Any] = {}
    if address.startswith("abfss://"):
        options = {"account_key": account_key} if account_key else {"anon": False}
    try:
        return fsspec.core.url_to_fs(address, **options)[0]
    except (ValueError, ImportError, OSError, AzureError) as error:
        raise CdpError(f"Storage address {address} can't be used: {error}.") from error


@dataclass(frozen=True)
class Extraction:
    """What one run lands from one source: a batch an entity, all of the same name.

    Attributes:
        landing: Where the batches go.
        source: Source system.
        batch_id: Name of the batches.
        extracted_at: Start of the run, ISO 8601, UTC.
    """

    landing: Landing
    source: str
    batch_id: str
    extracted_at: str

    def find_batch(self, entity: str) -> Manifest | None:
        """The run's batch of an entity, where an earlier attempt of the task has already landed it."""
        names = self.landing.batch_ids(self.source, entity, since=self.batch_id)
        same_run = [name for name in names if _run_in(name) == _run_in(self.batch_id)]
        batch = self.landing.find_batch(self.source, entity, same_run[-1]) if same_run else None
        return batch if batch and self.has_landed(batch) else None

    def has_landed(self, batch: Manifest) -> bool:
        """Whether a batch is one that this run has landed; runs by hand share a name, and differ in their start."""
        is_same_run = _run_in(batch.batch_id) == _run_in(self.batch_id) and batch.extracted_at == self.extracted_at
        return is_same_run or batch.batch_id == self.batch_id

    def find_latest_batch(self, entity: str) -> Manifest | None:
        """The batch of an entity that was landed last, by whatever run; its watermark is where to go on."""
        return self.landing.find_latest_batch(self.source, entity)

    def new_batch(
        self, entity: str, load: Load = "snapshot", follows: Manifest | None = None
    ) -> AbstractContextManager[BatchWriter]:
        """Write the run's batch of an entity."""
        return self.landing.new_batch(self.source, entity, self.batch_id, self.extracted_at, load, follows)


class BatchWriter:
    """Writes the files of one batch and keeps the account its manifest gives.

    Attributes:
        manifest: The account, once the batch is complete.
        watermark: How far the source has been read; the caller sets it before the batch ends.
        rows: Records written to data files so far.
    """

    manifest: Manifest

    def __init__(self, landing: Landing, folder: str) -> None:
        """Start an empty batch in a folder."""
        self._landing = landing
        self._folder = folder
        self._format: BatchFormat = "jsonl"
        self._files: list[DataFile] = []
        self._columns: set[str] = set()
        self.watermark: Watermark | None = None
        self.rows = 0

    def write_received(self, name: str, content: IO[bytes]) -> None:
        """Keep an answer of the source as it came, read from where it stands."""
        with self._open(f"received/{name}") as file:
            shutil.copyfileobj(content, file, _CHUNK_BYTES)

    @contextmanager
    def open_data(
        self, name: str, format: BatchFormat, *, origin: Origin | None = None, deletions: bool = False
    ) -> Iterator[AccountedFile]:
        """Write a data file; the caller counts its records and names their columns (`add`).

        Args:
            name: Name of the file; may have folders.
            format: Its format, the same for all data files of a batch.
            origin: The source's own file that it is made from.
            deletions: Whether its records are those that are gone from the source.
        """
        self._format = format
        with self._open(f"data/{name}") as file:
            yield file
        self._files.append(DataFile(f"data/{name}", file.bytes, file.checksum, origin, deletions))

    def add_file(self, file: DataFile, format: BatchFormat) -> None:
        """Account for a data file that somebody else, Spark say, has written into the batch's folder."""
        self._format = format
        self._files.append(file)

    @property
    def data_folder(self) -> str:
        """Address of the folder for data files, for those who write there themselves."""
        return f"{self._folder}/data"

    def add(self, rows: int, columns: Collection[str] = ()) -> None:
        """Account for records written to a data file."""
        self.rows += rows
        self._columns |= set(columns)

    def finish(
        self, source: str, entity: str, batch_id: str, extracted_at: str, load: Load, after: Watermark | None
    ) -> Manifest:
        """Draw up the account of what was written."""
        columns = tuple(sorted(self._columns))
        self.manifest = Manifest(
            source=source,
            entity=entity,
            batch_id=batch_id,
            load=load,
            extracted_at=extracted_at,
            format=self._format,
            files=tuple(self._files),
            extractor_version=__version__,
            after=after,
            watermark=self.watermark,
            rows=self.rows,
            bytes=sum(file.bytes or 0 for file in self._files),
            checksum=_checksum_of(self._files),
            columns=columns,
            schema_fingerprint=_fingerprint(columns),
        )
        return self.manifest

    @contextmanager
    def _open(self, name: str) -> Iterator[AccountedFile]:
        path = f"{self._folder}/{name}"
        with self._landing._errors("written"):
            self._landing.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            stream = self._landing.fs.open(path, "wb")
        file = AccountedFile(stream, self._landing)
        try:
            yield file
        except BaseException:
            with suppress(Exception):
                stream.close()
            raise
        with self._landing._errors("written"):
            stream.close()


class AccountedFile:
    """A file opened for writing, which keeps count of what went through it.

    Attributes:
        bytes: Bytes written so far.
    """

    closed = False

    def __init__(self, stream: IO[bytes], landing: Landing) -> None:
        """Write into a stream of a landing location."""
        self._stream = stream
        self._landing = landing
        self._digest = hashlib.sha256()
        self.bytes = 0

    @property
    def checksum(self) -> str:
        """SHA-256 of the bytes written so far."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> int:
        """Write bytes.

        Raises:
            CdpError: The location can't be written, because it is full, say.
        """
        data = bytes(chunk)
        with self._landing._errors("written"):
            self._stream.write(data)
        self._digest.update(data)
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Write out what is buffered."""
        with self._landing._errors("written"):
            self._stream.flush()

    def tell(self) -> int:
        """Bytes written so far."""
        return self.bytes


@dataclass
class _Found:
    """What a data file turns out to hold."""

    rows: int
    bytes: int
    checksum: str
    columns: set[str]


def _find_in_jsonl(fs: fsspec.AbstractFileSystem, path: str, *, needs_columns: bool) -> _Found:
    """Read JSON lines once. Every line that is not empty is a record, whatever is in it."""
    found, digest = _Found(0, 0, "", set()), hashlib.sha256()
    # adlfs' own reading by line takes a block of memory a line.
    with fs.open(path, "rb") as file, io.BufferedReader(file, _CHUNK_BYTES) as lines:
        for line in lines:
            digest.update(line)
            found.bytes += len(line)
            found.rows += bool(line.strip())
            if needs_columns:
                with suppress(ValueError):
                    record = json.loads(line)
                    found.columns |= set(record) if isinstance(record, dict) else set()
    found.checksum = digest.hexdigest()
    return found


def _find_in_parquet(fs: fsspec.AbstractFileSystem, path: str, *, needs_columns: bool) -> _Found:
    """Read a parquet file's bytes for their checksum, and its footer."""
    import pyarrow.parquet as pq

    size, digest = 0, hashlib.sha256()
    with fs.open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
        footer = pq.ParquetFile(file)
        return _Found(footer.metadata.num_rows, size, digest.hexdigest(), set(footer.schema_arrow.names))


_FINDERS = {"jsonl": _find_in_jsonl, "parquet": _find_in_parquet}


def _checksum_of(files: Sequence[DataFile]) -> str | None:
    """Checksum of a batch. A file of unknown checksum could be anything: the batch then has none either."""
    checksums = [file.checksum for file in files if file.checksum]
    return _sha256("".join(checksums)) if len(checksums) == len(files) else None


def _fingerprint(columns: Sequence[str]) -> str:
    return _sha256(json.dumps(columns))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
