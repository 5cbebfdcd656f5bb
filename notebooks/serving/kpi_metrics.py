# Databricks notebook source
# MAGIC %md
# MAGIC # kpi_metrics
# MAGIC Metric views of the KPIs, one per dimension: on Databricks alone. What each KPI is stands in `docs/kpis.md`.
# MAGIC
# MAGIC - Reads: `kpi_monthly_gold`, through the serving view `kpis`
# MAGIC - Writes: the metric views `kpi_metrics`, `country_kpi_metrics`, `channel_kpi_metrics`, `segment_kpi_metrics`,
# MAGIC   `category_kpi_metrics`, `consent_channel_kpi_metrics`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.metric_views import metric_views
from cdp_lib.settings import Settings
from cdp_lib.storage import open_store
from cdp_lib.task_values import exit_unless

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
dbutils.widgets.text("serving_schema", "")
serving = open_store(spark, settings.catalog, dbutils.widgets.get("serving_schema"))
exit_unless(dbutils, serving.is_databricks, "Only Databricks has metric views: there are none on this engine.")

# COMMAND ----------

definitions = metric_views(serving.name_of("kpis"), settings.reporting_currency)

# COMMAND ----------

serving.create_metric_views(definitions)
