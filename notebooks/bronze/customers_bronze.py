# Databricks notebook source
# MAGIC %md
# MAGIC # customers_bronze
# MAGIC One row per customer record in a landed answer of the customers API.
# MAGIC
# MAGIC - Reads: landed batches of `customers_api/customers` that are not in the table yet
# MAGIC - Writes: `customers_bronze`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.bronze import build_batches, unloaded_batches
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.runs import RunLog
from cdp_lib.secrets import find_secret
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "customers_bronze")
landing = Landing(settings.landing, find_secret(dbutils, settings.secret_scope, "storage_account_key"))

# COMMAND ----------

loaded = settings.without_replayed(tables.read_batch_ids(CUSTOMERS_BRONZE))
batches = unloaded_batches(landing, CUSTOMERS_BRONZE, loaded)
rows_by_batch = build_batches(spark, landing, batches, CUSTOMERS_BRONZE)

# COMMAND ----------

written = tables.replace_batches(CUSTOMERS_BRONZE, rows_by_batch)
runs.finish_batches(CUSTOMERS_BRONZE, {batch.batch_id: batch.rows for batch in batches}, written.rows_by_batch)
report_rows(dbutils, written.rows, new_columns=written.new_columns)
print(written)
