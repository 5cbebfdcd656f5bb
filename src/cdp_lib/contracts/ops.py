"""Ops: tables about the runs and the state of the platform."""

from cdp_lib.contracts.table import Column, TableContract

_ROW_COUNTS = (
    Column("rows_in", "BIGINT", "rows that the batch contained", required=True),
    Column("rows_out", "BIGINT", "rows of the batch that are in the table", required=True),
    Column("rows_quarantined", "BIGINT", "rows of the batch that are in the quarantine", required=True),
    Column(
        "rows_superseded",
        "BIGINT",
        "rows of the batch that a later version, a tombstone or an equal row replaced",
        required=True,
    ),
)

PIPELINE_RUNS_OPS = TableContract(
    name="pipeline_runs_ops",
    layer="ops",
    comment="One row per run and table that was refreshed or failed. A log; refreshes do not depend on it.",
    columns=(
        Column("run_id", "STRING", "run of the job", required=True),
        Column("table_name", "STRING", "table", required=True),
        Column("state", "STRING", "refreshed or failed", required=True),
        Column("reason", "STRING", "why the table was due: new batches, an input, code, a setting …"),
        Column("error", "STRING", "why the refresh failed, in one line; null if it succeeded"),
        Column("version", "BIGINT", "version of the table after the refresh"),
        Column("latest_batch", "STRING", "latest batch that a bronze table has loaded; null for other tables"),
        Column("rows", "BIGINT", "rows written"),
        Column("rows_removed", "BIGINT", "rows deleted from the table"),
        Column("rows_quarantined", "BIGINT", "rows sent to quarantine"),
        Column(
            "rows_superseded",
            "BIGINT",
            "rows without effect: older than or equal to a row of the table, or tombstones",
        ),
        Column("rows_warned", "BIGINT", "rows written with a warning"),
        Column("started_at", "TIMESTAMP", "start of the run, UTC", required=True),
        Column("seconds", "DOUBLE", "duration of the refresh, in seconds"),
        Column("engine", "STRING", "engine and its version", required=True),
        Column("code_version", "STRING", "version of this library", required=True),
    ),
    clustered_by=("table_name",),
)

TABLE_STATE_OPS = TableContract(
    name="table_state_ops",
    layer="ops",
    comment="One row per table, with its version and its inputs. A run decides from it which tables are due.",
    columns=(
        Column("table_name", "STRING", "table", required=True),
        Column("version", "BIGINT", "version of the table; rises by one with each change", required=True),
        Column("row_count", "BIGINT", "number of rows that the table must hold; null if unknown"),
        Column("refused_count", "BIGINT", "number of rows that the quarantine must hold"),
        Column("is_rewriting", "BOOLEAN", "whether a rewrite of the whole table has begun and not ended"),
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
        Column("batch_id", "STRING", "landed batch, `all` or `earlier batches`", required=True),
        *_ROW_COUNTS,
        Column(
            "is_balanced", "BOOLEAN", "whether rows_in = rows_out + rows_quarantined + rows_superseded", required=True
        ),
        Column("counted_version", "STRING", "versions that were counted; null if the table is not balanced"),
    ),
    key=("table_name", "batch_id"),
)

PIPELINE_LEASE_OPS = TableContract(
    name="pipeline_lease_ops",
    layer="ops",
    comment="One row per resource that only one run at a time may hold. Used on Databricks only.",
    columns=(
        Column("resource", "STRING", "resource that is held: tables", required=True),
        Column("job", "STRING", "job whose run holds the resource, or held it last", required=True),
        Column("run_id", "STRING", "run that holds the resource; null if no run does"),
    ),
    key=("resource",),
)

ERASURE_REQUESTS_OPS = TableContract(
    name="erasure_requests_ops",
    layer="ops",
    comment="One row per request to erase a person. When the person is erased, the row says nothing about the person.",
    columns=(
        Column("request_id", "STRING", "random identifier of the request", required=True),
        Column("requested_at", "TIMESTAMP", "time of the request, UTC", required=True),
        Column(
            "state",
            "STRING",
            "requested: named only; found: records and identifiers are known; erased: no table and no landed batch has"
            " the person; certified: every file was searched and nothing was found",
            required=True,
        ),
        Column("named_by", "STRING", "customer_id, email or person_id", required=True),
        Column("name", "STRING", "value that names the person; null once the person is erased", pii="record"),
        Column(
            "found",
            "STRING",
            "JSON object: identifiers of the person by kind; null before they are found and once the person is erased",
            pii="record",
        ),
        Column("records_deleted", "BIGINT", "landed records that were deleted"),
        Column("sales_kept", "BIGINT", "landed records that were kept without the person"),
        Column("erased_at", "TIMESTAMP", "time at which the person was erased, UTC"),
        Column("certificate", "STRING", "JSON object: what was searched and found; null until then"),
    ),
    key=("request_id",),
)

SUPPRESSIONS_OPS = TableContract(
    name="suppressions_ops",
    layer="ops",
    comment="One row per identifier of an erased person. Records that have one of these identifiers are not loaded.",
    columns=(
        Column("kind", "STRING", "customer, contact, email or device", required=True),
        Column(
            "digest",
            "STRING",
            "HMAC-SHA256 of the kind and the identifier, in hexadecimal, with the secret erasure_key",
            required=True,
        ),
        Column("request_id", "STRING", "request to erase the person", required=True),
        Column("suppressed_at", "TIMESTAMP", "time of the erasure, UTC", required=True),
    ),
    key=("kind", "digest"),
)

OPS_TABLES = (
    PIPELINE_RUNS_OPS,
    TABLE_STATE_OPS,
    RECONCILIATION_OPS,
    PIPELINE_LEASE_OPS,
    ERASURE_REQUESTS_OPS,
    SUPPRESSIONS_OPS,
)
