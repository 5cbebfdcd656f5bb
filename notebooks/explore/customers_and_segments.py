# Databricks notebook source
# MAGIC %md
# MAGIC # customers_and_segments
# MAGIC Shows who the customers are, what they are worth, and which of them are about to leave. No job runs this notebook. Set the
# MAGIC widgets `catalog` and `schema`. `docs/kpis.md` defines the segments and figures.
# MAGIC
# MAGIC The column `bar` shows the figure next to it. For a chart, press **+** above a table and choose **Visualization**. All figures
# MAGIC are for the team: groups of a few people are not withheld.
# MAGIC
# MAGIC - Reads: `customer_value_gold`, `segment_movements_gold`, `customer_demographics_gold`
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
value = store.read(TABLES["customer_value_gold"])

# COMMAND ----------

# MAGIC %md
# MAGIC ## Segments
# MAGIC A segment with much revenue and a high churn probability is the first one to act on. `clv` is the margin that a customer will
# MAGIC probably bring in within the horizon of the settings. It is null without a prediction.

# COMMAND ----------

segments = value.groupBy("segment").agg(
    sf.count("*").alias("customers"),
    sf.sum("total_revenue").alias("revenue"),
    sf.round(sf.avg("recency_days")).alias("days_since_purchase"),
    sf.round(sf.avg("churn_probability"), 3).alias("churn_probability"),
    sf.round(sf.avg("predictive_clv"), 2).alias("clv"),
)
print("Customers by segment")
display(segments.withColumn("bar", bar("revenue")).orderBy(sf.desc("revenue")))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Movements
# MAGIC Customers whose segment changed within a month. Many movements from a good segment into a bad one call for a campaign.

# COMMAND ----------

movements = store.read(TABLES["segment_movements_gold"]).where("from_segment <> to_segment")
print("Largest movements between segments")
display(movements.select("from_segment", "to_segment", "customer_count").orderBy(sf.desc("customer_count")).limit(15))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Concentration
# MAGIC Revenue of each tenth of the buyers, the best tenth first. In most shops, the first two tenths bring in more than half.

# COMMAND ----------

buyers = value.where("transaction_count > 0")
tenths = (
    buyers.selectExpr("total_revenue", "ntile(10) OVER (ORDER BY total_revenue DESC, person_id) AS tenth")
    .groupBy("tenth")
    .agg(sf.count("*").alias("customers"), sf.sum("total_revenue").alias("revenue"))
)
print("Revenue by tenth of the buyers")
display(tenths.withColumn("bar", bar("revenue")).orderBy("tenth"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Ages
# MAGIC Customers of each age. An unknown age is null: no contact of the CRM is linked to the customer, or it has no day of birth.

# COMMAND ----------

ages = store.read(TABLES["customer_demographics_gold"]).groupBy("age_band").agg(sf.count("*").alias("customers"))
print("Customers by age")
display(ages.withColumn("bar", bar("customers")).orderBy("age_band"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Predictions
# MAGIC `prediction_state` says whether a customer has a prediction, and why not.

# COMMAND ----------

print("Customers by state of the prediction")
display(value.groupBy("prediction_state").agg(sf.count("*").alias("customers")).orderBy(sf.desc("customers")))
