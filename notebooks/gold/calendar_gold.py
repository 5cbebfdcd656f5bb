# Databricks notebook source
# MAGIC %md
# MAGIC # Marts by season and month
# MAGIC - `seasonal_analysis_gold`: One row per season and product category sold in it, over all years.
# MAGIC - `monthly_sales_gold`: One row per month in which something was sold.
# MAGIC
# MAGIC - Reads: `retails_silver` up to `as_of`, `retails_changes_silver`
# MAGIC - Writes: the tables above, `pipeline_runs_ops`

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
runs = RunLog(tables, settings, "calendar_gold")

# COMMAND ----------

rows = refresh_marts(tables, runs, settings, MARTS_OF_TASK["calendar_gold"])
exit_unless(dbutils, rows is not None, "Nothing they are made from has changed.")

# COMMAND ----------

report_rows(dbutils, rows)
