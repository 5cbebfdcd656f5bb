# Databricks notebook source
# MAGIC %md
# MAGIC # synapse_gold
# MAGIC A copy of each gold table, without personal data, in a folder for readers outside Unity Catalog. See `synapse/README.md`.
# MAGIC
# MAGIC - Reads: the gold tables, from `sales_by_country_gold` to `kpi_monthly_gold`; `table_state_ops`
# MAGIC - Writes: `<synapse_location>/<table>`, `table_state_ops`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.published import publish_gold
from cdp_lib.settings import Settings
from cdp_lib.storage import open_store
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
store = open_store(spark, settings.catalog, settings.schema)

# COMMAND ----------

exit_unless(dbutils, settings.synapse_location, "The variable synapse_location is empty: nothing is published.")

# COMMAND ----------

report_rows(dbutils, publish_gold(store, settings.synapse_location, full_refresh=settings.full_refresh))
