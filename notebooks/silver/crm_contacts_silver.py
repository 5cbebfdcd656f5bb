# Databricks notebook source
# MAGIC %md
# MAGIC # crm_contacts_silver
# MAGIC One row per contact of the CRM.
# MAGIC
# MAGIC - Reads: batches of `crm_contacts_bronze` that are not in the table yet
# MAGIC - Writes: `crm_contacts_silver`, `crm_contacts_silver_quarantine`, `pipeline_runs_ops`

# COMMAND ----------

import sys
from dataclasses import asdict

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER
from cdp_lib.refresh.batches import refresh_from_batches
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.contacts import build_crm_contacts_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "crm_contacts_silver")

# COMMAND ----------

refreshed = refresh_from_batches(tables, runs, settings, CRM_CONTACTS_SILVER, build_crm_contacts_silver)

# COMMAND ----------

report_rows(dbutils, **asdict(refreshed))
print(refreshed)
