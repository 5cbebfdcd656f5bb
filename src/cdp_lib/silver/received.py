"""The columns every silver row carries through its checks: what it was received as, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text, rescued
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.quality import record_hash


def typed_rows(
    bronze_rows: DataFrame,
    contract: BronzeContract,
    parse: Mapping[str, Callable[[Column], Column]],
    received_as: Mapping[str, str] | None = None,
) -> DataFrame:
    """Rows with typed columns, ready to be checked against a silver contract.

    Args:
        bronze_rows: Rows of a bronze table.
        contract: Contract of that table.
        parse: By silver column, what types and cleans the received value: null where it does not parse.
        received_as: Bronze column of the silver columns that have another name there.

    Returns:
        The silver columns, `record` (the row as received, JSON), `_rescued_data`, `_record_hash` (xxHash64 of what was
        received, hexadecimal), `_is_deleted`, `_ingested_at` and `_batch_id`.
    """
    source = {name: (received_as or {}).get(name, name) for name in parse}
    # What a source may leave out is no reason to refuse a row either.
    optional = {column.name for column in contract.received_columns if column.optional}
    tried = [name for name, to_typed in parse.items() if name not in optional and to_typed is not as_received]
    received = [*(column.name for column in contract.received_columns), "_rescued_data"]
    # Each value is parsed once: engines copy an expression to wherever its column is used, but not past an offset.
    parsed = bronze_rows.select(
        *(to_typed(sf.col(source[name])).alias(f"_typed_{name}") for name, to_typed in parse.items()),
        *(_unless_blank(sf.col(source[name])).alias(f"_text_{name}") for name in tried),
        sf.to_json(sf.struct(*received)).alias("record"),
        "_rescued_data",
        # Of the same values as the record, and asked for where versions of a row are compared only.
        record_hash(contract).alias("_record_hash"),
        # Rows from before there were removals have no `_is_deleted`.
        sf.coalesce("_is_deleted", sf.lit(False)).alias("_is_deleted"),
        "_ingested_at",
        "_batch_id",
    ).offset(0)
    misfits = [(source[name], sf.col(f"_text_{name}"), sf.col(f"_typed_{name}")) for name in tried]
    return parsed.select(
        *(sf.col(f"_typed_{name}").alias(name) for name in parse),
        "record",
        (sf.coalesce("_rescued_data", rescued(misfits)) if misfits else sf.col("_rescued_data")).alias("_rescued_data"),
        "_record_hash",
        "_is_deleted",
        "_ingested_at",
        "_batch_id",
    )


def as_received(received: Column) -> Column:
    """The value itself: bronze has typed it already."""
    return received


def _unless_blank(received: Column) -> Column:
    """A blank text is a missing value, not one of the wrong type."""
    return sf.when(clean_text(received.cast("string")).isNotNull(), received)
