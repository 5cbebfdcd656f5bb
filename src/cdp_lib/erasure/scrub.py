"""Removal of persons from landed batches and from bronze tables."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import unquote

from ahocorasick_rs import BytesAhoCorasick
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import delta_name
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.erasure.names import Names, find_mentions, naming_source_columns
from cdp_lib.errors import CdpError
from cdp_lib.json_text import EXTRA
from cdp_lib.landing import Landing, Manifest
from cdp_lib.mapped_rows import source_columns
from cdp_lib.mapping import AS_RECEIVED
from cdp_lib.mapping import Mapping as ColumnMapping

_PLAIN = re.compile(r"[A-Za-z0-9@._+-]+")
"""Pattern of values that JSON does not escape."""

_ROWS_AT_ONCE = 65536


@dataclass(frozen=True)
class Scrubbed:
    """Counts of an erasure.

    Attributes:
        deleted: Records that were deleted.
        kept: Records that were kept without the person.
    """

    deleted: int = 0
    kept: int = 0

    def __add__(self, other: Scrubbed) -> Scrubbed:
        """Return the sum of both."""
        return Scrubbed(self.deleted + other.deleted, self.kept + other.kept)


Values = tuple[str | None, ...]


@dataclass
class _Edits:
    """What has to go from the records of one data file.

    Attributes:
        fields: Fields that identify the records, by the names of the bronze table's columns.
        removed: For each combination of values of the fields: the fields to empty; None to delete the record.
        records: Number of records with each combination.
        is_repeated: Whether a killed erasure may have edited the file already.
    """

    fields: Sequence[str]
    removed: dict[Values, Collection[str] | None] = field(default_factory=dict)
    records: dict[Values, int] = field(default_factory=dict)
    is_repeated: bool = False

    @property
    def counts(self) -> Scrubbed:
        """Return the number of records to delete and to keep."""
        deleted = sum(number for values, number in self.records.items() if self.removed[values] is None)
        return Scrubbed(deleted, sum(self.records.values()) - deleted)


FileEdits = Mapping[str, Mapping[str, _Edits]]
"""Edits by batch and by path of the data file, relative to the landing location."""


def find_edits(rows: DataFrame, contract: BronzeContract, mapping: ColumnMapping, names: Names) -> FileEdits:
    """Return what has to go from the data files that bronze rows come from.

    Cost: one query. It returns the names of the persons to erase, with the number of their rows by file.

    Args:
        rows: Rows of the bronze table, or rows of landed batches as the table would load them.
        contract: Contract of the bronze table.
        mapping: Mapping of the entity.
        names: Names of the persons to erase.
    """
    mentions = find_mentions(rows, contract, mapping, names)
    sources = naming_source_columns(rows.columns, contract, mapping)
    fields = sorted({name for columns in sources.values() for name in columns if name in rows.columns})
    identity = [_text_of(name, rows.columns).alias(f"_field_{number}") for number, name in enumerate(fields)]
    flags = [sf.coalesce(mentions.is_record, sf.lit(False)).alias("_is_record")]
    flags += [named.alias(f"_is_named_{number}") for number, named in enumerate(mentions.names.values())]
    found = rows.where(mentions.is_touched).select("_batch_id", "_source_file", *identity, *flags)
    others = _unknown_columns(rows.columns, contract, mapping)
    edits: dict[str, dict[str, _Edits]] = {}
    for row in found.groupBy(*found.columns).count().collect():
        of_file = edits.setdefault(row["_batch_id"], {}).setdefault(row["_source_file"], _Edits(fields))
        values = tuple(row[f"_field_{number}"] for number in range(len(fields)))
        of_file.records[values] = row["count"]
        named = [column for number, column in enumerate(mentions.names) if row[f"_is_named_{number}"]]
        emptied = {name for column in named for name in sources[column]}
        of_file.removed[values] = None if row["_is_record"] else {*emptied, *others}
    return edits


def scrub_rows(rows: DataFrame, contract: BronzeContract, mapping: ColumnMapping, names: Names) -> DataFrame:
    """Return the rows of a bronze table without persons.

    Rows that are records of a person are left out. Other rows that name a person lose the name, and all columns that
    neither the contract nor the mapping knows, because such a column may describe the person.

    Args:
        rows: Rows of the bronze table.
        contract: Contract of the bronze table.
        mapping: Mapping of the entity.
        names: Names of the persons to erase.
    """
    mentions = find_mentions(rows, contract, mapping, names)
    sources = naming_source_columns(rows.columns, contract, mapping)
    emptied: dict[str, Column] = {}
    for column, named in mentions.names.items():
        for name in (*sources[column], f"{column}{AS_RECEIVED}"):
            emptied[name] = emptied.get(name, sf.lit(False)) | named
    is_touched = mentions.is_touched
    emptied |= dict.fromkeys([*_unknown_columns(rows.columns, contract, mapping), EXTRA], is_touched)
    return rows.where(~sf.coalesce(mentions.is_record, sf.lit(False))).select(
        *(
            sf.when(~emptied[name], sf.col(f"`{name}`")).alias(name) if name in emptied else sf.col(f"`{name}`")
            for name in rows.columns
        )
    )


def scrub_batch(landing: Landing, batch: Manifest, edits: Mapping[str, _Edits], scrubbed_at: str) -> Manifest:
    """Remove persons from the data files of a landed batch, and remove its raw responses.

    Args:
        landing: Landed batches.
        batch: Manifest of the batch.
        edits: Edits by path of the data file, relative to the landing location.
        scrubbed_at: Start of the run, ISO 8601, UTC.

    Returns:
        The manifest of the changed batch.

    Raises:
        CdpError: A record of the edits is not in the file, or the location can't be read or written.
    """
    deleted = sum((each.counts for each in edits.values()), Scrubbed()).deleted
    with landing.rewrite_batch(batch, scrubbed_at, deleted) as writer:
        for file in batch.files:
            of_file = edits.get(_as_read(landing.relative_path_of(batch, file.name)))
            if of_file is None:
                continue
            of_file.is_repeated = batch.rewritten_at is not None
            with writer.open_data(
                file.name.removeprefix("data/"), batch.format, origin=file.origin, deletions=file.deletions
            ) as target:
                _EDITORS[batch.format](landing, landing.path_of(batch, file.name), of_file, target)
    return landing.read_batch(batch.source, batch.entity, batch.batch_id)


def _as_read(path: str) -> str:
    """Return the path of a data file as bronze has it: engines decode the names of partition folders once."""
    return unquote(path) if "/data/file=" in path else path


def _unknown_columns(names: Sequence[str], contract: BronzeContract, mapping: ColumnMapping) -> set[str]:
    """Return the columns of a bronze table that neither the contract nor the mapping knows."""
    known = {*contract.column_names, *(delta_name(name) for name in mapping.attributes)}
    for column in contract.received_columns:
        known |= {*source_columns(column.name, names, contract, mapping), f"{column.name}{AS_RECEIVED}"}
    return {name for name in names if name not in known and not name.startswith("_")}


def _text_of(name: str, names: Sequence[str]) -> Column:
    """Return a value as received, as text."""
    value = sf.coalesce(sf.col(f"`{name}`").cast("string"), sf.get_json_object("_rescued_data", f"$.{name}"))
    return sf.coalesce(sf.col(f"`{name}{AS_RECEIVED}`"), value) if f"{name}{AS_RECEIVED}" in names else value


def _edit_json_lines(landing: Landing, path: str, edits: _Edits, target: Any) -> None:
    """Copy a file of JSON lines without the records and fields of the edits."""
    might_match = _line_filter(edits)
    found = dict.fromkeys(edits.records, 0)
    with landing.fs.open(path, "rb") as file, io.BufferedReader(file, 1 << 20) as lines:
        for line in lines:
            if might_match(line):
                line = _edited_line(line, edits, found)
            if line:
                target.write(line)
    _require_all_found(path, edits, found)


def _line_filter(edits: _Edits) -> Callable[[bytes], object]:
    """Return a function that is false only for lines that no edit changes."""
    one_per_record = [[text for text in values if text and _PLAIN.fullmatch(text)][:1] for values in edits.records]
    if not all(one_per_record):
        return lambda line: True
    # A JSON writer may escape any character, so search for lines with escaped characters as well.
    texts = {text.encode() for texts in one_per_record for text in texts} | {rb"\u"}
    return BytesAhoCorasick(sorted(texts)).find_matches_as_indexes


def _edited_line(line: bytes, edits: _Edits, found: dict[Values, int]) -> bytes:
    try:
        texts = json.loads(line, parse_int=str, parse_float=str)
    except ValueError:
        return line
    if not isinstance(texts, dict):
        return line
    values = tuple(_json_text(_field(texts, name)) for name in edits.fields)
    if values not in found:
        return line
    found[values] += 1
    emptied = edits.removed[values]
    if emptied is None:
        return b""
    record = {name: value for name, value in json.loads(line).items() if delta_name(name) not in emptied}
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def _field(record: Mapping[str, object], column: str) -> object:
    """Return the field that a bronze column is made from."""
    if column in record:
        return record[column]
    return next((record[name] for name in sorted(record) if delta_name(name) == column), None)


def _json_text(value: object) -> str | None:
    """Return a JSON value as the text that the engine reads."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _edit_parquet(landing: Landing, path: str, edits: _Edits, target: IO[bytes]) -> None:
    """Copy a Parquet file without the records and fields of the edits."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found = dict.fromkeys(edits.records, 0)
    with landing.fs.open(path, "rb") as file:
        source = pq.ParquetFile(file)
        columns = {delta_name(name): name for name in sorted(source.schema_arrow.names)}
        columns |= {name: name for name in source.schema_arrow.names}
        with pq.ParquetWriter(target, source.schema_arrow) as writer:
            for batch in source.iter_batches(_ROWS_AT_ONCE):
                table = pa.table(batch)
                texts = [
                    pc.cast(table[columns[name]], pa.string()).to_pylist()
                    if name in columns
                    else [None] * table.num_rows
                    for name in edits.fields
                ]
                kept = [True] * table.num_rows
                emptied: dict[str, list[bool]] = {}
                for number, values in enumerate(zip(*texts, strict=True)):
                    if values not in found:
                        continue
                    found[values] += 1
                    removed = edits.removed[values]
                    kept[number] = removed is not None
                    for name in (removed or ()) if removed else ():
                        emptied.setdefault(columns.get(name, ""), [False] * table.num_rows)[number] = True
                for name, is_emptied in emptied.items():
                    if name:
                        place = table.schema.get_field_index(name)
                        value = pc.if_else(pa.array(is_emptied), pa.scalar(None, table[name].type), table[name])
                        table = table.set_column(place, table.schema.field(place), value)
                writer.write_table(table if all(kept) else table.filter(pa.array(kept)))
    _require_all_found(path, edits, found)


def _require_all_found(path: str, edits: _Edits, found: Mapping[Values, int]) -> None:
    """Raise an error if a file does not have all records of the edits: the rest would stay in it.

    Raises:
        CdpError: A record is missing.
    """
    missing = sum(max(0, number - found[values]) for values, number in edits.records.items())
    if missing and (any(found.values()) or not edits.is_repeated):
        raise CdpError(
            f"{missing} records of persons to erase were not found in {path}, although its bronze rows have them: the"
            " file is unchanged. Delete the batch, or restore it, and repeat the erasure."
        )


_EDITORS: dict[str, Callable[[Landing, str, _Edits, Any], None]] = {
    "jsonl": _edit_json_lines,
    "parquet": _edit_parquet,
}
