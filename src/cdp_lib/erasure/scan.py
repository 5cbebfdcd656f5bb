"""Search of files for the traces of persons: every file under every folder, decoded."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ahocorasick_rs import BytesAhoCorasick

from cdp_lib.erasure.traces import Spelling, Traces

_CHUNK = 1 << 22
"""Bytes of a text that are in memory at a time."""

_OVERLAP = 1 << 14
"""Bytes that two consecutive chunks share, so that no spelling is cut. It is longer than any spelling and any key."""

_MARGIN = 1 << 6
"""Bytes at the end of a chunk that are left to the next chunk, because the characters after them are not known yet."""

_TAIL = 8
"""Length of the end of a Parquet file: the length of the footer, and PAR1."""

_DELIMITERS = ",;\t|"

_WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]")
_DIGIT = re.compile(rb"[0-9]")
_ESCAPE = re.compile(rb"(?:\\[nrtbf]|\\u[0-9a-f]{4}|%[0-9a-f]{2})$")
"""Pattern of an escaped character before a word. Its last letter does not belong to the word."""

_LONGER_ADDRESS = re.compile(rb"[0-9a-z][.-]$")
"""Pattern before an e-mail address that belongs to a longer address."""

_COUNTRY = re.compile(rb"\.[a-z]{2}(?![0-9a-z])")
"""Pattern after an e-mail address that belongs to a longer domain, such as .au."""


@dataclass(frozen=True, order=True)
class Hit:
    """A trace of a person.

    Attributes:
        file: Path of the file.
        place: Part of the file: a column, footer, name, or text.
        kind: Kind of the value: email, phone, full_name …
        way: How the value is written.
    """

    file: str
    place: str
    kind: str
    way: str


@dataclass
class Searched:
    """Result of a search.

    Attributes:
        files: Number of files.
        bytes: Size of the files.
        hits: Number of traces by place.
        unreadable: Files that could not be decoded.
    """

    files: int = 0
    bytes: int = 0
    hits: Counter[Hit] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)

    def __add__(self, other: Searched) -> Searched:
        """Return the result of both searches."""
        return Searched(
            self.files + other.files,
            self.bytes + other.bytes,
            self.hits + other.hits,
            [*self.unreadable, *other.unreadable],
        )


def search_folders(folders: Iterable[Path], traces: Traces) -> Searched:
    """Search all files in folders. Links are not followed.

    Args:
        folders: Folders. A folder within another folder is searched once.
        traces: What to look for.
    """
    roots = sorted({folder.resolve() for folder in folders})
    files = sorted({file: root for root in reversed(roots) for file in _files_in(root)}.items())
    scanner = _Scanner(traces)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda item: scanner.search(item[0], str(item[0].relative_to(item[1]))), files)
        return sum(results, Searched())


def _files_in(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path


class _Scanner:
    """Search of single files. It keeps no state between files."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces
        self._spellings = _Patterns(traces.spellings)
        self._weak = _Patterns(traces.weak)
        self._keys = {column: values for column, values in traces.row_keys.items() if values and traces.weak}
        fields = [*(traces.id_columns if traces.ids else ()), *self._keys]
        names = b"|".join(re.escape(name.encode()) for name in sorted(fields))
        # A field of JSON, also within a text of JSON, where quotation marks are escaped, or a parameter of a URL.
        pattern = rb"(?<![0-9A-Za-z_])(" + names + rb")(?:\\*\"\s*:\s*\\*\"?|=)\s*([^\s\"\\,}\]&<;)]+)"
        self._field = re.compile(pattern) if fields else None

    def search(self, path: Path, name: str) -> Searched:
        """Search a file, and its name."""
        found = Searched(1, 0)
        self._search_bytes(name.encode("utf-8", "surrogateescape"), name, "name", found)
        try:
            found.bytes = path.stat().st_size
            with path.open("rb") as file:
                self._search_content(file, name, found)
        except Exception:  # whatever is wrong with a file, the person might be in it
            found.unreadable.append(name)
        return found

    def _search_content(self, file: IO[bytes], name: str, found: Searched) -> None:
        """Search a file by its content, because nothing says that its name is right."""
        start = file.read(6)
        file.seek(0)
        if start[:4] == b"PAR1":
            self._search_parquet(file, name, found)
        elif start[:2] == b"\x1f\x8b":
            self._search_compressed(gzip.open(file), name, found)
        elif start[:3] == b"BZh":
            self._search_compressed(bz2.open(file), name, found)
        elif start == b"\xfd7zXZ\0":
            self._search_compressed(lzma.open(file), name, found)
        elif start[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(file) as archive:
                for member in archive.namelist():
                    self._search_bytes(member.encode(), name, "name", found)
                    with archive.open(member) as content:
                        self._search_compressed(content, name, found)
        else:
            self._search_text(file, name, found)

    def _search_compressed(self, content: Any, name: str, found: Searched) -> None:
        """Search the content of a compressed file: text, or again a file to decode."""
        start = content.read(6)
        if start[:4] in (b"PAR1", b"PK\x03\x04") or start[:2] == b"\x1f\x8b":
            self._search_content(io.BytesIO(start + content.read()), name, found)
        else:
            self._search_text(content, name, found, start)

    def _search_text(self, file: Any, name: str, found: Searched, start: bytes = b"") -> None:
        """Search a text of any length."""
        searched = 0  # length of the part of the chunk that was searched before
        chunk = start + file.read(_CHUNK)
        table = self._table_of(chunk)
        is_binary = b"\0" in chunk[:_OVERLAP]
        while chunk:
            following = file.read(_CHUNK)
            end = len(chunk) - (_MARGIN if following else 0)
            self._search_bytes(chunk, name, "text", found, searched, end, is_binary=is_binary)
            if table:
                # The rest of the last line is searched with the next chunk.
                last = chunk.rfind(b"\n") + 1 if following else len(chunk)
                self._search_lines(chunk[table.searched : last], table, name, found)
            if not following:
                return
            carried = min(_OVERLAP, len(chunk))
            if table:
                carried = max(carried, len(chunk) - last)
                table.searched = carried - (len(chunk) - last)
            searched = carried - _MARGIN
            chunk = chunk[-carried:] + following

    def _search_bytes(
        self,
        text: bytes,
        name: str,
        place: str,
        found: Searched,
        after: int = 0,
        until: int | None = None,
        *,
        is_binary: bool = False,
    ) -> None:
        """Search bytes for traces that end after one position, and not after another.

        In binary files, such as databases, the byte before a value may be its length. It then looks like a letter.
        """
        lower, last = text.lower(), len(text) if until is None else until
        for start, end, spelling in self._spellings.find(lower):
            if after < end <= last and _is_word(lower, start, end, spelling, may_follow_length=is_binary):
                found.hits[Hit(name, place, spelling.kind, spelling.way)] += 1
        for match in self._fields(text):
            if after < match.end() <= last:
                first, end = lower.rfind(b"\n", 0, match.start()) + 1, lower.find(b"\n", match.end())
                self._search_field(match, text[first : end if end >= 0 else None], name, found)

    def _fields(self, text: bytes) -> Iterable[re.Match[bytes]]:
        """Return the identifiers and keys in fields of JSON and parameters of URLs."""
        return self._field.finditer(text) if self._field else ()

    def _search_field(self, match: re.Match[bytes], record: bytes, name: str, found: Searched) -> None:
        """Search an identifier, or the record that has a key if the record was the person's."""
        column, value = match[1].decode(), match[2].decode(errors="replace")
        if value in self._keys.get(column, ()):
            self._search_record(record, name, found)
        elif column not in self._keys and value.lstrip("0") in self._traces.ids:
            found.hits[Hit(name, column, "number", "text")] += 1

    def _table_of(self, text: bytes) -> _Table | None:
        """Return how to read a text with delimiters if its first line has an identifier, else None."""
        header = text.partition(b"\n")[0].removeprefix(b"\xef\xbb\xbf")
        if not any(name.encode() in header for name in self._traces.id_columns) or b"\0" in header:
            return None
        for delimiter in _DELIMITERS:
            names = next(csv.reader([header.decode(errors="replace")], delimiter=delimiter), [])
            if len(names) > 1 and self._traces.id_columns & {*names}:
                return _Table(names, delimiter)
        return None

    def _search_lines(self, lines: bytes, table: _Table, name: str, found: Searched) -> None:
        """Search the identifiers in lines with delimiters."""
        places = [(place, each) for place, each in enumerate(table.names) if each in self._traces.id_columns]
        for row in csv.reader(io.StringIO(lines.decode(errors="replace")), delimiter=table.delimiter):
            for place, column in places:
                if place < len(row) and row[place].strip().lstrip("0") in self._traces.ids:
                    found.hits[Hit(name, column, "number", "text")] += 1

    def _search_record(self, line: bytes, name: str, found: Searched) -> None:
        """Search a record that was the person's for values that others have as well."""
        try:
            record = json.loads(line)
        except ValueError:
            self._search_weak(line.lower(), name, "text", found)
            return
        if isinstance(record, dict):
            self._search_row(record, name, found)

    def _search_row(self, row: dict[str, Any], name: str, found: Searched) -> None:
        for column, value in row.items():
            if column not in self._traces.public_columns and value is not None:
                text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
                self._search_weak(text.encode().lower(), name, column, found)

    def _search_weak(self, text: bytes, name: str, place: str, found: Searched) -> None:
        for start, end, spelling in self._weak.find(text):
            if _is_word(text, start, end, spelling):
                found.hits[Hit(name, place, spelling.kind, spelling.way)] += 1

    def _search_parquet(self, file: IO[bytes], name: str, found: Searched) -> None:
        """Search the columns of a Parquet file, with all values of their dictionaries, and the footer."""
        plain = pq.ParquetFile(file)
        schema = plain.schema_arrow
        texts = [each.name for each in schema if pa.types.is_string(each.type) or pa.types.is_large_string(each.type)]
        source = pq.ParquetFile(file, metadata=plain.metadata, read_dictionary=texts)
        for group in range(source.num_row_groups):
            for column in dict.fromkeys(schema.names):
                for array in source.read_row_group(group, columns=[column], use_threads=False).column(0).chunks:
                    self._search_array(array, name, column, found)
            self._search_rows(plain, group, name, found)
        self._search_footer(file, plain, name, found)

    def _search_array(self, array: pa.Array, name: str, place: str, found: Searched) -> None:
        """Search the values of an array, and of the arrays within it."""
        kind = array.type
        if pa.types.is_dictionary(kind):
            self._search_array(array.dictionary, name, place, found)
        elif pa.types.is_struct(kind):
            for number, inner in enumerate(kind):
                self._search_array(array.field(number), name, f"{place}.{inner.name}", found)
        elif pa.types.is_map(kind):
            self._search_array(array.keys, name, place, found)
            self._search_array(array.items, name, place, found)
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            self._search_array(array.values, name, place, found)
        elif any(test(kind) for test in (pa.types.is_string, pa.types.is_binary)):
            self._search_values(array, name, place, found)
        elif any(test(kind) for test in (pa.types.is_large_string, pa.types.is_large_binary)):
            self._search_values(array.cast(pa.binary()), name, place, found)
        elif any(test(kind) for test in (pa.types.is_integer, pa.types.is_decimal, pa.types.is_floating)):
            self._search_ids(array, self._traces.numbers, name, place, found)

    def _search_values(self, array: pa.Array, name: str, place: str, found: Searched) -> None:
        """Search texts, which are in one buffer, without a copy of each value."""
        if not len(array):
            return
        _, offsets, data = array.buffers()
        if data is None:
            return
        places = memoryview(offsets).cast("i")[array.offset : array.offset + len(array) + 1]
        first, last = places[0], places[-1]
        text = memoryview(data)[first:last].tobytes()
        lower = text.lower()
        for start, end, spelling in self._spellings.find(lower):
            row = _row_of(places, first + start)
            low, high = places[row] - first, places[row + 1] - first
            if end <= high and _is_word(lower[low:high], start - low, end - low, spelling):
                found.hits[Hit(name, place, spelling.kind, spelling.way)] += 1
        self._search_ids(array, self._traces.ids, name, place, found)
        for match in self._fields(text):
            row = _row_of(places, first + match.start())
            self._search_field(match, text[places[row] - first : places[row + 1] - first], name, found)

    def _search_ids(self, array: pa.Array, wanted: Collection[str], name: str, place: str, found: Searched) -> None:
        """Search the identifiers of a column."""
        if wanted and place.rpartition(".")[2] in self._traces.id_columns:
            texts = array.cast(pa.string())
            if pa.types.is_decimal(array.type) or pa.types.is_floating(array.type):
                texts = pc.replace_substring_regex(texts, r"\.0*$", "")
            trimmed = pc.ascii_ltrim(pc.ascii_trim_whitespace(texts), "0")
            count = pc.sum(pc.is_in(trimmed, value_set=pa.array(sorted(wanted)))).as_py()
            if count:
                found.hits[Hit(name, place, "number", "text")] += count

    def _search_rows(self, source: pq.ParquetFile, group: int, name: str, found: Searched) -> None:
        """Search the rows that were the person's for values that others have as well."""
        for column, values in self._keys.items():
            if column not in source.schema_arrow.names:
                continue
            keys = source.read_row_group(group, columns=[column], use_threads=False).column(0)
            is_own = pc.is_in(keys.cast(pa.string()), value_set=pa.array(sorted(values)))
            if pc.any(is_own).as_py():
                for row in source.read_row_group(group).filter(is_own).to_pylist():
                    self._search_row(row, name, found)

    def _search_footer(self, file: IO[bytes], source: pq.ParquetFile, name: str, found: Searched) -> None:
        """Search the statistics, the names and the metadata of a Parquet file."""
        metadata = source.metadata
        file.seek(-_TAIL, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        end_of_data = max(
            (_end_of(metadata.row_group(group).column(place)) for group in range(metadata.num_row_groups)
             for place in range(metadata.num_columns)),
            default=4,
        )  # fmt: skip
        file.seek(min(end_of_data, file.seek(0, os.SEEK_END) - _TAIL - length))
        text = file.read().lower()
        for start, end, spelling in self._spellings.find(text):
            # In the footer, the length of a value stands before it.
            if text[start - 1] == end - start or _is_word(text, start, end, spelling):
                found.hits[Hit(name, "footer", spelling.kind, spelling.way)] += 1


@dataclass
class _Table:
    """How to read a text with delimiters.

    Attributes:
        names: Names of the columns.
        delimiter: Character between two values.
        searched: Length of the part of the chunk whose lines were searched before.
    """

    names: Sequence[str]
    delimiter: str
    searched: int = 0


class _Patterns:
    """Spellings that are searched together."""

    def __init__(self, spellings: Any) -> None:
        self._found: Sequence[tuple[bytes, Spelling]] = sorted(spellings.items())
        self._automaton = BytesAhoCorasick([text for text, _ in self._found]) if self._found else None

    def find(self, text: bytes) -> Iterator[tuple[int, int, Spelling]]:
        """Yield start, end and spelling of everything that is found, overlapping."""
        if self._automaton:
            for number, start, end in self._automaton.find_matches_as_indexes(text, overlapping=True):
                yield start, end, self._found[number][1]


def _is_word(text: bytes, start: int, end: int, spelling: Spelling, *, may_follow_length: bool = False) -> bool:
    """Return whether a spelling stands alone, and is not a part of a longer word, number or e-mail address.

    Args:
        text: Text that has the spelling.
        start: Start of the spelling.
        end: End of the spelling.
        spelling: The spelling.
        may_follow_length: Whether the byte before a value may be its length, and not a letter.
    """
    if not spelling.is_word:
        return True
    before, after = b"" if may_follow_length else text[max(0, start - 6) : start], text[end : end + 4]
    word = _DIGIT if spelling.kind == "phone" else _WORD
    if word.match(text[start : start + 1]) and word.match(before[-1:]) and not _ESCAPE.search(before):
        return False
    if word.match(text[end - 1 : end]) and word.match(after[:1]):
        return False
    return spelling.kind != "email" or not (_LONGER_ADDRESS.search(before) or _COUNTRY.match(after))


def _row_of(offsets: memoryview, position: int) -> int:
    """Return the number of the value that has a byte."""
    low, high = 0, len(offsets) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offsets[middle] <= position else (low, middle)
    return low


def _end_of(column: Any) -> int:
    """Return the end of the pages of a column chunk."""
    start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
    return int(start + column.total_compressed_size)
