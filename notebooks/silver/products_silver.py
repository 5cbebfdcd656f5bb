# Databricks notebook source
# MAGIC %md
# MAGIC # products_silver
# MAGIC One row per product in the latest landed snapshot.
# MAGIC
# MAGIC - Reads: the current records of `products_bronze`
# MAGIC - Writes: `products_silver`, `products_silver_quarantine`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.bronze import PRODUCTS_BRONZE
from cdp_lib.contracts.silver import PRODUCTS_SILVER
from cdp_lib.quality import check_snapshot
from cdp_lib.settings import Settings
from cdp_lib.silver.products import build_products_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)

# COMMAND ----------

rows = build_products_silver(tables.read_current_records(PRODUCTS_BRONZE))
checked = check_snapshot(rows, PRODUCTS_SILVER)

# COMMAND ----------

written = tables.replace_checked(PRODUCTS_SILVER, checked)
report_rows(dbutils, written.rows, written.quarantined, written.superseded)
