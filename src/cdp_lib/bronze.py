"""Landed batch → bronze rows: as received, with where they come from."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf

from cdp_lib.columns import rescued, to_type
from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.frames import union
from cdp_lib.landing import FILE_FOLDER, Landing, Manifest
from cdp_lib.pipeline.load_batches import LoadBatches
from cdp_lib.pipeline.table import Table

_WHOLE_NUMBERS = ("tinyint", "smallint", "int", "bigint")
_NUMBERS = (*_WHOLE_NUMBERS, "float", "double", "decimal")
_HELD_BY = {
    "STRING": (*_NUMBERS, "date", "timestamp", "timestamp_ntz", "boolean"),
    "INT": _WHOLE_NUMBERS,
    "DECIMAL": _NUMBERS,
    "DATE": ("date", "timestamp", "timestamp_ntz"),
}
"""Types a column of a bronze type may be received in, text apart, which every column may be."""

_NOT_IN_DELTA_NAMES = re.compile(r"[ ,;{}()\n\t=`]")
_DATA_FOLDER = f"data/{FILE_FOLDER}"
_WAY_OUT = "Mend the source: its next snapshot takes the batch's place; or delete the batch's folder."


def build_batches(
    spark: SparkSession, landing: Landing, batches: Sequence[Manifest], contract: BronzeContract
) -> dict[str, DataFrame]:
    """Return the rows of each batch that has any.

    A snapshot that can't be loaded is passed over where a later one is landed: that has all there is.

    Args:
        spark: Session.
        landing: Where batches are landed.
        batches: Examined manifests, oldest first.
        contract: Contract of the bronze table.

    Raises:
        CdpError: A batch can't be loaded (`build_bronze`).
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

    A value that does not fit its column's type is null there and stands in `_rescued_data`, as does a JSON record
    that has none of the columns, whole, as `_record`. Silver sends both to quarantine.

    A column the contract does not know is kept as text, after the contract's.

    Args:
        spark: Session.
        landing: Where the batch is landed.
        batch: Manifest of the batch.
        contract: Contract of the bronze table.

    Returns:
        Columns of the contract, then those it does not know.

    Raises:
        CdpError: A column of the contract is missing, or has come in a type that can't be its own.
    """
    _check_columns(batch, contract)
    frames = []
    in_folders = [file.name for file in batch.files if file.name.startswith(_DATA_FOLDER)]
    if in_folders:
        # One relation, however many files: engines die of a plan with hundreds.
        rows = spark.read.text(landing.path_of(batch, "data"))
        folder = landing.name_of(batch, _DATA_FOLDER)
        # The value of a partition: what its folder's name is, percent-decoded.
        source_file = sf.concat(sf.lit(folder), "file", sf.lit("/part-00000.jsonl"))
        rows = rows.select("value", source_file.alias("_source_file")).where(
            sf.col("_source_file").isin([landing.name_of(batch, unquote(name)) for name in in_folders])
        )
        frames.append(_bronze_rows(rows, sf.col("_source_file"), batch, contract, are_deletions=False))
    for file in batch.files:
        if file.name not in in_folders:
            path = landing.path_of(batch, file.name)
            rows = spark.read.text(path) if batch.format == "jsonl" else spark.read.parquet(path)
            source_file = sf.lit(landing.name_of(batch, file.name))
            frames.append(_bronze_rows(rows, source_file, batch, contract, are_deletions=file.deletions))
    return union(frames)


def _check_columns(batch: Manifest, contract: BronzeContract) -> None:
    received = set(batch.columns or ())
    missing = sorted({c.name for c in contract.received_columns if not c.optional} - received)
    # Of files, each line is a record that may leave out what it does not know; silver asks for what it needs.
    if missing and batch.load != "files" and not all(file.deletions for file in batch.files):
        raise CdpError(
            f"Batch {batch.batch_id} of {batch.source}/{batch.entity} has no column {', '.join(missing)}"
            f" (it has {', '.join(sorted(received))}): {contract.name} is left as it was. {_WAY_OUT}"
        )
    names = Counter(name.lower() for name in received)
    if batch.format == "parquet" and (twice := [name for name, times in names.items() if times > 1]):
        raise CdpError(
            f"Batch {batch.batch_id} of {batch.source}/{batch.entity} has more than one column {', '.join(twice)},"
            f" besides case: {contract.name} is left as it was. {_WAY_OUT}"
        )


def _names_of_unknown(batch: Manifest, contract: BronzeContract) -> dict[str, str]:
    """The received columns that the contract does not know, and what the table calls them.

    A table's columns differ in more than case, not every engine writes upper case, and Delta does not take every
    character.
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
    unknown = _names_of_unknown(batch, contract)
    if batch.format == "jsonl":
        rows = rows.where(sf.trim(rows.value) != "")
        fields = sf.from_json(rows.value, "map<string,string>")
        received = {name: sf.get_json_object(rows.value, f"$.{name}") for name in known}
        extra = {name: fields[field] for field, name in unknown.items()}
        no_object = sf.when(sf.coalesce(*received.values()).isNull(), rows.value)
        # Text fits. Spark would read the line once more for each column that is tried.
        fitting = {name for name, type_ in known.items() if type_ == "STRING"}
    else:
        there = set(rows.columns)
        received = {
            name: _received(rows, name, type_, contract, batch) if name in there else sf.lit(None).cast(type_)
            for name, type_ in known.items()
        }
        extra = {
            name: sf.col(f"`{field}`").cast("string") if field in there else sf.lit(None)
            for field, name in unknown.items()
        }
        no_object = sf.lit(None).cast("string")
        # What has come in its column's own type fits it; to try costs more than to read it.
        came_as = dict(rows.dtypes)
        fitting = {name for name, type_ in known.items() if came_as.get(name) == type_.lower()}
    typed = {
        name: received[name] if name in fitting else to_type(received[name], type_) for name, type_ in known.items()
    }
    tried = [(name, received[name], typed[name]) for name in known if name not in fitting]
    misfits = rescued([*tried, ("_record", no_object, sf.lit(None))])
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
    came_as = rows.schema[name].dataType.simpleString()
    family = came_as.split("(")[0]
    if family == "string" and type_name != "STRING":
        # SQLite has no other types. Text of which nothing fits is a column of another type.
        typed = rows.select(rows[name].alias("received"), to_type(rows[name], type_name).alias("typed"))
        there, fitting = typed.agg(sf.count("received").alias("there"), sf.count("typed").alias("fitting")).collect()[0]
        is_held = fitting > 0 or there == 0
    else:
        is_held = family == "string" or family in _HELD_BY[type_name.split("(")[0]]
    if not is_held:
        raise CdpError(
            f"Column {name} of batch {batch.batch_id} of {batch.source}/{batch.entity} has come as {came_as},"
            f" {contract.name} holds {type_name}: the table is left as it was. {_WAY_OUT}"
        )
    return rows[name]


BRONZE = tuple(Table(contract, build_batches, materialization=LoadBatches()) for contract in BRONZE_TABLES)
