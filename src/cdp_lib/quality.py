"""Splits rows that keep their contract from rows that do not. Nothing vanishes between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import hash_of, uncommented
from cdp_lib.contracts.table import BATCH_ID, WARNINGS, Rule, TableContract
from cdp_lib.frames import union

_NO_VERSION = "1970-01-01 00:00:00"
"""Stands for the time of change of a version that has none: any that has one is later."""

_BEFORE_VALUES = "#"
"""Between an order and a hash of values: sorts before whatever the name of a batch may go on with."""

_TECHNICAL = {BATCH_ID.name, WARNINGS.name}


_OF_A_VERSION = (
    *("record", "broken_rules", "_keeps_rules", "record_key", "_version_at", "_record_hash", "_is_deleted"),
)
"""Columns of a version besides its table's."""


@dataclass(frozen=True)
class CheckedRows:
    """The two parts rows fall into.

    Attributes:
        kept: Rows that keep every rule that rejects, in the contract's columns.
        refused: The others, in the columns of the contract's quarantine.
    """

    kept: DataFrame
    refused: DataFrame


def check_rows(rows: DataFrame, contract: TableContract, record: Column | None = None) -> CheckedRows:
    """Split rows, of which there is one per key, by the rules of a contract.

    Args:
        rows: Columns of the contract and those its rules name, and `_batch_id`.
        contract: Contract of the table the rows are for.
        record: The row as received, JSON, worked out of refused rows alone; the rows' column of that name otherwise.
    """
    as_received = sf.col("record") if record is None else record
    judged = _with_verdict(with_record_key(rows, contract), contract)
    is_kept = sf.col("_keeps_rules")
    return CheckedRows(
        kept=judged.where(is_kept).selectExpr(*contract.select_list),
        refused=judged.where(~is_kept).withColumn("record", as_received).selectExpr(*contract.quarantine.select_list),
    )


def record_hash(contract: TableContract) -> Column:
    """Return xxHash64 of what a bronze row was received as, hexadecimal.

    Args:
        contract: Contract of the bronze table.
    """
    received = [name for name in contract.column_names if not name.startswith("_")]
    return sf.hex(hash_of([sf.col(name) for name in (*received, "_rescued_data")]))


def is_warned(contract: TableContract) -> Column:
    """Return whether a row of a table breaks a rule that warns.

    `_warnings` says so, and takes longer to read than the rules take to ask; it is read where a rule asks for a column
    that the table does not have.

    Args:
        contract: Contract of the table.
    """
    rules = [rule for rule in contract.rules if rule.severity == "warn"]
    if any("_ingested_at" in rule.holds for rule in rules):
        return sf.size(WARNINGS.name) > 0
    return reduce(Column.__or__, [~_holds(rule) for rule in rules], sf.lit(False))


def check_versions(
    rows: DataFrame, contract: TableContract, *, keys_are_unique: bool = False, also: Sequence[str] = ()
) -> DataFrame:
    """Judge versions of rows by the rules of a contract.

    Args:
        rows: As for `check_rows`, and `record`, `_record_hash`, `_is_deleted` and what the rules name; any number per
            key.
        contract: Contract of the table the rows are for.
        keys_are_unique: Whether there is one row per key, which spares the comparison.
        also: Further columns that the result keeps.

    Returns:
        The rows as `resolve_versions` takes them.
    """
    keyed = with_record_key(rows, contract)
    same_version = Window.partitionBy(*contract.key, "_version_at", "_batch_id")
    stays = sf.when(~sf.col("_is_deleted"), sf.col("_record_hash"))
    differs = sf.min(stays).over(same_version) != sf.max(stays).over(same_version)
    is_ambiguous = sf.col("record_key").isNotNull() & sf.coalesce(differs, sf.lit(False))
    flagged = keyed.withColumn("_is_ambiguous", sf.lit(False) if keys_are_unique else is_ambiguous)
    return _with_verdict(flagged, contract).select(*_candidate_columns(contract, sf.lit("batch")), *also)


def unchanged_keys(received: DataFrame, there: DataFrame, waiting: DataFrame, contract: TableContract) -> DataFrame:
    """Return the keys of which the one version received is what the table holds, and of which no row is refused.

    To see that takes a fraction of the time that it takes to resolve versions.

    Args:
        received: Received rows, as `check_versions` takes them.
        there: Rows of the table.
        waiting: Rows of its quarantine.
        contract: Contract of the table.
    """
    # One version contradicts no other.
    judged = _with_verdict(with_record_key(received, contract).withColumn("_is_ambiguous", sf.lit(False)), contract)
    is_good = sf.col("_keeps_rules") & ~sf.col("_is_deleted")
    sides = [
        rows.select(
            *(uncommented(sf.col(name)).alias(name) for name in contract.key),
            uncommented(record_key(contract)).alias("record_key"),
            _values(contract),
            # Nothing of a version that is no good, whatever else is equal.
            sf.when(good, side).alias("_side"),
        )
        for rows, good, side in ((judged, is_good, sf.lit(1)), (there, sf.lit(True), sf.lit(2)))
    ]
    equal = (
        union(sides)
        .groupBy(*contract.key, "record_key")
        .agg(
            sf.count("*").alias("rows"),
            sf.sum("_side").alias("sides"),
            sf.min("_values").alias("low"),
            sf.max("_values").alias("high"),
        )
        .where("rows = 2 AND sides = 3 AND low = high")
    )
    return equal.join(waiting.select("record_key"), "record_key", how="left_anti").select(*contract.key)


def candidates_of_table(rows: DataFrame, contract: TableContract) -> DataFrame:
    """Rows of a table, to be settled together with newer versions.

    Args:
        rows: Rows of the table.
        contract: Contract of the table.
    """
    keyed = with_record_key(rows, contract).select(
        "*",
        sf.lit(None).cast("string").alias("record"),
        sf.array().cast("array<string>").alias("broken_rules"),
        sf.lit(True).alias("_keeps_rules"),
        sf.lit("").alias("_record_hash"),
        sf.lit(False).alias("_is_deleted"),
    )
    return keyed.select(*_candidate_columns(contract, sf.lit("table")))


def candidates_of_quarantine(refused: DataFrame, keys: DataFrame | None, contract: TableContract) -> DataFrame:
    """Refused rows, to be resolved together with newer versions.

    Args:
        refused: Rows of the quarantine.
        keys: Keys whose rows are wanted: the contract's key columns and `record_key`, one row per key. None where all
            rows are.
        contract: Contract of the table that refused the rows.
    """
    if keys is None:
        parts = sf.split("record_key", "[|]", len(contract.key))
        values = {name: sf.get(parts, sf.lit(place)) for place, name in enumerate(contract.key)}
        known = refused.select(
            "*", *(value.try_cast(contract.types[name]).alias(name) for name, value in values.items())
        )
    else:
        known = refused.join(keys, "record_key", how="inner")
    others = [c for c in contract.columns if c.name not in (*contract.key, BATCH_ID.name)]
    rows = known.select(
        "*",
        *(sf.lit(None).cast(column.type).alias(column.name) for column in others),
        sf.lit(False).alias("_keeps_rules"),
        sf.sha2("record", 256).alias("_record_hash"),
        sf.lit(False).alias("_is_deleted"),
    )
    return rows.select(*_candidate_columns(contract, sf.lit("quarantine")))


def resolve_versions(
    candidates: DataFrame, contract: TableContract, *, is_rival: Column, keys_are_unique: bool = False
) -> DataFrame:
    """Say what becomes of each version of each row.

    Of a key the latest version that keeps the rules wins: by the source's time of change, then by batch. A version
    that does not, and is later still, is refused. What is equal to the table's row does not replace it.

    Args:
        candidates: Versions from `check_versions`, and those that are in the table and in its quarantine.
        contract: Contract of the table.
        is_rival: Whether a candidate competes. What the table holds does not, where the versions are all there is.
        keys_are_unique: Whether there is one candidate per key, which spares the comparison.

    Returns:
        The candidates with `_outcome` – `kept` in the table or to be, `refused` in the quarantine or to be,
        `superseded` – and `_is_gone`: whether nothing of the key is kept.
    """
    is_good = sf.col("_keeps_rules")
    if keys_are_unique:
        outcome = sf.when(sf.col("_is_deleted"), "superseded").when(is_good, "kept").otherwise("refused")
        return candidates.select("*", outcome.alias("_outcome")).select(
            "*", (sf.col("_outcome") != "kept").alias("_is_gone")
        )
    is_row_of_table = sf.col("_origin") == "table"
    # A row without a key is no version of another one, nor of one of another batch.
    no_key = sf.when(sf.col("record_key").isNull(), sf.concat("_batch_id", "_record_hash"))
    same_row = Window.partitionBy(*contract.key, no_key)
    copies = Window.partitionBy(*contract.key, no_key, "_version_at", "_batch_id", "_record_hash", "_origin")
    removed_in = sf.max(sf.when(sf.col("_is_deleted"), sf.col("_batch_id"))).over(same_row)
    known = candidates.select(
        "*",
        # Of a record and its removal in one batch, the removal is later.
        (is_rival & ~sf.coalesce(sf.col("_batch_id") <= removed_in, sf.lit(False))).alias("_lives"),
        (sf.row_number().over(copies.orderBy("_batch_id")) == 1).alias("_is_first_copy"),
        _order().alias("_order"),
    )
    is_valid = sf.col("_lives") & is_good
    is_refused = sf.col("_lives") & ~is_good
    with_values = sf.concat("_order", sf.lit(_BEFORE_VALUES), sf.col("_values").cast("string"))
    ranked = known.select(
        "*",
        sf.max(sf.when(is_valid, with_values)).over(same_row).alias("_best"),
        sf.max(sf.when(is_refused, sf.col("_order"))).over(same_row).alias("_latest_refused"),
        sf.max(sf.when(is_row_of_table, sf.col("_values"))).over(same_row).cast("string").alias("_values_now"),
    )
    is_unchanged = sf.substring_index("_best", _BEFORE_VALUES, -1) == sf.col("_values_now")
    is_best = is_valid & (with_values == sf.col("_best")) & sf.col("_is_first_copy")
    is_open = is_refused & (sf.col("_order") == sf.col("_latest_refused")) & sf.col("_is_first_copy")
    is_newer = sf.col("_best").isNull() | (sf.col("_order") > sf.col("_best"))
    outcome = (
        sf.when(is_row_of_table, sf.when(is_unchanged, "kept"))
        .when(is_best & ~sf.coalesce(is_unchanged, sf.lit(False)), "kept")
        .when(is_open & is_newer, "refused")
    )
    settled = ranked.select(
        "*", sf.coalesce(outcome, sf.lit("superseded")).alias("_outcome"), sf.col("_best").isNull().alias("_is_gone")
    )
    return settled.drop("_lives", "_is_first_copy", "_order", "_best", "_latest_refused", "_values_now")


def _order() -> Column:
    """Text that sorts versions of a row: time of change, then batch. Some engines are slow to compare structs."""
    micros = sf.greatest(sf.unix_micros(sf.coalesce("_version_at", sf.lit(_NO_VERSION).cast("timestamp"))), sf.lit(0))
    return sf.concat(sf.lpad(micros.cast("string"), 20, "0"), sf.lit("|"), sf.col("_batch_id"))


def record_key(contract: TableContract) -> Column:
    """Return a row's key as text, null where a part of it is missing."""
    parts = [sf.col(name).cast("string") for name in contract.key]
    separated = [piece for part in parts for piece in (sf.lit("|"), part)][1:]
    return sf.concat(*separated).alias("record_key")  # null if a part is


def with_record_key(rows: DataFrame, contract: TableContract) -> DataFrame:
    """Rows with their key as text, null where a part of it is missing, and the source's time of change."""
    version = sf.col(contract.version) if contract.version else sf.lit(None)
    return rows.select("*", record_key(contract), version.cast("timestamp").alias("_version_at"))


def _candidate_columns(contract: TableContract, origin: Column) -> list[Column]:
    return [
        *(sf.col(column.name).cast(column.type).alias(column.name) for column in contract.columns),
        *map(sf.col, _OF_A_VERSION),
        _values(contract),
        origin.alias("_origin"),
    ]


def _values(contract: TableContract) -> Column:
    """Hash of what a row says, by which versions are told apart."""
    return hash_of([sf.col(name) for name in contract.column_names if name not in _TECHNICAL]).alias("_values")


def _with_verdict(rows: DataFrame, contract: TableContract) -> DataFrame:
    """Rows with the names of the rules they break: `broken_rules` of those that reject, `_warnings` of the others.

    Names are put together of rows that break some, for that takes longer than to see that a row breaks none; whether
    one rejects, `_keeps_rules` says without them.
    """

    def broken(severity: str) -> Column:
        return sf.array_compact(sf.array(*(_if_broken(rule) for rule in contract.rules if rule.severity == severity)))

    nothing = sf.array().cast("array<string>")
    breaks_one = reduce(Column.__or__, [~_holds(r) for r in contract.rules if r.severity == "warn"], sf.lit(False))
    warnings = sf.when(breaks_one, broken("warn")).otherwise(nothing) if contract.warns else nothing
    keeps_rules = reduce(Column.__and__, [_holds(r) for r in contract.rules if r.severity == "reject"], sf.lit(True))
    return rows.select(
        "*",
        broken("reject").alias("broken_rules"),
        keeps_rules.alias("_keeps_rules"),
        warnings.alias(WARNINGS.name),
    )


def _if_broken(rule: Rule) -> Column:
    """Name of the rule if a row breaks it."""
    return sf.when(~_holds(rule), sf.lit(rule.name))


def _holds(rule: Rule) -> Column:
    """Whether a rule is true of a row; an unknown (null) answer counts as broken."""
    return sf.coalesce(sf.expr(rule.holds), sf.lit(False))
