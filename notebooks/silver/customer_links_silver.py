# Databricks notebook source
# MAGIC %md
# MAGIC # customer_links_silver
# MAGIC One row per contact of the CRM and per identity that events name; the only place that says who is whom.
# MAGIC
# MAGIC - Reads: `customers_silver`, `crm_contacts_silver`, `events_silver`, where one has changed
# MAGIC - Writes: `customer_links_silver`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMERS_SILVER, CUSTOMER_LINKS_SILVER, EVENTS_SILVER
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.links import build_customer_links_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "customer_links_silver")

# COMMAND ----------

inputs = runs.read_inputs([CUSTOMERS_SILVER, CRM_CONTACTS_SILVER, EVENTS_SILVER])
exit_unless(dbutils, runs.is_due([CUSTOMER_LINKS_SILVER], inputs), "Nothing it is made from has changed.")
rows = build_customer_links_silver(
    tables.read_table(CUSTOMERS_SILVER), tables.read_table(CRM_CONTACTS_SILVER), tables.read_table(EVENTS_SILVER)
)

# COMMAND ----------

written = tables.replace_tables({CUSTOMER_LINKS_SILVER: rows})
runs.finish_tables([CUSTOMER_LINKS_SILVER], inputs, written.rows)
report_rows(dbutils, written.rows)
