"""Landed batches. Their layout is the same in a folder, in a Unity Catalog volume and under `abfss://`.

    <landing>/<source>/<entity>/<day>/<batch_id>/received/…     raw responses; left out if data/ has the same content
                                                /data/…         JSON lines or parquet, one row per record. The records
                                                                of a source file are in a folder `file=<name>`
                                                /manifest.json  written last: a folder without it is not a batch
    <landing>/<source>/<entity>/source.json                     address of the entity's source, without secrets

A batch id begins with a time: batch `20260131T235959Z-7` is in the day folder `2026-01-31`. A run therefore lists only
the few days that may hold new batches, however many days the landing has. Earlier versions stored batches directly in
the entity's folder, without day folders. These batches are still read from the entity's folder.

A batch with a manifest is never changed, with one exception: an erasure rewrites the files that hold records of a
person (`Landing.rewrite_batch`). The manifest also holds the watermark, so the watermark always matches the landed
data.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import IO, Any, Literal, Self, get_args

import fsspec
from azure.core.exceptions import AzureError
from fsspec.implementations.local import LocalFileSystem

from cdp_lib import __version__
from cdp_lib.errors import CdpError
from cdp_lib.json_text import add_field_names, field_names, parse_json
from cdp_lib.source_address import SourceAddress

BatchFormat = Literal["jsonl", "parquet"]
Load = Literal["snapshot", "increment", "files"]
"""`snapshot`: all records. `increment`: the records that changed since the watermark `after`. `files`: whole files of
the source."""

Watermark = dict[str, Any]
"""Position up to which an entity has been extracted, as a JSON object. Its keys depend on the kind of source."""

MANIFEST = "manifest.json"

_MANIFEST_CHECKSUM = "manifest_checksum"
"""Name of the field of a manifest's text that holds the SHA-256 of all other fields, as JSON with sorted keys."""

_SOURCE = "source.json"
"""Name of the file in an entity's folder that holds the address of the entity's source."""

_LANDED_FILES = "landed_files.json"
"""Name of the summary file in an entity's folder. It lists the source files that are landed in the entity's batches, up
to the batch whose id is in the summary."""

_REWRITTEN = "rewritten"
"""Name of the folder in a batch's folder that holds the files of a rewrite until they replace the old files."""

_MAX_UNSUMMARIZED_BATCHES = 50
"""If more than this number of manifests are read to list an entity's landed files, a new summary file is written."""

FILE_FOLDER = "file="
"""Prefix of the folder below `data/` that holds the records of one source file.

Engines read these folders as partitions. One read covers all files, and returns each row with the name of its file.
"""

_CHUNK_BYTES = 1 << 20

_TIME_FORMAT, _TIME_LENGTH = "%Y%m%dT%H%M%SZ", 16
"""Format and length of the time at the beginning of a batch id."""

_BATCH_ID = re.compile(r"\d{8}T\d{6}Z[A-Za-z0-9_-]*")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

_DATA_FILE = re.compile(r"data(/(?!\.{1,2}(/|$))[A-Za-z0-9._~%=@!'()+,-]+)+")
"""Pattern of the names of data files. Engines would treat `*`, `?`, `[` and `{` as a pattern of several files."""

NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Pattern of the allowed names of sources, entities, runs and batches. These names become folder names."""


@dataclass(frozen=True)
class DataFile:
    """A data file of a landed batch.

    Attributes:
        name: Path of the file, relative to the batch's folder.
        bytes: Size in bytes. None if the writer does not know the size.
        checksum: SHA-256 of the content. None if the writer does not know the checksum.
        origin: Source file that this file was made from. None if the source has no files.
        deletions: Whether the file holds tombstones: the keys of records that were deleted in the source.
    """

    name: str
    bytes: int | None = None
    checksum: str | None = None
    origin: Origin | None = None
    deletions: bool = False


@dataclass(frozen=True)
class Origin:
    """A file in the source.

    Attributes:
        name: Path of the file, relative to the source's folder.
        bytes: Size in bytes.
        checksum: SHA-256 of the content.
        modified_at: Time of the last change, as the storage reports it.
    """

    name: str
    bytes: int
    checksum: str
    modified_at: str


@dataclass(frozen=True)
class Manifest:
    """Content of a landed batch.

    Data Factory leaves out the values that it does not know. `Landing.examine` fills in these values.

    Attributes:
        source: Source system.
        entity: Name of the table or resource in the source.
        batch_id: Name of the batch. If the batches of an entity are sorted by id, they are in the order of landing.
        load: Whether the batch is a snapshot, an increment or whole files.
        extracted_at: Start of the run that extracted the batch, ISO 8601, UTC.
        format: Format of the data files.
        files: Data files.
        extractor_version: Version of the code that wrote the batch.
        after: Position at which the extraction started: the watermark of the previous batch. None if all records were
            read.
        watermark: Position up to which the batch was extracted. The next extraction starts at this position. None if
            the source has no watermark.
        rows: Number of records in the data files.
        bytes: Total size of the data files in bytes.
        checksum: SHA-256 of the checksums of the data files, in the order of `files`.
        columns: Sorted names of the columns or fields in the data. The columns of tombstones are not included. `_extra`
            stands for names that can't be the name of a column (`add_field_names`).
        schema_fingerprint: SHA-256 of the column names.
        rewritten_at: Time at which an erasure last rewrote the batch, ISO 8601, UTC. None if the batch is as received.
        rows_erased: Number of records that erasures have removed from the batch.
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
    rewritten_at: str | None = None
    rows_erased: int = 0

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return a manifest from its text.

        Ignore unknown fields, because later versions of the platform may write more fields. The checksum of the content
        is verified if the text has one. Manifests of Data Factory and of earlier versions have none.

        Raises:
            ValueError: The text is not a manifest.
        """
        try:
            content = json.loads(text)
            stated = content.pop(_MANIFEST_CHECKSUM, None)
            if stated is not None and stated != _sha256(json.dumps(content, sort_keys=True)):
                raise ValueError("its content does not match its checksum")
            # Manifests of the first version have no `load`: every batch was a snapshot.
            values = {"load": "snapshot"} | _known_fields(cls, content)
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
        """Return the text of `manifest.json`. Its last field is the checksum of all other fields."""
        content = json.loads(json.dumps(asdict(self)))
        checksum = _sha256(json.dumps(content, sort_keys=True))
        return json.dumps(content | {_MANIFEST_CHECKSUM: checksum}, indent=2)


def _data_file(values: dict[str, Any] | str) -> DataFile:
    values = {"name": values} if isinstance(values, str) else values
    file = DataFile(**_known_fields(DataFile, values))
    if not _DATA_FILE.fullmatch(file.name):
        raise ValueError(f"the file {file.name!r} is outside the batch's data folder, or its name is not allowed")
    return replace(file, origin=Origin(**values["origin"])) if values.get("origin") else file


def _known_fields(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}


class Landing:
    """Landing location: reader and writer of the landed batches under one root."""

    def __init__(self, root: str, account_key: str | None = None) -> None:
        """Open a landing location.

        Args:
            root: Folder, volume path or `abfss://` address.
            account_key: Key of the storage account of an `abfss://` address. None for the managed identity.
        """
        self.root = root.rstrip("/")
        self.fs = open_filesystem(root, account_key)
        self._batches_outside_days = set[tuple[str, str, str]]()
        """Source, entity and id of batches that an earlier version stored without a day folder."""

    def extraction(
        self,
        source: str,
        batch_id: str,
        extracted_at: datetime,
        addresses: Mapping[str, SourceAddress] | None = None,
        *,
        accept_new_sources: bool = False,
    ) -> Extraction:
        """Return the object that one run uses to land the data of a source.

        Args:
            source: Source system.
            batch_id: Id of the run's batches.
            extracted_at: Start of the run, UTC.
            addresses: Address of each entity's source. The addresses of other entities are neither checked nor
                remembered.
            accept_new_sources: Whether an address may differ from the address that the landing remembers.

        Raises:
            CdpError: The landing remembers another address of an entity's source.
        """
        for entity, address in (addresses or {}).items():
            self.check_source(source, entity, address, accept_new_sources=accept_new_sources)
        return Extraction(self, source, batch_id, extracted_at.isoformat(), addresses or {})

    def find_source(self, source: str, entity: str) -> SourceAddress | None:
        """Return the address of an entity's source that the landing remembers, or None if it remembers none.

        Landings of earlier versions, and landings that another system fills, remember no address.

        Raises:
            CdpError: The address can't be read.
        """
        path = self.path_of_source(source, entity)
        if not self._exists(path):
            return None
        try:
            with self._errors("read"):
                return SourceAddress.from_json(self.fs.cat_file(path).decode())
        except ValueError as error:
            raise CdpError(
                f"{path} can't be read ({error}): delete the file, then check the source of {entity} before you run"
                " again."
            ) from error

    def check_source(self, source: str, entity: str, address: SourceAddress, *, accept_new_sources: bool) -> None:
        """Raise an error if the landing remembers another address of an entity's source.

        Args:
            source: Source system.
            entity: Name of the table or resource in the source.
            address: Address of the entity's source in this run.
            accept_new_sources: Whether the address may differ.

        Raises:
            CdpError: The landing remembers another address, or the address can't be read.
        """
        remembered = self.find_source(source, entity)
        if remembered and not accept_new_sources and not remembered.is_same_source(address):
            raise CdpError(
                f"{self.root}/{source}/{entity} holds data of {remembered}, but this run would read {address}: nothing"
                " was read. Correct the address. If the source has moved, run once with --accept-new-sources (in a"
                " workspace: deploy with --var accept_new_sources=true)."
            )

    def remember_source(self, source: str, entity: str, address: SourceAddress) -> None:
        """Store the address of an entity's source, if the landing does not remember it yet.

        Raises:
            CdpError: The location can't be read or written.
        """
        remembered = self.find_source(source, entity)
        if remembered and remembered.is_same_source(address):
            return
        with self._errors("written"):
            self.fs.makedirs(f"{self.root}/{source}/{entity}", exist_ok=True)
            self._write_atomically(self.path_of_source(source, entity), address.to_json())

    def path_of_source(self, source: str, entity: str) -> str:
        """Return the path of the file that stores the address of an entity's source."""
        return f"{self.root}/{source}/{entity}/{_SOURCE}"

    def has_batches(self, source: str, entity: str) -> bool:
        """Return whether a batch of an entity is landed."""
        return next(self.batch_ids_newest_first(source, entity), None) is not None

    def batch_ids(self, source: str, entity: str, since: str = "", exclude: Collection[str] = ()) -> list[str]:
        """List the ids of an entity's landed batches, oldest first.

        Cost:

        - one request to list the entity's folder;
        - one request for each listed day;
        - one request for each batch in these days that is not in `exclude`.

        Args:
            source: Source system.
            entity: Name of the table or resource in the source.
            since: A batch id, or only the time at its beginning. The folders of earlier days are not listed. Empty to
                list all days.
            exclude: Batch ids to leave out.

        Raises:
            CdpError: The location can't be read, or a batch id has no time.
        """
        folders = self._batch_folders(source, entity, since)
        return sorted(name for name in folders if name not in exclude and self._is_landed(source, entity, name))

    def batch_ids_newest_first(self, source: str, entity: str) -> Iterator[str]:
        """Yield the ids of an entity's landed batches, newest first.

        The folder of a day is listed only when the caller asks for the first batch of that day.
        """
        return (name for name in self._batch_folders(source, entity) if self._is_landed(source, entity, name))

    def _batch_folders(self, source: str, entity: str, since: str = "") -> Iterator[str]:
        """Yield the names of an entity's batch folders, newest first. Folders without a manifest may be included."""
        folder, outside_by_day = f"{self.root}/{source}/{entity}", dict[str, list[str]]()
        for name in self._subfolders(folder):
            if _DAY.fullmatch(name):
                outside_by_day.setdefault(name, [])
            elif not (since and name < since) and self._exists(f"{folder}/{name}/{MANIFEST}"):
                self._batches_outside_days.add((source, entity, name))
                outside_by_day.setdefault(_day_of(name), []).append(name)
        for day in sorted(outside_by_day, reverse=True):
            if not since or day >= _day_of(since):
                yield from sorted({*outside_by_day[day], *self._subfolders(f"{folder}/{day}")}, reverse=True)

    def _subfolders(self, path: str) -> list[str]:
        """List the names of a folder's subfolders. Return an empty list if the folder does not exist."""
        with self._errors("read"):
            self.fs.invalidate_cache()
            try:
                entries = self.fs.ls(path, detail=True)
            except FileNotFoundError:
                return []
        return [entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory"]

    def _folder(self, source: str, entity: str, batch_id: str) -> str:
        """Return the address of a batch's folder."""
        is_in_day = (source, entity, batch_id) not in self._batches_outside_days
        return f"{self.root}/{source}/{entity}/{f'{_day_of(batch_id)}/' if is_in_day else ''}{batch_id}"

    def find_batch(self, source: str, entity: str, batch_id: str) -> Manifest | None:
        """Return the manifest of the batch with this id. Return None if the batch is not landed, or only partly.

        Raises:
            CdpError: The manifest can't be read.
        """
        return self.read_batch(source, entity, batch_id) if self._is_landed(source, entity, batch_id) else None

    def read_batch(self, source: str, entity: str, batch_id: str) -> Manifest:
        """Return the manifest of a landed batch.

        Raises:
            CdpError: The manifest can't be read.
        """
        path = f"{self._folder(source, entity, batch_id)}/{MANIFEST}"
        try:
            self._check_is_no_link(path)
            manifest = Manifest.from_json(self.fs.cat_file(path).decode())
            if (manifest.source, manifest.entity, manifest.batch_id) != (source, entity, batch_id):
                raise ValueError(f"it belongs to {manifest.source}/{manifest.entity}/{manifest.batch_id}")
        except (ValueError, RecursionError, OSError, AzureError) as error:
            raise CdpError(f"Manifest {path} can't be read ({error}): restore it, or delete the batch.") from error
        return manifest

    def batches(self, source: str, entity: str, since: str = "", exclude: Collection[str] = ()) -> list[Manifest]:
        """Return the manifests of an entity's landed batches, oldest first.

        The arguments are the same as for `batch_ids`.

        Raises:
            CdpError: A manifest can't be read.
        """
        names = self.batch_ids(source, entity, since, exclude)
        return [self.read_batch(source, entity, name) for name in names]

    def find_latest_batch(self, source: str, entity: str) -> Manifest | None:
        """Return the manifest of an entity's latest batch, or None if no batch is landed.

        Raises:
            CdpError: The manifest can't be read.
        """
        name = next(self.batch_ids_newest_first(source, entity), None)
        return self.read_batch(source, entity, name) if name else None

    def batches_of_files(self, source: str, entity: str) -> list[Manifest]:
        """Return manifests that list all landed source files of an entity, oldest first.

        The first manifest may be a summary: the file `landed_files.json` in the entity's folder. It lists the source
        files of many batches, even of removed batches. With the summary, only a few manifests have to be read.

        Raises:
            CdpError: A manifest can't be read.
        """
        summary = self._read_summary(source, entity)
        known = summary.batch_id if summary else ""
        names = [name for name in self.batch_ids(source, entity, known) if name > known]
        batches = [*filter(None, [summary]), *(self.read_batch(source, entity, name) for name in names)]
        if len(names) > _MAX_UNSUMMARIZED_BATCHES:
            self._write_summary(batches)
        return batches

    def _read_summary(self, source: str, entity: str) -> Manifest | None:
        path = f"{self.root}/{source}/{entity}/{_LANDED_FILES}"
        if not self._exists(path):
            return None
        try:
            with self._errors("read"):
                summary = Manifest.from_json(self.fs.cat_file(path).decode())
            if (summary.source, summary.entity) != (source, entity):
                raise ValueError(f"it belongs to {summary.source}/{summary.entity}")
        except ValueError as error:
            raise CdpError(
                f"{path} can't be read ({error}): restore it, or delete it. Without it, source files of removed batches"
                " are landed again."
            ) from error
        return summary

    def _write_summary(self, batches: Sequence[Manifest]) -> None:
        """Store a summary of the batches: one manifest that lists the latest version of each source file.

        The `batch_id` of the summary is the id of the last batch in `batches`.
        """
        files, found = dict[str, DataFile](), dict[str, Any]()
        for batch in batches:
            for file in batch.files:
                if file.origin:
                    files[file.origin.name] = file
                    found.pop(file.origin.name, None)
            found |= {values["name"]: values for values in (batch.watermark or {}).get("found_landed", ())}
        summary = replace(batches[-1], files=tuple(files.values()), watermark={"found_landed": [*found.values()]})
        with self._errors("written"):
            self._write_atomically(f"{self.root}/{summary.source}/{summary.entity}/{_LANDED_FILES}", summary.to_json())

    def remove_batches(self, source: str, entity: str, names: Sequence[str]) -> None:
        """Remove landed batches.

        If the entity is landed as whole files, the summary still lists the source files of the removed batches
        (`batches_of_files`). These files are therefore not landed again.

        Args:
            source: Source system.
            entity: Name of the table or resource in the source.
            names: Ids of the batches.

        Raises:
            CdpError: The location can't be written, or a manifest can't be read.
        """
        latest = self.find_latest_batch(source, entity)
        if latest and latest.load == "files":
            self._write_summary(self.batches_of_files(source, entity))
        with self._errors("written"):
            for folder in (self._folder(source, entity, name) for name in names):
                # Remove the manifest first. If the removal stops here, the folder is no longer a batch.
                self.fs.rm(f"{folder}/{MANIFEST}")
                self._remove(folder)

    def remove_incomplete_batches(self, source: str, entity: str, id_suffix: str, since: str) -> None:
        """Remove the batch folders of killed runs. These folders have no manifest.

        Args:
            source: Source system.
            entity: Name of the table or resource in the source.
            id_suffix: End of the batch ids of these runs. Only folders whose names end with it are removed.
            since: A batch id. The folders of earlier days are not listed.

        Raises:
            CdpError: The location can't be read or written.
        """
        for name in [*self._batch_folders(source, entity, since)]:
            if name.endswith(id_suffix) and not self._is_landed(source, entity, name):
                self._remove(self._folder(source, entity, name))

    def _write_atomically(self, path: str, text: str) -> None:
        """Write a file so that a reader never sees an incomplete file.

        An object store always writes each object atomically.
        """
        if isinstance(self.fs, LocalFileSystem):
            self.fs.pipe_file(f"{path}.part", text.encode())
            self.fs.mv(f"{path}.part", path)
        else:
            self.fs.pipe_file(path, text.encode())

    def path_of(self, batch: Manifest, file: str) -> str:
        """Return the address of a data file. Spark can read the file at this address."""
        return f"{self._folder(batch.source, batch.entity, batch.batch_id)}/{file}"

    def relative_path_of(self, batch: Manifest, file: str) -> str:
        """Return the path of a data file, relative to the landing location."""
        return self.path_of(batch, file).removeprefix(f"{self.root}/")

    def examine(self, batch: Manifest) -> Manifest:
        """Check the data files against the manifest, and return the manifest with its missing values filled in.

        Raises:
            CdpError: A data file is missing, can't be read, or differs from the manifest. Or the folder of a source
                file has a file that the manifest does not list.
        """
        rows, size, columns = 0, 0, set[str]()
        self._require_no_other_files(batch)
        for file in batch.files:
            stats = self._examine_file(batch, file)
            rows += stats.rows
            size += stats.bytes
            columns |= set() if file.deletions else stats.columns
        for what, stated, counted in (("rows", batch.rows, rows), ("bytes", batch.bytes, size)):
            if stated is not None and stated != counted:
                raise self._mismatch_error(
                    batch, f"the manifest states {stated} {what}, but the data files have {counted}"
                )
        if batch.checksum and batch.checksum != _checksum_of(batch.files):
            raise self._mismatch_error(batch, "the manifest's checksum does not match the checksums of its files")
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
        previous: Manifest | None = None,
    ) -> Iterator[BatchWriter]:
        """Write a batch. The manifest is written when the `with` statement ends without an error.

        The caller writes the files of the batch inside the `with` statement. An earlier attempt to write the same batch
        may have failed and left files behind. These files are removed first.

        If the new batch and the latest batch are snapshots with the same content, the new batch is dropped. In this
        case, the writer's `manifest` is the manifest of the latest batch.

        The new id sorts after the ids of all landed batches of the entity, even if the clocks of the runs disagree
        (`batch_id_after`).

        Args:
            source: Source system.
            entity: Name of the table or resource in the source.
            batch_id: Id of the run's batches. If the id does not sort after the latest batch, the time in the id is
                moved to a later time.
            extracted_at: Start of the run, ISO 8601.
            load: Whether the batch is a snapshot, an increment or whole files.
            previous: Latest landed batch that the run knows. None if no batch is landed. Pass None also for a snapshot
                that does not depend on earlier batches. In all other cases, a newer batch of another run is an error.

        Raises:
            CdpError: A name can't be a folder name, the batch is already complete, the location can't be written, or
                another run has landed a batch of the entity since this run began to read.
        """
        for name, form in ((source, NAME), (entity, NAME), (batch_id, _BATCH_ID)):
            if not form.fullmatch(name):
                raise CdpError(f"'{name}' can't be a folder name in the landing: a name must match {form.pattern}.")
        latest_id = next(self.batch_ids_newest_first(source, entity), "")
        if self._is_landed(source, entity, batch_id):
            raise CdpError(f"Batch {batch_id} of {source}/{entity} is already landed: a landed batch is never changed.")
        batch_id = batch_id_after(batch_id, latest_id)
        folder = self._folder(source, entity, batch_id)
        if (previous or load != "snapshot") and latest_id != (previous.batch_id if previous else ""):
            raise self._concurrent_run_error(source, entity)
        with self._errors("written"):
            if self.fs.exists(folder):
                self.fs.rm(folder, recursive=True)
        writer = BatchWriter(self, folder)
        try:
            yield writer
            after = previous.watermark if previous and load != "snapshot" else None
            manifest = writer.finish(source, entity, batch_id, extracted_at, load, after)
            latest = self.read_batch(source, entity, latest_id) if latest_id else None
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

    @contextmanager
    def rewrite_batch(self, batch: Manifest, rewritten_at: str, rows_erased: int) -> Iterator[BatchWriter]:
        """Replace data files of a landed batch, and remove the raw responses of the batch.

        The caller writes the new files inside the `with` statement, under the names of the old files. The old files
        without a new file stay. The manifest of the new files is the commit: if the process is killed before it is
        written, the batch is as before, and `finish_rewrite` removes the new files. If the process is killed after
        it, `finish_rewrite` finishes the rewrite.

        Args:
            batch: Manifest of the batch.
            rewritten_at: Time of the rewrite, ISO 8601, UTC.
            rows_erased: Number of records of the batch that the new files lack.

        Raises:
            CdpError: The location can't be written.
        """
        self.finish_rewrite(batch)
        draft = f"{self._folder(batch.source, batch.entity, batch.batch_id)}/{_REWRITTEN}"
        writer = BatchWriter(self, draft)
        yield writer
        new = {file.name: file for file in writer.files}
        files = tuple(new.get(file.name, file) for file in batch.files)
        sizes = [file.bytes for file in files]
        manifest = replace(
            batch,
            files=files,
            rows=None if batch.rows is None else batch.rows - rows_erased,
            bytes=None if None in sizes else sum(filter(None, sizes)),
            checksum=_checksum_of(files),
            rewritten_at=rewritten_at,
            rows_erased=batch.rows_erased + rows_erased,
        )
        with self._errors("written"):
            self.fs.makedirs(draft, exist_ok=True)
            self._write_atomically(f"{draft}/{MANIFEST}", manifest.to_json())
        self.finish_rewrite(batch)

    def finish_rewrite(self, batch: Manifest) -> None:
        """Finish a rewrite of a batch that a killed process has committed, or remove what it has written.

        Raises:
            CdpError: The location can't be read or written.
        """
        folder = self._folder(batch.source, batch.entity, batch.batch_id)
        draft = f"{folder}/{_REWRITTEN}"
        if not self._exists(draft):
            return
        if self._exists(f"{draft}/{MANIFEST}"):
            with self._errors("read"):
                text = self.fs.cat_file(f"{draft}/{MANIFEST}").decode()
            with self._errors("written"):
                for name in (file.name for file in Manifest.from_json(text).files):
                    if self.fs.exists(f"{draft}/{name}"):
                        self.fs.mv(f"{draft}/{name}", f"{folder}/{name}")
                if self.fs.exists(f"{folder}/received"):
                    self.fs.rm(f"{folder}/received", recursive=True)
                self._write_atomically(f"{folder}/{MANIFEST}", text)
        with self._errors("written"):
            self.fs.rm(draft, recursive=True)

    def _land_manifest(self, folder: str, manifest: Manifest, latest: str) -> None:
        """Write the manifest of a batch.

        Raise an error if another run has landed a batch after the batch `latest`, or has changed the files of this
        batch.
        """
        with self._errors("written"), self._entity_lock(f"{self.root}/{manifest.source}/{manifest.entity}"):
            # Without this check, two runs that read at the same time would land the same changes twice.
            if next(self.batch_ids_newest_first(manifest.source, manifest.entity), "") != latest:
                raise self._concurrent_run_error(manifest.source, manifest.entity)
            for file in manifest.files:
                path = f"{folder}/{file.name}"
                # The size is not enough: two runs may write different rows of the same size.
                if not self.fs.exists(path) or not self._has_content(path, file):
                    raise CdpError(
                        f"File {path} was changed by another process while this run wrote it: run the task again."
                    )
            path, text = f"{folder}/{MANIFEST}", manifest.to_json()
            if isinstance(self.fs, LocalFileSystem):
                self.fs.makedirs(folder, exist_ok=True)  # a batch without files has no folder yet
                self._write_atomically(path, text)
            else:
                # `create` writes atomically too, and fails if another run has already written the manifest.
                self.fs.pipe_file(path, text.encode(), mode="create")

    def _has_content(self, path: str, file: DataFile) -> bool:
        if file.bytes is not None and self.fs.size(path) != file.bytes:
            return False
        return file.checksum is None or _file_checksum(self.fs, path) == file.checksum

    @contextmanager
    def _entity_lock(self, folder: str) -> Iterator[None]:
        """Lock an entity. On this machine, only one run at a time can write the manifest of a batch of the entity.

        The lock has no effect on an object store.
        """
        if not isinstance(self.fs, LocalFileSystem):
            yield
            return
        self.fs.makedirs(folder, exist_ok=True)
        with ExitStack() as stack:
            with suppress(OSError):  # a Unity Catalog volume may not support locks
                descriptor = os.open(self.fs._strip_protocol(folder), os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield

    def _is_landed(self, source: str, entity: str, batch_id: str) -> bool:
        return self._exists(f"{self._folder(source, entity, batch_id)}/{MANIFEST}")

    def _exists(self, path: str) -> bool:
        with self._errors("read"):
            self.fs.invalidate_cache()
            return bool(self.fs.exists(path))

    def _examine_file(self, batch: Manifest, file: DataFile) -> _FileStats:
        path = self.path_of(batch, file.name)
        try:
            self._check_is_no_link(path)
            stats = _STATS_READERS[batch.format](self.fs, path, needs_columns=batch.columns is None)
        except (OSError, AzureError, ValueError) as error:
            raise self._mismatch_error(batch, f"{file.name} can't be read ({error})") from error
        for what, stated, actual in (
            ("size in bytes", file.bytes, stats.bytes),
            ("checksum", file.checksum, stats.checksum),
        ):
            if stated is not None and stated != actual:
                raise self._mismatch_error(
                    batch, f"the {what} of {file.name} is {actual}, but the manifest states {stated}"
                )
        return stats

    def _check_is_no_link(self, path: str) -> None:
        """Raise a `ValueError` if a path of this machine has a symbolic link below the landing location."""
        if has_link(self.fs, self.root, path.removeprefix(f"{self.root}/")):
            raise ValueError("a symbolic link, which may lead out of the landing location")

    def _require_no_other_files(self, batch: Manifest) -> None:
        """Raise an error if the folder of a source file has a file that the manifest does not list.

        Bronze reads these folders as a whole, so it would load the rows of such a file.
        """
        listed = {file.name for file in batch.files}
        folders = {_source_folder(name) for name in listed if name.startswith(f"data/{FILE_FOLDER}")}
        if not folders:
            return
        with self._errors("read"):
            self.fs.invalidate_cache()
            paths = self.fs.find(self.path_of(batch, "data"))
        for name in (path.rpartition(f"/{batch.batch_id}/")[2] for path in paths):
            # Engines skip the files whose names begin with a dot or an underscore.
            is_visible = not name.rpartition("/")[2].startswith((".", "_"))
            if is_visible and _source_folder(name) in folders and name not in listed:
                raise self._mismatch_error(batch, f"the manifest does not list the file {name}")

    def _mismatch_error(self, batch: Manifest, reason: str) -> CdpError:
        if self._exists(f"{self._folder(batch.source, batch.entity, batch.batch_id)}/{_REWRITTEN}/{MANIFEST}"):
            return CdpError(
                f"An erasure of batch {batch.batch_id} of {batch.source}/{batch.entity} was interrupted: repeat the"
                " erasure."
            )
        return CdpError(
            f"Batch {batch.batch_id} of {batch.source}/{batch.entity} does not match its manifest: {reason}."
            " None of the batch's rows were loaded. Restore the batch, or delete its folder."
        )

    def _concurrent_run_error(self, source: str, entity: str) -> CdpError:
        return CdpError(
            f"Another run has landed a batch of {source}/{entity} meanwhile: this run landed nothing; run"
            " the task again."
        )

    def _remove(self, folder: str) -> None:
        with self._errors("written"):
            self.fs.rm(folder, recursive=True)
        if isinstance(self.fs, LocalFileSystem):
            with suppress(OSError):  # the day folder still has other batches
                self.fs.rmdir(folder.rsplit("/", 1)[0])

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return storage_errors(f"Landing location {self.root} can't be {what}")


@contextmanager
def storage_errors(failure: str) -> Iterator[None]:
    """Turn a storage error into a `CdpError` whose message gives the reason in one line.

    Args:
        failure: Beginning of the message: what failed.

    Raises:
        CdpError: The storage raises an error inside the `with` statement.
    """
    try:
        yield
    except (OSError, AzureError, RuntimeError) as error:
        # adlfs wraps the storage's error in a RuntimeError.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise CdpError(f"{failure}: {reason.rstrip('.')}.") from error


def _source_folder(name: str) -> str:
    """Return the folder of a source file from the path of a data file: `data/file=<name>`."""
    return "/".join(name.split("/")[:2])


def _run_suffix(batch_id: str) -> str:
    """Return the part of a batch id that identifies its run: everything after the time."""
    return batch_id[_TIME_LENGTH:]


def _day_of(batch_id: str) -> str:
    """Return the name of a batch's day folder.

    Raises:
        CdpError: The batch id does not begin with a time.
    """
    if not _BATCH_ID.fullmatch(batch_id):
        raise CdpError(
            f"Batch {batch_id} has no time in its name: rename the batch, for example to"
            " 20260131T235959Z-1, or delete the batch."
        )
    return f"{batch_id[:4]}-{batch_id[4:6]}-{batch_id[6:8]}"


def batch_id_after(batch_id: str, latest: str) -> str:
    """Return a batch id that sorts after the latest batch.

    If `batch_id` does not sort after the latest batch, its time is changed to one second after the time of the latest
    batch. The batch that is landed last is therefore always the newest batch. The change is needed in two cases: the
    clock of an earlier run was ahead, or a failed run is repaired and keeps its original start time.

    Args:
        batch_id: Id of the new batch, `<time>-<anything>`.
        latest: Id of the entity's latest batch. Empty if no batch is landed.

    Raises:
        CdpError: The id of the latest batch has no time.

    >>> batch_id_after("20260131T000000Z-7", "20260130T000000Z-6")
    '20260131T000000Z-7'
    >>> batch_id_after("20260131T000000Z-7", "20261127T235959Z-6")
    '20261128T000000Z-7'
    """
    if batch_id > latest:
        return batch_id
    try:
        moved = datetime.strptime(latest[:_TIME_LENGTH], _TIME_FORMAT) + timedelta(seconds=1)  # noqa: DTZ007
    except (ValueError, OverflowError):
        raise CdpError(
            f"Batch {latest} has no time in its name, and sorts after all other batches: rename the batch"
            f" to {batch_id}."
        ) from None
    return f"{moved:{_TIME_FORMAT}}{batch_id[_TIME_LENGTH:]}"


def has_link(fs: fsspec.AbstractFileSystem, folder: str, name: str) -> bool:
    """Return whether a file, or a folder between it and a given folder, is a symbolic link.

    The folder itself may be a link. Only folders of this machine have links.

    Args:
        fs: File system of the folder.
        folder: Address of the folder.
        name: Path of the file, relative to the folder.
    """
    if not isinstance(fs, LocalFileSystem):
        return False
    path = os.path.join(os.path.realpath(fs._strip_protocol(folder)), name)
    return os.path.realpath(path) != path


def open_filesystem(address: str, account_key: str | None) -> fsspec.AbstractFileSystem:
    """Return the file system of a folder, a volume path or an `abfss://` address.

    Args:
        address: The address.
        account_key: Key of the storage account of an `abfss://` address. None for the managed identity.

    Raises:
        CdpError: The kind of address is unknown, or the address lacks the name of the storage account.
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
    """Extraction from one source in one run. The run lands one batch per entity, and these batches have the same id.

    Attributes:
        landing: Landing location of the batches.
        source: Source system.
        batch_id: Id of the batches.
        extracted_at: Start of the run, ISO 8601, UTC.
        addresses: Address of each entity's source. For an entity without an address here, the run stores no address
            in the landing.
    """

    landing: Landing
    source: str
    batch_id: str
    extracted_at: str
    addresses: Mapping[str, SourceAddress] = field(default_factory=dict)

    def remember_source(self, entity: str) -> None:
        """Store the address of an entity's source in the landing. Call this method after the source was read.

        Raises:
            CdpError: The location can't be read or written.
        """
        if address := self.addresses.get(entity):
            self.landing.remember_source(self.source, entity, address)

    def find_batch(self, entity: str) -> Manifest | None:
        """Return the manifest of the run's batch of an entity, or None if the batch is not landed.

        The batch may have been landed by an earlier attempt of the task.
        """
        names = self.landing.batch_ids(self.source, entity, since=self.batch_id)
        same_run = [name for name in names if _run_suffix(name) == _run_suffix(self.batch_id)]
        batch = self.landing.find_batch(self.source, entity, same_run[-1]) if same_run else None
        return batch if batch and self.has_landed(batch) else None

    def has_landed(self, batch: Manifest) -> bool:
        """Return whether this run has landed a batch.

        A batch of this run usually has the batch id of the run. If the time in the id was changed (`batch_id_after`),
        the batch is recognized by two values: the part of its id after the time, and the start of the run. The part
        after the time is not enough, because it is the same for all manual runs.
        """
        is_same_suffix = _run_suffix(batch.batch_id) == _run_suffix(self.batch_id)
        return batch.batch_id == self.batch_id or (is_same_suffix and batch.extracted_at == self.extracted_at)

    def find_latest_batch(self, entity: str) -> Manifest | None:
        """Return the manifest of an entity's latest batch, which any run may have landed.

        The extraction continues at the watermark of this batch.
        """
        return self.landing.find_latest_batch(self.source, entity)

    @contextmanager
    def new_batch(
        self, entity: str, load: Load = "snapshot", previous: Manifest | None = None
    ) -> Iterator[BatchWriter]:
        """Write the run's batch of an entity. See `Landing.new_batch`."""
        with self.landing.new_batch(self.source, entity, self.batch_id, self.extracted_at, load, previous) as batch:
            yield batch
            # Store the address before the manifest is written. The source of a landed batch is then known, even if the
            # run is killed between the two.
            self.remember_source(entity)


class BatchWriter:
    """Writer of the files of one batch. It also collects the values for the batch's manifest.

    Attributes:
        manifest: Manifest of the batch, once the batch is complete.
        watermark: Position up to which the entity has been extracted. The caller sets it before the batch ends.
        rows: Number of records written to data files so far.
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
        """Store a response of the source unchanged, from the current position of `content`."""
        with self._open(f"received/{name}") as file:
            shutil.copyfileobj(content, file, _CHUNK_BYTES)

    @contextmanager
    def open_data(
        self, name: str, format: BatchFormat, *, origin: Origin | None = None, deletions: bool = False
    ) -> Iterator[ChecksummedFile]:
        """Write a data file. The caller reports the number and the columns of the records with `add`.

        Args:
            name: Name of the file. It may include folders.
            format: Format of the file. All data files of a batch have the same format.
            origin: Source file that the data file is made from.
            deletions: Whether the file holds tombstones.
        """
        self._format = format
        with self._open(f"data/{name}") as file:
            yield file
        self._files.append(DataFile(f"data/{name}", file.bytes, file.checksum, origin, deletions))

    @property
    def files(self) -> tuple[DataFile, ...]:
        """Return the data files written so far."""
        return tuple(self._files)

    def add_file(self, file: DataFile, format: BatchFormat) -> None:
        """Add a data file to the manifest.

        Another writer, such as Spark, has written the file to the batch's folder.
        """
        self._format = format
        self._files.append(file)

    @property
    def data_folder(self) -> str:
        """Address of the folder into which other writers, such as Spark, write data files."""
        return f"{self._folder}/data"

    def add(self, rows: int, columns: Iterable[str] = ()) -> None:
        """Add the number of written records, and the names of their columns, to the values for the manifest."""
        self.rows += rows
        add_field_names(self._columns, columns)

    def finish(
        self, source: str, entity: str, batch_id: str, extracted_at: str, load: Load, after: Watermark | None
    ) -> Manifest:
        """Create the manifest of the written files, store it in `manifest`, and return it."""
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
    def _open(self, name: str) -> Iterator[ChecksummedFile]:
        path = f"{self._folder}/{name}"
        with self._landing._errors("written"):
            self._landing.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            stream = self._landing.fs.open(path, "wb")
        file = ChecksummedFile(stream, self._landing)
        try:
            yield file
        except BaseException:
            with suppress(Exception):
                stream.close()
            raise
        with self._landing._errors("written"):
            stream.close()


class ChecksummedFile:
    """A file opened for writing that counts and hashes the bytes written to it.

    Attributes:
        bytes: Number of bytes written so far.
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
            CdpError: The location can't be written, for example because it is full.
        """
        data = bytes(chunk)
        with self._landing._errors("written"):
            self._stream.write(data)
        self._digest.update(data)
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Flush the buffered bytes."""
        with self._landing._errors("written"):
            self._stream.flush()

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self.bytes


@dataclass
class _FileStats:
    """Rows, size, checksum and columns of a data file, as read from the file."""

    rows: int
    bytes: int
    checksum: str
    columns: set[str]


def _jsonl_stats(fs: fsspec.AbstractFileSystem, path: str, *, needs_columns: bool) -> _FileStats:
    """Read a JSON lines file once. Every line that is not blank counts as a record, even if it is not valid JSON.

    Raises:
        ValueError: A line is not UTF-8. An engine would fail on it, and with it on all other batches.
    """
    stats, digest = _FileStats(0, 0, "", set()), hashlib.sha256()
    # Without this buffer, an adlfs file allocates a whole block of memory for each line.
    with fs.open(path, "rb") as file, io.BufferedReader(file, _CHUNK_BYTES) as lines:
        for line in lines:
            digest.update(line)
            stats.bytes += len(line)
            stats.rows += bool(line.strip())
            text = line.decode()
            if needs_columns:
                add_field_names(stats.columns, field_names(parse_json(text)))
    stats.checksum = digest.hexdigest()
    return stats


def _file_checksum(fs: fsspec.AbstractFileSystem, path: str) -> str:
    with fs.open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parquet_stats(fs: fsspec.AbstractFileSystem, path: str, *, needs_columns: bool) -> _FileStats:
    """Compute the checksum of a parquet file, and read the number of rows and the columns from its footer."""
    import pyarrow.parquet as pq

    with fs.open(path, "rb") as file:
        checksum, size = hashlib.file_digest(file, "sha256").hexdigest(), file.seek(0, io.SEEK_END)
        footer = pq.ParquetFile(file)
        return _FileStats(footer.metadata.num_rows, size, checksum, set(footer.schema_arrow.names))


_STATS_READERS = {"jsonl": _jsonl_stats, "parquet": _parquet_stats}


def _checksum_of(files: Sequence[DataFile]) -> str | None:
    """Return the checksum of a batch, or None if the checksum of one of its files is unknown."""
    checksums = [file.checksum for file in files if file.checksum]
    return _sha256("".join(checksums)) if len(checksums) == len(files) else None


def _fingerprint(columns: Sequence[str]) -> str:
    return _sha256(json.dumps(columns))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
