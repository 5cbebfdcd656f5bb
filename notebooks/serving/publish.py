# Databricks notebook source
# MAGIC %md
# MAGIC # publish
# MAGIC Creates or replaces the serving views whose definition has changed, for users and BI tools outside the team. On
# MAGIC Databricks, the notebook also publishes metric views of the KPIs. If `synapse_location` is set, the notebook copies each
# MAGIC changed gold table to this location, without personal data.
# MAGIC
# MAGIC - Reads: gold tables, `table_state_ops`
# MAGIC - Writes: the views of the serving schema, `<synapse_location>/<table>`, `table_state_ops`
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
