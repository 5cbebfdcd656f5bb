"""Builder of bronze tables: returns the rows of landed batches unchanged, with the batch and file of each row."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Sequence
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf

from cdp_lib.columns import delta_name, rescued_data, to_type
from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.frames import union
from cdp_lib.json_text import EXTRA, add_field_names
from cdp_lib.landing import FILE_FOLDER, Landing, Manifest
from cdp_lib.mapping import AS_RECEIVED, NO_MAPPING, Mapping
from cdp_lib.pipeline.load_batches import MAX_OWN_COLUMNS, LoadBatches
from cdp_lib.pipeline.table import Table

_WHOLE_NUMBERS = ("tinyint", "smallint", "int", "bigint")
_NUMBERS = (*_WHOLE_NUMBERS, "float", "double", "decimal")
_COMPATIBLE_TYPES = {
    "STRING": (*_NUMBERS, "date", "timestamp", "timestamp_ntz", "boolean"),
    "BIGINT": _WHOLE_NUMBERS,
    "DECIMAL": _NUMBERS,
    "DATE": ("date", "timestamp", "timestamp_ntz"),
}
"""Received types that a bronze type accepts. Every bronze type also accepts strings."""

_EXPECTED = {
    "STRING": "text",
    "BIGINT": "whole numbers such as 42",
    "DECIMAL": "numbers such as 12.50",
    "DATE": "dates such as 2026-01-31",
}
"""Values that a bronze type accepts, for messages."""

_NAME_IN_EXPRESSION = re.compile(r"(?<=`)[^`]+(?=`)|\w+")

_DATA_FOLDER = f"data/{FILE_FOLDER}"
_ADVICE = "Repair the source: its next snapshot replaces the batch. Or delete the batch's folder."


def build_batches(
    spark: SparkSession,
    landing: Landing,
    batches: Sequence[Manifest],
    contract: BronzeContract,
    mapping: Mapping = NO_MAPPING,
    own_columns: Collection[str] = (),
) -> dict[str, DataFrame]:
    """Return a data frame with the rows of each batch that is not empty, by batch name.

    A batch that can't be loaded is skipped if a later snapshot is landed, because a snapshot holds all records.

    Args:
        spark: Spark session.
        landing: Landed batches.
        batches: Manifests that `Landing.examine` has returned, oldest first.
        contract: Contract of the bronze table.
        mapping: Mapping of the entity.
        own_columns: Columns that the table has in addition to the columns of its contract.

    Raises:
        CdpError: A batch can't be loaded (`build_bronze`), and no later snapshot is landed.
    """
    snapshots = [batch.batch_id for batch in batches if batch.load == "snapshot" and batch.rows]
    rows_by_batch, own = {}, {*own_columns}
    for batch in batches:
        try:
            if batch.rows:
                rows_by_batch[batch.batch_id] = build_bronze(spark, landing, batch, contract, mapping, own)
                own |= {*_own_column_names(batch.columns or (), contract, mapping, own).values()}
        except CdpError:
            if batch.batch_id >= max(snapshots, default=""):
                raise
    return rows_by_batch


def build_bronze(
    spark: SparkSession,
    landing: Landing,
    batch: Manifest,
    contract: BronzeContract,
    mapping: Mapping = NO_MAPPING,
    own_columns: Collection[str] = (),
) -> DataFrame:
    """One row per record of a landed batch.

    A value that does not fit the type of its column becomes null and is kept in `_rescued_data`. A JSON record that has
    none of the contract's columns, or that the engine can't parse, is stored as a whole in `_rescued_data`, under the
    name `_record`. Without a mapping, silver sends each row with `_rescued_data` to quarantine.

    Names of received columns are compared without regard to case. A received column that is not in the contract
    becomes a string column after the columns of the contract. Its values are in `_extra` instead if its name can't be
    the name of a column, or if the table would have more than `MAX_OWN_COLUMNS` such columns. Columns that the mapping
    uses do not count.

    An entity may have a mapping, which computes the columns of the contract from the columns of the source. In this
    case, the source may lack columns of the contract, and its columns may have other types. Silver applies the mapping.

    Args:
        spark: Spark session.
        landing: Landed batches.
        batch: Manifest of the batch.
        contract: Contract of the bronze table.
        mapping: Mapping of the entity.
        own_columns: Columns that the table has in addition to the columns of its contract.

    Returns:
        The columns of the contract, then the unknown columns of the batch.

    Raises:
        CdpError: A required column is missing, or a column has a type that the bronze column does not accept.
    """
    if not mapping.columns:
        _check_columns(batch, contract)
    _check_names(batch, contract)
    frames = []
    in_folders = [file.name for file in batch.files if file.name.startswith(_DATA_FOLDER)]
    if in_folders:
        # Read all files as one relation: engines fail on query plans that read hundreds of files one by one.
        rows = spark.read.text(landing.path_of(batch, "data"))
        folder = landing.relative_path_of(batch, _DATA_FOLDER)
        # Engines read a folder `file=<name>` as a partition column `file`, and percent-decode its value.
        source_file = sf.concat(sf.lit(folder), "file", sf.lit("/part-00000.jsonl"))
        rows = rows.select("value", source_file.alias("_source_file")).where(
            sf.col("_source_file").isin([landing.relative_path_of(batch, unquote(name)) for name in in_folders])
        )
        source_file = sf.col("_source_file")
        frames.append(_bronze_rows(rows, source_file, batch, contract, mapping, own_columns, are_deletions=False))
    for file in batch.files:
        if file.name not in in_folders:
            path = landing.path_of(batch, file.name)
            rows = spark.read.text(path) if batch.format == "jsonl" else spark.read.parquet(path)
            source_file = sf.lit(landing.relative_path_of(batch, file.name))
            arguments = (rows, source_file, batch, contract, mapping, own_columns)
            frames.append(_bronze_rows(*arguments, are_deletions=file.deletions))
    return union(frames)


def _received_names(received: Collection[str], contract: BronzeContract) -> dict[str, str]:
    """Return the received name of each contract column that was received, by name in the contract.

    A received column matches a contract column if `delta_name` of the received name is the contract's name. For
    example, `Store Name` matches `store_name`.
    """
    by_lower_case = {delta_name(name): name for name in sorted(received)}
    found = {
        column.name: column.name if column.name in received else by_lower_case.get(column.name)
        for column in contract.received_columns
    }
    return {name: received_name for name, received_name in found.items() if received_name}


def _check_columns(batch: Manifest, contract: BronzeContract) -> None:
    received = set(batch.columns or ())
    known = _received_names(received, contract)
    missing = sorted({c.name for c in contract.received_columns if not c.optional} - set(known))
    # Two kinds of batches may lack columns. In batches of source files, records may omit fields, and the rules of
    # silver check the required fields. Batches that consist of tombstones have only keys.
    if missing and batch.load != "files" and not all(file.deletions for file in batch.files):
        raise CdpError(
            f"Batch {batch.batch_id} of {batch.source}/{batch.entity} has no column {', '.join(missing)}"
            f" (its columns are {', '.join(sorted(received))}): {contract.name} is unchanged. {_ADVICE}"
        )


def _check_names(batch: Manifest, contract: BronzeContract) -> None:
    names = Counter(name.lower() for name in batch.columns or ())
    if batch.format == "parquet" and (duplicates := [name for name, number in names.items() if number > 1]):
        raise CdpError(
            f"Batch {batch.batch_id} of {batch.source}/{batch.entity} has columns whose names differ only in"
            f" upper and lower case ({', '.join(duplicates)}): {contract.name} is unchanged. {_ADVICE}"
        )


def _own_column_names(
    received_names: Collection[str], contract: BronzeContract, mapping: Mapping, own_columns: Collection[str]
) -> dict[str, str]:
    """Return the table's column name for each received column that is not in the contract, by received name.

    The column name is `delta_name` of the received name. If it is already taken, it gets a hash as suffix. A received
    column that has to be in `_extra` is left out.
    """
    possible = set[str]()
    add_field_names(possible, received_names)
    unknown = possible - {EXTRA, *_received_names(received_names, contract).values()}
    taken, own, names, mapped = set(contract.column_names), {*own_columns}, {}, _mapped_names(mapping)
    for received in sorted(unknown):
        name = delta_name(received)
        if name in taken:
            name = f"{name}_{hashlib.sha256(received.encode()).hexdigest()[:6]}"
        taken.add(name)
        if name in own or len(own) < MAX_OWN_COLUMNS or received.lower() in mapped:
            own.add(name)
            names[received] = name
    return names


def _mapped_names(mapping: Mapping) -> set[str]:
    """Return the names of source columns that a mapping may use, in lower case."""
    values = [value.lower() for value in (*dict(mapping.columns).values(), *mapping.attributes)]
    return {*values, *(name for value in values for name in _NAME_IN_EXPRESSION.findall(value))}


def _bronze_rows(
    rows: DataFrame,
    source_file: Column,
    batch: Manifest,
    contract: BronzeContract,
    mapping: Mapping,
    own_columns: Collection[str],
    *,
    are_deletions: bool,
) -> DataFrame:
    known = {column.name: column.type for column in contract.received_columns}
    # The manifest does not list the columns of tombstones. Read these columns from the Parquet file. Tombstones in JSON
    # use the column names of the contract.
    columns = {*(batch.columns or ()), *(rows.columns if batch.format == "parquet" else ())}
    names, own = _received_names(columns, contract), _own_column_names(columns, contract, mapping, own_columns)
    without_column = sorted(columns - {*names.values(), *own})
    if batch.format == "jsonl":
        rows = rows.where(sf.trim(rows.value) != "")
        fields = sf.from_json(rows.value, "map<string,string>")
        is_json = fields.isNotNull()
        received = {
            name: sf.get_json_object(rows.value, f"$.{name}") if names.get(name, name) == name else fields[names[name]]
            for name in known
        }
        extra = {name: fields[field] for field, name in own.items()}
        # With a mapping, a record is valid even if all its columns are unknown to the contract.
        expected = [*received.values(), *(extra.values() if mapping else ())]
        no_object = sf.when(~is_json | sf.coalesce(*expected).isNull(), rows.value)
        if mapping:
            received = {name: sf.when(is_json, value) for name, value in received.items()}
        others = sf.map_filter(fields, lambda name, _: ~name.isin(*names.values(), *own))
        others_text = sf.when(sf.size(others) > 0, sf.to_json(others))
        # Do not test string columns: every value fits, and Spark would parse the line again for each tested column.
        fitting = {name for name, type_ in known.items() if type_ == "STRING"}
    else:
        received_types = dict(rows.dtypes)
        times = {column.name for column in contract.received_columns if column.holds == "time"}
        received = {
            name: sf.lit(None).cast(type_)
            if names.get(name) not in received_types
            else _as_text(rows[names[name]], received_types[names[name]])
            if name in times
            else rows[names[name]]
            for name, type_ in known.items()
        }
        present = {name: field for name, field in names.items() if field in received_types}
        if not mapping:
            for name, field in present.items():
                _check_type(rows, field, known[name], contract, batch)
        extra = {
            name: _as_text(_column(field), received_types[field]) if field in received_types else sf.lit(None)
            for field, name in own.items()
        }
        without_column = [name for name in without_column if name in received_types]
        others_text = sf.to_json(sf.struct(*(_column(name).cast("string").alias(name) for name in without_column)))
        # If a date column receives timestamps, also keep them as text. The mapping needs their time of day and time
        # zone to find the day.
        extra |= {
            f"{name}{AS_RECEIVED}": _as_text(rows[field], received_types[field])
            for name, field in present.items()
            if mapping and known[name] == "DATE" and received_types[field].startswith("timestamp")
        }
        no_object = sf.lit(None).cast("string")
        # Testing values costs more than reading them.
        fitting = {name for name, field in present.items() if _always_fits(received_types[field], known[name].lower())}
        received = {
            name: value if not mapping or name in fitting else value.cast("string") for name, value in received.items()
        }
    # Keep the text of identifiers: the number of 007 would be 7.
    extra |= {
        f"{name}{AS_RECEIVED}": received[name].cast("string")
        for name, _ in mapping.text_ids
        if name in names and known[name] != "STRING"
    }
    typed = {
        name: received[name] if name in fitting else to_type(received[name], type_) for name, type_ in known.items()
    }
    tested = [(name, received[name], typed[name]) for name in known if name not in fitting]
    misfits = rescued_data([*tested, ("_record", no_object, sf.lit(None))])
    return rows.select(
        *(typed[name].alias(name) for name in known),
        misfits.alias("_rescued_data"),
        sf.lit(batch.load).alias("_load"),
        sf.lit(are_deletions).alias("_is_deleted"),
        sf.lit(batch.batch_id).alias("_batch_id"),
        source_file.alias("_source_file"),
        (others_text if without_column else sf.lit(None).cast("string")).alias(EXTRA),
        sf.lit(batch.extracted_at).cast("timestamp").alias("_ingested_at"),
        sf.lit(None).cast("bigint").alias("_version"),
        *(value.cast("string").alias(name) for name, value in extra.items()),
    ).selectExpr(*contract.select_list, *(f"`{name}`" for name in extra))


def _column(name: str) -> Column:
    """Return the column with a name, whatever characters it has."""
    return sf.col(f"`{name.replace('`', '``')}`")


def _always_fits(received_type: str, type_name: str) -> bool:
    """Return whether every value of a received type fits the type of a bronze column.

    >>> _always_fits("int", "bigint"), _always_fits("int", "decimal(18,3)"), _always_fits("bigint", "decimal(18,3)")
    (True, True, False)
    """
    wider = {
        "bigint": ("tinyint", "smallint", "int"),
        "decimal(18,3)": ("tinyint", "smallint", "int"),
        "decimal(18,4)": ("tinyint", "smallint", "int"),
    }
    return received_type == type_name or received_type in wider.get(type_name, ())


def _as_text(value: Column, type_name: str) -> Column:
    """Return a value as text. A time with a time zone ends in `Z`, because the session's time zone is UTC."""
    text = value.cast("string")
    return sf.concat(text, sf.lit("Z")) if type_name == "timestamp" else text


def _check_type(rows: DataFrame, name: str, type_name: str, contract: BronzeContract, batch: Manifest) -> None:
    received_type = rows.schema[name].dataType.simpleString()
    family = received_type.split("(")[0]
    if family == "string" and type_name != "STRING":
        # Some sources, such as SQLite, send numbers and dates as strings. If no value parses, the type is wrong.
        typed = rows.select(rows[name].alias("received"), to_type(rows[name], type_name).alias("typed"))
        values, fitting, example = typed.agg(sf.count("received"), sf.count("typed"), sf.min("received")).collect()[0]
        is_compatible = fitting > 0 or values == 0
    else:
        is_compatible = family == "string" or family in _COMPATIBLE_TYPES[type_name.split("(")[0]]
        example = None if is_compatible else rows.agg(sf.min(rows[name].cast("string"))).collect()[0][0]
    if not is_compatible:
        found = "" if example is None or _is_personal(contract, name) else f" (for example {example[:50]!r})"
        raise CdpError(
            f"Column {name} of batch {batch.batch_id} of {batch.source}/{batch.entity} has the type {received_type}"
            f"{found}, but {contract.name} expects {_EXPECTED[type_name.split('(')[0]]} ({type_name}): the table is"
            f" unchanged. {_ADVICE}"
        )


def _is_personal(contract: BronzeContract, name: str) -> bool:
    return any(column.pii for column in contract.received_columns if column.name == delta_name(name))


BRONZE = tuple(Table(contract, build_batches, materialization=LoadBatches()) for contract in BRONZE_TABLES)
