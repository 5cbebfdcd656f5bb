"""The pages and scripts that are written from the contracts."""

from collections.abc import Callable
from pathlib import Path

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import QUARANTINE_COLUMNS, Column, TableContract
from cdp_local.kpi_page import kpi_page
from cdp_local.lineage import lineage_page
from cdp_local.markdown import table
from cdp_local.power_bi import model_files
from cdp_local.synapse_views import views_script
from cdp_local.workspace import PROJECT

_LAYERS = {
    "bronze": "Bronze: as received",
    "silver": "Silver: typed and checked",
    "gold": "Gold: aggregates",
    "ops": "Ops: what the platform says of its own work",
}


def table_catalogue() -> str:
    """The page of all tables, as Markdown."""
    lines = [
        "# Tables",
        "",
        "Written from the contracts in `src/cdp_lib/contracts/` by `make docs`; a test keeps it fresh.",
        "",
        "Every table that has rules has a quarantine, `<table>_quarantine`, for the rows it refuses. What happens to",
        "them, and what the rules mean: [data-quality.md](data-quality.md).",
        "",
        "Tables are clustered, and have deletion vectors, on Databricks alone; elsewhere they are partitioned:",
        "[ADR 22](adr/0022-clustering-and-maintenance.md).",
        "",
        *_columns(QUARANTINE_COLUMNS),
    ]
    for layer, title in _LAYERS.items():
        lines += ["", f"## {title}"]
        for name, contract in TABLES.items():
            if contract.layer == layer and not name.endswith(("_quarantine", "_changes")):
                lines += ["", f"### {name}", "", contract.comment, "", *_columns(contract.columns, contract.key)]
                lines += _layout(contract)
                lines += _names_of_rules(contract)
    return "\n".join(lines) + "\n"


def _columns(columns: tuple[Column, ...], key: tuple[str, ...] = ()) -> list[str]:
    rows = []
    for column in columns:
        notes = {
            "key": column.name in key,
            "required": column.required,
            "the source may lack it": column.optional,
            f"personal data: {column.pii}": bool(column.pii),
        }
        said = ", ".join(note for note, holds in notes.items() if holds)
        rows.append((f"`{column.name}`", f"`{column.type}`", column.comment, said))
    return table(("column", "type", "", ""), rows)


def _layout(contract: TableContract) -> list[str]:
    """How the files of a table are laid out, in a sentence; nothing where its contract does not say."""
    said = [
        *([f"partitioned by {_named(contract.partitioned_by)}"] if contract.partitioned_by else []),
        *([f"clustered by {_named(contract.clustered_by)}"] if contract.clustered_by else []),
        *(["with deletion vectors"] if contract.has_deletion_vectors else []),
    ]
    return ["", f"Files: {', '.join(said)}."] if said else []


def _named(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{column}`" for column in columns)


def _names_of_rules(contract: TableContract) -> list[str]:
    lines = []
    for severity, sentence in (("reject", "A row is refused unless"), ("warn", "It is kept with a warning unless")):
        names = [f"`{rule.name}`" for rule in contract.rules if rule.severity == severity]
        if names:
            lines += ["", f"{sentence} {', '.join(names)} ([rules](data-quality.md#{contract.name}))."]
    return lines


def data_quality_page() -> str:
    """The page of the rules, and of what becomes of rows that break them, as Markdown."""
    lines = [_DATA_QUALITY.strip()]
    for name, contract in TABLES.items():
        if contract.rules:
            lines += ["", f"### {name}", "", contract.comment, ""]
            lines += table(
                ("rule", "severity", "meaning", "SQL"),
                ((f"`{rule.name}`", rule.severity, rule.meaning, f"`{rule.holds}`") for rule in contract.rules),
            )
    return "\n".join(lines) + "\n"


_DATA_QUALITY = """
# Data quality

What happens to a row, how to see what was refused, and how to mend it. Written by `make docs` from
`src/cdp_local/catalogue.py` and, the rules, from the contracts in `src/cdp_lib/contracts/`; a test keeps it fresh.

## From landing to gold

```text
landed batch           immutable; its manifest says how many rows it has
     │                 files that are not what the manifest says: the task fails, nothing is loaded
     ▼
<table>_bronze         every batch, each row as received; what does not fit its column stands in _rescued_data
     │                 typed, then asked every rule of its silver table
     │
     ├─ breaks a rule that rejects ──────────▶ <table>_silver_quarantine          rows_quarantined
     ├─ older than what is there, or equal,
     │  or says that the record is gone ─────▶ has no row of its own in silver     rows_superseded
     ▼
<table>_silver         one row per key: the latest version that keeps the rules   rows_out
     │                 rules that only warn stand by name in its _warnings
     │
     ├─ a sale whose customer, product or
     │  store is not known yet ──────────────▶ retails_silver_quarantine: waits   rows_quarantined
     ▼
retails_silver         every other sale                                           rows_out
     │
     │                 reconciliation counts all of it again; if a batch does not add up, the run ends here
     ▼
gold, serving views    rows of silver alone
```

A batch is not refused for a bad row, and a run does not fail for one.

**The latest version wins**: by the time the source says it changed the row (`updated_at`, `modifiedon`), then by
batch. A refused version that is later than the good one stands in quarantine until it is mended. Where the source lands
what has changed, the table keeps the last good version meanwhile; where it lands snapshots, the row leaves the table,
for a snapshot is all there is. A refused version that is older than a good one is superseded.

**A rule** is a fact that is true of good rows, in SQL; unknown (null) counts as broken. Its severity says what becomes
of a row it is not true of:

| severity | the row | |
|---|---|---|
| `reject` | is in `<table>_quarantine`, with all rules it breaks in `broken_rules` | figures would be wrong with it |
| `warn` | is in the table, with the rules it breaks in `_warnings` | worth a look, and no reason to lose it |

## Every row is accounted for

For every table and batch, `rows_in = rows_out + rows_quarantined + rows_superseded`. Of bronze, rows in are those of
the manifest; of a silver table, the batch's rows in bronze; of `retails_silver`, those in `transactions_silver`.

- `table_state_ops` is what each table was last made from, and how many rows its changes add up to.
- `reconciliation_ops` is what the tables hold: the task `reconciliation` counts them in every run, by batch and whole
  (batch `all`), and fails where they do not say the same.
- `pipeline_runs_ops` is a log for people: a row per table that a run refreshed, or failed to, and why it was due.

## How to look

On a laptop, `cdp run` ends with what stands in quarantine and what is kept with a warning: rules, numbers and a key of
each, but no record, since logs are kept. More is in

```sh
cdp quarantine                       # every rule that rows break: what it says, how many, since when, some records
cdp quarantine retails_silver        # the refused rows of one table; --examples 100 for more of them
cdp show reconciliation_ops
```

In a workspace (`cat1.sales` is prod; `dev` has a schema of your own):

```sql
-- What was refused, why, and since when
SELECT rule, count(*) AS refused, min(_batch_id) AS since_batch, min(record_key) AS such_as
FROM cat1.sales.customers_silver_quarantine LATERAL VIEW explode(broken_rules) exploded AS rule
GROUP BY rule;

-- The records as received
SELECT record_key, broken_rules, record, _batch_id
FROM cat1.sales.customers_silver_quarantine
WHERE array_contains(broken_rules, 'country_is_present');

-- What is kept with a warning
SELECT transaction_id, customer_id, transaction_date, registration_date
FROM cat1.sales.retails_silver
WHERE array_contains(_warnings, 'sale_is_not_before_registration');

-- Batches that do not add up
SELECT * FROM cat1.sales.reconciliation_ops WHERE NOT is_balanced;

-- What the latest runs did
SELECT started_at, run_id, table_name, state, reason, rows, rows_removed, rows_quarantined, rows_superseded, seconds
FROM cat1.sales.pipeline_runs_ops
ORDER BY started_at DESC, table_name
LIMIT 100;
```

`record` is personal data wherever the source's rows are.

## How to repair

- **A record**: mend it at the source, or delete it there. The next run lands that, and it leaves the quarantine. A file
  is mended under its own name: it takes the place of its earlier version. Nobody edits silver or a quarantine.
- **A record without a key**: the same. But nothing says which record mends it: where the source lands what has changed,
  it stays in quarantine until the source is landed whole again (`from_scratch=true`).
- **A sale without its customer, product or store**: nothing, if that is only late. The sale comes out by itself in the
  run that brings it. Otherwise mend the sale.
- **A rule, or how a column is parsed**: change the contract or the builder, with a test, and deploy. The next run
  judges every row again, since a table whose code or contract has changed is due, and so is what is built from it.
- **A landed batch that was restored, or bronze rows that were changed by hand**: `replay_from=<batch>` loads that batch
  and all later ones again, and rebuilds what is built from them. `<batch>` is the name of a batch, or how it begins:
  `20260131T235959Z`.
- **Silver or gold that was changed by hand**: `cdp verify --repair`, or `full_refresh=true`.

All of it can be repeated. In a workspace:

```sh
databricks bundle run cdp_refresh --params replay_from=20260131T235959Z
databricks bundle run cdp_refresh --params full_refresh=true,ingest=false
```

On a laptop:

```sh
cdp run --param replay_from=20260131T235959Z
cdp run --param full_refresh=true --param ingest=false
```

With `ingest=false` no source is asked. `from_scratch=true` is about the sources: it reads them whole again.

## When reconciliation fails

The run ends in a line such as

```text
customers_silver, batch 20260131T235959Z-17: 50 rows in, but 48 out + 0 quarantined + 0 superseded: 2 missing.
```

Something besides this platform has changed a table: a statement by hand, a table that was restored, two workspaces
that write one schema. Gold and the serving views are as they were before the run.

1. `SELECT * FROM cat1.sales.reconciliation_ops WHERE NOT is_balanced` names every table and batch.
2. `DESCRIBE HISTORY cat1.sales.customers_silver` says who wrote it, when, and with which statement.
3. Run again with `full_refresh=true`: the tables are made anew from what has landed.
4. If it fails again, it is a fault of the platform: keep `table_state_ops` and `pipeline_runs_ops`.

## When two runs meet

The job has `max_concurrent_runs: 1` and a queue: a second run waits for the first. On a laptop a home is locked, and a
second `cdp` on it is refused. If two writers meet all the same – a notebook that somebody runs by hand while the job
runs – one of the two commits is refused, and its task ends in a line: another run has written the table meanwhile,
nothing of this one is in it, run it again. No row is lost or doubled by that.

## Rules
"""

PAGES: dict[Path, Callable[[], str]] = {
    PROJECT / "docs" / "tables.md": table_catalogue,
    PROJECT / "docs" / "data-quality.md": data_quality_page,
    PROJECT / "docs" / "kpis.md": kpi_page,
    PROJECT / "docs" / "lineage.md": lineage_page,
    **model_files(PROJECT / "powerbi" / "retail-cdp.SemanticModel"),
    PROJECT / "synapse" / "03_views.sql": views_script,
}
"""What writes each page."""


if __name__ == "__main__":
    for page, write in PAGES.items():
        page.write_text(write(), encoding="utf-8")
