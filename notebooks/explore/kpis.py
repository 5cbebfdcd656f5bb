# Databricks notebook source
# MAGIC %md
# MAGIC # kpis
# MAGIC Shows how the KPIs move, as charts of bars. No job runs this notebook. Set the widgets `catalog` and `schema`. `docs/kpis.md`
# MAGIC defines each KPI.
# MAGIC
# MAGIC The column `bar` shows the value of a row relative to the largest value of its table. For another chart, press **+** above a table
# MAGIC and choose **Visualization**. The last month ends at `as_of`: it may not be over.
# MAGIC
# MAGIC - Reads: `kpi_monthly_gold`
# MAGIC - Writes: nothing

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from pyspark.sql import functions as sf

from cdp_lib.contracts import TABLES
from cdp_lib.explore import bar
from cdp_lib.storage import open_store

# COMMAND ----------

for name in ("catalog", "schema"):
    dbutils.widgets.text(name, "")
store = open_store(spark, dbutils.widgets.get("catalog"), dbutils.widgets.get("schema"))
kpis = store.read(TABLES["kpi_monthly_gold"]).where("value IS NOT NULL")
month = kpis.agg(sf.max("month")).first()[0]


def show_months(kpi: str) -> None:
    """Show one KPI of the whole shop by month."""
    rows = kpis.where((sf.col("kpi") == kpi) & (sf.col("dimension") == "all"))
    print(f"{kpi} by month")
    display(rows.select("month", sf.round("value", 4).alias("value"), bar("value").alias("bar")).orderBy("month"))


def show_values(kpi: str, dimension: str) -> None:
    """Show one KPI of the latest month by the values of a dimension."""
    rows = kpis.where((sf.col("kpi") == kpi) & (sf.col("dimension") == dimension) & (sf.col("month") == month))
    print(f"{kpi} by {dimension}, {month:%Y-%m}")
    shown = rows.select("dimension_value", sf.round("value", 4).alias("value"), bar("value").alias("bar"))
    display(shown.orderBy(sf.desc("value"), "dimension_value"))


# COMMAND ----------

# MAGIC %md
# MAGIC ## Sales
# MAGIC Compare a month with the same month of the year before: most shops have seasons.

# COMMAND ----------

show_months("revenue")

# COMMAND ----------

show_values("revenue", "category")

# COMMAND ----------

show_values("revenue", "country")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Customers
# MAGIC `retention_rate` is the share of the customers of a month who buy again in the next month. `active_customers` grows only if more
# MAGIC customers join or return than leave.

# COMMAND ----------

show_months("active_customers")

# COMMAND ----------

show_months("retention_rate")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Marketing
# MAGIC `cac` is the money spent for a new customer. It should stay below the value of a customer (`clv_historic`).

# COMMAND ----------

show_months("cac")

# COMMAND ----------

show_months("clv_historic")

# COMMAND ----------

show_values("new_customers", "channel")
