"""Splits rows that keep their contract from rows that do not. Nothing vanishes between the two."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import TableContract

VALUES_FIT = "values_fit_their_columns"
"""Broken by a row with a value that its column's type can't hold; implied by every contract."""

KEY_IS_UNIQUE = "key_is_unique"
"""Broken by different rows of one key in one snapshot; implied by every contract that is checked as a snapshot."""


@dataclass(frozen=True)
class CheckedRows:
    """The two parts rows fall into.

    Attributes:
        kept: Rows that keep every rule, in the contract's columns.
        refused: The others, in the columns of the contract's quarantine.
        received: Number of rows before the split, identical copies included.
    """

    kept: DataFrame
    refused: DataFrame
    received: int


def check_rows(rows: DataFrame, contract: TableContract) -> CheckedRows:
    """Split rows by the rules of a contract.

    Args:
        rows: Columns of the contract and those its rules name, `record` (the row as received, JSON),
            `_rescued_data` and `_batch_id`.
        contract: Contract of the table the rows are for.
    """
    return _split(rows.withColumn("broken_rules", _broken_rules(contract)), contract, rows.count())


def check_snapshot(rows: DataFrame, contract: TableContract) -> CheckedRows:
    """Split the rows of one snapshot by the rules of a contract and the uniqueness of its key.

    Of identical rows one is kept and the others are superseded. Different rows of one key are all refused: nothing
    in a snapshot says which of them is right.

    Args:
        rows: As in `check_rows`, and `_record_hash`.
        contract: Contract of the table the rows are for.
    """
    same_key = Window.partitionBy(*contract.key)
    same_record = Window.partitionBy(*contract.key, "_record_hash").orderBy("_batch_id")
    has_key = sf.coalesce(*(sf.col(name).cast("string") for name in contract.key)).isNotNull()
    is_ambiguous = has_key & (sf.min("_record_hash").over(same_key) != sf.max("_record_hash").over(same_key))
    with_copies = rows.select(
        "*",
        sf.when(is_ambiguous, KEY_IS_UNIQUE).alias("_key_rule"),
        sf.row_number().over(same_record).alias("_copy"),
    )
    distinct_rows = with_copies.where(sf.col("_copy") == 1).withColumn(
        "broken_rules", _broken_rules(contract, sf.col("_key_rule"))
    )
    return _split(distinct_rows, contract, rows.count())


def _broken_rules(contract: TableContract, *more: Column) -> Column:
    """Names of the rules a row breaks; an unknown (null) answer counts as broken."""
    broken = [sf.when(~sf.coalesce(sf.expr(rule.holds), sf.lit(False)), sf.lit(rule.name)) for rule in contract.rules]
    return sf.array_compact(sf.array(sf.when(sf.col("_rescued_data").isNotNull(), VALUES_FIT), *broken, *more))


def _split(rows: DataFrame, contract: TableContract, received: int) -> CheckedRows:
    is_kept = sf.size("broken_rules") == 0
    return CheckedRows(
        kept=rows.where(is_kept).selectExpr(*contract.select_list),
        refused=rows.where(~is_kept).selectExpr(*contract.quarantine.select_list),
        received=received,
    )
