# Databricks notebook source
# MAGIC %md
# MAGIC # purchases_silver
# MAGIC One row per customer and day on which they bought.
# MAGIC
# MAGIC - Reads: `retails_silver`, `retails_changes_silver`
# MAGIC - Writes: `purchases_silver`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.refresh.purchases import refresh_purchases
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "purchases_silver")

# COMMAND ----------

rows = refresh_purchases(tables, runs, settings)
exit_unless(dbutils, rows is not None, "No sale has changed.")

# COMMAND ----------

report_rows(dbutils, rows)
