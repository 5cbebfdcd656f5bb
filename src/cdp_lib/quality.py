"""Checks of rows against their contract: every row is either kept or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import hash_of, without_comment
from cdp_lib.contracts.table import BATCH_ID, INACTIVE_SINCE, IS_ACTIVE, WARNINGS, Rule, TableContract
from cdp_lib.contracts.table import Column as ContractColumn
from cdp_lib.frames import union

_NO_VERSION = "1970-01-01 00:00:00"
"""Time of change that is used for a version without a time of change. It is earlier than every real time of change."""

ERA_SEPARATOR = _BEFORE_VALUES = "#"
"""Separator in the name of an era, and between the sort string of a version (`_order`) and the hash of its values. It
sorts before all characters of batch names."""

_TECHNICAL = {BATCH_ID.name, WARNINGS.name}
"""Columns that are ignored when versions are compared."""

_VERSION_COLUMNS = (
    *("record", "broken_rules", "_keeps_rules", "record_key", "_version_at", "_record_hash", "_is_deleted"),
)
"""Columns that a version has in addition to the columns of its table."""


ERA_COLUMNS = ("_next_snapshot", "_covered_from", "_tombstone", "_is_past")
"""Columns of candidates from which `with_eras` computes the era of a version.

- `_next_snapshot`: end of the era by the first snapshot after the version; null if there is none
- `_covered_from`: first day that one of these snapshots covers, as text; null if they cover no day
- `_tombstone`: end of the era by this tombstone; null for other rows
- `_is_past`: whether the row of the table was already past before this refresh
"""

_CURRENT = "~"
"""Era of the versions that have not ended. It sorts after all other eras."""

_PAST = ""
"""Era of a row of the table that was already past before this refresh. It sorts before all other eras."""

_REMOVED = "removed"
"""Text that takes the place of the hash of a version's values, if the version is not kept after the end of its era."""


@dataclass(frozen=True)
class CheckedRows:
    """Result of a check: the kept rows and the refused rows.

    Attributes:
        kept: Rows that break no rejecting rule, in the contract's columns.
        refused: Rows that break a rejecting rule, in the columns of the contract's quarantine.
    """

    kept: DataFrame
    refused: DataFrame


def check_rows(rows: DataFrame, contract: TableContract, record: Column | None = None) -> CheckedRows:
    """Split rows into kept and refused rows by the rules of a contract. `rows` must have one row per key.

    Args:
        rows: Rows with the columns of the contract, the columns that its rules use, and `_batch_id`.
        contract: Contract of the rows' table.
        record: Expression that returns the received row as JSON. It is computed only for refused rows. None to use the
            column `record`.
    """
    as_received = sf.col("record") if record is None else record
    checked = _with_broken_rules(with_record_key(rows, contract), contract)
    is_kept = sf.col("_keeps_rules")
    return CheckedRows(
        kept=checked.where(is_kept).selectExpr(*contract.select_list),
        refused=checked.where(~is_kept).withColumn("record", as_received).selectExpr(*contract.quarantine.select_list),
    )


def record_hash(contract: TableContract, absent: Mapping[str, Column] | None = None) -> Column:
    """Return an expression: the xxHash64 of the received values of a bronze row, in hexadecimal.

    Args:
        contract: Contract of the bronze table.
        absent: Values of the columns that the rows lack, by name.
    """
    received = [name for name in contract.column_names if not name.startswith("_")]
    return sf.hex(hash_of([(absent or {}).get(name, sf.col(name)) for name in (*received, "_rescued_data")]))


def is_warned(contract: TableContract) -> Column:
    """Return a condition that is true if a row of a table breaks a warning rule.

    The rules are evaluated again, because this is faster than reading the column `_warnings`. A rule can't be evaluated
    again if it uses a column that the table does not have, such as `_ingested_at`. If the contract has a rule of this
    kind, `_warnings` is read.

    Args:
        contract: Contract of the table.
    """
    if contract.has_unrepeatable_warnings:
        return sf.size(WARNINGS.name) > 0
    rules = [rule for rule in contract.rules if rule.severity == "warn"]
    return reduce(Column.__or__, [~_holds(rule) for rule in rules], sf.lit(False))


def check_versions(
    rows: DataFrame, contract: TableContract, *, keys_are_unique: bool = False, extra_columns: Sequence[str] = ()
) -> DataFrame:
    """Check versions of rows against the rules of a contract.

    The check also finds ambiguous versions: different records of one batch with the same key and time of change.

    Args:
        rows: Rows with the columns that `check_rows` needs, and with `record`, `_record_hash` and `_is_deleted`. A key
            may have several rows.
        contract: Contract of the rows' table.
        keys_are_unique: Whether each key has only one row. If true, the search for ambiguous versions is skipped.
        extra_columns: Further columns of `rows` to keep in the result.

    Returns:
        The candidates for `resolve_versions`.
    """
    keyed = with_record_key(rows, contract)
    same_version = Window.partitionBy(*contract.key, "_version_at", "_batch_id")
    not_deleted = sf.when(~sf.col("_is_deleted"), sf.col("_record_hash"))
    differs = sf.min(not_deleted).over(same_version) != sf.max(not_deleted).over(same_version)
    is_ambiguous = sf.col("record_key").isNotNull() & sf.coalesce(differs, sf.lit(False))
    flagged = keyed.withColumn("_is_ambiguous", sf.lit(False) if keys_are_unique else is_ambiguous)
    return _with_broken_rules(flagged, contract).select(*_candidate_columns(contract, sf.lit("batch")), *extra_columns)


def end_of_era(batch_id: Column, time: Column) -> Column:
    """Return the name of the era that a batch ends: `<batch>#<time>`.

    The name begins with the batch, so that eras sort by batch. The module `history` explains eras.

    Args:
        batch_id: Batch with the snapshot or the tombstone.
        time: Time of extraction, UTC, as text.
    """
    return sf.concat(batch_id, sf.lit(ERA_SEPARATOR), time)


def with_eras(
    candidates: DataFrame, contract: TableContract, covers_from: str = "", *, has_tombstones: bool = True
) -> DataFrame:
    """Return candidates with their era.

    The versions that end with the same snapshot or tombstone form an era (see the module `history`). They are past.

    Args:
        candidates: Candidates with `ERA_COLUMNS`. A row of the table may be in `candidates` twice. If its `_origin` is
            `carried`, it competes with the received versions. If its `_origin` is `table`, it does not compete, and
            only shows how the row is stored.
        contract: Contract of the table.
        covers_from: Date column. A past version is removed if a tombstone follows it, or if a later snapshot covers its
            date. Any other past version stays. If `covers_from` is empty, every past version stays, and the columns
            `is_active` and `inactive_since` mark it as past.
        has_tombstones: Whether a candidate may be a tombstone.

    Returns:
        The candidates with `_era` and `_is_removed`, for `resolve_versions`. If `_is_removed` is true for the latest
        valid version of a key, the table has no row of this key.
    """
    no_key = sf.when(sf.col("record_key").isNull(), sf.concat("_batch_id", "_record_hash"))
    # If a batch has both a record and its tombstone, the tombstone counts as the later version.
    in_order = Window.partitionBy(*contract.key, no_key).orderBy("_batch_id", sf.col("_is_deleted").cast("int"))
    following = in_order.rowsBetween(Window.currentRow, Window.unboundedFollowing)
    tombstone = sf.min("_tombstone").over(following) if has_tombstones else sf.lit(None).cast("string")
    known = candidates.withColumn("_next_tombstone", tombstone)
    end = sf.least(sf.coalesce("_next_snapshot", sf.lit(_CURRENT)), sf.coalesce("_next_tombstone", sf.lit(_CURRENT)))
    known = known.withColumn("_era", sf.when(sf.col("_is_past"), sf.lit(_PAST)).otherwise(end))
    is_current, is_stored = sf.col("_era") == _CURRENT, sf.col("_origin") == "table"
    if covers_from:
        is_covered = ~is_current & (sf.col(covers_from) >= sf.col("_covered_from").cast("date"))
        is_removed = sf.col("_next_tombstone").isNotNull() | sf.coalesce(is_covered, sf.lit(False))
        # A received version may equal a past row of the table. The version must replace the past row, because the
        # record is current again. Without the suffix, the row would count as unchanged.
        values = sf.concat(sf.col("_values").cast("string"), sf.when(sf.col("_is_past"), "past").otherwise(""))
        return known.select("*", is_removed.alias("_is_removed")).withColumn("_values", values)
    ended_at = sf.when(~is_current, sf.substring_index("_era", _BEFORE_VALUES, -1).cast("timestamp"))
    inactive_since = sf.when(sf.col("_is_past"), sf.col(INACTIVE_SINCE.name)).otherwise(ended_at)
    stored = {name: sf.col(name) for name in (IS_ACTIVE.name, INACTIVE_SINCE.name)}
    status = {IS_ACTIVE.name: is_current, INACTIVE_SINCE.name: inactive_since}
    updated = {name: sf.when(is_stored, stored[name]).otherwise(value) for name, value in status.items()}
    known = known.withColumns({name: value.cast(contract.types[name]) for name, value in updated.items()})
    return known.withColumn("_values", _values(contract).cast("string")).withColumn("_is_removed", sf.lit(False))


def unchanged_keys(
    received: DataFrame,
    existing: DataFrame,
    quarantine: DataFrame,
    contract: TableContract,
    *,
    is_current: Column | None = None,
    is_settled: Column | None = None,
) -> DataFrame:
    """Return the keys whose row in the table is unchanged.

    A key with received versions is returned if three conditions are true:

    - it has exactly one received version;
    - `is_current` is true for this version, and the version breaks no rejecting rule and equals the row;
    - the quarantine has no row with this key.

    A key without received versions is returned if two conditions are true:

    - `is_settled` is true for its row;
    - the quarantine has no row with this key.

    This search is much faster than `resolve_versions`, so the caller resolves only the other keys.

    Args:
        received: Received rows, as for `check_versions`.
        existing: Rows of the table.
        quarantine: Rows of the table's quarantine.
        contract: Contract of the table.
        is_current: Condition that is true for a received version if no later snapshot was received. None if it is true
            for all versions.
        is_settled: Condition that is true for a row of the table if the row stays unchanged when its key is not
            received. None if it is false for all rows.
    """
    # Only a version that is alone for its key matters here, and such a version is never ambiguous.
    keyed = with_record_key(received, contract).withColumn("_is_ambiguous", sf.lit(False))
    checked = _with_broken_rules(keyed, contract)
    is_good = sf.col("_keeps_rules") & ~sf.col("_is_deleted")
    is_good = is_good if is_current is None else is_good & is_current
    settled = sf.lit(False) if is_settled is None else is_settled
    sides = [
        rows.select(
            *(without_comment(sf.col(name)).alias(name) for name in contract.key),
            without_comment(record_key(contract)).alias("record_key"),
            _values(contract),
            # 1: a received version that may equal the row; 2: the row of the table; null: any other received version.
            # If `sides` is 3, the key has a 1 and a 2.
            sf.when(good, side).alias("_side"),
            stays.alias("_is_settled"),
        )
        for rows, good, side, stays in (
            (checked, is_good, sf.lit(1), sf.lit(False)),
            (existing, sf.lit(True), sf.lit(2), settled),
        )
    ]
    equal = (
        union(sides)
        .groupBy(*contract.key, "record_key")
        .agg(
            sf.count("*").alias("rows"),
            sf.sum("_side").alias("sides"),
            sf.min("_values").alias("low"),
            sf.max("_values").alias("high"),
            sf.bool_or("_is_settled").alias("is_settled"),
        )
        .where("(rows = 2 AND sides = 3 AND low = high) OR (rows = 1 AND is_settled)")
    )
    return equal.join(quarantine.select("record_key"), "record_key", how="left_anti").select(*contract.key)


def candidates_of_table(rows: DataFrame, contract: TableContract, origin: str = "table") -> DataFrame:
    """Return rows of a table as candidates for `resolve_versions`.

    Args:
        rows: Rows of the table.
        contract: Contract of the table.
        origin: Value of `_origin`.
    """
    keyed = with_record_key(rows, contract).select(
        "*",
        sf.lit(None).cast("string").alias("record"),
        sf.array().cast("array<string>").alias("broken_rules"),
        sf.lit(True).alias("_keeps_rules"),
        sf.lit("").alias("_record_hash"),
        sf.lit(False).alias("_is_deleted"),
    )
    return keyed.select(*_candidate_columns(contract, sf.lit(origin)))


def candidates_of_quarantine(refused: DataFrame, keys: DataFrame | None, contract: TableContract) -> DataFrame:
    """Return rows of a quarantine as candidates for `resolve_versions`.

    Args:
        refused: Rows of the quarantine.
        keys: Data frame with the keys of the rows to return: the contract's key columns and `record_key`, one row per
            key. None to return all rows.
        contract: Contract of the table that the quarantine belongs to.
    """
    if keys is None:
        parts = sf.split("record_key", "[|]", len(contract.key))
        values = {name: sf.get(parts, sf.lit(position)) for position, name in enumerate(contract.key)}
        known = refused.select(
            "*", *(value.try_cast(contract.types[name]).alias(name) for name, value in values.items())
        )
    else:
        known = refused.join(keys, "record_key", how="inner")
    unknown = [c for c in contract.columns if c.name not in (*contract.key, BATCH_ID.name)]
    rows = known.select(
        "*",
        *(sf.lit(None).cast(column.type).alias(column.name) for column in unknown),
        sf.lit(False).alias("_keeps_rules"),
        sf.sha2("record", 256).alias("_record_hash"),
        sf.lit(False).alias("_is_deleted"),
    )
    return rows.select(*_candidate_columns(contract, sf.lit("quarantine")))


def resolve_versions(
    candidates: DataFrame,
    contract: TableContract,
    *,
    competes: Column,
    keys_are_unique: bool = False,
    has_eras: bool = False,
) -> DataFrame:
    """Return the candidates with their outcome: kept, refused or superseded.

    For each key, the latest version that breaks no rejecting rule is kept. Versions are sorted by the source's time of
    change, then by batch. A later version that breaks a rejecting rule is refused. A version that equals the row of the
    table does not replace it.

    Args:
        candidates: Versions from `check_versions`, and the rows of the table and of its quarantine.
        contract: Contract of the table.
        competes: Condition that is true for candidates that may be the latest version of their key. For example, if
            all records of the source are received, rows of the table and of its quarantine do not compete.
        keys_are_unique: Whether each key has only one candidate. If true, candidates are not compared.
        has_eras: Whether the candidates come from `with_eras`. If true, versions are sorted by era first, then by time
            of change and batch. Only versions of the current era are refused.

    Returns:
        The candidates with two further columns, `_outcome` and `_is_gone`. `_is_gone` is true if no version of the key
        is kept. `_outcome` has three values:

        - `kept`: the version is in the table, or has to be inserted into the table;
        - `refused`: the version is in the quarantine, or has to be inserted into the quarantine;
        - `superseded`: the version belongs in neither of them.
    """
    is_good = sf.col("_keeps_rules")
    if keys_are_unique:
        outcome = sf.when(sf.col("_is_deleted"), "superseded").when(is_good, "kept").otherwise("refused")
        return candidates.select("*", outcome.alias("_outcome")).select(
            "*", (sf.col("_outcome") != "kept").alias("_is_gone")
        )
    is_row_of_table = sf.col("_origin") == "table"
    # Rows without a key can't be matched by key. They count as the same row if their batch and their hash are equal.
    no_key = sf.when(sf.col("record_key").isNull(), sf.concat("_batch_id", "_record_hash"))
    same_row = Window.partitionBy(*contract.key, no_key)
    copies = Window.partitionBy(
        *contract.key, no_key, "_version_at", "_batch_id", "_record_hash", "_origin", "_is_deleted"
    )
    if has_eras:
        is_alive = competes & ~sf.col("_is_deleted") & ~is_row_of_table & (is_good | (sf.col("_era") == _CURRENT))
        order, values = sf.concat("_era", sf.lit(_BEFORE_VALUES), _order()), sf.col("_values")
        values = sf.when(sf.col("_is_removed"), sf.lit(_REMOVED)).otherwise(values)
    else:
        removed_in = sf.max(sf.when(sf.col("_is_deleted"), sf.col("_batch_id"))).over(same_row)
        # If a batch has both a record and its tombstone, the tombstone counts as the later version.
        is_alive = competes & ~sf.coalesce(sf.col("_batch_id") <= removed_in, sf.lit(False))
        order, values = _order(), sf.col("_values").cast("string")
    known = candidates.select(
        "*",
        is_alive.alias("_is_alive"),
        (sf.row_number().over(copies.orderBy("_batch_id")) == 1).alias("_is_first_copy"),
        order.alias("_order"),
    )
    is_valid = sf.col("_is_alive") & is_good
    is_refused = sf.col("_is_alive") & ~is_good
    with_values = sf.concat("_order", sf.lit(_BEFORE_VALUES), values)
    ranked = known.select(
        "*",
        sf.max(sf.when(is_valid, with_values)).over(same_row).alias("_best"),
        sf.max(sf.when(is_refused, sf.col("_order"))).over(same_row).alias("_latest_refused"),
        sf.max(sf.when(is_row_of_table, sf.col("_values"))).over(same_row).cast("string").alias("_values_now"),
    )
    best_values = sf.substring_index("_best", _BEFORE_VALUES, -1)
    is_unchanged = best_values == sf.col("_values_now")
    has_none = sf.col("_best").isNull() | (best_values == _REMOVED)
    is_best = is_valid & (with_values == sf.col("_best")) & sf.col("_is_first_copy") & ~has_none
    is_latest_refused = is_refused & (sf.col("_order") == sf.col("_latest_refused")) & sf.col("_is_first_copy")
    is_newer = sf.col("_best").isNull() | (sf.col("_order") > sf.col("_best"))
    outcome = (
        sf.when(is_row_of_table, sf.when(is_unchanged, "kept"))
        .when(is_best & ~sf.coalesce(is_unchanged, sf.lit(False)), "kept")
        .when(is_latest_refused & is_newer, "refused")
    )
    resolved = ranked.select(
        "*", sf.coalesce(outcome, sf.lit("superseded")).alias("_outcome"), has_none.alias("_is_gone")
    )
    return resolved.drop("_is_alive", "_is_first_copy", "_order", "_best", "_latest_refused", "_values_now")


def _order() -> Column:
    """Return an expression: a string that sorts versions by time of change, then by batch.

    The order is a string, not a struct, because some engines compare structs slowly.
    """
    micros = sf.greatest(sf.unix_micros(sf.coalesce("_version_at", sf.lit(_NO_VERSION).cast("timestamp"))), sf.lit(0))
    return sf.concat(sf.lpad(micros.cast("string"), 20, "0"), sf.lit("|"), sf.col("_batch_id"))


def record_key(contract: TableContract) -> Column:
    """Return an expression: the key of a row as a string. It is null if a key column is null."""
    parts = [sf.col(name).cast("string") for name in contract.key]
    separated = [piece for part in parts for piece in (sf.lit("|"), part)][1:]
    return sf.concat(*separated).alias("record_key")  # null if one column is null


def as_active(rows: DataFrame) -> DataFrame:
    """Return rows as active rows: with the columns `is_active` and `inactive_since`."""
    never = sf.lit(None).cast(INACTIVE_SINCE.type)
    return rows.select("*", sf.lit(True).alias(IS_ACTIVE.name), never.alias(INACTIVE_SINCE.name))


def with_record_key(rows: DataFrame, contract: TableContract) -> DataFrame:
    """Return rows with their key as a string in `record_key`, and the source's time of change in `_version_at`."""
    version = sf.col(contract.version) if contract.version else sf.lit(None)
    return rows.select("*", record_key(contract), version.cast("timestamp").alias("_version_at"))


def _candidate_columns(contract: TableContract, origin: Column) -> list[Column]:
    return [
        *(sf.col(column.name).cast(column.type).alias(column.name) for column in contract.columns),
        *map(sf.col, _VERSION_COLUMNS),
        _values(contract),
        origin.alias("_origin"),
    ]


def hashable(column: ContractColumn) -> Column:
    """Return an expression: the value of a column in a form that every engine can hash."""
    if column.type.startswith("ARRAY"):
        return sf.concat_ws("|", column.name)
    return sf.to_json(column.name) if column.type.startswith("MAP") else sf.col(column.name)


def _values(contract: TableContract) -> Column:
    """Return an expression: a hash of a row's values. Two versions are equal if their hashes are equal.

    If a warning rule uses a column that the table does not have, the hash includes the warnings. For example, the day
    of registration is missing in the first version of a record, and unreadable in the second version. The table has
    null for both versions, but their warnings differ.
    """
    values = [hashable(c) for c in contract.columns if c.name not in _TECHNICAL]
    warnings = [sf.concat_ws("|", WARNINGS.name)] if contract.has_unrepeatable_warnings else []
    return hash_of([*values, *warnings]).alias("_values")


def _with_broken_rules(rows: DataFrame, contract: TableContract) -> DataFrame:
    """Return rows with three more columns that say which rules they break.

    - `broken_rules`: names of the rejecting rules that the row breaks;
    - `_keeps_rules`: whether the row breaks no rejecting rule;
    - `_warnings`: names of the warning rules that the row breaks.

    Collecting names is slower than testing rules. Therefore, `_keeps_rules` is computed without `broken_rules`, and
    `_warnings` is collected only for rows that break a warning rule.
    """

    def broken(severity: str) -> Column:
        return sf.array_compact(sf.array(*(_if_broken(rule) for rule in contract.rules if rule.severity == severity)))

    nothing = sf.array().cast("array<string>")
    has_warning = reduce(Column.__or__, [~_holds(r) for r in contract.rules if r.severity == "warn"], sf.lit(False))
    warnings = sf.when(has_warning, broken("warn")).otherwise(nothing) if contract.has_warning_rules else nothing
    keeps_rules = reduce(Column.__and__, [_holds(r) for r in contract.rules if r.severity == "reject"], sf.lit(True))
    return rows.select(
        "*",
        broken("reject").alias("broken_rules"),
        keeps_rules.alias("_keeps_rules"),
        warnings.alias(WARNINGS.name),
    )


def _if_broken(rule: Rule) -> Column:
    """Return an expression: the name of the rule if a row breaks it, or null if not."""
    return sf.when(~_holds(rule), sf.lit(rule.name))


def _holds(rule: Rule) -> Column:
    """Return a condition that is true if a row satisfies a rule.

    If the rule evaluates to null, the row breaks the rule.
    """
    return sf.coalesce(sf.expr(rule.holds), sf.lit(False))
