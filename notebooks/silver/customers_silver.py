# Databricks notebook source
# MAGIC %md
# MAGIC # customers_silver
# MAGIC One row per customer in the latest landed answer of the customers API.
# MAGIC
# MAGIC - Reads: the current records of `customers_bronze`
# MAGIC - Writes: `customers_silver`, `customers_silver_quarantine`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.quality import check_snapshot
from cdp_lib.settings import Settings
from cdp_lib.silver.customers import build_customers_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)

# COMMAND ----------

rows = build_customers_silver(tables.read_current_records(CUSTOMERS_BRONZE))
checked = check_snapshot(rows, CUSTOMERS_SILVER)

# COMMAND ----------

written = tables.replace_checked(CUSTOMERS_SILVER, checked)
report_rows(dbutils, written.rows, written.quarantined, written.superseded)
