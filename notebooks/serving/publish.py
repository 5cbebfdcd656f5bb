# Databricks notebook source
# MAGIC %md
# MAGIC # publish
# MAGIC Creates or replaces the serving views whose definition has changed, for users and BI tools outside the team. Views with a
# MAGIC row per customer are in a schema of their own. On Databricks, the notebook also publishes metric views of the KPIs. If
# MAGIC `synapse_location` is set, the notebook copies each changed gold table to this location, without personal data. Figures of
# MAGIC fewer people than `minimum_cell_size` are left out. If `model_registry` is set, the notebook registers each new fit of the
# MAGIC models with MLflow.
# MAGIC
# MAGIC - Reads: gold tables, `table_state_ops`
# MAGIC - Writes: the views of `serving_schema` and `customers_schema`, `<synapse_location>/<table>`, `table_state_ops`
# MAGIC - KPI definitions: `docs/kpis.md`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.stage import Stage

# COMMAND ----------

stage = Stage(dbutils, spark)

# COMMAND ----------

published = stage.publish()

# COMMAND ----------

print(*published, sep="\n")
stage.end()
