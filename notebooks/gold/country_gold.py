# Databricks notebook source
# MAGIC %md
# MAGIC # Marts by the customers' country
# MAGIC - `sales_by_country_gold`: One row per country in which customers bought.
# MAGIC - `category_country_performance_gold`: One row per country and product category bought there.
# MAGIC - `country_detailed_analysis_gold`: One row per country in which customers bought.
# MAGIC
# MAGIC - Reads: `retails_silver` up to `as_of`
# MAGIC - Writes: the tables above, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.columns import is_until
from cdp_lib.contracts.gold import (
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    COUNTRY_DETAILED_ANALYSIS_GOLD,
    SALES_BY_COUNTRY_GOLD,
)
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.countries import (
    build_category_country_performance_gold,
    build_country_detailed_analysis_gold,
    build_sales_by_country_gold,
)
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "country_gold")

# COMMAND ----------

inputs = runs.read_inputs([RETAILS_SILVER], as_of=settings.as_of)
sales = tables.read_table(RETAILS_SILVER).where(is_until("transaction_date", settings.as_of))
rows_by_contract = {
    SALES_BY_COUNTRY_GOLD: build_sales_by_country_gold(sales),
    CATEGORY_COUNTRY_PERFORMANCE_GOLD: build_category_country_performance_gold(sales),
    COUNTRY_DETAILED_ANALYSIS_GOLD: build_country_detailed_analysis_gold(sales),
}
exit_unless(dbutils, runs.is_due(rows_by_contract, inputs), "Nothing they are made from has changed.")

# COMMAND ----------

written = tables.replace_tables(rows_by_contract)
runs.finish_tables(rows_by_contract, inputs, written.rows)
report_rows(dbutils, written.rows)
