# Databricks notebook source
# MAGIC %md
# MAGIC # stores_silver
# MAGIC One row per store in the latest landed snapshot.
# MAGIC
# MAGIC - Reads: the current records of `store_bronze`
# MAGIC - Writes: `stores_silver`, `stores_silver_quarantine`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.bronze import STORE_BRONZE
from cdp_lib.contracts.silver import STORES_SILVER
from cdp_lib.quality import check_snapshot
from cdp_lib.settings import Settings
from cdp_lib.silver.stores import build_stores_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)

# COMMAND ----------

rows = build_stores_silver(tables.read_current_records(STORE_BRONZE))
checked = check_snapshot(rows, STORES_SILVER)

# COMMAND ----------

written = tables.replace_checked(STORES_SILVER, checked)
report_rows(dbutils, written.rows, written.quarantined, written.superseded)
