"""Ops: what the platform says of its own work."""

from cdp_lib.contracts.table import Column, TableContract

_ACCOUNT = (
    Column("rows_in", "BIGINT", "rows the batch came with", required=True),
    Column("rows_out", "BIGINT", "of those, rows that are in the table", required=True),
    Column("rows_quarantined", "BIGINT", "of those, rows that are in the table's quarantine", required=True),
    Column(
        "rows_superseded",
        "BIGINT",
        "of those, rows that a later version, a removal or an equal row has taken the place of",
        required=True,
    ),
)

PIPELINE_RUNS_OPS = TableContract(
    name="pipeline_runs_ops",
    layer="ops",
    comment="One row per table that a run refreshed, or failed to. A log for people: no code decides by it.",
    columns=(
        Column("run_id", "STRING", "run of the job", required=True),
        Column("table_name", "STRING", "table", required=True),
        Column("state", "STRING", "refreshed or failed", required=True),
        Column("reason", "STRING", "why the table was due: new batches, an input, code, a setting …"),
        Column("error", "STRING", "why it failed, in one line; null where it did not"),
        Column("version", "BIGINT", "number of the table's version afterwards"),
        Column("latest_batch", "STRING", "latest landed batch, of a bronze table"),
        Column("rows", "BIGINT", "rows written"),
        Column("rows_removed", "BIGINT", "rows that left the table"),
        Column("rows_quarantined", "BIGINT", "rows refused"),
        Column(
            "rows_superseded",
            "BIGINT",
            "rows older than, or equal to, a row of the table, or that say a record is gone",
        ),
        Column("rows_warned", "BIGINT", "rows written in spite of a warning"),
        Column("started_at", "TIMESTAMP", "start of the run, UTC", required=True),
        Column("seconds", "DOUBLE", "time that the table took"),
        Column("engine", "STRING", "engine and its version", required=True),
        Column("code_version", "STRING", "version of this library", required=True),
    ),
    clustered_by=("table_name",),
)

TABLE_STATE_OPS = TableContract(
    name="table_state_ops",
    layer="ops",
    comment="One row per table: the version that it is at, and what it was made from. What is due is decided by it.",
    columns=(
        Column("table_name", "STRING", "table", required=True),
        Column("version", "BIGINT", "number of its version, rising by one with each change", required=True),
        Column("row_count", "BIGINT", "rows that it has to hold; null where that is not known"),
        Column("refused_count", "BIGINT", "rows that its quarantine has to hold"),
        Column("is_rewriting", "BOOLEAN", "whether a whole rewrite has begun and not ended"),
        Column("state", "STRING", "JSON object: token, inputs, fingerprint, settings, change sets", required=True),
    ),
    key=("table_name",),
)

RECONCILIATION_OPS = TableContract(
    name="reconciliation_ops",
    layer="ops",
    comment="One row per table and batch, as last counted; batch `all`: the table; `earlier batches`: all older ones.",
    columns=(
        Column("table_name", "STRING", "table", required=True),
        Column("batch_id", "STRING", "landed batch", required=True),
        *_ACCOUNT,
        Column("is_balanced", "BOOLEAN", "whether rows in = out + quarantined + superseded", required=True),
        Column("counted_version", "STRING", "versions that were counted; null where the table does not add up"),
    ),
    key=("table_name", "batch_id"),
)

PIPELINE_LEASE_OPS = TableContract(
    name="pipeline_lease_ops",
    layer="ops",
    comment="One row per resource that a run holds: the tables. Jobs that may meet take it, on Databricks alone.",
    columns=(
        Column("resource", "STRING", "what is held: tables", required=True),
        Column("job", "STRING", "job whose run holds it, or held it last", required=True),
        Column("run_id", "STRING", "run that holds it; null where none does"),
    ),
    key=("resource",),
)

OPS_TABLES = (PIPELINE_RUNS_OPS, TABLE_STATE_OPS, RECONCILIATION_OPS, PIPELINE_LEASE_OPS)
