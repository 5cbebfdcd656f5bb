# Databricks notebook source
# MAGIC %md
# MAGIC # category_monthly_sales_gold
# MAGIC One row per month and product category sold in it.
# MAGIC
# MAGIC - Reads: `retails_silver` up to `as_of`, `retails_changes_silver`
# MAGIC - Writes: `category_monthly_sales_gold`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.gold.marts import MARTS_OF_TASK
from cdp_lib.refresh.marts import refresh_marts
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "category_monthly_sales_gold")

# COMMAND ----------

rows = refresh_marts(tables, runs, settings, MARTS_OF_TASK["category_monthly_sales_gold"])
exit_unless(dbutils, rows is not None, "Nothing it is made from has changed.")

# COMMAND ----------

report_rows(dbutils, rows)
