# Databricks notebook source
# MAGIC %md
# MAGIC # erasure
# MAGIC Erases the persons of all open requests in `erasure_requests_ops`: from landed batches, all tables and the copies. Sales
# MAGIC keep their amounts and lose the person. See `docs/privacy.md`.
# MAGIC
# MAGIC - Reads: `erasure_requests_ops`, the bronze tables that name persons, all tables
# MAGIC - Writes: landed batches with records of the persons, all tables and views, and the copies in `synapse_location`
# MAGIC - Run by hand: add a row with the state `requested` to `erasure_requests_ops`, then run the job `cdp_erasure`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.stage import Stage, table_of

# COMMAND ----------

stage = Stage(dbutils, spark)

# COMMAND ----------

runs = stage.erase(print)

# COMMAND ----------

display(table_of(runs))
stage.end()
