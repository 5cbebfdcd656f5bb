# Databricks notebook source
# MAGIC %md
# MAGIC # gold
# MAGIC Refreshes the marts, customer tables and KPIs that are due. `docs/lineage.md` shows the inputs of each table.
# MAGIC
# MAGIC - Reads: the silver and gold tables that each table declares as inputs, `table_state_ops`
# MAGIC - Writes: the gold tables, `table_state_ops`, `pipeline_runs_ops`
# MAGIC - Run by hand: enter tables in the widget `select`, such as `customer_value_gold` or `+kpi_monthly_gold`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.stage import Stage, table_of

# COMMAND ----------

stage = Stage(dbutils, spark)

# COMMAND ----------

runs = stage.refresh("gold", print)

# COMMAND ----------

display(table_of(runs))
stage.end()
