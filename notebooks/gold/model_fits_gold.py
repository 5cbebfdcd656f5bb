# Databricks notebook source
# MAGIC %md
# MAGIC # model_fits_gold
# MAGIC One row per fit of a model, kept for ever: what customers are predicted by.
# MAGIC
# MAGIC - Reads: `customer_acquisitions_silver`, `purchases_silver`
# MAGIC - Writes: `model_fits_gold`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.analytics.predictions import fit_customers, with_history
from cdp_lib.analytics.summaries import build_customer_summaries
from cdp_lib.business_date import DATED_BY, business_date
from cdp_lib.contracts.analytics import MODEL_FITS_GOLD
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.model_fits import record_fits
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "model_fits_gold")
has_none = not runs.history(MODEL_FITS_GOLD.name).done
exit_unless(dbutils, settings.fit_models or has_none, "The parameter fit_models is false: the latest fits are used.")

# COMMAND ----------

inputs = runs.read_inputs([*DATED_BY, CUSTOMER_ACQUISITIONS_SILVER], as_of=settings.as_of)
exit_unless(dbutils, runs.is_due([MODEL_FITS_GOLD], inputs), "Nothing they are made from has changed.")
as_of = business_date(tables, settings)
acquisitions, purchases = tables.read_table(CUSTOMER_ACQUISITIONS_SILVER), tables.read_table(PURCHASES_SILVER)
fits = fit_customers(with_history(build_customer_summaries(acquisitions, purchases, as_of)))

# COMMAND ----------

versions = record_fits(tables, fits, as_of, settings.run_started_at)
runs.finish_tables([MODEL_FITS_GOLD], inputs, len(versions))
report_rows(dbutils, len(versions))
