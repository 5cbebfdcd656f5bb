# Databricks notebook source
# MAGIC %md
# MAGIC # Marts of customers, whether or not they bought
# MAGIC - `customer_registration_trends_gold`: One row per month and country in which customers registered, whether or not they bought.
# MAGIC
# MAGIC - Reads: `customers_silver` up to `as_of`
# MAGIC - Writes: the tables above, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.columns import is_until
from cdp_lib.contracts.gold import CUSTOMER_REGISTRATION_TRENDS_GOLD
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.gold.customers import build_customer_registration_trends_gold
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "customer_gold")

# COMMAND ----------

inputs = runs.read_inputs([CUSTOMERS_SILVER], as_of=settings.as_of)
customers = tables.read_table(CUSTOMERS_SILVER).where(is_until("registration_date", settings.as_of))
rows_by_contract = {
    CUSTOMER_REGISTRATION_TRENDS_GOLD: build_customer_registration_trends_gold(customers),
}
exit_unless(dbutils, runs.is_due(rows_by_contract, inputs), "Nothing they are made from has changed.")

# COMMAND ----------

written = tables.replace_tables(rows_by_contract)
runs.finish_tables(rows_by_contract, inputs, written.rows)
report_rows(dbutils, written.rows)
