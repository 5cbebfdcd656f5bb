# Databricks notebook source
# MAGIC %md
# MAGIC # cohort_retention_gold
# MAGIC One row per cohort of customers, kind of retention and window.
# MAGIC
# MAGIC - Reads: `customer_acquisitions_silver`, `purchases_silver`, `events_silver`, `customer_links_silver`
# MAGIC - Writes: `cohort_retention_gold`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.business_date import DATED_BY, business_date
from cdp_lib.contracts.analytics import COHORT_RETENTION_GOLD
from cdp_lib.contracts.silver import (
    CUSTOMER_ACQUISITIONS_SILVER,
    CUSTOMER_LINKS_SILVER,
    EVENTS_SILVER,
    PURCHASES_SILVER,
)
from cdp_lib.gold.cohorts import build_cohort_retention_gold
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "cohort_retention_gold")

# COMMAND ----------

reads = [CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER, EVENTS_SILVER, CUSTOMER_LINKS_SILVER]
inputs = runs.read_inputs({*DATED_BY, *reads}, as_of=settings.as_of)
exit_unless(dbutils, runs.is_due([COHORT_RETENTION_GOLD], inputs), "Nothing it is made from has changed.")
rows = build_cohort_retention_gold(*map(tables.read_table, reads), business_date(tables, settings))

# COMMAND ----------

written = tables.replace_tables({COHORT_RETENTION_GOLD: rows})
runs.finish_tables([COHORT_RETENTION_GOLD], inputs, written.rows)
report_rows(dbutils, written.rows)
