# Databricks notebook source
# MAGIC %md
# MAGIC # transactions_silver
# MAGIC One row per sale of the transactional database, whether or not its customer, product and store are known.
# MAGIC
# MAGIC - Reads: batches of `transactions_bronze` that are not in the table yet
# MAGIC - Writes: `transactions_silver`, `transactions_silver_quarantine`, `pipeline_runs_ops`

# COMMAND ----------

import sys
from dataclasses import asdict

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.silver import TRANSACTIONS_SILVER
from cdp_lib.refresh.batches import refresh_from_batches
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.transactions import build_transactions_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "transactions_silver")

# COMMAND ----------

refreshed = refresh_from_batches(tables, runs, settings, TRANSACTIONS_SILVER, build_transactions_silver)

# COMMAND ----------

report_rows(dbutils, **asdict(refreshed))
print(refreshed)
