"""Builder of bronze tables: returns the rows of landed batches unchanged, with the batch and file of each row."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf

from cdp_lib.columns import rescued_data, to_type
from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.frames import union
from cdp_lib.landing import FILE_FOLDER, Landing, Manifest
from cdp_lib.pipeline.load_batches import LoadBatches
from cdp_lib.pipeline.table import Table

_WHOLE_NUMBERS = ("tinyint", "smallint", "int", "bigint")
_NUMBERS = (*_WHOLE_NUMBERS, "float", "double", "decimal")
_COMPATIBLE_TYPES = {
    "STRING": (*_NUMBERS, "date", "timestamp", "timestamp_ntz", "boolean"),
    "INT": _WHOLE_NUMBERS,
    "DECIMAL": _NUMBERS,
    "DATE": ("date", "timestamp", "timestamp_ntz"),
}
"""Received types that a bronze type accepts. Every bronze type also accepts strings."""

_NOT_IN_DELTA_NAMES = re.compile(r"[ ,;{}()\n\t=`]")
_DATA_FOLDER = f"data/{FILE_FOLDER}"
_ADVICE = "Repair the source: its next snapshot replaces the batch. Or delete the batch's folder."


def build_batches(
    spark: SparkSession, landing: Landing, batches: Sequence[Manifest], contract: BronzeContract
) -> dict[str, DataFrame]:
    """Return a data frame with the rows of each batch that is not empty, by batch name.

    A batch that can't be loaded is skipped if a later snapshot is landed, because a snapshot holds all records.

    Args:
        spark: Spark session.
        landing: Landed batches.
        batches: Manifests that `Landing.examine` has returned, oldest first.
        contract: Contract of the bronze table.

    Raises:
        CdpError: A batch can't be loaded (`build_bronze`), and no later snapshot is landed.
    """
    snapshots = [batch.batch_id for batch in batches if batch.load == "snapshot" and batch.rows]
    rows_by_batch = {}
    for batch in batches:
        try:
            if batch.rows:
                rows_by_batch[batch.batch_id] = build_bronze(spark, landing, batch, contract)
        except CdpError:
            if batch.batch_id >= max(snapshots, default=""):
                raise
    return rows_by_batch


def build_bronze(spark: SparkSession, landing: Landing, batch: Manifest, contract: BronzeContract) -> DataFrame:
    """One row per record of a landed batch.

    A value that does not fit the type of its column becomes null and is kept in `_rescued_data`. A JSON record that has
    none of the contract's columns is stored as a whole in `_rescued_data`, under the name `_record`. In silver, both
    kinds of records go to quarantine.

    A received column that is not in the contract becomes a string column after the columns of the contract.

    Args:
        spark: Spark session.
        landing: Landed batches.
        batch: Manifest of the batch.
        contract: Contract of the bronze table.

    Returns:
        The columns of the contract, then the unknown columns of the batch.

    Raises:
        CdpError: A required column is missing, or a column has a type that the bronze column does not accept.
    """
    _check_columns(batch, contract)
    frames = []
    in_folders = [file.name for file in batch.files if file.name.startswith(_DATA_FOLDER)]
    if in_folders:
        # Read all files as one relation: engines fail on query plans that read hundreds of files one by one.
        rows = spark.read.text(landing.path_of(batch, "data"))
        folder = landing.relative_path_of(batch, _DATA_FOLDER)
        # Engines percent-decode the name of the folder `file=<name>`. The column `file` holds the decoded name.
        source_file = sf.concat(sf.lit(folder), "file", sf.lit("/part-00000.jsonl"))
        rows = rows.select("value", source_file.alias("_source_file")).where(
            sf.col("_source_file").isin([landing.relative_path_of(batch, unquote(name)) for name in in_folders])
        )
        frames.append(_bronze_rows(rows, sf.col("_source_file"), batch, contract, are_deletions=False))
    for file in batch.files:
        if file.name not in in_folders:
            path = landing.path_of(batch, file.name)
            rows = spark.read.text(path) if batch.format == "jsonl" else spark.read.parquet(path)
            source_file = sf.lit(landing.relative_path_of(batch, file.name))
            frames.append(_bronze_rows(rows, source_file, batch, contract, are_deletions=file.deletions))
    return union(frames)


def _check_columns(batch: Manifest, contract: BronzeContract) -> None:
    received = set(batch.columns or ())
    missing = sorted({c.name for c in contract.received_columns if not c.optional} - received)
    # Two kinds of batches may lack columns. Records of source files may omit fields: the rules of silver check the
    # required fields. Tombstones have only keys.
    if missing and batch.load != "files" and not all(file.deletions for file in batch.files):
        raise CdpError(
            f"Batch {batch.batch_id} of {batch.source}/{batch.entity} has no column {', '.join(missing)}"
            f" (its columns are {', '.join(sorted(received))}): {contract.name} is unchanged. {_ADVICE}"
        )
    names = Counter(name.lower() for name in received)
    if batch.format == "parquet" and (duplicates := [name for name, number in names.items() if number > 1]):
        raise CdpError(
            f"Batch {batch.batch_id} of {batch.source}/{batch.entity} has columns whose names differ only in"
            f" upper and lower case ({', '.join(duplicates)}): {contract.name} is unchanged. {_ADVICE}"
        )


def _unknown_column_names(batch: Manifest, contract: BronzeContract) -> dict[str, str]:
    """Map the received columns that are not in the contract to their column names in the table.

    Names in the table are lower case, for two reasons: column names must not differ only in case, and some engines
    can't write upper case. Characters that Delta does not allow become underscores. A duplicate name gets a hash as
    suffix.
    """
    known = {column.name for column in contract.received_columns}
    taken = set(contract.column_names)
    names = {}
    for received in sorted(set(batch.columns or ()) - known):
        name = _NOT_IN_DELTA_NAMES.sub("_", received).lower() or "_"
        if name in taken:
            name = f"{name}_{hashlib.sha256(received.encode()).hexdigest()[:6]}"
        taken.add(name)
        names[received] = name
    return names


def _bronze_rows(
    rows: DataFrame, source_file: Column, batch: Manifest, contract: BronzeContract, *, are_deletions: bool
) -> DataFrame:
    known = {column.name: column.type for column in contract.received_columns}
    unknown = _unknown_column_names(batch, contract)
    if batch.format == "jsonl":
        rows = rows.where(sf.trim(rows.value) != "")
        fields = sf.from_json(rows.value, "map<string,string>")
        received = {name: sf.get_json_object(rows.value, f"$.{name}") for name in known}
        extra = {name: fields[field] for field, name in unknown.items()}
        no_object = sf.when(sf.coalesce(*received.values()).isNull(), rows.value)
        # Do not test string columns: every value fits, and Spark would parse the line again for each tested column.
        fitting = {name for name, type_ in known.items() if type_ == "STRING"}
    else:
        present = set(rows.columns)
        received = {
            name: _received(rows, name, type_, contract, batch) if name in present else sf.lit(None).cast(type_)
            for name, type_ in known.items()
        }
        extra = {
            name: sf.col(f"`{field}`").cast("string") if field in present else sf.lit(None)
            for field, name in unknown.items()
        }
        no_object = sf.lit(None).cast("string")
        # Values of the column's own type always fit. Testing them costs more than reading them.
        received_types = dict(rows.dtypes)
        fitting = {name for name, type_ in known.items() if received_types.get(name) == type_.lower()}
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
        sf.lit(batch.extracted_at).cast("timestamp").alias("_ingested_at"),
        sf.lit(None).cast("bigint").alias("_version"),
        *(value.cast("string").alias(name) for name, value in extra.items()),
    ).selectExpr(*contract.select_list, *(f"`{name}`" for name in extra))


def _received(rows: DataFrame, name: str, type_name: str, contract: BronzeContract, batch: Manifest) -> Column:
    received_type = rows.schema[name].dataType.simpleString()
    family = received_type.split("(")[0]
    if family == "string" and type_name != "STRING":
        # Some sources, such as SQLite, send numbers and dates as strings. If no value parses, the type is wrong.
        typed = rows.select(rows[name].alias("received"), to_type(rows[name], type_name).alias("typed"))
        values, fitting = typed.agg(sf.count("received"), sf.count("typed")).collect()[0]
        is_compatible = fitting > 0 or values == 0
    else:
        is_compatible = family == "string" or family in _COMPATIBLE_TYPES[type_name.split("(")[0]]
    if not is_compatible:
        raise CdpError(
            f"Column {name} of batch {batch.batch_id} of {batch.source}/{batch.entity} has the type {received_type},"
            f" but {contract.name} expects {type_name}: the table is unchanged. {_ADVICE}"
        )
    return rows[name]


BRONZE = tuple(Table(contract, build_batches, materialization=LoadBatches()) for contract in BRONZE_TABLES)
