# Databricks notebook source
# MAGIC %md
# MAGIC # retails_silver
# MAGIC One row per sale that names a known customer, product and store.
# MAGIC
# MAGIC - Reads: `transactions_silver`, `customers_silver`, `products_silver`, `product_prices_silver`, `stores_silver`: what has changed since
# MAGIC - Writes: `retails_silver`, `retails_silver_quarantine`, `pipeline_runs_ops`

# COMMAND ----------

import sys
from dataclasses import asdict

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.refresh.sales import refresh_retails
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "retails_silver")

# COMMAND ----------

refreshed = refresh_retails(tables, runs, settings)

# COMMAND ----------

report_rows(dbutils, **asdict(refreshed))
print(refreshed)
