"""The layout of landed batches, the same on a folder, a Unity Catalog volume and `abfss://`.

    <landing>/<source>/<entity>/<batch_id>/received/…     the answer as received, where it is not the data itself
                                          /data/…         JSON lines or parquet, one row per record
                                          /manifest.json  written last: a batch without it does not exist

A batch is never changed once its manifest is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import IO, Any, Literal, Self

import fsspec

from cdp_lib import __version__
from cdp_lib.errors import CdpError

BatchFormat = Literal["jsonl", "parquet"]
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a landed batch holds.

    Attributes:
        source: Source system.
        entity: What the source calls the table or resource.
        batch_id: Name of the batch; sorts by time of extraction.
        extracted_at: Start of the run that extracted the batch, ISO 8601, UTC.
        format: Format of the data files.
        files: Data files, relative to the batch.
        rows: Records in the data files.
        bytes: Size of the data files.
        checksum: SHA-256 of the data files in order.
        columns: Columns or fields seen in the data, sorted.
        schema_fingerprint: SHA-256 of the columns.
        extractor_version: Version of the code that wrote the batch.
    """

    source: str
    entity: str
    batch_id: str
    extracted_at: str
    format: BatchFormat
    files: tuple[str, ...]
    rows: int
    bytes: int
    checksum: str
    columns: tuple[str, ...]
    schema_fingerprint: str
    extractor_version: str

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a manifest.

        Raises:
            ValueError: The text is no manifest.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            return cls(**{**fields, "files": tuple(fields["files"]), "columns": tuple(fields["columns"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a manifest: {error}") from error

    def to_json(self) -> str:
        """The manifest as it stands in the landing location."""
        return json.dumps(asdict(self), indent=2)


class Landing:
    """Landed batches under one root."""

    def __init__(self, root: str, account_key: str | None = None) -> None:
        """Open a landing location.

        Args:
            root: Folder, volume path or `abfss://` address.
            account_key: Key of the storage account of an `abfss://` address; None for the managed identity.
        """
        self.root = root.rstrip("/")
        options: dict[str, Any] = {}
        if root.startswith("abfss://"):
            options = {"account_key": account_key} if account_key else {"anon": False}
        self._fs, _ = fsspec.core.url_to_fs(root, **options)

    def extraction(self, source: str, batch_id: str, extracted_at: datetime) -> Extraction:
        """Begin to land what one run extracts from a source.

        Args:
            source: Source system.
            batch_id: Name of the run's batches.
            extracted_at: Start of the run, UTC.
        """
        return Extraction(self, source, batch_id, extracted_at.isoformat())

    def find_batch(self, source: str, entity: str, batch_id: str) -> Manifest | None:
        """The batch of that name, or None where it is not landed completely.

        Raises:
            CdpError: Its manifest does not parse.
        """
        path = f"{self.root}/{source}/{entity}/{batch_id}/{MANIFEST}"
        return self._read_manifest(path) if self._fs.exists(path) else None

    def batches(self, source: str, entity: str) -> list[Manifest]:
        """The batches of an entity that have a manifest, oldest first.

        Raises:
            CdpError: A manifest does not parse.
        """
        return [self._read_manifest(path) for path in self._manifests(source, entity)]

    def find_latest_batch(self, source: str, entity: str) -> Manifest | None:
        """The batch of an entity that was landed last, or None before the first."""
        paths = self._manifests(source, entity)
        return self._read_manifest(paths[-1]) if paths else None

    def path_of(self, batch: Manifest, file: str) -> str:
        """Address of a data file, as Spark reads it."""
        return f"{self.root}/{batch.source}/{batch.entity}/{batch.batch_id}/{file}"

    @contextmanager
    def new_batch(self, source: str, entity: str, batch_id: str, extracted_at: str) -> Iterator[BatchWriter]:
        """Write a batch: its files inside the `with`, its manifest when the `with` ends without an error.

        What an earlier, broken attempt at the same batch left is removed first. Data that are the same as the latest
        batch's, to the byte, make no new batch: the writer then has the latest batch's manifest.

        Args:
            source: Source system.
            entity: What the source calls the table or resource.
            batch_id: Name of the batch.
            extracted_at: Start of the run, ISO 8601.

        Raises:
            CdpError: The batch is already complete, or the location can't be written.
        """
        folder = f"{self.root}/{source}/{entity}/{batch_id}"
        try:
            if self._fs.exists(f"{folder}/{MANIFEST}"):
                raise CdpError(f"Batch {folder} is already landed: a landed batch is never changed.")
            if self._fs.exists(folder):
                self._fs.rm(folder, recursive=True)
            writer = BatchWriter(self._fs, folder)
            yield writer
            manifest = writer.finish(source, entity, batch_id, extracted_at)
            latest = self.find_latest_batch(source, entity)
            if latest and latest.checksum == manifest.checksum:
                self._fs.rm(folder, recursive=True)
                writer.manifest = latest
                return
            # Written beside and moved: a manifest cut off by a crash must not look like one.
            with self._fs.open(f"{folder}/{MANIFEST}.part", "w") as file:
                file.write(manifest.to_json())
            self._fs.mv(f"{folder}/{MANIFEST}.part", f"{folder}/{MANIFEST}")
        except OSError as error:
            raise CdpError(f"Landing location {self.root} can't be written: {error}.") from error

    def _manifests(self, source: str, entity: str) -> list[str]:
        """Paths of an entity's manifests, oldest first: names of batches sort by time."""
        return sorted(str(path) for path in self._fs.glob(f"{self.root}/{source}/{entity}/*/{MANIFEST}"))

    def _read_manifest(self, path: str) -> Manifest:
        try:
            return Manifest.from_json(self._fs.cat_file(path).decode())
        except (ValueError, OSError) as error:
            raise CdpError(f"Manifest {path} can't be read ({error}): restore it, or delete the batch.") from error


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
        return self.landing.find_batch(self.source, entity, self.batch_id)

    def new_batch(self, entity: str) -> AbstractContextManager[BatchWriter]:
        """Write the run's batch of an entity."""
        return self.landing.new_batch(self.source, entity, self.batch_id, self.extracted_at)


class BatchWriter:
    """Writes the files of one batch and keeps the account its manifest gives.

    Attributes:
        manifest: The account, once the batch is complete.
    """

    manifest: Manifest

    def __init__(self, fs: fsspec.AbstractFileSystem, folder: str) -> None:
        """Start an empty batch in a folder."""
        self._fs = fs
        self._folder = folder
        self._digest = hashlib.sha256()
        self.format: BatchFormat = "jsonl"
        self.files: list[str] = []
        self.rows = 0
        self.bytes = 0
        self.columns: set[str] = set()

    def write_received(self, name: str, content: bytes) -> None:
        """Keep an answer of the source as it came."""
        with self._open(f"received/{name}") as file:
            file.write(content)

    @contextmanager
    def open_data(self, name: str, format: BatchFormat) -> Iterator[AccountedFile]:
        """Write a data file; the caller counts its rows and names its columns."""
        self.format = format
        with self._open(f"data/{name}") as file:
            yield AccountedFile(file, self)
        self.files.append(f"data/{name}")

    def add(self, rows: int, columns: set[str]) -> None:
        """Account for records written to a data file."""
        self.rows += rows
        self.columns |= columns

    def account(self, chunk: bytes) -> None:
        """Add written bytes to size and checksum."""
        self._digest.update(chunk)
        self.bytes += len(chunk)

    def finish(self, source: str, entity: str, batch_id: str, extracted_at: str) -> Manifest:
        """Draw up the account of what was written."""
        columns = tuple(sorted(self.columns))
        self.manifest = Manifest(
            source=source,
            entity=entity,
            batch_id=batch_id,
            extracted_at=extracted_at,
            format=self.format,
            files=tuple(self.files),
            rows=self.rows,
            bytes=self.bytes,
            checksum=self._digest.hexdigest(),
            columns=columns,
            schema_fingerprint=hashlib.sha256(json.dumps(columns).encode()).hexdigest(),
            extractor_version=__version__,
        )
        return self.manifest

    def _open(self, name: str) -> IO[bytes]:
        path = f"{self._folder}/{name}"
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        return self._fs.open(path, "wb")  # type: ignore[no-any-return]


class AccountedFile:
    """A data file opened for writing, which tells its batch what went through it."""

    closed = False

    def __init__(self, file: IO[bytes], batch: BatchWriter) -> None:
        """Write into a file on a batch's account."""
        self._file = file
        self._batch = batch
        self._position = 0

    def write(self, chunk: bytes) -> int:
        """Write bytes."""
        data = bytes(chunk)
        self._batch.account(data)
        self._position += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Write out what is buffered."""
        self._file.flush()

    def tell(self) -> int:
        """Bytes written so far."""
        return self._position
