"""Landed batch → bronze rows: as received, with where they come from."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf

from cdp_lib.columns import rescued, to_type
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing, Manifest

_HELD_BY = {
    "STRING": ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "date", "timestamp", "boolean"),
    "INT": ("tinyint", "smallint", "int", "bigint"),
    "DECIMAL": ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal"),
    "DATE": ("date", "timestamp"),
}
"""Types a column of a bronze type may be received in, text apart, which every column may be."""


def unloaded_batches(
    landing: Landing, contract: BronzeContract, loaded: set[str], *, full_refresh: bool
) -> list[Manifest]:
    """The landed batches a bronze table is to load, oldest first.

    Args:
        landing: Where batches are landed.
        contract: Contract of the bronze table.
        loaded: Batches the table already holds.
        full_refresh: Whether to load those again.
    """
    landed = landing.batches(contract.source, contract.entity)
    return [batch for batch in landed if full_refresh or batch.batch_id not in loaded]


def build_bronze(spark: SparkSession, landing: Landing, batch: Manifest, contract: BronzeContract) -> DataFrame:
    """One row per record of a landed batch.

    A value that does not fit its column's type is null there and stands in `_rescued_data`, as does a JSON record
    that has none of the columns, whole, as `_record`. Silver sends both to quarantine.

    Args:
        spark: Session.
        landing: Where the batch is landed.
        batch: Manifest of the batch.
        contract: Contract of the bronze table.

    Returns:
        Rows of the contract.

    Raises:
        CdpError: A column of the contract is missing in the batch, or has come in a type that can't be its own.
    """
    missing = sorted({column.name for column in contract.received_columns} - set(batch.columns))
    if missing:
        raise CdpError(
            f"Batch {batch.batch_id} of {batch.source}/{batch.entity} has no column {', '.join(missing)}"
            f" (it has {', '.join(batch.columns)}): {contract.name} is left as it was."
        )
    files = [_rows_of_file(spark, landing, batch, file, contract) for file in batch.files]
    return reduce(DataFrame.unionByName, files)


def _rows_of_file(
    spark: SparkSession, landing: Landing, batch: Manifest, file: str, contract: BronzeContract
) -> DataFrame:
    path = landing.path_of(batch, file)
    names = [column.name for column in contract.received_columns]
    if batch.format == "jsonl":
        rows = spark.read.text(path)
        received = {name: sf.get_json_object(rows.value, f"$.{name}") for name in names}
        no_object = sf.when(sf.coalesce(*received.values()).isNull(), rows.value)
    else:
        rows = spark.read.parquet(path)
        received = {c.name: _received(rows, c.name, c.type, contract, batch) for c in contract.received_columns}
        no_object = sf.lit(None).cast("string")
    typed = {c.name: to_type(received[c.name], c.type) for c in contract.received_columns}
    misfits = rescued([*((name, received[name], typed[name]) for name in names), ("_record", no_object, sf.lit(None))])
    return rows.select(
        *(typed[name].alias(name) for name in names),
        misfits.alias("_rescued_data"),
        _hash([*received.values(), no_object]).alias("_record_hash"),
        sf.lit(batch.batch_id).alias("_batch_id"),
        sf.lit(f"{batch.source}/{batch.entity}/{batch.batch_id}/{file}").alias("_source_file"),
        sf.lit(batch.extracted_at).cast("timestamp").alias("_ingested_at"),
    ).selectExpr(*contract.select_list)


def _received(rows: DataFrame, name: str, type_name: str, contract: BronzeContract, batch: Manifest) -> Column:
    came_as = rows.schema[name].dataType.simpleString()
    family = came_as.split("(")[0]
    if family != "string" and family not in _HELD_BY[type_name.split("(")[0]]:
        raise CdpError(
            f"Column {name} of batch {batch.batch_id} of {batch.source}/{batch.entity} has come as {came_as},"
            f" {contract.name} holds {type_name}: the table is left as it was."
        )
    return rows[name]


def _hash(columns: list[Column]) -> Column:
    """SHA-256 of the values as text; null and the empty text differ."""
    return sf.sha2(sf.to_json(sf.array(*(column.cast("string") for column in columns))), 256)
