# Databricks notebook source
# MAGIC %md
# MAGIC # exchange_rates_silver
# MAGIC One row per month and currency.
# MAGIC
# MAGIC - Reads: batches of `exchange_rates_bronze` that are not in the table yet
# MAGIC - Writes: `exchange_rates_silver`, `exchange_rates_silver_quarantine`, `pipeline_runs_ops`

# COMMAND ----------

import sys
from dataclasses import asdict

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.silver import EXCHANGE_RATES_SILVER
from cdp_lib.refresh.batches import refresh_from_batches
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.rates import build_exchange_rates_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "exchange_rates_silver")

# COMMAND ----------

refreshed = refresh_from_batches(tables, runs, settings, EXCHANGE_RATES_SILVER, build_exchange_rates_silver)

# COMMAND ----------

report_rows(dbutils, **asdict(refreshed))
print(refreshed)
