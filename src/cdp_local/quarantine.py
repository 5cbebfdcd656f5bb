"""What stands in quarantine, and what is kept with a warning: read from the tables, for people."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.silver import CUSTOMER_LINKS_SILVER
from cdp_lib.contracts.table import WARNINGS, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.frames import union
from cdp_lib.storage import DeltaStore

CHECKED_TABLES = tuple(contract for contract in TABLES.values() if contract.rules)
"""Contracts of the tables that have rules."""

_OF_NO_CONTRACT = "A rule of an earlier version: full_refresh=true judges the row by those of today."


@dataclass(frozen=True)
class Finding:
    """A rule that rows of a table break.

    Attributes:
        table: The table.
        rule: Name of the rule.
        rows: How many rows break it.
        first_broken: Of how many rows it is the first rule they break: over all findings, that counts each row once.
        since: Earliest batch one of them came with.
        key: Key of one of them, None where none has one.
    """

    table: str
    rule: str
    rows: int
    first_broken: int
    since: str
    key: str | None

    @property
    def meaning(self) -> str:
        """The fact that is not true of the rows, in a sentence."""
        return next((rule.meaning for rule in TABLES[self.table].rules if rule.name == self.rule), _OF_NO_CONTRACT)


@dataclass(frozen=True)
class Example:
    """A row that breaks a rule.

    Attributes:
        key: Its key, None where it has none.
        record: The row as received, None where it is in the table.
    """

    key: str | None
    record: str | None


def checked_table(name: str) -> TableContract:
    """The contract of a table that has rules.

    Args:
        name: Name of the table, or of its quarantine.

    Raises:
        CdpError: There is no such table, or it has no rules.
    """
    for contract in CHECKED_TABLES:
        if name in (contract.name, contract.quarantine.name):
            return contract
    names = ", ".join(contract.name for contract in CHECKED_TABLES)
    raise CdpError(f"Table '{name}' has no rules, and so no quarantine: those that have are {names}.")


def refused_rows(tables: DeltaStore, contracts: Iterable[TableContract]) -> DataFrame | None:
    """One row per row in quarantine and rule it breaks; None where there is no quarantine yet.

    Args:
        tables: DeltaStore of the platform.
        contracts: Contracts of the tables that refused the rows.
    """
    frames = []
    for contract in contracts:
        if tables.exists(contract.quarantine):
            rows = tables.read(contract.quarantine)
            # A quarantine that no run of this version has seen yet may lack the key.
            key = sf.col("record_key") if "record_key" in rows.columns else sf.lit(None).cast("string")
            frames.append(_by_rule(rows, contract, "broken_rules", key, sf.col("record")))
    return union(frames) if frames else None


def warned_rows(tables: DeltaStore, contracts: Iterable[TableContract]) -> DataFrame | None:
    """One row per row that is kept with a warning and rule it breaks; None where there is no such table yet.

    Args:
        tables: DeltaStore of the platform.
        contracts: Contracts of the tables.
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
        _plain(key).alias("key"),
        _plain(record).alias("record"),
        _plain(sf.col("_batch_id")).alias("_batch_id"),
    )
    return exploded.withColumn("is_first", sf.col("rule") == sf.col("first_rule")).drop("first_rule")


def _plain(text: Column) -> Column:
    """The text as no column with a comment: Sail can't unite columns whose comments differ."""
    return sf.concat(text, sf.lit(""))


def findings(rows: DataFrame | None) -> list[Finding]:
    """What rules are broken, in the order of the contracts.

    Args:
        rows: Rows as `refused_rows` and `warned_rows` give them.
    """
    if rows is None:
        return []
    # Numbers are keys as text: of those, the shorter is the smaller.
    keys = sf.when(sf.col("key").isNotNull(), sf.struct(sf.length("key").alias("length"), "key"))
    counted = rows.groupBy("table_name", "rule").agg(
        sf.count("*").alias("rows"),
        sf.sum(sf.col("is_first").cast("int")).alias("first_broken"),
        sf.min("_batch_id").alias("since"),
        sf.min(keys).alias("least"),
    )
    found = [Finding(*row) for row in counted.select(*counted.columns[:-1], "least.key").collect()]
    return sorted(found, key=_place)


def _place(finding: Finding) -> tuple[int, int, str]:
    names = [rule.name for rule in TABLES[finding.table].rules]
    place = names.index(finding.rule) if finding.rule in names else len(names)
    return list(TABLES).index(finding.table), place, finding.rule


def examples_by_rule(rows: DataFrame | None, number: int) -> dict[tuple[str, str], list[Example]]:
    """Some rows of each table and rule.

    Args:
        rows: Rows as `refused_rows` and `warned_rows` give them.
        number: How many of each.
    """
    if rows is None or not number:
        return {}
    order = Window.partitionBy("table_name", "rule").orderBy(*_in_order("key", "record"))
    numbered = rows.select("*", sf.row_number().over(order).alias("place")).where(sf.col("place") <= number)
    found: dict[tuple[str, str], list[Example]] = {}
    for row in numbered.orderBy("table_name", "rule", "place").collect():
        found.setdefault((row["table_name"], row["rule"]), []).append(Example(row["key"], row["record"]))
    return found


def quarantined(tables: DeltaStore, contract: TableContract, number: int) -> list[Sequence[object]]:
    """Key, broken rules, batch and record of rows that a table refuses.

    Args:
        tables: DeltaStore of the platform.
        contract: Contract of the table.
        number: How many rows at most.
    """
    if not tables.exists(contract.quarantine):
        return []
    rows = tables.read(contract.quarantine)
    key = sf.col("record_key") if "record_key" in rows.columns else sf.lit(None).cast("string")
    shown = rows.select(key.alias("key"), "broken_rules", "_batch_id", "record")
    return [tuple(row) for row in shown.orderBy(*_in_order("key", "record")).limit(number).collect()]


def _in_order(*columns: str) -> list[Column]:
    return [order for name in columns for order in (sf.length(name).asc_nulls_last(), sf.col(name).asc_nulls_last())]


def ambiguous_identities(tables: DeltaStore, names: Collection[str] = ()) -> int:
    """How many identities are linked to nobody because several people have their e-mail address.

    Args:
        tables: DeltaStore of the platform.
        names: Tables that are looked at; all where there is none.
    """
    if (names and CUSTOMER_LINKS_SILVER.name not in names) or not tables.exists(CUSTOMER_LINKS_SILVER):
        return 0
    return tables.read(CUSTOMER_LINKS_SILVER).where("reason = 'ambiguous_email'").count()
