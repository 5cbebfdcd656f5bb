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
    comment="One row per task of a run, state of its work and batch whose account it changed.",
    columns=(
        Column("run_id", "STRING", "run of the job", required=True),
        Column("task", "STRING", "task of the job, which is its notebook's name", required=True),
        Column("table_name", "STRING", "table the task wrote; the task where it wrote several", required=True),
        Column("batch_id", "STRING", "landed batch; null where the task reads no batches"),
        Column("change_id", "STRING", "change of the table the work belongs to; sorts by time", required=True),
        Column("state", "STRING", "planned: written ahead of the tables; done: the tables hold it", required=True),
        *_ACCOUNT,
        Column("rows_merged", "BIGINT", "rows of the batch that entered the table with this change", required=True),
        Column("rows_removed", "BIGINT", "rows of the batch that left the table with this change", required=True),
        Column("is_whole", "BOOLEAN", "whether the change wrote the table anew", required=True),
        Column("inputs", "STRING", "JSON object: change of each table that was read"),
        Column("started_at", "TIMESTAMP", "start of the run, UTC", required=True),
        Column("seconds", "DOUBLE", "time from the notebook's start to this row; null for what is planned"),
        Column("engine", "STRING", "engine that did the work", required=True),
        Column("engine_version", "STRING", "version of Spark the engine speaks", required=True),
        Column("code_version", "STRING", "version of this library", required=True),
        Column("table_version", "BIGINT", "Delta version of the table afterwards; null where the engine can't say"),
    ),
    clustered_by=("table_name",),
)

RECONCILIATION_OPS = TableContract(
    name="reconciliation_ops",
    layer="ops",
    comment="One row per table and batch, as counted in the tables by the last reconciliation.",
    columns=(
        Column("table_name", "STRING", "table", required=True),
        Column("batch_id", "STRING", "landed batch", required=True),
        *_ACCOUNT,
        Column("is_balanced", "BOOLEAN", "whether rows in = out + quarantined + superseded", required=True),
    ),
    key=("table_name", "batch_id"),
)

OPS_TABLES = (PIPELINE_RUNS_OPS, RECONCILIATION_OPS)
