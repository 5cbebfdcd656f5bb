# Databricks notebook source
# MAGIC %md
# MAGIC # data_quality
# MAGIC Shows whether the figures can be trusted: which rows were rejected or lack a value, whether rows were lost, and how fresh the
# MAGIC tables are. No job runs this notebook. Set the widgets `catalog` and `schema`. See `docs/data-quality.md`.
# MAGIC
# MAGIC - Reads: `*_quarantine`, `reconciliation_ops`, `pipeline_runs_ops`, `retails_silver`
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
# MAGIC ## Rejected rows
# MAGIC A row in quarantine breaks a rule. It returns to its table when the source corrects it. A row that breaks several rules counts
# MAGIC once for each rule.

# COMMAND ----------

display(figures.rejected_rows())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Warnings
# MAGIC A row with a warning is in its table and in the figures, but lacks an optional value or looks wrong.

# COMMAND ----------

display(figures.warnings_of_sales())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Reconciliation
# MAGIC Every row that came in is in the table, in quarantine, or was replaced: `rows_in` = `rows_out` + `rows_quarantined` +
# MAGIC `rows_superseded`. If `is_balanced` is false, rows were lost or counted twice, and gold is not built from the table.

# COMMAND ----------

display(figures.reconciliation())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Freshness
# MAGIC When each table last changed, and how long its slowest refresh took. A failed refresh leaves a table as it was.

# COMMAND ----------

display(figures.slowest_tables())
