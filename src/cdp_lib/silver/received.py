"""The columns every silver row carries through its checks: what it was received as, and when."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text, rescued
from cdp_lib.contracts.table import BronzeContract


def typed_rows(bronze_rows: DataFrame, contract: BronzeContract, typed: dict[str, Column]) -> DataFrame:
    """Rows with typed columns, ready to be checked against a silver contract.

    Args:
        bronze_rows: Rows of a bronze table.
        contract: Contract of that table.
        typed: The silver columns by name; a name that bronze has too is that column, typed or cleaned.

    Returns:
        The silver columns, `record` (the row as received, JSON), `_rescued_data`, `_record_hash` and `_batch_id`.
    """
    names = [column.name for column in contract.received_columns]
    misfits = rescued((name, _unless_blank(sf.col(name)), typed[name]) for name in names if name in typed)
    return bronze_rows.select(
        *(column.alias(name) for name, column in typed.items()),
        sf.to_json(sf.struct(*names, "_rescued_data")).alias("record"),
        sf.coalesce("_rescued_data", misfits).alias("_rescued_data"),
        "_record_hash",
        "_batch_id",
    )


def _unless_blank(received: Column) -> Column:
    """A blank text is a missing value, not one of the wrong type."""
    return sf.when(clean_text(received.cast("string")).isNotNull(), received)
