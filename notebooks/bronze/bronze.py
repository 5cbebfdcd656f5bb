# Databricks notebook source
# MAGIC %md
# MAGIC # bronze
# MAGIC Loads new landed batches, unchanged, into one bronze table per entity. The task value `is_anything_due` tells the job
# MAGIC whether any later table is due.
# MAGIC
# MAGIC - Reads: landed batches that are not loaded yet, `table_state_ops`
# MAGIC - Writes: the bronze tables, `table_state_ops`, `pipeline_runs_ops`
# MAGIC - Run by hand: enter tables in the widget `select`, such as `customer_value_gold` or `+kpi_monthly_gold`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.stage import Stage, table_of

# COMMAND ----------

stage = Stage(dbutils, spark)

# COMMAND ----------

runs = stage.refresh("bronze", print)

# COMMAND ----------

display(table_of(runs))
stage.is_anything_due()
stage.end()
