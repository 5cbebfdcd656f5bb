"""Typed silver rows from bronze rows, with the columns that are needed to check the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text, rescued_data
from cdp_lib.contracts.table import UNKNOWN, BronzeContract
from cdp_lib.mapping import ATTRIBUTES
from cdp_lib.quality import record_hash


def typed_rows(
    bronze_rows: DataFrame,
    contract: BronzeContract,
    parse: Mapping[str, Callable[[Column], Column]],
    received_as: Mapping[str, str] | None = None,
    plausible: Mapping[str, tuple[str, str]] | None = None,
) -> DataFrame:
    """Return rows with typed columns, ready for the check against a silver contract.

    Args:
        bronze_rows: Rows of a bronze table. They may lack an optional column if its value is null in every row.
        contract: Contract of that table.
        parse: For each silver column, the function that cleans and types the received value. The function returns null
            for a value that does not parse.
        received_as: Bronze column name by silver column name, for columns whose names differ.
        plausible: For optional columns, the first and the last plausible value, as SQL expressions. Any other value
            becomes null.

    Returns:
        The silver columns, `record` (the row as received, JSON), `attributes` (a map of the retailer's own attributes,
        see `map_rows`), `_rescued_data`, `_record_hash` (xxHash64 of the received values, hexadecimal), `_is_deleted`,
        `_ingested_at` and `_batch_id`. For each optional column, also `_<column>_fits`: false if the received value
        does not parse or is not plausible. Such a value is not added to `_rescued_data`, so the row is not rejected.
    """
    source = {name: (received_as or {}).get(name, name) for name in parse}
    is_optional = {column.name for column in contract.received_columns if column.optional and column.type == "STRING"}
    optional = [name for name in parse if source[name] in is_optional]
    parsed_names = [name for name, to_typed in parse.items() if name not in optional and to_typed is not as_received]
    names = bronze_rows.columns
    absent = {column.name: sf.lit(None).cast(column.type) for column in contract.columns if column.name not in names}
    known = [name for name in parse if source[name] not in absent]
    received = [
        *(absent.get(c.name, sf.col(c.name)).alias(c.name) for c in contract.received_columns),
        sf.col("_rescued_data"),
    ]
    # Engines copy an expression to every place that uses its column. `offset(0)` prevents these copies, so that each
    # value is parsed only once.
    parsed = bronze_rows.select(
        *(parse[name](sf.col(source[name])).alias(f"_typed_{name}") for name in known),
        *(_null_if_blank(sf.col(source[name])).alias(f"_text_{name}") for name in parsed_names),
        *(sf.col(source[name]).alias(f"_text_{name}") for name in optional if name in known),
        # If the source has a mapping, `_record` holds the row in the columns of the source.
        (sf.col("_record") if "_record" in names else sf.to_json(sf.struct(*received))).alias("record"),
        (sf.col(ATTRIBUTES) if ATTRIBUTES in names else sf.lit(None).cast("map<string,string>")).alias(ATTRIBUTES),
        "_rescued_data",
        # Hash of the values in `record`, used only to compare versions.
        record_hash(contract, absent).alias("_record_hash"),
        # `_is_deleted` is null in rows that were loaded before bronze had this column.
        sf.coalesce("_is_deleted", sf.lit(False)).alias("_is_deleted"),
        "_ingested_at",
        "_batch_id",
    ).offset(0)
    typed = {
        name: sf.col(f"_typed_{name}") if name in known else to_typed(absent[source[name]])
        for name, to_typed in parse.items()
    }
    for name, (first, last) in (plausible or {}).items():
        typed[name] = sf.when(typed[name].between(sf.expr(first), sf.expr(last)), typed[name])
    misfits = [(source[name], sf.col(f"_text_{name}"), sf.col(f"_typed_{name}")) for name in parsed_names]
    return parsed.select(
        *(value.alias(name) for name, value in typed.items()),
        # A blank value fits. Test for blanks only if the typed value is null, because the test is slow.
        *(
            sf.when(typed[name].isNull(), clean_text(sf.col(f"_text_{name}")).isNull())
            .otherwise(True)
            .alias(f"_{name}_fits")
            for name in optional
            if name in known
        ),
        *(sf.lit(True).alias(f"_{name}_fits") for name in optional if name not in known),
        "record",
        ATTRIBUTES,
        (sf.coalesce("_rescued_data", rescued_data(misfits)) if misfits else sf.col("_rescued_data")).alias(
            "_rescued_data"
        ),
        "_record_hash",
        "_is_deleted",
        "_ingested_at",
        "_batch_id",
    )


def as_received(received: Column) -> Column:
    """Return the value unchanged, for a column that already has its type in bronze."""
    return received


def text_or_unknown(received: Column) -> Column:
    """Return text as `clean_text` does; `UNKNOWN` if no text is left."""
    return sf.coalesce(clean_text(received), sf.lit(UNKNOWN))


def _null_if_blank(received: Column) -> Column:
    """Return null for a blank string: a blank string is a missing value, not a value of the wrong type."""
    return sf.when(clean_text(received.cast("string")).isNotNull(), received)
