# Databricks notebook source
# MAGIC %md
# MAGIC # marketing_spend_silver
# MAGIC One row per month, channel and campaign that money was spent on.
# MAGIC
# MAGIC - Reads: batches of `marketing_spend_bronze` that are not in the table yet
# MAGIC - Writes: `marketing_spend_silver`, `marketing_spend_silver_quarantine`, `pipeline_runs_ops`

# COMMAND ----------

import sys
from dataclasses import asdict

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.silver import MARKETING_SPEND_SILVER
from cdp_lib.refresh.batches import refresh_from_batches
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.spend import build_marketing_spend_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "marketing_spend_silver")

# COMMAND ----------

refreshed = refresh_from_batches(tables, runs, settings, MARKETING_SPEND_SILVER, build_marketing_spend_silver)

# COMMAND ----------

report_rows(dbutils, **asdict(refreshed))
print(refreshed)
