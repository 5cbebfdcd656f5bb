"""JSON lines files of events and CSV files of tables, in a folder, a Unity Catalog volume or under `abfss://`.

- If the content of a file has changed, the whole file is landed again. Its data file has the same name as before and
  replaces the earlier version.
- If several new files have the same content, only one of them is landed.
- A file is read again only if its size or modification time has changed since it was last read.
- If a file or the number of rows exceeds a limit, nothing is landed.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import chain, islice
from tempfile import TemporaryFile
from typing import IO, Any, cast
from urllib.parse import quote

from cdp_lib.contracts.table import BronzeContract, Column
from cdp_lib.errors import CdpError
from cdp_lib.json_text import add_field_names, field_names, parse_json
from cdp_lib.landing import (
    FILE_FOLDER,
    BatchWriter,
    Extraction,
    Manifest,
    Origin,
    has_link,
    open_filesystem,
    storage_errors,
)
from cdp_lib.limits import MAX_RECORD_LENGTH, Limits, Meter
from cdp_lib.source_address import SourceAddress

_FILES = re.compile(r"\.(jsonl|json|ndjson|csv)(\.gz)?$", re.IGNORECASE)
_CSV = re.compile(r"\.csv(\.gz)?$", re.IGNORECASE)
_SEVERAL_LINES = re.compile(rb"\s*(\[\s*(\{|$)|\{\s*$)")
"""Beginning of a file that is one JSON text, not JSON lines: an array of objects, or an object over several lines."""

_CHUNK_BYTES = 1 << 20

_MAX_EXCHANGE_RATES = 1_000_000
"""Maximum number of exchange rates in a file. They are checked in memory."""

_LineReader = Callable[[IO[bytes], str, set[str]], Iterator[bytes]]
"""Function that reads the records of a file. Its arguments are the content of the file, the address of the file and a
set. It yields the records as JSON lines, and adds their column names to the set."""


def source_address(path: str) -> SourceAddress:
    """Return the source address of a folder or file.

    Args:
        path: A folder or file. A relative path becomes an absolute path.
    """
    path = path.split("?", 1)[0] if "://" in path else os.path.abspath(path)
    return SourceAddress("files", path=path.rstrip("/"))


def land_files(
    extraction: Extraction,
    contract: BronzeContract,
    path: str,
    *,
    account_key: str | None,
    is_mapped: bool = False,
    limits: Limits | None = None,
) -> list[Manifest]:
    """Land the new and changed files in a folder and its subfolders. Each file becomes one data file.

    Files with JSON lines: each line that is not blank becomes a record. A line that is not UTF-8 becomes the record
    `{"_invalid_utf8": …}`. A line that is not JSON stays unchanged. A file that is a JSON array of objects is refused,
    because its lines are not records.

    CSV files: cells are landed as strings, and empty cells as null. Files follow RFC 4180: a header, UTF-8, and commas
    or semicolons as separators. A row with more or fewer cells than the header, or a row that is not UTF-8, becomes the
    record `{"_row": [cells]}`.

    If a data file differs from its source file, the source file is also stored as received. Examples are CSV files,
    files that are compressed with gzip, and files with a byte order mark, CRLF or blank lines.

    Args:
        extraction: Extraction that lands the files.
        contract: Bronze table of the records.
        path: A folder, or one file. File names end in .jsonl, .json, .ndjson or .csv, optionally followed by .gz. Files
            and folders whose names start with a dot or an underscore are ignored.
        account_key: Key of the storage account of an `abfss://` path. None for the managed identity.
        is_mapped: Whether the entity has a mapping. If false, CSV files must have the required columns of
            the contract.
        limits: Limits of the extraction. None for the default limits.

    Returns:
        A list with the landed batch. The list is empty if no file is new or changed.

    Raises:
        CdpError: The folder does not exist. The folder has no file, and no file was landed before. A file can't be read
            or decompressed, or had records before and has none now. A CSV file has no usable header, or a quote is not
            closed. A limit is exceeded.
    """
    meter = Meter(limits)
    read_lines = partial(_lines, meter, () if is_mapped else contract.received_columns)
    return _land_new_files(extraction, contract.entity, _Folder(path, account_key, meter), read_lines)


def newest_file(path: str, account_key: str | None) -> str:
    """Return the address of the file that changed last.

    Args:
        path: A folder, or one file.
        account_key: Key of the storage account of an `abfss://` path. None for the managed identity.

    Raises:
        CdpError: The folder does not exist or has no files.
    """
    files = _Folder(path, account_key).files(_FILES)
    if not files:
        raise CdpError(f"Folder {path} has no files that end in .jsonl, .json, .ndjson or .csv: check the path.")
    return max(files, key=lambda file: (file.modified_at, file.name)).address


def land_exchange_rates(
    extraction: Extraction,
    contract: BronzeContract,
    path: str,
    *,
    reporting_currency: str,
    account_key: str | None,
    limits: Limits | None = None,
) -> list[Manifest]:
    """Land one CSV file with the columns `month`, `currency` and `rate` as a snapshot.

    The file has the same format as the CSV files of `land_files`.

    Args:
        extraction: Extraction that lands the file.
        contract: Bronze table of the records.
        path: Address of the file.
        reporting_currency: ISO 4217 code of the currency that rates convert to. Its rate must be 1 in every month.
        account_key: Key of the storage account of an `abfss://` path. None for the managed identity.
        limits: Limits of the extraction. None for the default limits.

    Returns:
        A list with the landed batch. The list is empty if the rates equal the rates of the latest batch.

    Raises:
        CdpError: The file does not exist, can't be read, has no rates, or has rates for another reporting currency. A
            limit is exceeded.
    """
    if earlier := extraction.find_batch(contract.entity):
        return [earlier]
    meter = Meter(limits)
    folder, csv_lines = _Folder(path, account_key, meter), partial(_csv_lines, meter, contract.received_columns)
    with folder.copy(folder.file()) as (copy, origin):
        lines = list(islice(csv_lines(copy, folder.path, set()), _MAX_EXCHANGE_RATES + 1))
        _check_rates(lines, folder.path, reporting_currency)
        with extraction.new_batch(contract.entity, "snapshot") as batch:
            _land_file(batch, copy, origin, folder.path, csv_lines)
    return [batch.manifest] if extraction.has_landed(batch.manifest) else []


@dataclass(frozen=True)
class _SourceFile:
    """A file of the source. Unlike `Origin`, it has no checksum, because the file has not been read yet."""

    address: str
    name: str
    bytes: int
    modified_at: str


class _Folder:
    """The folder of a source, or a single file of a source."""

    def __init__(self, path: str, account_key: str | None, meter: Meter | None = None) -> None:
        self.path = path.rstrip("/")
        self.meter = meter or Meter()
        self._fs = open_filesystem(path, account_key)

    def files(self, names: re.Pattern[str]) -> list[_SourceFile]:
        """Return the files whose names match a pattern, sorted by name. If the path is a file, return only this file.

        Files and folders whose names start with a dot or an underscore are left out.
        """
        with self._errors(self.path):
            self._fs.invalidate_cache()
            if self._fs.isfile(self.path):
                return [self.file()]
            if not self._fs.isdir(self.path):
                raise CdpError(f"Folder {self.path} does not exist: check the path; nothing was landed.")
            root = self._fs._strip_protocol(self.path)
            found = {
                address.removeprefix(f"{root}/"): entry
                for address, entry in self._fs.find(self.path, detail=True).items()
            }
        files = {
            name: entry
            for name, entry in sorted(found.items())
            if names.search(name) and not any(part.startswith((".", "_")) for part in name.split("/"))
        }
        if links := [name for name in files if has_link(self._fs, self.path, name)]:
            raise CdpError(
                f"{self.path}/{links[0]} is a symbolic link, which may lead out of the folder: copy the file into the"
                " folder, or remove the link; nothing was landed."
            )
        return [_source_file(f"{self.path}/{name}", name, entry) for name, entry in files.items()]

    def file(self) -> _SourceFile:
        """Return the file at the path."""
        with self._errors(self.path):
            self._fs.invalidate_cache()
            if self._fs.isdir(self.path):
                raise CdpError(f"{self.path} is a folder: write the path of a file; nothing was landed.")
            if not self._fs.isfile(self.path):
                raise CdpError(f"File {self.path} does not exist: check the path; nothing was landed.")
            return _source_file(self.path, self.path.rsplit("/", 1)[-1], self._fs.info(self.path))

    @contextmanager
    def copy(self, file: _SourceFile) -> Iterator[tuple[IO[bytes], Origin]]:
        """Copy a file to this machine.

        The checksum and the landed content come from this copy, so they match even if the source file grows meanwhile.
        """
        with TemporaryFile() as copy:
            digest = hashlib.sha256()
            with self._errors(file.address), self._fs.open(file.address, "rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    copy.write(chunk)
                    self.meter.check_size(f"File {file.address}", copy.tell(), copy.tell())
            size = copy.tell()
            copy.seek(0)
            yield copy, Origin(file.name, size, digest.hexdigest(), file.modified_at)

    def _errors(self, address: str) -> AbstractContextManager[None]:
        return storage_errors(f"{address} can't be read")


def _source_file(address: str, name: str, entry: Mapping[str, Any]) -> _SourceFile:
    """Return a file from its entry in a listing. Storages use different names for the modification time."""
    modified = entry.get("last_modified") or entry.get("mtime") or entry.get("created")
    modified = datetime.fromtimestamp(modified, UTC) if isinstance(modified, int | float) else modified
    return _SourceFile(address, name, entry["size"], modified.isoformat() if modified else "")


class _LandedFiles:
    """The latest version of each landed file of a source."""

    def __init__(self, batches: Sequence[Manifest]) -> None:
        self._files = {file.origin.name: file.origin for batch in batches for file in batch.files if file.origin}
        self._known_files = {origin.name: origin for batch in batches for origin in _known_files(batch)}
        self._contents = Counter(origin.checksum for origin in self._files.values())

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def is_unchanged(self, file: _SourceFile) -> bool:
        """Return whether a file need not be read again.

        Two conditions must be true:

        - the file has the same size and modification time as when it was last read;
        - the content that was last read from the file is still the latest landed version of this or another file.
        """
        known = self._known_files.get(file.name)
        looks_the_same = known and (file.bytes, file.modified_at) == (known.bytes, known.modified_at)
        return bool(known and looks_the_same and self._contents[known.checksum])

    def has(self, origin: Origin) -> bool:
        """Return whether the content of a file is already landed.

        If a file with the same name is landed, only its latest version is compared. Otherwise, the latest versions of
        all landed files are compared.
        """
        if origin.name in self._files:
            return self._files[origin.name].checksum == origin.checksum
        return self._contents[origin.checksum] > 0

    def add(self, origin: Origin) -> None:
        """Record a version of a file as the latest landed version."""
        if origin.name in self._files:
            self._contents[self._files[origin.name].checksum] -= 1
        self._files[origin.name] = origin
        self._contents[origin.checksum] += 1


def _known_files(batch: Manifest) -> Iterator[Origin]:
    """Yield the files in a batch, and the files that its run skipped because their content was already landed."""
    yield from (file.origin for file in batch.files if file.origin)
    yield from (Origin(**values) for values in (batch.watermark or {}).get("found_landed", ()))


def _land_new_files(extraction: Extraction, entity: str, folder: _Folder, read_lines: _LineReader) -> list[Manifest]:
    if earlier := extraction.find_batch(entity):
        return [earlier]
    files = folder.files(_FILES)
    latest = extraction.find_latest_batch(entity)
    batches = extraction.landing.batches_of_files(extraction.source, entity)
    if not files and not batches:
        raise CdpError(f"Folder {folder.path} has no {entity} files: check the path; nothing was landed.")
    landed = _LandedFiles(batches)
    already_landed = []
    with ExitStack() as stack:
        batch: BatchWriter | None = None
        # First read the files whose names are already landed. Example: file `a` was renamed to `b`, and a new file `a`
        # was written. If `b` were read first, it would be skipped, because its content would still be landed as `a`.
        for file in sorted(files, key=lambda file: file.name not in landed):
            if landed.is_unchanged(file):
                continue
            with folder.copy(file) as (copy, origin):
                if landed.has(origin):
                    already_landed.append(origin)
                elif not _is_empty(copy, file.address, read_lines):
                    batch = batch or stack.enter_context(extraction.new_batch(entity, "files", latest))
                    _land_file(batch, copy, origin, file.address, read_lines)
                    folder.meter.check(f"Folder {folder.path}", rows=batch.rows)
                    landed.add(origin)
                elif file.name in landed:
                    # Rows of the earlier version would stay in the tables: an empty data file does not replace them.
                    raise CdpError(
                        f"File {file.address} had records before, but has none now: restore or delete the file."
                    )
        if batch is None:
            return []
        batch.watermark = {"found_landed": [asdict(origin) for origin in already_landed]}
    return [batch.manifest]


def _is_empty(copy: IO[bytes], address: str, read_lines: _LineReader) -> bool:
    first = next(read_lines(copy, address, set()), None)
    copy.seek(0)
    return first is None


def _land_file(batch: BatchWriter, copy: IO[bytes], origin: Origin, address: str, read_lines: _LineReader) -> None:
    name = _encoded(origin.name)
    rows, columns = 0, set[str]()
    # Encode the name a second time, because engines decode the folder name of a partition.
    with batch.open_data(f"{FILE_FOLDER}{quote(name)}/part-00000.jsonl", "jsonl", origin=origin) as data:
        for line in read_lines(copy, address, columns):
            data.write(line + b"\n")
            rows += 1
    batch.add(rows, columns)
    if data.checksum != origin.checksum:
        copy.seek(0)
        batch.write_received(name, copy)


def _encoded(name: str) -> str:
    """Return a name in percent-encoding, in the same way as Data Factory encodes names."""
    return quote(name, safe="")


def _json_lines(meter: Meter, copy: IO[bytes], address: str, columns: set[str]) -> Iterator[bytes]:
    for number, line in enumerate(_non_blank_lines(meter, copy, address)):
        if not number and (match := _SEVERAL_LINES.match(line)):
            found = (
                "a JSON array of objects" if match[0].strip().startswith(b"[") else "a JSON object over several lines"
            )
            raise CdpError(
                f"File {address} begins with {found}, but one JSON object per line is expected: write each record in"
                " its own line (for an array: jq -c '.[]'); nothing was landed."
            )
        try:
            text = line.decode()
        except UnicodeDecodeError:
            yield _to_json({"_invalid_utf8": line.decode(errors="backslashreplace")})
            continue
        add_field_names(columns, field_names(parse_json(text)))
        yield line


def _non_blank_lines(meter: Meter, copy: IO[bytes], address: str) -> Iterator[bytes]:
    """Yield the lines that are not blank, without line ends.

    Only a line feed ends a line. A carriage return within a line becomes a blank, so that no engine splits the line
    there.
    """
    with _open_decompressed(meter, copy, address) as stream:
        mark = codecs.BOM_UTF8
        while line := stream.readline(MAX_RECORD_LENGTH):
            if len(line) == MAX_RECORD_LENGTH:
                raise CdpError(
                    f"File {address} has a line of more than {MAX_RECORD_LENGTH} bytes: write one JSON record per line."
                )
            # In JSON, a carriage return can only be white space between tokens.
            line = line.removeprefix(mark).rstrip(b"\r\n").replace(b"\r", b" ")
            mark = b""
            if line.strip():
                yield line


def _lines(meter: Meter, wanted: Sequence[Column], copy: IO[bytes], address: str, columns: set[str]) -> Iterator[bytes]:
    """Yield the records of a file as JSON lines. The name of the file decides its format."""
    if _CSV.search(address):
        return _csv_lines(meter, wanted, copy, address, columns)
    return _json_lines(meter, copy, address, columns)


def _csv_lines(
    meter: Meter, wanted: Sequence[Column], copy: IO[bytes], address: str, columns: set[str]
) -> Iterator[bytes]:
    csv.field_size_limit(MAX_RECORD_LENGTH)
    with _open_decompressed(meter, copy, address) as stream:
        # Decode invalid UTF-8 as surrogates here. `_is_utf8` detects the surrogates in each row.
        text = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")
        try:
            first = next((line for line in text if line.strip()), "")
            delimiter = ";" if first.count(";") > first.count(",") else ","
            rows = csv.reader(chain([first], text), delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(rows, [])]
            if not first:
                return
            # Compare column names without regard to case, and spell them as in the contract.
            known = {column.name.lower(): column.name for column in wanted}
            header = [known.get(name.lower(), name) for name in header]
            if missing := sorted({column.name for column in wanted if not column.optional} - set(header)):
                raise CdpError(
                    f"File {address} has no column {', '.join(missing)} (its first line is {first.strip()[:200]!r}):"
                    " nothing was landed; correct the file, or move it to another folder."
                )
            if not header or not all(header) or len(set(header)) < len(header) or not _is_utf8(header):
                raise CdpError(
                    f"The first line of file {address} is not a header of unique column names in UTF-8:"
                    " save the file as CSV (UTF-8) with a header; nothing was landed."
                )
            columns.update(header)
            yield from (_csv_record(header, row) for row in rows if row)
        except csv.Error as error:
            raise CdpError(
                f"File {address} is not valid CSV at line {rows.line_num} ({error}): look for a quote"
                " that is not closed; nothing was landed."
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
def _open_decompressed(meter: Meter, copy: IO[bytes], address: str) -> Iterator[IO[bytes]]:
    """Open the content of a file, and decompress it if its name or its first bytes indicate gzip."""
    is_gzip = copy.read(2) == b"\x1f\x8b" or address.lower().endswith(".gz")
    copy.seek(0)
    if not is_gzip:
        yield copy
        return
    try:
        with gzip.open(copy) as stream:
            size = copy.seek(0, io.SEEK_END)
            copy.seek(0)
            yield cast(IO[bytes], io.BufferedReader(_Decompressed(stream, size, address, meter), _CHUNK_BYTES))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CdpError(
            f"File {address} can't be decompressed ({error}): upload the file again; nothing was landed."
        ) from error


class _Decompressed(io.RawIOBase):
    """Decompressed content of a file. A read raises an error once the content exceeds a limit."""

    def __init__(self, stream: gzip.GzipFile, compressed: int, address: str, meter: Meter) -> None:
        self._stream = stream
        self._compressed = compressed
        self._address = address
        self._meter = meter
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(buffer)
        self._size += count
        self._meter.check_size(f"File {self._address}", self._size, self._compressed)
        return count


def _check_rates(lines: Sequence[bytes], path: str, reporting_currency: str) -> None:
    """Raise an error if the rates do not convert to the reporting currency. Silver checks the rows for other errors."""
    if not lines:
        # An empty snapshot would empty the downstream tables.
        raise CdpError(f"File {path} has no exchange rates: check the source; nothing was landed.")
    if len(lines) > _MAX_EXCHANGE_RATES:
        raise CdpError(
            f"File {path} has more than {_MAX_EXCHANGE_RATES:,} exchange rates: check the source; nothing was landed."
        )
    rates = [(row.get("month"), row.get("currency"), row.get("rate")) for row in map(json.loads, lines)]
    months = {month for month, currency, rate in rates if month and currency and rate}
    wrong = sorted(
        months - {month for month, currency, rate in rates if currency == reporting_currency and _is_one(rate)}
    )
    if wrong:
        raise CdpError(
            f"The exchange rates in {path} do not convert to {reporting_currency}: {reporting_currency}"
            f" has no rate of 1 in {wrong[0]}"
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
