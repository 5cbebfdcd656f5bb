# Databricks notebook source
# MAGIC %md
# MAGIC # refresh
# MAGIC Everything from bronze on, in one task: what `cdp_stream` runs when something has landed, and `cdp_rebuild` to build every
# MAGIC table again. Only tables that are due are built; `docs/lineage.md` shows what each is built from.
# MAGIC
# MAGIC - Reads: landed batches that the tables do not hold yet, and all tables
# MAGIC - Writes: all tables and views, and the copies in `synapse_location`
# MAGIC - By hand: write tables into the widget `select`, as `customer_value_gold` or `+kpi_monthly_gold`

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
