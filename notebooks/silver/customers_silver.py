# Databricks notebook source
# MAGIC %md
# MAGIC # customers_silver
# MAGIC One row per customer the customers API knows.
# MAGIC
# MAGIC - Reads: batches of `customers_bronze` that are not in the table yet
# MAGIC - Writes: `customers_silver`, `customers_silver_quarantine`, `pipeline_runs_ops`

# COMMAND ----------

import sys
from dataclasses import asdict

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.refresh.batches import refresh_from_batches
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.customers import build_customers_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "customers_silver")

# COMMAND ----------

refreshed = refresh_from_batches(tables, runs, settings, CUSTOMERS_SILVER, build_customers_silver)

# COMMAND ----------

report_rows(dbutils, **asdict(refreshed))
print(refreshed)
