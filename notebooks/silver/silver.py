# Databricks notebook source
# MAGIC %md
# MAGIC # silver
# MAGIC Refreshes the silver tables that are due. Silver tables hold typed, valid rows, one per key. `retails_silver` holds the
# MAGIC sales joined with their customer, product and store. `docs/lineage.md` shows the inputs of each table. After the
# MAGIC refresh, the reconciliation checks every batch: rows in = out + quarantined + superseded.
# MAGIC
# MAGIC - Reads: the bronze and silver tables that each table declares as inputs, `table_state_ops`
# MAGIC - Writes: the silver tables and their quarantines, `table_state_ops`, `pipeline_runs_ops`, `reconciliation_ops`
# MAGIC - Run by hand: enter tables in the widget `select`, such as `customer_value_gold` or `+kpi_monthly_gold`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.stage import Stage, table_of

# COMMAND ----------

stage = Stage(dbutils, spark)

# COMMAND ----------

runs = stage.refresh("silver", print)

# COMMAND ----------

stage.reconcile()
display(table_of(runs))
stage.end()
