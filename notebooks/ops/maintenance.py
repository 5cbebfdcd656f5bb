# Databricks notebook source
# MAGIC %md
# MAGIC # maintenance
# MAGIC Small files put together, files of old versions removed, statistics anew. No row changes. See `docs/runbook.md`.
# MAGIC
# MAGIC - Reads: every table, its quarantine, and what the platform says of its own work
# MAGIC - Writes: the files of those tables, and their layout where it is not what the contract says

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.maintenance import MaintenanceSettings, maintain_tables, refuse_failures
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

dbutils.widgets.text("catalog", "")
dbutils.widgets.text("schema", "")
dbutils.widgets.text("retention_days", "7")
dbutils.widgets.text("predictive_optimization", "")
settings = MaintenanceSettings.from_parameters(
    catalog=dbutils.widgets.get("catalog"),
    schema=dbutils.widgets.get("schema"),
    retention_days=dbutils.widgets.get("retention_days"),
    predictive_optimization=dbutils.widgets.get("predictive_optimization"),
)
tables = Tables(spark, settings.catalog, settings.schema)
exit_unless(
    dbutils, tables.can_maintain, "This engine has no OPTIMIZE and no VACUUM: on a laptop there is `cdp maintain`."
)

# COMMAND ----------

maintained = maintain_tables(tables, settings)

# COMMAND ----------

print(*maintained, sep="\n")
report_rows(dbutils, len(maintained))
refuse_failures(maintained)
