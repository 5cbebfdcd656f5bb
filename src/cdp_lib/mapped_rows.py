"""Rows of bronze tables in the columns of their contracts: the mapping of a source, applied to rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from collections.abc import Mapping as Map

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text, delta_name, rescued_data, to_type
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.mapping import AS_RECEIVED, ATTRIBUTES, Mapping

_COLUMN_NAME = re.compile(r"[^\W\d][\w $.#-]*")
_NAMES_IN_EXPRESSION = re.compile(r"(?<=`)[^`]+(?=`)|[^\W\d]\w*")
_DATE_AND_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}"
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"


def map_rows(
    bronze_rows: DataFrame, contract: BronzeContract, mapping: Mapping, id_keys: DataFrame | None = None
) -> DataFrame:
    """Return the rows of a bronze table in the columns of its contract.

    Args:
        bronze_rows: Rows of the bronze table.
        contract: Contract of the bronze table.
        mapping: Mapping of the entity. If it is empty, the rows are returned unchanged.
        id_keys: Rows of `id_keys_silver`. Needed only if the mapping has `text_ids`.

    Returns:
        Rows with these columns:

        - the columns of the contract;
        - `attributes`: a map from the name of an attribute to its text;
        - `_record`: the row as received, JSON;
        - `_rescued_data`: the mapped values that do not fit their column;
        - all other columns of the table whose names begin with an underscore.

    Raises:
        CdpError: The mapping refers to a column that the table does not have, or an expression is not valid SQL.
    """
    if not mapping:
        return bronze_rows
    try:
        mapped = _mapped(bronze_rows, contract, mapping, id_keys)
        mapped.schema  # noqa: B018 - some engines check the expressions only here
    except PySparkException as error:
        reason = str(error).strip().splitlines()[0]
        columns = ", ".join(sorted(name for name in bronze_rows.columns if not name.startswith("_")))
        raise CdpError(
            f"The mapping of {contract.entity} is not valid SQL over the columns of {contract.name}"
            f" ({columns}): {reason}"
        ) from error
    return mapped


def received_ids(bronze_rows: DataFrame, contract: BronzeContract, mapping: Mapping) -> DataFrame:
    """Return the distinct `entity` and `source_id` of all identifiers in the rows of a bronze table that are text.

    Args:
        bronze_rows: Rows of the bronze table.
        contract: Contract of the bronze table.
        mapping: Mapping of the entity. It must have `text_ids`.
    """
    texts = _texts(bronze_rows.columns, contract, mapping)
    identifiers = sf.array(
        *(
            sf.struct(sf.lit(entity).alias("entity"), texts[column].alias("source_id"))
            for column, entity in mapping.text_ids
        )
    )
    found = bronze_rows.select(sf.explode(identifiers).alias("id")).select("id.entity", "id.source_id")
    return found.where("source_id IS NOT NULL").distinct()


def received_texts(bronze_rows: DataFrame, contract: BronzeContract, mapping: Mapping) -> dict[str, Column]:
    """Return the text of each contract column, by name, before it is converted to the column's type.

    Args:
        bronze_rows: Rows of the bronze table.
        contract: Contract of the bronze table.
        mapping: Mapping of the entity.
    """
    return _texts(bronze_rows.columns, contract, mapping)


def source_columns(column: str, names: Collection[str], contract: BronzeContract, mapping: Mapping) -> list[str]:
    """Return the columns of a bronze table that a contract column is computed from, sorted.

    Args:
        column: Column of the contract.
        names: Columns of the bronze table.
        contract: Contract of the bronze table.
        mapping: Mapping of the entity.
    """
    source = dict(mapping.columns).get(column)
    if source is None:
        return [column]
    if delta_name(source) in names or _COLUMN_NAME.fullmatch(source):
        return [_known(source, list(names), contract)]
    words = {delta_name(word) for word in _NAMES_IN_EXPRESSION.findall(source)}
    return sorted(name for name in names if name in words and not name.startswith("_"))


def _with_ids(rows: DataFrame, contract: BronzeContract, mapping: Mapping, id_keys: DataFrame) -> DataFrame:
    """Replace the text of identifiers by their numbers. An identifier without a number is kept in `_rescued_data`."""
    names, missing = rows.columns, []
    for column, entity in mapping.text_ids:
        numbers = id_keys.where(sf.col("entity") == entity).select(
            sf.col("source_id").alias(f"_source_{column}"), sf.col("id").alias(f"_number_{column}")
        )
        rows = rows.join(numbers, sf.col(column) == sf.col(f"_source_{column}"), how="left")
        missing.append((column, sf.col(column), sf.col(f"_number_{column}")))
    types = contract.types
    return rows.withColumn("_rescued_data", sf.coalesce("_rescued_data", rescued_data(missing))).select(
        *(
            sf.col(f"_number_{name}").cast(types[name]).alias(name) if name in dict(mapping.text_ids) else name
            for name in names
        )
    )


def _mapped(bronze_rows: DataFrame, contract: BronzeContract, mapping: Mapping, id_keys: DataFrame | None) -> DataFrame:
    names = bronze_rows.columns
    technical = [name for name in names if name.startswith("_") and name != "_rescued_data"]
    received = [name for name in names if not name.startswith("_")]
    attributes = [
        part for name in mapping.attributes for part in (sf.lit(name), _text_of(_known(name, names, contract), names))
    ]
    # Engines copy an expression to every place that uses its column. `offset(0)` prevents these copies, so that each
    # value is mapped only once.
    texts = bronze_rows.select(
        *(text.alias(f"_text_{name}") for name, text in _texts(names, contract, mapping).items()),
        (sf.create_map(*attributes) if attributes else sf.lit(None).cast("map<string,string>")).alias(ATTRIBUTES),
        # A record without any known column is in `_rescued_data` under the name `_record` (`build_bronze`).
        sf.get_json_object("_rescued_data", "$._record").alias("_line"),
        sf.to_json(sf.struct(*(sf.col(f"`{name}`") for name in received), "_rescued_data")).alias("_record"),
        *technical,
    ).offset(0)
    text_of = {column.name: sf.col(f"_text_{column.name}") for column in contract.received_columns}
    has_text_ids = dict(mapping.text_ids)
    types = {
        column.name: "STRING" if column.name in has_text_ids else column.type for column in contract.received_columns
    }
    typed = {
        name: text_of[name] if type_ == "STRING" else to_type(text_of[name], type_) for name, type_ in types.items()
    }
    # Every text fits a column of type STRING, so these columns have no misfits.
    misfits = [(name, text_of[name], typed[name]) for name, type_ in types.items() if type_ != "STRING"]
    no_object = sf.when(sf.coalesce(*text_of.values()).isNull(), sf.col("_line"))
    values = sf.struct(
        *(value.alias(name) for name, value in typed.items()),
        ATTRIBUTES,
        rescued_data([*misfits, ("_record", no_object, sf.lit(None))]).alias("_rescued_data"),
        "_record",
    )
    # Engines also copy expressions into later filters, even through `offset(0)`. The filter of a rule would then be too
    # large to plan. `explode` prevents these copies, because no engine moves a filter before it.
    rows = texts.select(sf.explode(sf.array(values)).alias("_row"), *technical).select("_row.*", *technical)
    return rows if id_keys is None else _with_ids(rows, contract, mapping, id_keys)


def _texts(names: Sequence[str], contract: BronzeContract, mapping: Mapping) -> dict[str, Column]:
    """Return the text of each contract column.

    A date or time in the declared format is converted to ISO 8601. A number with the declared decimal separator is
    converted to a number with a full stop. Any other text is returned as received, so that the quarantine shows it.
    """
    sources, text_ids, texts = dict(mapping.columns), dict(mapping.text_ids), {}
    for column in contract.received_columns:
        text = _source_of(column.name, sources, names, contract)
        if column.default_from:
            text = sf.coalesce(text, _source_of(column.default_from, sources, names, contract))
        is_text_id = column.name in text_ids
        texts[column.name] = clean_text(text) if is_text_id else _in_standard_format(text, column.kind, mapping)
    return texts


def _source_of(column: str, sources: Map[str, str], names: Sequence[str], contract: BronzeContract) -> Column:
    """Return the text of a contract column, before any conversion."""
    source, is_ours = sources.get(column, column), column not in sources
    if is_ours or delta_name(source) in names or _COLUMN_NAME.fullmatch(source):
        return _text_of(source if is_ours else _known(source, names, contract), names)
    return sf.expr(source).cast("string")


def _known(source: str, names: Sequence[str], contract: BronzeContract) -> str:
    """Return the name that a column of the source has in the bronze table."""
    name = delta_name(source)
    if name not in names:
        known = ", ".join(sorted(each for each in names if not each.startswith("_")))
        raise CdpError(
            f"The file of sources maps the column '{source}' of {contract.entity}, but {contract.name} has no such"
            f" column (its columns are {known}): correct the file of sources."
        )
    return name


def _text_of(name: str, names: Sequence[str]) -> Column:
    """Return a value as received, even if it did not fit the type of its bronze column."""
    value = sf.col(f"`{name}`").cast("string")
    if f"{name}{AS_RECEIVED}" in names:
        return sf.coalesce(sf.col(f"`{name}{AS_RECEIVED}`"), value)
    return sf.coalesce(value, sf.get_json_object("_rescued_data", f"$.{name}")) if "`" not in name else value


def _in_standard_format(text: Column, kind: str, mapping: Mapping) -> Column:
    if kind == "number" and mapping.decimal_separator:
        grouping = "." if mapping.decimal_separator == "," else ","
        number = sf.translate(text, f"{mapping.decimal_separator}{grouping} \u00a0'", ".")
        return sf.coalesce(sf.when(number.try_cast("double").isNotNull(), number), text)
    if kind not in ("date", "time"):
        return text
    if mapping.date_format:
        parsed = sf.try_to_timestamp(clean_text(text), sf.lit(mapping.date_format))
        text = sf.coalesce(parsed.cast("string"), text)
    if not mapping.time_zone:
        return text
    has_time, has_zone, zone = text.rlike(_DATE_AND_TIME), text.rlike(_ZONE), sf.lit(mapping.time_zone)
    if kind == "time":
        utc = sf.to_utc_timestamp(sf.when(has_time & ~has_zone, text).try_cast("timestamp"), zone)
        return sf.coalesce(sf.concat(utc.cast("string"), sf.lit("Z")), text)
    local = sf.from_utc_timestamp(sf.when(has_time & has_zone, text).try_cast("timestamp"), zone)
    return sf.coalesce(local.cast("string"), text)
