# Databricks notebook source
# MAGIC %md
# MAGIC # data_quality
# MAGIC Shows whether the figures can be trusted: which rows were rejected or lack a value, whether rows were lost, and how fresh the
# MAGIC tables are. No job runs this notebook. Set the widgets `catalog`, `schema` and `serving_schema`. See `docs/data-quality.md`.
# MAGIC
# MAGIC - Reads: the view `quarantined_rows`; `reconciliation_ops`, `pipeline_runs_ops`, `retails_silver`
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

for name in ("catalog", "schema", "serving_schema"):
    dbutils.widgets.text(name, "")
catalog, schema = dbutils.widgets.get("catalog"), dbutils.widgets.get("schema")
serving_schema = dbutils.widgets.get("serving_schema") or f"{schema}_serving"
store = open_store(spark, catalog, schema)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Rejected rows
# MAGIC A row in quarantine breaks a rule. It returns to its table when the source corrects it. A row that breaks several rules counts
# MAGIC once for each rule.

# COMMAND ----------

print("Rows in quarantine by rule")
display(spark.table(f"{catalog}.{serving_schema}.quarantined_rows").orderBy(sf.desc("rows")))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Warnings
# MAGIC A row with a warning is in its table and in the figures, but lacks an optional value or looks wrong.

# COMMAND ----------

warned = store.read(TABLES["retails_silver"]).select(sf.explode("_warnings").alias("rule"))
warned = warned.groupBy("rule").agg(sf.count("*").alias("rows"))
print("Warnings of sales by rule")
display(warned.withColumn("bar", bar("rows")).orderBy(sf.desc("rows")))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Reconciliation
# MAGIC Every row that came in is in the table, in quarantine, or was replaced: `rows_in` = `rows_out` + `rows_quarantined` +
# MAGIC `rows_superseded`. If `is_balanced` is false, rows were lost or counted twice, and gold is not built from the table.

# COMMAND ----------

counted = store.read(TABLES["reconciliation_ops"]).where("batch_id = 'all'").drop("batch_id", "counted_version")
counted = counted.withColumn("rejected", sf.round(sf.col("rows_quarantined") / sf.nullif("rows_in", sf.lit(0)), 5))
print("Rows in and out by table")
display(counted.orderBy("table_name"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Freshness
# MAGIC When each table last changed, and how long its refresh took. A failed refresh leaves a table as it was.

# COMMAND ----------

runs = store.read(TABLES["pipeline_runs_ops"])
latest = runs.groupBy("table_name").agg(sf.max("started_at").alias("changed_at"), sf.max("seconds").alias("seconds"))
print("Slowest tables")
display(latest.withColumn("bar", bar("seconds")).orderBy(sf.desc("seconds")).limit(20))
