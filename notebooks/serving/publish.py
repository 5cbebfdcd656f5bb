# Databricks notebook source
# MAGIC %md
# MAGIC # publish
# MAGIC Views for people and BI tools outside the team, where their definition has changed; on Databricks also metric views of the
# MAGIC KPIs. Where `synapse_location` is set, a copy of each gold table that has changed, without personal data.
# MAGIC
# MAGIC - Reads: gold tables, `table_state_ops`
# MAGIC - Writes: the views of the serving schema, `<synapse_location>/<table>`, `table_state_ops`
# MAGIC - What each KPI is stands in `docs/kpis.md`

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
