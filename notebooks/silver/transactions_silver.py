# Databricks notebook source
# MAGIC %md
# MAGIC # transactions_silver
# MAGIC One row per sale in the latest landed snapshot, whether or not its customer, product and store are known.
# MAGIC
# MAGIC - Reads: the current records of `transactions_bronze`
# MAGIC - Writes: `transactions_silver`, `transactions_silver_quarantine`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import TRANSACTIONS_SILVER
from cdp_lib.quality import check_snapshot
from cdp_lib.settings import Settings
from cdp_lib.silver.transactions import build_transactions_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)

# COMMAND ----------

rows = build_transactions_silver(tables.read_current_records(TRANSACTIONS_BRONZE))
checked = check_snapshot(rows, TRANSACTIONS_SILVER)

# COMMAND ----------

written = tables.replace_checked(TRANSACTIONS_SILVER, checked)
report_rows(dbutils, written.rows, written.quarantined, written.superseded)
