# Databricks notebook source
# MAGIC %md
# MAGIC # refresh
# MAGIC Runs all stages from bronze to publish in one task and refreshes the tables that are due. `cdp_stream` runs this notebook
# MAGIC when a batch has landed, and `cdp_rebuild` runs it to rebuild every table. `docs/lineage.md` shows the inputs of each
# MAGIC table.
# MAGIC
# MAGIC - Reads: landed batches that are not loaded yet, all tables
# MAGIC - Writes: all tables and views, and the copies in `synapse_location`
# MAGIC - Run by hand: enter tables in the widget `select`, such as `customer_value_gold` or `+kpi_monthly_gold`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.stage import Stage, table_of

# COMMAND ----------

stage = Stage(dbutils, spark)

# COMMAND ----------

runs = stage.refresh_all(print)

# COMMAND ----------

display(table_of(runs))
stage.end()
