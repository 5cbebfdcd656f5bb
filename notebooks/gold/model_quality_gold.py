# Databricks notebook source
# MAGIC %md
# MAGIC # model_quality_gold
# MAGIC One row per model or baseline, measure and decile, of a forecast from cut_off to as_of compared with what came.
# MAGIC
# MAGIC - Reads: `customer_acquisitions_silver`, `purchases_silver`
# MAGIC - Writes: `model_quality_gold`, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.analytics.holdout import collect_holdout, measure_models
from cdp_lib.business_date import DATED_BY, business_date
from cdp_lib.contracts.analytics import MODEL_QUALITY_GOLD
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "model_quality_gold")
has_none = not runs.history(MODEL_QUALITY_GOLD.name).done
exit_unless(dbutils, settings.fit_models or has_none, "The parameter fit_models is false: no fits to be measured.")

# COMMAND ----------

days = settings.churn_horizon_days
inputs = runs.read_inputs([*DATED_BY, CUSTOMER_ACQUISITIONS_SILVER], as_of=settings.as_of, churn_horizon_days=days)
exit_unless(dbutils, runs.is_due([MODEL_QUALITY_GOLD], inputs), "Nothing it is made from has changed.")
acquisitions, purchases = tables.read_table(CUSTOMER_ACQUISITIONS_SILVER), tables.read_table(PURCHASES_SILVER)
rows = measure_models(collect_holdout(acquisitions, purchases, business_date(tables, settings), days))

# COMMAND ----------

tables.replace_rows(MODEL_QUALITY_GOLD, rows)
runs.finish_tables([MODEL_QUALITY_GOLD], inputs, len(rows))
report_rows(dbutils, len(rows))
