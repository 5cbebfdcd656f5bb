"""Writes all generated files: pages of the documentation, files of the Power BI model, and a script for Synapse."""

from collections.abc import Callable
from pathlib import Path

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import QUARANTINE_COLUMNS, Column, TableContract
from cdp_local.bundle import PROJECT
from cdp_local.kpi_page import kpi_page
from cdp_local.lineage import lineage_page
from cdp_local.markdown import table
from cdp_local.power_bi import model_files
from cdp_local.settings_page import settings_page
from cdp_local.synapse_views import customer_views_script, views_script

_LAYERS = {
    "bronze": "Bronze: as received",
    "silver": "Silver: typed and checked",
    "gold": "Gold: aggregates",
    "ops": "Ops: records of the platform's own work",
}


def table_catalogue() -> str:
    """Return the page about all tables, as Markdown."""
    lines = [
        "# Tables",
        "",
        "`make docs` generates this page from the contracts in `src/cdp_lib/contracts/`; a test keeps it up to date.",
        "",
        "Every table with rules has a quarantine, `<table>_quarantine`, for its rejected rows.",
        "[Data quality](data-quality.md) explains the rules, and how to repair rejected rows.",
        "",
        "Clustering and deletion vectors exist only on Databricks; other engines partition tables instead",
        "([ADR 22](adr/0022-clustering-and-maintenance.md)).",
        "",
        "Columns of every quarantine:",
        "",
        *_columns(QUARANTINE_COLUMNS),
    ]
    for layer, title in _LAYERS.items():
        lines += ["", f"## {title}"]
        for name, contract in TABLES.items():
            if contract.layer == layer and not name.endswith(("_quarantine", "_changes")):
                lines += ["", f"### {name}", "", contract.comment, "", *_columns(contract.columns, contract.key)]
                lines += _layout(contract)
                lines += _rule_names(contract)
    return "\n".join(lines) + "\n"


def _columns(columns: tuple[Column, ...], key: tuple[str, ...] = ()) -> list[str]:
    rows = []
    for column in columns:
        notes = {
            "key": column.name in key,
            "required": column.required,
            "optional in the source": column.optional,
            f"personal data: {column.pii}": bool(column.pii),
        }
        applicable = ", ".join(note for note, applies in notes.items() if applies)
        rows.append((f"`{column.name}`", f"`{column.type}`", column.comment, applicable))
    return table(("column", "type", "meaning", "notes"), rows)


def _layout(contract: TableContract) -> list[str]:
    """Return a sentence about the file layout of a table; empty if the contract defines no layout."""
    properties = [
        *([f"partitioned by {_name_list(contract.partitioned_by)}"] if contract.partitioned_by else []),
        *([f"clustered by {_name_list(contract.clustered_by)}"] if contract.clustered_by else []),
        *(["with deletion vectors"] if contract.has_deletion_vectors else []),
    ]
    return ["", f"Files: {', '.join(properties)}."] if properties else []


def _name_list(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{column}`" for column in columns)


def _rule_names(contract: TableContract) -> list[str]:
    lines = []
    for severity, title in (("reject", "Rejecting rules"), ("warn", "Warning rules")):
        names = [f"`{rule.name}`" for rule in contract.rules if rule.severity == severity]
        if names:
            lines += ["", f"[{title}](data-quality.md#{contract.name}): {', '.join(names)}."]
    return lines


def data_quality_page() -> str:
    """Return the page about data quality, as Markdown.

    The page lists the rules, and explains what happens to rows that break a rule.
    """
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

This page explains how rows are checked, how to find rejected rows and how to repair them. `make docs` generates it: the
text from `src/cdp_local/catalogue.py`, the rules from the contracts in `src/cdp_lib/contracts/`; a test keeps it up to
date.

## From landing to gold

```text
landed batch           immutable; its manifest has the number of rows
     │                 if files differ from the manifest, the task fails and loads nothing
     ▼
<table>_bronze         rows of every batch as received; a value that does not fit its column is in _rescued_data
     │                 converted to column types, then checked against every rule of the silver table
     │
     ├─ breaks a rejecting rule ─────────────▶ <table>_silver_quarantine          rows_quarantined
     ├─ not newer than the existing row,
     │  or a tombstone ──────────────────────▶ no row of its own in silver        rows_superseded
     ▼
<table>_silver         one row per key: the latest version that keeps the rules   rows_out
     │                 _warnings has the names of broken warning rules
     │
     ├─ a sale whose customer, product or
     │  store is not known yet ──────────────▶ retails_silver_quarantine: waits   rows_quarantined
     ▼
retails_silver         all other sales                                            rows_out
     │
     │                 reconciliation counts changed tables again; gold waits for a table that does not add up
     ▼
gold, serving views    computed from rows of silver only; the sums of each mart must equal the sums of silver
```

A bad row does not stop a run. A batch with too many bad rows is refused, and the run fails: see
[when a guard refuses a batch](#when-a-guard-refuses-a-batch).

**The table has the latest version of a record.** This is the version with the latest change time in the source
(`updated_at`, `modifiedon`). If versions have the same time, or the source has no such time, it is the version in the
latest batch.

If the latest version is rejected, it stays in quarantine until it is repaired. Until then, the content of the table
depends on the source:

- If the source lands increments, the table keeps the last good version.
- If the source lands snapshots, the table has no row of the record: a snapshot replaces all earlier batches. Customers,
  products and stores keep their last good version, but are inactive (`is_active`), so their sales stay in all marts.

A rejected version that is older than a good version is superseded.

**A rule** is an SQL condition that is true for good rows. A row breaks the rule if the condition is false or null. The
severity of the rule decides what happens to such a row:

| severity | the row | reason |
|---|---|---|
| `reject` | is in `<table>_quarantine`, with all rules it breaks in `broken_rules` | it would make figures wrong |
| `warn` | is in the table, with the rules it breaks in `_warnings` | it is worth checking, but must not be lost |

## Which values are optional

A source must send the values that identify a record or give a sale its revenue. All other values are optional. A record
without an optional value is kept, with all its sales, and a warning rule names each missing value.

| record | required | if an optional value is missing |
|---|---|---|
| customer | `customer_id` | `country` is `unknown`; `full_name`, `email` and `registration_date` are null |
| product | `product_id`, `price` | `product_name` and `category` are `unknown` |
| store | `store_id` | `store_name` and `location` are `unknown` |
| sale | all except `updated_at` | `updated_at` is null |
| contact of the CRM | `contactid` | the column is null |
| event | `event_id`, `event_type`, `occurred_at` | the column is null |
| marketing spend, exchange rate | all | the row is in quarantine |
| decision on consent | `record_id`, `purpose`, `channel`, `state`, `decided_at`, a subject | the column is null |

- **The source may lack the whole column of an optional value.** The value is then missing in every record. If the
  source lacks a required column, its batch is refused.
- **An optional value that does not fit is null.** For example, a day of registration is null if it is not an ISO 8601
  date or is in the future. A warning rule names the column, and bronze has the value as received. A required value that
  does not fit puts the record into quarantine. The CRM's `modifiedon` is an exception. A contact without it is kept.
  A contact whose `modifiedon` does not fit is in quarantine, because nobody knows which version is newer.
- **Missing values are not guessed.** Marts have a group `unknown`. A customer without a day of registration is acquired
  on the day of the first purchase, and is not in `customer_registration_trends_gold`. If the customer has no purchase
  either, `acquisition_date` is null. Such a customer is in `customer_value_gold`, but in no cohort and in no KPI that
  counts customers by their day of acquisition.
- **A rate is null, not 0, if the source never sends the data that the rate counts.** The open rate is null if no
  mailing was ever opened, and the click rate if no link was ever clicked. The consent rate of a channel is null if
  nobody has ever decided on the channel.

## Reconciliation: every row is accounted for

For every table and batch, `rows_in = rows_out + rows_quarantined + rows_superseded`. For a bronze table, `rows_in` is
the number of rows in the manifest. For a silver table, it is the number of rows of the batch in bronze. For
`retails_silver`, it is the number of rows in `transactions_silver`.

- `table_state_ops` has the inputs that each table was built from, and its expected number of rows, computed from its
  changes.
- `reconciliation_ops` has the number of rows that each table really contains. At the end of the stage `silver`, the
  rows of the changed tables are counted, per batch and in total (batch `all`). The task fails if a count differs from
  the expected number.
- The sums of each mart, such as its revenue and its number of lines, must equal the sums of `retails_silver`. They are
  compared whenever the mart is refreshed. If one differs, the mart fails, and its downstream tables are skipped.
- `cdp verify`, and the weekly job `cdp_verify`, compare the rows of every table with the rows that a rebuild gives.
- `pipeline_runs_ops` is a log for people. It has one row per table that a run refreshed or failed to refresh, with the
  reason why the table was due.

## How to find rejected rows

On a laptop, `cdp run` ends with a summary of quarantined rows and of rows with a warning: rules, numbers of rows and an
example key. It shows no records, because the output is stored in logs. To see more, run:

```sh
cdp quarantine                       # broken rules: meaning, number of rows, earliest batch, example records
cdp quarantine retails_silver        # rejected rows of one table; --examples 100 shows more
cdp show reconciliation_ops
```

In a workspace (`cat1.sales` is the schema of `prod`; in `dev`, use your own schema):

```sql
-- Rejected rows by rule, with the earliest batch and an example key
SELECT rule, count(*) AS rejected, min(_batch_id) AS since_batch, min(record_key) AS example_key
FROM cat1.sales.customers_silver_quarantine LATERAL VIEW explode(broken_rules) exploded AS rule
GROUP BY rule;

-- Rejected records as received
SELECT record_key, broken_rules, record, _batch_id
FROM cat1.sales.customers_silver_quarantine
WHERE array_contains(broken_rules, 'customer_id_is_present');

-- Customers without a country, and customers whose day of registration does not fit, with the day as received
SELECT c.customer_id, c._warnings, b.registration_date AS received
FROM cat1.sales.customers_silver AS c
INNER JOIN cat1.sales.customers_bronze AS b
  ON b._batch_id = c._batch_id AND try_cast(b.customer_id AS INT) = c.customer_id
WHERE arrays_overlap(c._warnings, array('country_is_present', 'registration_date_is_plausible'));

-- Sales with a warning
SELECT transaction_id, customer_id, transaction_date, registration_date
FROM cat1.sales.retails_silver
WHERE array_contains(_warnings, 'sale_is_not_before_registration');

-- Batches that do not add up
SELECT * FROM cat1.sales.reconciliation_ops WHERE NOT is_balanced;

-- Tables that the latest runs refreshed
SELECT started_at, run_id, table_name, state, reason, rows, rows_removed, rows_quarantined, rows_superseded, seconds
FROM cat1.sales.pipeline_runs_ops
ORDER BY started_at DESC, table_name
LIMIT 100;
```

The column `record` contains personal data if the rows of the source contain personal data.

## How to repair

- **A record**: correct or delete it in the source. The next run lands the change, and the record leaves the quarantine.
  Correct a file under its own name, so that it replaces its earlier version. Do not edit silver or quarantine tables.
- **A record without a key**: correct it in the source as well. No key connects the corrected record to the rejected
  one. If the source lands increments, the rejected record stays in quarantine until the source is landed completely
  again (`from_scratch=true`).
- **A sale without its customer, product or store**: if the missing record is only late, wait: the sale leaves the
  quarantine in the run that loads the record. If the record does not exist, correct the sale.
- **A rule, or the parsing of a column**: change the contract or the builder, with a test, and deploy. The change makes
  the table and its downstream tables due, so the next run checks every row again.
- **A restored landed batch, or bronze rows changed by hand**: `replay_from=<batch>` loads this batch and all later
  batches again, and rebuilds the downstream tables. `<batch>` is the name of a batch, or the beginning of its name:
  `20260131T235959Z`.
- **Tables changed by hand**: run `cdp verify --repair`, which rebuilds exactly the tables that differ.

You can repeat all these repairs safely. In a workspace:

```sh
databricks bundle run cdp_refresh --params replay_from=20260131T235959Z
databricks bundle run cdp_refresh --params full_refresh=true,ingest=false
```

On a laptop:

```sh
cdp run --param replay_from=20260131T235959Z
cdp run --param full_refresh=true --param ingest=false
```

With `ingest=false` the run reads no source. `from_scratch=true` reads all sources completely again.

## When a guard refuses a batch

Two guards judge the batches of a table before any of its rows changes:

| guard | refuses | counted from | variable |
|---|---|---|---|
| bad rows | a batch if more than 20 % of its rows break rejecting rules | 20 refused rows | `refused_share_limit` |
| shrinkage | a snapshot if it lacks more than 50 % of the rows of the table | 10 missing rows | `shrink_limit` |

The guards ignore the rules of `retails_silver`, because these rules are about other tables. The guard of bad rows
judges every refresh of a table, including the first load and a rebuild.

The table, its quarantine and all downstream tables stay unchanged. All other tables are refreshed, and the run fails
with one line, such as:

```text
Batch 20260131T235959Z-17 of database/transactions is refused: 812 of 1,000 rows (81%) break rules of
transactions_silver, more than refused_share_limit (20%): quantity_is_not_zero: 812 rows, for example key 50,
quantity = '0'. …
```

- **The source is wrong**: correct it. Once the next snapshot has landed, the refused batch is ignored. If the source
  lands increments, the next run lands the corrected rows, which take the place of the bad rows. You do not have to
  delete or repair anything in the tables.
- **The batch is right**: accept it once with `from_scratch=true`. The run accepts the batches that it lands, and all
  batches that have landed before. Add `ingest=false` if the run should not read the sources again. An accepted batch is
  not judged again.
- **Such batches are usual**: deploy a higher limit. A limit is not part of the table, so a changed limit makes no table
  due.

```sh
cdp run --param from_scratch=true --param ingest=false
cdp run --var refused_share_limit=0.5
```

## When reconciliation fails

The run ends with an error such as:

```text
customers_silver, batch 20260131T235959Z-17: 50 rows in, but 48 out + 0 quarantined + 0 superseded: 2 missing.
```

Something other than this platform has changed the table: a manual SQL statement, a restore, or a second workspace that
writes to the same schema. The run did not refresh the gold tables downstream of this table.

1. `SELECT * FROM cat1.sales.reconciliation_ops WHERE NOT is_balanced` lists the tables and batches.
2. `DESCRIBE HISTORY cat1.sales.customers_silver` shows who wrote the table, when, and with which statement.
3. Run `cdp verify --repair`, or in a workspace the job `cdp_verify` with `repair=true`. It rebuilds exactly the wrong
   tables.
4. Run the job again. If reconciliation fails again, report a bug, and keep `table_state_ops` and `pipeline_runs_ops`.

A mart fails in a similar way if its sums differ from silver:

```text
monthly_sales_gold does not add up: its revenue (monthly_revenue) is 164482.0000, but retails_silver has 177585.0000.
```

The next run rebuilds the mart. If it fails again, `retails_silver` is wrong: continue with step 3.

## When two runs meet

The job has `max_concurrent_runs: 1` and a queue, so a second run waits for the first. On a laptop `cdp` locks its home,
and a second `cdp` on the same home ends with an error. Two runs can still write the same table if somebody runs a
notebook by hand while the job runs. In this case, one of the two commits fails, and its task ends with an error,
without any effect on the table. Run this task again. No row is lost or duplicated.

## Rules
"""

PAGES: dict[Path, Callable[[], str]] = {
    PROJECT / "docs" / "tables.md": table_catalogue,
    PROJECT / "docs" / "data-quality.md": data_quality_page,
    PROJECT / "docs" / "kpis.md": kpi_page,
    PROJECT / "docs" / "lineage.md": lineage_page,
    PROJECT / "docs" / "settings.md": settings_page,
    **model_files(PROJECT / "powerbi" / "retail-cdp.SemanticModel"),
    PROJECT / "synapse" / "03_views.sql": views_script,
    PROJECT / "synapse" / "05_customers.sql": customer_views_script,
}
"""Generated files, each with the function that returns its content."""


if __name__ == "__main__":
    for page, write in PAGES.items():
        page.write_text(write(), encoding="utf-8")
