# Databricks notebook source
# MAGIC %md
# MAGIC # kpi_monthly_gold
# MAGIC One row per month, dimension, value of it and KPI. What each KPI is stands in `docs/kpis.md`.
# MAGIC
# MAGIC - Reads: the silver tables of customers, contacts, links, events, sales, spend and rates, `customer_value_gold`, `category_monthly_sales_gold`
# MAGIC - Writes: `kpi_monthly_gold`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.business_date import agreed_date
from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD, KPI_MONTHLY_GOLD
from cdp_lib.contracts.gold import CATEGORY_MONTHLY_SALES_GOLD
from cdp_lib.contracts.silver import (
    CRM_CONTACTS_SILVER,
    CUSTOMERS_SILVER,
    CUSTOMER_LINKS_SILVER,
    EVENTS_SILVER,
    EXCHANGE_RATES_SILVER,
    MARKETING_SPEND_SILVER,
    PURCHASES_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.gold.kpis.monthly import KpiSources, build_kpi_monthly_gold
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "kpi_monthly_gold")

# COMMAND ----------

reads = [
    CRM_CONTACTS_SILVER,
    CUSTOMERS_SILVER,
    CUSTOMER_LINKS_SILVER,
    EVENTS_SILVER,
    EXCHANGE_RATES_SILVER,
    MARKETING_SPEND_SILVER,
    RETAILS_SILVER,
    PURCHASES_SILVER,
    CATEGORY_MONTHLY_SALES_GOLD,
    CUSTOMER_VALUE_GOLD,
]
inputs = runs.read_inputs(reads, as_of=settings.as_of, gross_margin=settings.gross_margin)
exit_unless(dbutils, runs.is_due([KPI_MONTHLY_GOLD], inputs), "Nothing it is made from has changed.")
sources = KpiSources(**{contract.name: tables.read_table(contract) for contract in reads})
rows = build_kpi_monthly_gold(sources, agreed_date(tables, settings, CUSTOMER_VALUE_GOLD), settings.gross_margin)

# COMMAND ----------

written = tables.replace_tables({KPI_MONTHLY_GOLD: rows})
runs.finish_tables([KPI_MONTHLY_GOLD], inputs, written.rows)
report_rows(dbutils, written.rows)
