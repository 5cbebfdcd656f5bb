# Databricks notebook source
# MAGIC %md
# MAGIC # reconciliation
# MAGIC Whether every row of every batch is accounted for: rows in = out + quarantined + superseded.
# MAGIC
# MAGIC - Reads: bronze and silver tables and their quarantines, `pipeline_runs_ops`
# MAGIC - Writes: `reconciliation_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.reconciliation import reconcile, record_reconciliation
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "reconciliation")

# COMMAND ----------

reconciled = reconcile(tables, runs)

# COMMAND ----------

record_reconciliation(tables, reconciled)
runs.tidy_up()
report_rows(dbutils, len(reconciled))
