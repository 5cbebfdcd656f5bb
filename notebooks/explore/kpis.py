# Databricks notebook source
# MAGIC %md
# MAGIC # kpis
# MAGIC Shows how the KPIs move, as charts of bars. No job runs this notebook. Set the widgets `catalog` and `schema`. `docs/kpis.md`
# MAGIC defines each KPI.
# MAGIC
# MAGIC The column `bar` shows a figure as a bar. For a chart, press **+** above a table and choose **Visualization**. The last month
# MAGIC ends at `as_of`: it may not be over.
# MAGIC
# MAGIC - Reads: `kpi_monthly_gold`
# MAGIC - Writes: nothing

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.explore import Figures

# COMMAND ----------

figures = Figures(dbutils, spark)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Sales
# MAGIC Compare a month with the same month of the year before: most shops have seasons.

# COMMAND ----------

display(figures.kpi_by_month("revenue"))

# COMMAND ----------

display(figures.kpi_of_latest_month("revenue", "category"))

# COMMAND ----------

display(figures.kpi_of_latest_month("revenue", "country"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Customers
# MAGIC `retention_rate` is the share of the customers of the month before who buy again. `active_customers` grows only if more customers
# MAGIC join or return than leave.

# COMMAND ----------

display(figures.kpi_by_month("active_customers"))

# COMMAND ----------

display(figures.kpi_by_month("retention_rate"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Marketing
# MAGIC `cac` is the money spent for a new customer. It should stay below the value of a customer, `clv_historic`.

# COMMAND ----------

display(figures.kpi_by_month("cac"))

# COMMAND ----------

display(figures.kpi_by_month("clv_historic"))

# COMMAND ----------

display(figures.kpi_of_latest_month("new_customers", "channel"))
