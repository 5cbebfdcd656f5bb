"""The layout of landed batches, the same on a folder, a Unity Catalog volume and `abfss://`.

    <landing>/<source>/<entity>/<batch_id>/received/…     the answer as received, where it is not the data itself
                                          /data/…         JSON lines or parquet, one row per record;
                                                          of a file of the source in a folder `file=<name>`
                                          /manifest.json  written last: a batch without it does not exist

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

_REMOVED = "removed.json"
"""File beside an entity's batches that says which files of the source its removed batches had."""

FILE_FOLDER = "file="
"""Beginning of the folder below `data/` that holds the records of one file of the source: a partition to an engine,
which reads any number of them at once and knows each row's."""

_CHUNK_BYTES = 1 << 20

_TIME, _LENGTH_OF_TIME = "%Y%m%dT%H%M%SZ", 16
"""How the name of a batch begins."""

_HAS_TIME = re.compile(r"\d{8}T\d{6}Z")


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
    if isinstance(values, str):
        return DataFile(values)
    file = DataFile(**_known_fields(DataFile, values))
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

    def extraction(self, source: str, batch_id: str, extracted_at: datetime) -> Extraction:
        """Begin to land what one run extracts from a source.

        Args:
            source: Source system.
            batch_id: Name of the run's batches.
            extracted_at: Start of the run, UTC.
        """
        return Extraction(self, source, batch_id, extracted_at.isoformat())

    def batch_ids(self, source: str, entity: str) -> list[str]:
        """Names of an entity's batches that have a manifest, oldest first: names of batches sort by time."""
        with self._errors("read"):
            self.fs.invalidate_cache()
            # Not `glob`: the root may have any characters.
            found = [
                path.split("/") for path in self.fs.find(f"{self.root}/{source}/{entity}", maxdepth=2, withdirs=True)
            ]
        # Some file systems go deeper than they are asked to.
        return sorted(path[-2] for path in found if path[-1] == MANIFEST and path[-4:-2] == [source, entity])

    def find_batch(self, source: str, entity: str, batch_id: str) -> Manifest | None:
        """The batch of that name, or None where it is not landed completely.

        Raises:
            CdpError: Its manifest can't be read.
        """
        return self._read_manifest(source, entity, batch_id) if self._is_landed(source, entity, batch_id) else None

    def batches(self, source: str, entity: str, besides: Collection[str] = ()) -> list[Manifest]:
        """The landed batches of an entity, oldest first.

        Args:
            source: Source system.
            entity: What the source calls the table or resource.
            besides: Names of batches that are left out, and not read.

        Raises:
            CdpError: A manifest can't be read.
        """
        names = [name for name in self.batch_ids(source, entity) if name not in besides]
        return [self._read_manifest(source, entity, name) for name in names]

    def find_latest_batch(self, source: str, entity: str) -> Manifest | None:
        """The batch of an entity that was landed last, or None before the first.

        Raises:
            CdpError: Its manifest can't be read.
        """
        names = self.batch_ids(source, entity)
        return self._read_manifest(source, entity, names[-1]) if names else None

    def removed_batches(self, source: str, entity: str) -> list[Manifest]:
        """What is remembered of the batches of an entity that were removed: the files they were made from."""
        path = f"{self.root}/{source}/{entity}/{_REMOVED}"
        with self._errors("read"):
            self.fs.invalidate_cache()
            if not self.fs.exists(path):
                return []
            return [Manifest.from_json(self.fs.cat_file(path).decode())]

    def remove_batches(self, source: str, entity: str, names: Sequence[str]) -> None:
        """Remove landed batches. Which files of the source they had is kept: those are not landed again.

        Args:
            source: Source system.
            entity: What the source calls the table or resource.
            names: Names of the batches.

        Raises:
            CdpError: The location can't be written, or a manifest can't be read.
        """
        batches = [
            *self.removed_batches(source, entity),
            *(self._read_manifest(source, entity, name) for name in names),
        ]
        folder = f"{self.root}/{source}/{entity}"
        files = {file.origin.name: file for batch in batches for file in batch.files if file.origin}
        found = {
            values["name"]: values for batch in batches for values in (batch.watermark or {}).get("found_landed", ())
        }
        with self._errors("written"):
            if files or found:
                kept = replace(batches[-1], files=tuple(files.values()), watermark={"found_landed": [*found.values()]})
                self._write_whole(f"{folder}/{_REMOVED}", kept.to_json())
            for name in names:
                # Without a manifest there is no batch, whatever is left of it.
                self.fs.rm(f"{folder}/{name}/{MANIFEST}")
                self.fs.rm(f"{folder}/{name}", recursive=True)

    def _write_whole(self, path: str, text: str) -> None:
        """Write a file so that nobody sees a part of it; an object store shows an object whole or not at all."""
        if isinstance(self.fs, LocalFileSystem):
            self.fs.pipe_file(f"{path}.part", text.encode())
            self.fs.mv(f"{path}.part", path)
        else:
            self.fs.pipe_file(path, text.encode())

    def path_of(self, batch: Manifest, file: str) -> str:
        """Address of a data file, as Spark reads it."""
        return f"{self.root}/{batch.source}/{batch.entity}/{batch.batch_id}/{file}"

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
            CdpError: The batch is already complete, the location can't be written, or another run has landed a batch
                of the entity since this one began to read.
        """
        before = self.batch_ids(source, entity)
        latest_id = before[-1] if before else ""
        if batch_id in before:
            raise CdpError(f"Batch {batch_id} of {source}/{entity} is already landed: a landed batch is never changed.")
        batch_id = name_after(batch_id, latest_id)
        folder = f"{self.root}/{source}/{entity}/{batch_id}"
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
            self._land_manifest(folder, manifest, before)
        except BaseException:
            with suppress(Exception):
                if not self._is_landed(source, entity, batch_id):
                    self._remove(folder)
            raise

    def _land_manifest(self, folder: str, manifest: Manifest, before: Sequence[str]) -> None:
        """Make the batch exist, unless another run was faster or has touched its files."""
        with self._errors("written"), self._alone(folder.rsplit("/", 1)[0]):
            # Two runs that read at the same time would land the same changes twice.
            if self.batch_ids(manifest.source, manifest.entity) != list(before):
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
        with self._errors("read"):
            self.fs.invalidate_cache()
            return bool(self.fs.exists(f"{self.root}/{source}/{entity}/{batch_id}/{MANIFEST}"))

    def _read_manifest(self, source: str, entity: str, batch_id: str) -> Manifest:
        path = f"{self.root}/{source}/{entity}/{batch_id}/{MANIFEST}"
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
    return batch_id[_LENGTH_OF_TIME:] if _HAS_TIME.match(batch_id) else batch_id


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
        names = self.landing.batch_ids(self.source, entity)
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

    def batches(self, entity: str) -> list[Manifest]:
        """The landed batches of an entity, oldest first."""
        return self.landing.batches(self.source, entity)

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
