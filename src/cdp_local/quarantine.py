"""Queries of `cdp quarantine`: for rows in quarantine, and for rows that are in their table with a warning."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.table import WARNINGS, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.frames import union
from cdp_lib.storage import DeltaStore

CHECKED_TABLES = tuple(contract for contract in TABLES.values() if contract.rules)
"""Contracts of the tables that have rules."""

_UNKNOWN_RULE = "A rule of an earlier code version: full_refresh=true checks the row against the current rules."


@dataclass(frozen=True)
class Finding:
    """A rule of a table, with a summary of the rows that break the rule.

    Attributes:
        table: Name of the table.
        rule: Name of the rule.
        rows: Number of rows that break the rule.
        first_broken: Number of rows whose first broken rule is this rule. A row has only one first broken rule, so the
            sum over all findings counts each row once.
        since: Earliest batch with a row that breaks the rule.
        key: Key of one row that breaks the rule; None if these rows have no keys.
    """

    table: str
    rule: str
    rows: int
    first_broken: int
    since: str
    key: str | None

    @property
    def meaning(self) -> str:
        """Meaning of the rule, as a sentence that is true for valid rows."""
        return next((rule.meaning for rule in TABLES[self.table].rules if rule.name == self.rule), _UNKNOWN_RULE)


@dataclass(frozen=True)
class Example:
    """A row that breaks a rule.

    Attributes:
        key: Key of the row; None if the row has no key.
        record: Record as received; None for a row that is in the table with a warning.
    """

    key: str | None
    record: str | None


def checked_table(name: str) -> TableContract:
    """Return the contract of a table that has rules.

    Args:
        name: Name of the table, or name of the quarantine of the table.

    Raises:
        CdpError: The table does not exist, or it has no rules.
    """
    for contract in CHECKED_TABLES:
        if name in (contract.name, contract.quarantine.name):
            return contract
    names = ", ".join(contract.name for contract in CHECKED_TABLES)
    raise CdpError(f"Table '{name}' has no rules, and so no quarantine: tables with rules are {names}.")


def quarantined_rows(tables: DeltaStore, contracts: Iterable[TableContract]) -> DataFrame | None:
    """Return one row per (quarantined row, broken rule) pair; None if no quarantine exists yet.

    Args:
        tables: Tables of the platform.
        contracts: Contracts of the tables that rejected the rows.
    """
    frames = []
    for contract in contracts:
        if tables.exists(contract.quarantine):
            rows = tables.read(contract.quarantine)
            # The quarantine has no key column if an earlier version of the platform wrote it.
            key = sf.col("record_key") if "record_key" in rows.columns else sf.lit(None).cast("string")
            frames.append(_by_rule(rows, contract, "broken_rules", key, sf.col("record")))
    return union(frames) if frames else None


def warned_rows(tables: DeltaStore, contracts: Iterable[TableContract]) -> DataFrame | None:
    """Return one row per (row, broken warning rule) pair; None if no table with warning rules exists yet.

    Args:
        tables: Tables of the platform.
        contracts: Contracts of the tables to read.
    """
    frames = []
    for contract in contracts:
        if any(rule.severity == "warn" for rule in contract.rules) and tables.exists(contract):
            rows = tables.read(contract)
            if WARNINGS.name in rows.columns:
                key = sf.concat_ws("|", *(sf.col(name).cast("string") for name in contract.key))
                frames.append(_by_rule(rows, contract, WARNINGS.name, key, sf.lit(None).cast("string")))
    return union(frames) if frames else None


def _by_rule(rows: DataFrame, contract: TableContract, broken: str, key: Column, record: Column) -> DataFrame:
    exploded = rows.select(
        sf.lit(contract.name).alias("table_name"),
        sf.explode(broken).alias("rule"),
        sf.col(broken)[0].alias("first_rule"),
        _without_comment(key).alias("key"),
        _without_comment(record).alias("record"),
        _without_comment(sf.col("_batch_id")).alias("_batch_id"),
    )
    return exploded.withColumn("is_first", sf.col("rule") == sf.col("first_rule")).drop("first_rule")


def _without_comment(text: Column) -> Column:
    """Return a string column without its column comment. Sail can't union columns with different comments."""
    return sf.concat(text, sf.lit(""))


def findings(rows: DataFrame | None) -> list[Finding]:
    """Return one finding per table and broken rule, in the order of the contracts and of their rules.

    Args:
        rows: Result of `quarantined_rows` or `warned_rows`.
    """
    if rows is None:
        return []
    # Numeric keys are stored as strings. Ordering by length first sorts them as numbers.
    keys = sf.when(sf.col("key").isNotNull(), sf.struct(sf.length("key").alias("length"), "key"))
    counted = rows.groupBy("table_name", "rule").agg(
        sf.count("*").alias("rows"),
        sf.sum(sf.col("is_first").cast("int")).alias("first_broken"),
        sf.min("_batch_id").alias("since"),
        sf.min(keys).alias("least"),
    )
    found = [Finding(*row) for row in counted.select(*counted.columns[:-1], "least.key").collect()]
    return sorted(found, key=_contract_order)


def _contract_order(finding: Finding) -> tuple[int, int, str]:
    names = [rule.name for rule in TABLES[finding.table].rules]
    position = names.index(finding.rule) if finding.rule in names else len(names)
    return list(TABLES).index(finding.table), position, finding.rule


def examples_by_rule(rows: DataFrame | None, number: int) -> dict[tuple[str, str], list[Example]]:
    """Return examples of the rows that break a rule, by (table, rule) pair.

    Args:
        rows: Result of `quarantined_rows` or `warned_rows`.
        number: Maximum number of examples per (table, rule) pair.
    """
    if rows is None or not number:
        return {}
    order = Window.partitionBy("table_name", "rule").orderBy(*_shortest_first("key", "record"))
    numbered = rows.select("*", sf.row_number().over(order).alias("number")).where(sf.col("number") <= number)
    found: dict[tuple[str, str], list[Example]] = {}
    for row in numbered.orderBy("table_name", "rule", "number").collect():
        found.setdefault((row["table_name"], row["rule"]), []).append(Example(row["key"], row["record"]))
    return found


def first_quarantined(tables: DeltaStore, contract: TableContract, number: int) -> list[Sequence[object]]:
    """Return the first quarantined rows of a table as (key, broken rules, batch, record) tuples.

    The rows are ordered by the length of the key, and then by the key.

    Args:
        tables: Tables of the platform.
        contract: Contract of the table.
        number: Maximum number of rows.
    """
    if not tables.exists(contract.quarantine):
        return []
    rows = tables.read(contract.quarantine)
    key = sf.col("record_key") if "record_key" in rows.columns else sf.lit(None).cast("string")
    shown = rows.select(key.alias("key"), "broken_rules", "_batch_id", "record")
    return [tuple(row) for row in shown.orderBy(*_shortest_first("key", "record")).limit(number).collect()]


def _shortest_first(*columns: str) -> list[Column]:
    return [order for name in columns for order in (sf.length(name).asc_nulls_last(), sf.col(name).asc_nulls_last())]


def shared_identities(tables: DeltaStore, names: Collection[str] = ()) -> int:
    """Return the number of records that are not linked, because too many persons share their identifier.

    Args:
        tables: Tables of the platform.
        names: Names of the tables to report on; empty for all tables. If `person_links_silver` is not one of them, the
            result is 0.
    """
    if (names and PERSON_LINKS_SILVER.name not in names) or not tables.exists(PERSON_LINKS_SILVER):
        return 0
    return tables.read(PERSON_LINKS_SILVER).where("reason = 'shared_value'").count()
