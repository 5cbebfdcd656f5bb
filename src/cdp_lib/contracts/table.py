"""Types of contracts. This module does not depend on Spark."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

Layer = Literal["bronze", "silver", "gold", "ops"]
Severity = Literal["reject", "warn"]


@dataclass(frozen=True)
class Column:
    """One column: its name, Spark SQL type and meaning.

    Attributes:
        name: Column name.
        type: Spark SQL type, as in DDL (`INT`, `DECIMAL(18,2)`).
        comment: Meaning, unit and source, in a sentence fragment.
        required: Whether the column is never null.
        pii: Class of personal data (`name`, `email`), None for a column without personal data.
        optional: Whether the platform works without the column. If a source lacks the column, its values are null. A
            value that does not parse is null as well, with a warning. Only columns of bronze tables are optional.
        default_from: Name of another column of the table. If this column is missing or null, a mapping takes its value
            from the other column.
        refers_to: Entity whose identifiers the column holds, such as `customers`. Empty for other columns.
        on_request: Whether the CRM is asked for the column only if the file of sources maps it.
        holds: What the text of a bronze column stands for: `date`, `time`, `number` or, if empty, text.
    """

    name: str
    type: str
    comment: str
    required: bool = False
    pii: str | None = None
    optional: bool = False
    holds: Literal["", "date", "time", "number"] = ""
    default_from: str = ""
    refers_to: str = ""
    on_request: bool = False

    @property
    def kind(self) -> str:
        """Return what the column stands for: `date`, `time`, `number` or `text`."""
        if self.type == "STRING":
            return self.holds or "text"
        return {"DATE": "date", "TIMESTAMP": "time", "BOOLEAN": "text"}.get(self.type, "number")


@dataclass(frozen=True)
class Rule:
    """A named check of the rows of a table.

    Attributes:
        name: The checked fact in snake case. Shown as the reason for a rejection or a warning.
        holds: Boolean SQL expression over the table's columns, `_ingested_at` and the flags of the builder, such as
            `_updated_at_fits`. A row breaks the rule if the expression is false or null.
        meaning: The checked fact and why it matters, in one sentence.
        severity: Consequence for a row that breaks the rule: `reject` sends the row to quarantine, `warn` keeps the row
            and adds the name of the rule to `_warnings`.
    """

    name: str
    holds: str
    meaning: str
    severity: Severity = "reject"


VALUES_FIT = Rule(
    "values_fit_their_columns",
    "_rescued_data IS NULL",
    "Every value of a column that the source must have parses as the column's type.",
)
"""Rule of every table whose rows are parsed from received values."""

KEY_IS_UNIQUE = Rule(
    "key_is_unique",
    "NOT _is_ambiguous",
    "No two rows with the same key, version and batch have different values: it is unknown which row is correct.",
)
"""Rule of every table that keeps one of several versions of a record."""

UNKNOWN = "unknown"
"""Text in place of a missing description, such as the country of a customer, so that marts can group by it."""

BATCH_ID = Column("_batch_id", "STRING", "landed batch that contained the row", required=True)
WARNINGS = Column("_warnings", "ARRAY<STRING>", "names of the warning rules that the row breaks")

IS_ACTIVE = Column("is_active", "BOOLEAN", "whether the source still has the record")
INACTIVE_SINCE = Column(
    "inactive_since",
    "TIMESTAMP",
    "time of extraction of the first snapshot or tombstone without the record, UTC; null if it is active",
)

_RECEIVED_ONLY = re.compile(r"\b_\w+")
"""Pattern of a column that only received rows have: its name starts with an underscore."""

QUARANTINE_COLUMNS = (
    Column("record", "STRING", "the row as received, as a JSON object", required=True, pii="record"),
    Column("broken_rules", "ARRAY<STRING>", "names of the rules that the row breaks", required=True),
    Column(
        "record_key", "STRING", "key of the row as text, its columns joined by |; null if a part of the key is missing"
    ),
    Column("_version_at", "TIMESTAMP", "time of the last change in the source, UTC; null if the source does not say"),
    BATCH_ID,
)


CHANGE_COLUMNS = (
    Column("_change_set", "STRING", "token of the version that the change set produces", required=True),
    Column(
        "_change_type",
        "STRING",
        "insert: new row; before: row that was replaced; delete: deleted row; refuse, waited, mend: the same for the"
        " quarantine; supersede: received row without effect; touched: checked key; header: state of the table",
        required=True,
    ),
    Column("_header", "STRING", "JSON object: state of the table after the change; null except in the header"),
)


@dataclass(frozen=True)
class TableContract:
    """The declared name, columns, types, key, rules and layout of a table.

    Attributes:
        name: Table name within the schema.
        layer: Layer that the table belongs to.
        comment: Comment of the table; begins with the grain sentence.
        columns: Columns in order.
        key: Columns that identify a row.
        rules: Checks of every row.
        version: Column with the time of a record's last change in the source. If a record has several versions, the
            table keeps the version with the latest time, even if this version is in an older batch. If None, the table
            keeps the version in the latest batch.
        partitioned_by: Partition columns. If the table has clustering columns, engines with clustering ignore the
            partition columns.
        clustered_by: Clustering columns, at most 4, the most frequently filtered column first.
        counts_people: Column with the number of people whom the figures of a row describe. Empty if the rows describe
            single people, or no people. What leaves the team has no row of fewer people than `minimum_cell_size`.
        purpose: Purpose (`contracts.consent`) for which the rows of persons may leave the team. Without a purpose, rows
            of single persons never leave it.
    """

    name: str
    layer: Layer
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    version: str | None = None
    partitioned_by: tuple[str, ...] = ()
    clustered_by: tuple[str, ...] = ()
    counts_people: str = ""
    purpose: str = ""

    def __post_init__(self) -> None:
        """Validate the contract.

        Raises:
            ValueError: Two columns have the same name; the key, the version, the layout or the count of people refers
                to a column that does not exist; or the contract has more than 4 clustering columns, or one with
                personal data.
        """
        names = self.column_names
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: a column is named twice")
        named = {*self.key, *self.partitioned_by, *self.clustered_by, *filter(None, [self.version, self.counts_people])}
        if unknown := named - set(names):
            raise ValueError(f"{self.name}: the contract has no column {', '.join(sorted(unknown))}")
        if len(self.clustered_by) > 4:
            raise ValueError(f"{self.name}: a table can be clustered by at most 4 columns")
        if personal := [column.name for column in self.personal_columns if column.name in self.clustered_by]:
            raise ValueError(f"{self.name}: clustering would write {personal[0]} into the Delta log")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Return the names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def types(self) -> dict[str, str]:
        """Return the type of each column by name, in order."""
        return {column.name: column.type for column in self.columns}

    @property
    def public_columns(self) -> tuple[Column, ...]:
        """Return the columns without personal data, in order."""
        return tuple(column for column in self.columns if column.pii is None)

    @property
    def personal_columns(self) -> tuple[Column, ...]:
        """Return the columns with personal data, in order."""
        return tuple(column for column in self.columns if column.pii)

    @property
    def is_per_customer(self) -> bool:
        """Return whether each row describes one person. Without personal data, such rows are only pseudonymised."""
        return not {"customer_id", "person_id"}.isdisjoint(self.key)

    def is_shown(self, minimum_cell_size: int) -> str:
        """Return an SQL condition that is true for the rows that may leave the team.

        A row of 0 people describes nobody and may leave. The condition is empty if the table does not count people.

        Args:
            minimum_cell_size: Smallest number of people whose figures may leave the team.
        """
        if not self.counts_people:
            return ""
        return f"coalesce(`{self.counts_people}`, 0) = 0 OR `{self.counts_people}` >= {minimum_cell_size}"

    @property
    def statistics_columns(self) -> tuple[str, ...]:
        """Return the columns that Delta collects file statistics for: the columns of joins and filters.

        Queries use statistics to skip files. Statistics of other columns would not help, because every file contains
        nearly all values of these columns. Partition columns need no statistics. Columns with personal data get none,
        because statistics are stored in the Delta log. If no column remains, the first public column is returned,
        because Delta would otherwise collect statistics of all columns.
        """
        public = [column.name for column in self.public_columns]
        ids = (name for name in public if name.endswith("_id"))
        wanted = dict.fromkeys((*self.key, *self.clustered_by, *ids))
        found = tuple(name for name in wanted if name in public and name not in self.partitioned_by)
        return found or tuple(public[:1])

    @property
    def has_warning_rules(self) -> bool:
        """Return whether the contract has a warning rule."""
        return any(rule.severity == "warn" for rule in self.rules)

    @property
    def has_unrepeatable_warnings(self) -> bool:
        """Return whether a warning rule uses a column that the table does not have, such as `_ingested_at`.

        Such a rule can be checked only when the row is received. Afterwards, only `_warnings` has its result.
        """
        return any(rule.severity == "warn" and _RECEIVED_ONLY.search(rule.holds) for rule in self.rules)

    @property
    def has_deletion_vectors(self) -> bool:
        """Return whether merges use deletion vectors instead of rewriting files.

        The result is true for tables that batches are merged into. On engines without deletion vectors, merges into
        these tables rewrite files too. Gold tables have no deletion vectors, because Synapse reads copies of gold
        tables and does not support deletion vectors.
        """
        return self.layer == "silver" and bool(self.rules)

    @property
    def select_list(self) -> tuple[str, ...]:
        """Return one SQL expression per column, in order. Each expression casts the column to its type."""
        return tuple(f"cast(`{c.name}` as {c.type}) as `{c.name}`" for c in self.columns)

    @property
    def quarantine(self) -> TableContract:
        """Return the contract of the quarantine: the table of rejected rows, with the rules that each row breaks."""
        return TableContract(
            name=f"{self.name}_quarantine",
            layer=self.layer,
            comment=f"One row per rejected row of {self.name}, with the rules it breaks, until a later version passes.",
            columns=QUARANTINE_COLUMNS,
            key=(BATCH_ID.name, "record"),
        )

    @property
    def with_quarantine(self) -> tuple[TableContract, ...]:
        """Return this contract and, if it has rules, the contract of its quarantine."""
        return (self, self.quarantine) if self.rules else (self,)

    @property
    def changes(self) -> TableContract:
        """Return the contract of the table that holds the latest change sets.

        Incremental refreshes of downstream tables read this table.
        """
        names = set(self.column_names)
        return TableContract(
            name=f"{self.name}_changes",
            layer=self.layer,
            comment=f"One row per row of a change set of {self.name}; only the latest change sets are kept.",
            columns=(
                *CHANGE_COLUMNS,
                *(replace(column, required=False) for column in self.columns),
                *(replace(column, required=False) for column in QUARANTINE_COLUMNS if column.name not in names),
            ),
            partitioned_by=("_change_set",),
        )


@dataclass(frozen=True)
class BronzeContract(TableContract):
    """Contract of a bronze table, with the source of its rows.

    Attributes:
        source: Name of the source: the first folder of the landing path.
        entity: Name of the entity: the second folder of the landing path.
        record_key: Columns that identify a record in the source. Bronze has one row per version of a record.
    """

    source: str = field(default="", kw_only=True)
    entity: str = field(default="", kw_only=True)
    record_key: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def received_columns(self) -> tuple[Column, ...]:
        """Return the columns that come from the source, without the columns that the platform adds."""
        return tuple(column for column in self.columns if not column.name.startswith("_"))


def gold_table(
    name: str,
    grain: str,
    key: tuple[str, ...],
    *columns: Column,
    clustered_by: tuple[str, ...] = (),
    counts_people: str = "",
    purpose: str = "",
) -> TableContract:
    """Return the contract of a gold table.

    Args:
        name: Table name.
        grain: The grain sentence.
        key: Columns that identify a row.
        columns: Columns in order.
        clustered_by: Clustering columns.
        counts_people: Column with the number of people whom a row describes.
        purpose: Purpose for which the rows of persons may leave the team.
    """
    return TableContract(
        name, "gold", grain, columns, key, clustered_by=clustered_by, counts_people=counts_people, purpose=purpose
    )
