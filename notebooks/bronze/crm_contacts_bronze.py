# Databricks notebook source
# MAGIC %md
# MAGIC # crm_contacts_bronze
# MAGIC One row per version or removal of a contact in a landed batch of the CRM.
# MAGIC
# MAGIC - Reads: landed batches of `crm/contacts` that are not in the table yet
# MAGIC - Writes: `crm_contacts_bronze`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.bronze import build_batches, unloaded_batches
from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.runs import RunLog
from cdp_lib.secrets import find_secret
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "crm_contacts_bronze")
landing = Landing(settings.landing, find_secret(dbutils, settings.secret_scope, "storage_account_key"))

# COMMAND ----------

loaded = settings.without_replayed(tables.read_batch_ids(CRM_CONTACTS_BRONZE))
batches = unloaded_batches(landing, CRM_CONTACTS_BRONZE, loaded)
rows_by_batch = build_batches(spark, landing, batches, CRM_CONTACTS_BRONZE)

# COMMAND ----------

written = tables.replace_batches(CRM_CONTACTS_BRONZE, rows_by_batch)
runs.finish_batches(CRM_CONTACTS_BRONZE, {batch.batch_id: batch.rows for batch in batches}, written.rows_by_batch)
report_rows(dbutils, written.rows, new_columns=written.new_columns)
print(written)
