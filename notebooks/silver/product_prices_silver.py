# Databricks notebook source
# MAGIC %md
# MAGIC # product_prices_silver
# MAGIC One row per product and period in which its price did not change.
# MAGIC
# MAGIC - Reads: batches of `products_bronze` that are not in the table yet
# MAGIC - Writes: `product_prices_silver`, `pipeline_runs_ops`

# COMMAND ----------

import sys
from dataclasses import asdict

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.refresh.sales import refresh_product_prices
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "product_prices_silver")

# COMMAND ----------

refreshed = refresh_product_prices(tables, runs, settings)

# COMMAND ----------

report_rows(dbutils, **asdict(refreshed))
print(refreshed)
