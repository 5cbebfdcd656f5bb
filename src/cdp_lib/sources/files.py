"""Files in a folder, a Unity Catalog volume or `abfss://`: JSON lines of events, CSV tables.

A file is known by its name and its content. One whose content has changed is landed again, whole, in a data file of the
same name as before, and so takes the place of its earlier version. One with the content of another is landed once.
A file is looked into only when its size or time of change is another than when it was looked into last.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import chain
from tempfile import TemporaryFile
from typing import IO, Any, cast
from urllib.parse import quote

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import FILE_FOLDER, BatchWriter, Extraction, Manifest, Origin, open_filesystem, storage_errors

LONGEST_RECORD = 64 << 20
"""Bytes of a JSON line, or characters of a CSV cell, beyond which a file is not what it is taken for."""

_JSON_LINES = re.compile(r"\.(jsonl|json|ndjson)(\.gz)?$", re.IGNORECASE)
_CSV = re.compile(r"\.csv(\.gz)?$", re.IGNORECASE)
_CHUNK_BYTES = 1 << 20

_Lines = Callable[[IO[bytes], str, set[str]], Iterator[bytes]]
"""The records of a file as lines of JSON, given its content, its address and the set to put the columns' names into."""


def land_json_lines(
    extraction: Extraction, contract: BronzeContract, path: str, *, account_key: str | None
) -> list[Manifest]:
    """Land the new and changed files of JSON lines below a folder, a data file a file.

    What is not one clean line of UTF-8 a record (gzip, byte order mark, CRLF, blank lines) is kept as received, too. A
    line that is no UTF-8 becomes a record of its own, `{"_invalid_utf8": …}`; one that is no JSON stays as it is.

    Args:
        extraction: Where to land them.
        contract: Bronze table of the records.
        path: The folder, or one file. Names end in .jsonl, .json or .ndjson, or those and .gz; those that start with
            a dot or an underscore are left alone.
        account_key: Key of the storage account of an `abfss://` path; None for the managed identity.

    Returns:
        The landed batch; nothing where no file is new.

    Raises:
        CdpError: The folder is not there or has never had a file, a file can't be read or unpacked, or is empty now.
    """
    return _land_new_files(extraction, contract.entity, _Folder(path, account_key), _JSON_LINES, _json_lines)


def land_csv(extraction: Extraction, contract: BronzeContract, path: str, *, account_key: str | None) -> list[Manifest]:
    """Land the new and changed CSV files below a folder, a data file a file: cells as text, empty ones as null.

    Files are as in RFC 4180, with a header, in UTF-8, with commas or semicolons. A row with more or fewer cells than
    the header, or that is no UTF-8, becomes the record `{"_row": [cells]}`.

    Args:
        extraction: Where to land them.
        contract: Bronze table of the records.
        path: The folder, or one file. Names end in .csv or .csv.gz; those that start with a dot or an underscore are
            left alone.
        account_key: Key of the storage account of an `abfss://` path; None for the managed identity.

    Returns:
        The landed batch; nothing where no file is new.

    Raises:
        CdpError: The folder is not there or has never had a file, a file can't be read or unpacked, is empty now, or
            has no usable header or an open quote.
    """
    return _land_new_files(extraction, contract.entity, _Folder(path, account_key), _CSV, _csv_lines_of(contract))


def land_exchange_rates(
    extraction: Extraction, contract: BronzeContract, path: str, *, reporting_currency: str, account_key: str | None
) -> list[Manifest]:
    """Land a snapshot of a CSV file of `month, currency, rate`, as `land_csv` does a file.

    Args:
        extraction: Where to land it.
        contract: Bronze table of the records.
        path: The file.
        reporting_currency: ISO 4217 code of the currency that rates lead to; its own rate has to be 1 in every month.
        account_key: Key of the storage account of an `abfss://` path; None for the managed identity.

    Returns:
        The landed batch; nothing where the rates are those of the latest batch.

    Raises:
        CdpError: The file is not there, can't be read, has no rates, or they lead to another currency.
    """
    if earlier := extraction.find_batch(contract.entity):
        return [earlier]
    folder, csv_lines = _Folder(path, account_key), _csv_lines_of(contract)
    with folder.copy(folder.file()) as (copy, origin):
        _check_rates(list(csv_lines(copy, folder.path, set())), folder.path, reporting_currency)
        with extraction.new_batch(contract.entity, "snapshot") as batch:
            _land_file(batch, copy, origin, folder.path, csv_lines)
    return [batch.manifest] if extraction.has_landed(batch.manifest) else []


@dataclass(frozen=True)
class _SourceFile:
    """A file as a listing shows it: its `Origin` but for the checksum."""

    address: str
    name: str
    bytes: int
    modified_at: str


class _Folder:
    """The folder of a source, or a file of it."""

    def __init__(self, path: str, account_key: str | None) -> None:
        self.path = path.rstrip("/")
        self._fs = open_filesystem(path, account_key)

    def files(self, names: re.Pattern[str]) -> list[_SourceFile]:
        """The files with such names, in their order, but for those that are hidden; the file, where it is none."""
        with self._errors(self.path):
            self._fs.invalidate_cache()
            if self._fs.isfile(self.path):
                return [self.file()]
            if not self._fs.isdir(self.path):
                raise CdpError(f"Folder {self.path} is not there: check the path; nothing was landed.")
            root = self._fs._strip_protocol(self.path)
            found = {
                address.removeprefix(f"{root}/"): entry
                for address, entry in self._fs.find(self.path, detail=True).items()
            }
        return [
            _source_file(f"{self.path}/{name}", name, entry)
            for name, entry in sorted(found.items())
            if names.search(name) and not any(part.startswith((".", "_")) for part in name.split("/"))
        ]

    def file(self) -> _SourceFile:
        """The file that the path names."""
        with self._errors(self.path):
            self._fs.invalidate_cache()
            if self._fs.isdir(self.path):
                raise CdpError(f"{self.path} is a folder: name the file in it; nothing was landed.")
            if not self._fs.isfile(self.path):
                raise CdpError(f"File {self.path} is not there: check the path; nothing was landed.")
            return _source_file(self.path, self.path.rsplit("/", 1)[-1], self._fs.info(self.path))

    @contextmanager
    def copy(self, file: _SourceFile) -> Iterator[tuple[IO[bytes], Origin]]:
        """A copy on this machine: however a file may grow, what is landed of it has the checksum that is noted."""
        with TemporaryFile() as copy:
            digest = hashlib.sha256()
            with self._errors(file.address), self._fs.open(file.address, "rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    copy.write(chunk)
            size = copy.tell()
            copy.seek(0)
            yield copy, Origin(file.name, size, digest.hexdigest(), file.modified_at)

    def _errors(self, address: str) -> AbstractContextManager[None]:
        return storage_errors(f"{address} can't be read")


def _source_file(address: str, name: str, entry: Mapping[str, Any]) -> _SourceFile:
    """A file from its entry in a listing; what a storage calls the time of change differs."""
    modified = entry.get("last_modified") or entry.get("mtime") or entry.get("created")
    modified = datetime.fromtimestamp(modified, UTC) if isinstance(modified, int | float) else modified
    return _SourceFile(address, name, entry["size"], modified.isoformat() if modified else "")


class _Landed:
    """What of a source's files has been landed: the latest version of each."""

    def __init__(self, batches: Sequence[Manifest]) -> None:
        self._files = {file.origin.name: file.origin for batch in batches for file in batch.files if file.origin}
        self._looked_into = {origin.name: origin for batch in batches for origin in _looked_into(batch)}
        self._contents = Counter(origin.checksum for origin in self._files.values())

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def has_seen(self, file: _SourceFile) -> bool:
        """Whether a file looks as it did when its content was found to be landed, and that still is."""
        seen = self._looked_into.get(file.name)
        looks_the_same = seen and (file.bytes, file.modified_at) == (seen.bytes, seen.modified_at)
        return bool(seen and looks_the_same and self._contents[seen.checksum])

    def has(self, origin: Origin) -> bool:
        """Whether a file is landed: that version of it, or, where none is, another file with its content."""
        if origin.name in self._files:
            return self._files[origin.name].checksum == origin.checksum
        return self._contents[origin.checksum] > 0

    def add(self, origin: Origin) -> None:
        """Take a version of a file for the latest."""
        if origin.name in self._files:
            self._contents[self._files[origin.name].checksum] -= 1
        self._files[origin.name] = origin
        self._contents[origin.checksum] += 1


def _looked_into(batch: Manifest) -> Iterator[Origin]:
    """The files that were landed with a batch, and those that were found to be landed when it was."""
    yield from (file.origin for file in batch.files if file.origin)
    yield from (Origin(**values) for values in (batch.watermark or {}).get("found_landed", ()))


def _land_new_files(
    extraction: Extraction, entity: str, folder: _Folder, names: re.Pattern[str], lines_of: _Lines
) -> list[Manifest]:
    if earlier := extraction.find_batch(entity):
        return [earlier]
    files = folder.files(names)
    latest = extraction.find_latest_batch(entity)
    batches = extraction.landing.batches_of_files(extraction.source, entity)
    if not files and not batches:
        raise CdpError(f"Folder {folder.path} has no {entity} files: check the path; nothing was landed.")
    landed = _Landed(batches)
    found_landed = []
    with ExitStack() as stack:
        batch: BatchWriter | None = None
        # The landed ones first: a content that one of them no longer has is no longer landed.
        for file in sorted(files, key=lambda file: file.name not in landed):
            if landed.has_seen(file):
                continue
            with folder.copy(file) as (copy, origin):
                if landed.has(origin):
                    found_landed.append(origin)
                elif not _is_empty(copy, file.address, lines_of):
                    batch = batch or stack.enter_context(extraction.new_batch(entity, "files", latest))
                    _land_file(batch, copy, origin, file.address, lines_of)
                    landed.add(origin)
                elif file.name in landed:
                    # Without a row, it could not take the place of its earlier version.
                    raise CdpError(f"File {file.address} had records and has none now: restore it, or delete it.")
        if batch is None:
            return []
        batch.watermark = {"found_landed": [asdict(origin) for origin in found_landed]}
    return [batch.manifest]


def _is_empty(copy: IO[bytes], address: str, lines_of: _Lines) -> bool:
    first = next(lines_of(copy, address, set()), None)
    copy.seek(0)
    return first is None


def _land_file(batch: BatchWriter, copy: IO[bytes], origin: Origin, address: str, lines_of: _Lines) -> None:
    name = _encoded(origin.name)
    # The folder is a partition, whose value engines decode: it is encoded once more.
    rows, columns = 0, set[str]()
    with batch.open_data(f"{FILE_FOLDER}{quote(name)}/part-00000.jsonl", "jsonl", origin=origin) as data:
        for line in lines_of(copy, address, columns):
            data.write(line + b"\n")
            rows += 1
    batch.add(rows, columns)
    if data.checksum != origin.checksum:
        copy.seek(0)
        batch.write_received(name, copy)


def _encoded(name: str) -> str:
    """Return a name percent-encoded, as Data Factory encodes it."""
    return quote(name, safe="")


def _json_lines(copy: IO[bytes], address: str, columns: set[str]) -> Iterator[bytes]:
    for line in _lines(copy, address):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            yield _to_json({"_invalid_utf8": line.decode(errors="backslashreplace")})
            continue
        with suppress(ValueError, RecursionError):
            record = json.loads(text)
            columns.update(record if isinstance(record, dict) else ())
        yield line


def _lines(copy: IO[bytes], address: str) -> Iterator[bytes]:
    """The lines that have anything in them, without what ends them, and as every engine splits lines."""
    with _unpacked(copy, address) as stream:
        mark = codecs.BOM_UTF8
        while line := stream.readline(LONGEST_RECORD):
            if len(line) == LONGEST_RECORD:
                raise CdpError(f"File {address} has a line of more than {LONGEST_RECORD} bytes: is it JSON lines?")
            # Inside a JSON text a carriage return can only be white space between tokens.
            line = line.removeprefix(mark).rstrip(b"\r\n").replace(b"\r", b" ")
            mark = b""
            if line.strip():
                yield line


def _csv_lines_of(contract: BronzeContract) -> _Lines:
    """The records of a CSV file that has to have a contract's columns."""
    return partial(_csv_lines, [column.name for column in contract.received_columns])


def _csv_lines(wanted: Sequence[str], copy: IO[bytes], address: str, columns: set[str]) -> Iterator[bytes]:
    csv.field_size_limit(LONGEST_RECORD)
    with _unpacked(copy, address) as stream:
        # What is no UTF-8 is carried along, and found when the record is written as UTF-8.
        text = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")
        try:
            first = next((line for line in text if line.strip()), "")
            delimiter = ";" if first.count(";") > first.count(",") else ","
            rows = csv.reader(chain([first], text), delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(rows, [])]
            if not first:
                return
            # As the contract spells them.
            known = {name.lower(): name for name in wanted}
            header = [known.get(name.lower(), name) for name in header]
            if missing := sorted(set(wanted) - set(header)):
                raise CdpError(
                    f"File {address} has no column {', '.join(missing)} (its first line is {first.strip()[:200]!r}):"
                    " nothing was landed; mend the file, or move it away."
                )
            if not header or not all(header) or len(set(header)) < len(header) or not _is_utf8(header):
                raise CdpError(
                    f"File {address} has no header of different names, in UTF-8, in its first line:"
                    " save it as CSV (UTF-8) with one; nothing was landed."
                )
            columns.update(header)
            yield from (_csv_record(header, row) for row in rows if row)
        except csv.Error as error:
            raise CdpError(
                f"File {address} is no CSV at line {rows.line_num} ({error}): is a quote open? Nothing was landed."
            ) from error
        finally:
            text.detach()


def _csv_record(header: Sequence[str], row: Sequence[str]) -> bytes:
    if len(row) == len(header) and _is_utf8(row):
        return _to_json({name: cell or None for name, cell in zip(header, row, strict=True)})
    return _to_json({"_row": [cell.encode(errors="surrogateescape").decode(errors="backslashreplace") for cell in row]})


def _is_utf8(cells: Sequence[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _unpacked(copy: IO[bytes], address: str) -> Iterator[IO[bytes]]:
    """The content of a file that may be packed, by its name or by how it begins."""
    is_packed = copy.read(2) == b"\x1f\x8b" or address.lower().endswith(".gz")
    copy.seek(0)
    if not is_packed:
        yield copy
        return
    try:
        with gzip.open(copy) as stream:
            yield cast(IO[bytes], stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CdpError(f"File {address} can't be unpacked ({error}): send it again; nothing was landed.") from error


def _check_rates(lines: Sequence[bytes], path: str, reporting_currency: str) -> None:
    """Refuse rates that lead to no currency, or to another one. What else may be wrong with a row, silver finds."""
    if not lines:
        # Taken at its word, it would empty the tables built from it.
        raise CdpError(f"File {path} has no exchange rates: check the source; nothing was landed.")
    rates = [(row.get("month"), row.get("currency"), row.get("rate")) for row in map(json.loads, lines)]
    months = {month for month, currency, rate in rates if month and currency and rate}
    wrong = sorted(
        months - {month for month, currency, rate in rates if currency == reporting_currency and _is_one(rate)}
    )
    if wrong:
        raise CdpError(
            f"Exchange rates {path} are not in terms of {reporting_currency}: it has no rate of 1 in {wrong[0]}"
            f"{f' and {len(wrong) - 1} other months' if wrong[1:] else ''}. Check the file and the variable"
            " 'reporting_currency'; nothing was landed."
        )


def _is_one(rate: str | None) -> bool:
    try:
        return Decimal(rate or "") == 1
    except InvalidOperation:
        return False


def _to_json(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode()
