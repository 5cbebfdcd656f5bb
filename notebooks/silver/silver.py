# Databricks notebook source
# MAGIC %md
# MAGIC # silver
# MAGIC Typed rows that keep their rules, one per key; sales with all that is known of them. Only tables that are due are built; `docs/lineage.md` shows what each is built from.
# MAGIC Then every row of every batch is accounted for: rows in = out + quarantined + superseded.
# MAGIC
# MAGIC - Reads: the bronze and silver tables that each table declares, and `table_state_ops`
# MAGIC - Writes: the silver tables and their quarantines, `table_state_ops`, `pipeline_runs_ops`, `reconciliation_ops`
# MAGIC - By hand: write tables into the widget `select`, as `customer_value_gold` or `+kpi_monthly_gold`

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
