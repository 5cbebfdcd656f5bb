# Databricks notebook source
# MAGIC %md
# MAGIC # customer_acquisitions_silver
# MAGIC One row per customer, with the day they were won.
# MAGIC
# MAGIC - Reads: `customers_silver`, `purchases_silver`, where one has changed
# MAGIC - Writes: `customer_acquisitions_silver`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.silver import CUSTOMERS_SILVER, CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.acquisitions import build_customer_acquisitions_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "customer_acquisitions_silver")

# COMMAND ----------

inputs = runs.read_inputs([CUSTOMERS_SILVER, PURCHASES_SILVER])
exit_unless(dbutils, runs.is_due([CUSTOMER_ACQUISITIONS_SILVER], inputs), "Nothing it is made from has changed.")
rows = build_customer_acquisitions_silver(tables.read_table(CUSTOMERS_SILVER), tables.read_table(PURCHASES_SILVER))

# COMMAND ----------

written = tables.replace_tables({CUSTOMER_ACQUISITIONS_SILVER: rows})
runs.finish_tables([CUSTOMER_ACQUISITIONS_SILVER], inputs, written.rows)
report_rows(dbutils, written.rows)
