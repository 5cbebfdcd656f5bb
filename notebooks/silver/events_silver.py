# Databricks notebook source
# MAGIC %md
# MAGIC # events_silver
# MAGIC One row per event on the web, in the app or of an e-mail.
# MAGIC
# MAGIC - Reads: batches of `events_bronze` that are not in the table yet
# MAGIC - Writes: `events_silver`, `events_silver_quarantine`, `pipeline_runs_ops`

# COMMAND ----------

import sys
from dataclasses import asdict

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.silver import EVENTS_SILVER
from cdp_lib.refresh.batches import refresh_from_batches
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.events import build_events_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "events_silver")

# COMMAND ----------

refreshed = refresh_from_batches(tables, runs, settings, EVENTS_SILVER, build_events_silver)

# COMMAND ----------

report_rows(dbutils, **asdict(refreshed))
print(refreshed)
