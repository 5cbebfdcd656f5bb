# Databricks notebook source
# MAGIC %md
# MAGIC # verify
# MAGIC Compares every table with the rows that a rebuild gives. With the job parameter `repair=true`, it rebuilds exactly the
# MAGIC tables that differ. See `docs/runbook.md`.
# MAGIC
# MAGIC - Reads: every table with its quarantine, `table_state_ops`
# MAGIC - Writes: with `repair=true`, the tables that differ, `table_state_ops` and `pipeline_runs_ops`; otherwise nothing

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.stage import Stage

# COMMAND ----------

stage = Stage(dbutils, spark)

# COMMAND ----------

stage.verify(print)

# COMMAND ----------

stage.end()
