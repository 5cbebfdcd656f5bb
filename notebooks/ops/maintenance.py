# Databricks notebook source
# MAGIC %md
# MAGIC # maintenance
# MAGIC Removes old landed batches, compacts small files, removes files of old table versions and collects statistics. Then the
# MAGIC reconciliation counts every table. See `docs/runbook.md`.
# MAGIC
# MAGIC - Reads: every table with its quarantine, the ops tables, the names of landed batches
# MAGIC - Writes: the data files and file layout of all tables, `reconciliation_ops`
# MAGIC - Deletes: old landed batches, and their bronze rows that downstream tables no longer need

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.landing import Landing
from cdp_lib.maintenance import MaintenanceSettings, maintain_tables, raise_on_failures
from cdp_lib.pipeline.compaction import remove_old_batches
from cdp_lib.protection import require_unmasked
from cdp_lib.reconciliation import reconcile, record_reconciliation, raise_on_imbalance
from cdp_lib.secrets import find_secret
from cdp_lib.settings import parse_time
from cdp_lib.storage import open_store, release_lease, take_lease
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

dbutils.widgets.text("catalog", "")
dbutils.widgets.text("schema", "")
dbutils.widgets.text("retention_days", "7")
dbutils.widgets.text("batch_retention_days", "30")
dbutils.widgets.text("predictive_optimization", "")
dbutils.widgets.text("landing", "")
dbutils.widgets.text("secret_scope", "")
dbutils.widgets.text("job", "")
dbutils.widgets.text("run_id", "")
dbutils.widgets.text("run_started_at", "")
settings = MaintenanceSettings.from_parameters(
    catalog=dbutils.widgets.get("catalog"),
    schema=dbutils.widgets.get("schema"),
    retention_days=dbutils.widgets.get("retention_days"),
    batch_retention_days=dbutils.widgets.get("batch_retention_days"),
    predictive_optimization=dbutils.widgets.get("predictive_optimization"),
)
store = open_store(spark, settings.catalog, settings.schema)
started_at = parse_time("run_started_at", dbutils.widgets.get("run_started_at"))
account_key = find_secret(dbutils, dbutils.widgets.get("secret_scope"), "storage_account_key")
landing = Landing(dbutils.widgets.get("landing"), account_key)
exit_unless(dbutils, store.can_maintain, "This engine has no OPTIMIZE and no VACUUM: on a laptop, run `cdp maintain`.")

# COMMAND ----------

holder = dbutils.widgets.get("job"), dbutils.widgets.get("run_id")
take_lease(store, *holder)
require_unmasked(store)
compacted = remove_old_batches(store, landing, settings.batch_retention_days, started_at)
maintained = maintain_tables(store, settings)
accounts = reconcile(store)
record_reconciliation(store, accounts)
release_lease(store, *holder)

# COMMAND ----------

print(*compacted, *maintained, sep="\n")
report_rows(dbutils, len(maintained))
raise_on_failures(maintained)
raise_on_imbalance(accounts)
