# Databricks notebook source
# MAGIC %md
# MAGIC # bronze
# MAGIC Landed batches as they are, a table for each entity. The task value `is_anything_due` says whether the job has
# MAGIC anything to do behind it.
# MAGIC
# MAGIC - Reads: landed batches that the tables do not hold yet, and `table_state_ops`
# MAGIC - Writes: the bronze tables, `table_state_ops`, `pipeline_runs_ops`
# MAGIC - By hand: write tables into the widget `select`, as `customer_value_gold` or `+kpi_monthly_gold`

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
