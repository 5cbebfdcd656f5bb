# Databricks notebook source
# MAGIC %md
# MAGIC # customer_demographics_gold
# MAGIC One row per customer, enriched from the CRM and a reference table of countries; unknown is null, never a guess.
# MAGIC
# MAGIC - Reads: `customers_silver`, `customer_acquisitions_silver`, `crm_contacts_silver`, `customer_links_silver`, `retails_silver` and `events_silver` up to `as_of`; the countries that come with the library
# MAGIC - Writes: `customer_demographics_gold`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.business_date import DATED_BY, business_date
from cdp_lib.contracts.analytics import CUSTOMER_DEMOGRAPHICS_GOLD
from cdp_lib.contracts.silver import (
    CRM_CONTACTS_SILVER,
    CUSTOMER_ACQUISITIONS_SILVER,
    CUSTOMER_LINKS_SILVER,
    CUSTOMERS_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.gold.demographics import build_customer_demographics_gold
from cdp_lib.reference.countries import countries_by_name
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "customer_demographics_gold")

# COMMAND ----------

reads = [CUSTOMERS_SILVER, CUSTOMER_ACQUISITIONS_SILVER, CRM_CONTACTS_SILVER, CUSTOMER_LINKS_SILVER, RETAILS_SILVER]
inputs = runs.read_inputs({*DATED_BY, *reads}, as_of=settings.as_of)
exit_unless(dbutils, runs.is_due([CUSTOMER_DEMOGRAPHICS_GOLD], inputs), "Nothing it is made from has changed.")
as_of = business_date(tables, settings)
rows = build_customer_demographics_gold(*map(tables.read_table, reads), countries_by_name(spark), as_of)

# COMMAND ----------

written = tables.replace_tables({CUSTOMER_DEMOGRAPHICS_GOLD: rows})
runs.finish_tables([CUSTOMER_DEMOGRAPHICS_GOLD], inputs, written.rows)
report_rows(dbutils, written.rows)
