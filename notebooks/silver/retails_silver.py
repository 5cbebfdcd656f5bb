# Databricks notebook source
# MAGIC %md
# MAGIC # retails_silver
# MAGIC One row per sale that names a known customer, product and store.
# MAGIC
# MAGIC - Reads: `transactions_silver`, `customers_silver`, `products_silver`, `stores_silver`
# MAGIC - Writes: `retails_silver`, `retails_silver_quarantine`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.contracts.silver import (
    CUSTOMERS_SILVER,
    PRODUCTS_SILVER,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.quality import check_rows
from cdp_lib.settings import Settings
from cdp_lib.silver.retails import build_retails_silver
from cdp_lib.tables import Tables
from cdp_lib.task_values import report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)

# COMMAND ----------

rows = build_retails_silver(
    tables.read_table(TRANSACTIONS_SILVER),
    tables.read_table(CUSTOMERS_SILVER),
    tables.read_table(PRODUCTS_SILVER),
    tables.read_table(STORES_SILVER),
)
checked = check_rows(rows, RETAILS_SILVER)

# COMMAND ----------

written = tables.replace_checked(RETAILS_SILVER, checked)
report_rows(dbutils, written.rows, written.quarantined, written.superseded)
