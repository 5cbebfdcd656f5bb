# Databricks notebook source
# MAGIC %md
# MAGIC # customer_value_gold
# MAGIC One row per customer of the platform, whether or not they ever bought.
# MAGIC
# MAGIC - Reads: `customer_acquisitions_silver`, `purchases_silver`, `model_fits_gold`
# MAGIC - Writes: `customer_value_gold`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.analytics.predictions import CustomerFits, Terms, collect_histories, with_history, with_predictions
from cdp_lib.analytics.rfm import with_rfm
from cdp_lib.analytics.summaries import build_customer_summaries
from cdp_lib.business_date import DATED_BY, business_date
from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD, MODEL_FITS_GOLD
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.gold.value import build_customer_value_gold
from cdp_lib.model_fits import find_fits
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "customer_value_gold")
terms = Terms(
    settings.churn_horizon_days, settings.clv_horizon_months, settings.gross_margin, settings.annual_discount_rate
)

# COMMAND ----------

reads = [*DATED_BY, CUSTOMER_ACQUISITIONS_SILVER, MODEL_FITS_GOLD]
inputs = runs.read_inputs(reads, as_of=settings.as_of, terms=terms)
exit_unless(dbutils, runs.is_due([CUSTOMER_VALUE_GOLD], inputs), "Nothing it is made from has changed.")
as_of = business_date(tables, settings)
acquisitions, purchases = tables.read_table(CUSTOMER_ACQUISITIONS_SILVER), tables.read_table(PURCHASES_SILVER)
customers = with_history(build_customer_summaries(acquisitions, purchases, as_of))
kept = find_fits(tables, as_of)
fits = CustomerFits(kept.purchases, kept.spend, collect_histories(customers))
value = build_customer_value_gold(
    with_predictions(with_rfm(customers), fits, terms), as_of, settings.gross_margin, *kept.versions
)

# COMMAND ----------

written = tables.replace_tables({CUSTOMER_VALUE_GOLD: value})
runs.finish_tables([CUSTOMER_VALUE_GOLD], inputs, written.rows)
report_rows(dbutils, written.rows)
