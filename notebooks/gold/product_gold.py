# Databricks notebook source
# MAGIC %md
# MAGIC # Marts by product
# MAGIC - `product_performance_gold`: One row per product sold.
# MAGIC - `price_segment_analysis_gold`: One row per price segment and product category sold.
# MAGIC - `customer_product_affinity_gold`: One row per customer and product the customer bought.
# MAGIC
# MAGIC - Reads: `retails_silver` up to `as_of`
# MAGIC - Writes: the tables above, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.columns import is_until
from cdp_lib.contracts.gold import CUSTOMER_PRODUCT_AFFINITY_GOLD, PRICE_SEGMENT_ANALYSIS_GOLD, PRODUCT_PERFORMANCE_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.products import (
    build_customer_product_affinity_gold,
    build_price_segment_analysis_gold,
    build_product_performance_gold,
)
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "product_gold")

# COMMAND ----------

inputs = runs.read_inputs([RETAILS_SILVER], as_of=settings.as_of)
sales = tables.read_table(RETAILS_SILVER).where(is_until("transaction_date", settings.as_of))
rows_by_contract = {
    PRODUCT_PERFORMANCE_GOLD: build_product_performance_gold(sales),
    PRICE_SEGMENT_ANALYSIS_GOLD: build_price_segment_analysis_gold(sales),
    CUSTOMER_PRODUCT_AFFINITY_GOLD: build_customer_product_affinity_gold(sales),
}
exit_unless(dbutils, runs.is_due(rows_by_contract, inputs), "Nothing they are made from has changed.")

# COMMAND ----------

written = tables.replace_tables(rows_by_contract)
runs.finish_tables(rows_by_contract, inputs, written.rows)
report_rows(dbutils, written.rows)
