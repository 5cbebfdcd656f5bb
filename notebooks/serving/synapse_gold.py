# Databricks notebook source
# MAGIC %md
# MAGIC # synapse_gold
# MAGIC A copy of each gold table, without personal data, in a folder for readers outside Unity Catalog. See `synapse/README.md`.
# MAGIC
# MAGIC - Reads: the gold tables, from `sales_by_country_gold` to `kpi_monthly_gold`; `pipeline_runs_ops`
# MAGIC - Writes: `<synapse_location>/<table>`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.published import publish_gold
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "synapse_gold")

# COMMAND ----------

exit_unless(dbutils, settings.synapse_location, "The variable synapse_location is empty: nothing is published.")

# COMMAND ----------

report_rows(dbutils, publish_gold(tables, runs, settings))
