"""The types a contract is written in. Nothing here knows Spark."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

Layer = Literal["bronze", "silver", "gold", "ops"]
Severity = Literal["reject", "warn"]


@dataclass(frozen=True)
class Column:
    """One column: its name, its Spark SQL type and what it means.

    Attributes:
        name: Column name.
        type: Spark SQL type, as in DDL (`INT`, `DECIMAL(18,2)`).
        comment: Meaning, unit and source, in a sentence fragment.
        required: Whether the column is never null.
        pii: Class of personal data (`name`, `email`), None where there is none.
        optional: Whether a source may lack the column; it is null then.
    """

    name: str
    type: str
    comment: str
    required: bool = False
    pii: str | None = None
    optional: bool = False


@dataclass(frozen=True)
class Rule:
    """A fact that is true of good rows.

    Attributes:
        name: The fact in snake case; shown to people as the reason.
        holds: Boolean SQL expression over the table's columns and `_ingested_at`. Null counts as broken.
        meaning: The fact and why it matters, for people, in a sentence.
        severity: What becomes of a row it is not true of: `reject` sends it to quarantine, `warn` keeps it and names
            the rule in `_warnings`.
    """

    name: str
    holds: str
    meaning: str
    severity: Severity = "reject"


VALUES_FIT = Rule(
    "values_fit_their_columns",
    "_rescued_data IS NULL",
    "Every received value parses as its column's type.",
)
"""Part of every contract whose rows are parsed."""

KEY_IS_UNIQUE = Rule(
    "key_is_unique",
    "NOT _is_ambiguous",
    "No other row of the same version and batch has the same key and other values: nothing would say which is right.",
)
"""Part of every contract whose rows come as versions."""

BATCH_ID = Column("_batch_id", "STRING", "landed batch the row came with", required=True)
WARNINGS = Column("_warnings", "ARRAY<STRING>", "names of the rules the row breaks and is kept in spite of")

QUARANTINE_COLUMNS = (
    Column("record", "STRING", "the row as received, as a JSON object", required=True),
    Column("broken_rules", "ARRAY<STRING>", "names of the rules the row broke", required=True),
    Column("record_key", "STRING", "the row's key as text, its columns joined by |; null where it has none"),
    Column("_version_at", "TIMESTAMP", "when the source says the row was last changed, UTC; null where it does not"),
    BATCH_ID,
)


CHANGE_COLUMNS = (
    Column("_change_set", "STRING", "token of the version that the change set leads to", required=True),
    Column(
        "_change_type",
        "STRING",
        "insert: the row as it is since; before: as it was; delete: the row that left; refuse, waited, mend: the"
        " same of the quarantine; supersede: a received row of no effect; touched: a key looked at; header: the state",
        required=True,
    ),
    Column("_header", "STRING", "JSON object: state of the table afterwards, of the header alone"),
)


@dataclass(frozen=True)
class TableContract:
    """What a table promises to its readers.

    Attributes:
        name: Table name within the schema.
        layer: Layer the table belongs to.
        comment: Begins with the grain sentence.
        columns: Columns in order.
        key: Columns that identify a row.
        rules: Facts checked of every row, those of every such table besides.
        version: Column that says when the source last changed the row: of two versions the later one wins, whatever
            batch it came with. None where the batch alone decides.
        partitioned_by: Columns the files are laid out by, on engines that can't cluster or where there is nothing to
            cluster by.
        clustered_by: Columns by whose values rows lie together in the files, the one asked for most first; at most 4.
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

    def __post_init__(self) -> None:
        """Refuse a contract that contradicts itself.

        Raises:
            ValueError: A column is named twice; the key, the version or the layout names no column; or it is
                clustered by more columns than a table can be.
        """
        names = self.column_names
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: a column is named twice")
        if unknown := {*self.key, *self.partitioned_by, *self.clustered_by, *filter(None, [self.version])} - set(names):
            raise ValueError(f"{self.name}: no column {', '.join(sorted(unknown))}")
        if len(self.clustered_by) > 4:
            raise ValueError(f"{self.name}: a table is clustered by up to 4 columns")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def types(self) -> dict[str, str]:
        """Type of each column by its name, in order."""
        return {column.name: column.type for column in self.columns}

    @property
    def public_columns(self) -> tuple[Column, ...]:
        """The columns that hold no personal data, in order."""
        return tuple(column for column in self.columns if column.pii is None)

    @property
    def statistics_columns(self) -> tuple[str, ...]:
        """Columns whose least and greatest value in each file are known: those by which tables are joined and filtered.

        Of the others a file has nearly all values that there are. Those of `partitioned_by` are known without. A record
        as received holds personal data, which statistics would spread.
        """
        ids = (name for name in self.column_names if name.endswith("_id"))
        wanted = dict.fromkeys((*self.key, *self.clustered_by, *ids))
        return tuple(name for name in wanted if name not in (*self.partitioned_by, "record"))

    @property
    def warns(self) -> bool:
        """Whether a rule keeps the rows that break it, and names itself in them."""
        return any(rule.severity == "warn" for rule in self.rules)

    @property
    def has_deletion_vectors(self) -> bool:
        """Whether a merge may mark rows as gone instead of writing their files again, where the engine can.

        True of the tables that batches are merged into. No gold table is one: what Synapse reads is made of those, and
        knows no deletion vectors.
        """
        return self.layer == "silver" and bool(self.rules)

    @property
    def select_list(self) -> tuple[str, ...]:
        """The contract as the last `selectExpr`: its columns, in order, in its types."""
        return tuple(f"cast(`{c.name}` as {c.type}) as `{c.name}`" for c in self.columns)

    @property
    def quarantine(self) -> TableContract:
        """The table that keeps the rows this one refused, with the reasons."""
        return TableContract(
            name=f"{self.name}_quarantine",
            layer=self.layer,
            comment=f"One row per row that {self.name} refuses, with the rules it breaks, until a later one mends it.",
            columns=QUARANTINE_COLUMNS,
            key=(BATCH_ID.name, "record"),
        )

    @property
    def with_quarantine(self) -> tuple[TableContract, ...]:
        """The table, and its quarantine where it has rules."""
        return (self, self.quarantine) if self.rules else (self,)

    @property
    def changes(self) -> TableContract:
        """The table of this one's latest change sets, which its readers follow."""
        names = set(self.column_names)
        return TableContract(
            name=f"{self.name}_changes",
            layer=self.layer,
            comment=f"One row per row that a change of {self.name} touches; only the latest change sets are kept.",
            columns=(
                *CHANGE_COLUMNS,
                *(replace(column, required=False) for column in self.columns),
                *(replace(column, required=False) for column in QUARANTINE_COLUMNS if column.name not in names),
            ),
            partitioned_by=("_change_set",),
        )


@dataclass(frozen=True)
class BronzeContract(TableContract):
    """A table of rows as received, and where they are landed.

    Attributes:
        source: Source system, first folder of the landing path.
        entity: What the source calls the table or resource, second folder of the path.
        record_key: Columns that identify a record in the source; bronze has a row per version of it.
    """

    source: str = field(default="", kw_only=True)
    entity: str = field(default="", kw_only=True)
    record_key: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def received_columns(self) -> tuple[Column, ...]:
        """The columns that come from the source; the others are the platform's own."""
        return tuple(column for column in self.columns if not column.name.startswith("_"))


def gold_table(
    name: str, grain: str, key: tuple[str, ...], *columns: Column, clustered_by: tuple[str, ...] = ()
) -> TableContract:
    """Contract of a gold table.

    Args:
        name: Table name.
        grain: The grain sentence.
        key: Columns that identify a row.
        columns: Columns in order.
        clustered_by: Columns by whose values rows lie together.
    """
    return TableContract(name, "gold", grain, columns, key, clustered_by=clustered_by)
