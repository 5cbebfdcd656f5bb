# Databricks notebook source
# MAGIC %md
# MAGIC # customers_and_segments
# MAGIC Shows who the customers are, what they are worth, and which of them are about to leave. No job runs this notebook. Set the
# MAGIC widgets `catalog` and `schema`. `docs/kpis.md` defines the segments and figures.
# MAGIC
# MAGIC The column `bar` shows a figure as a bar. For a chart, press **+** above a table and choose **Visualization**. Figures of a few
# MAGIC people are not withheld: keep them in the team.
# MAGIC
# MAGIC - Reads: `customer_value_gold`, `segment_movements_gold`, `customer_demographics_gold`
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
# MAGIC ## Segments
# MAGIC Act first on a segment with much revenue and a high churn probability. `predictive_clv` is the margin that a customer will
# MAGIC probably bring in within the horizon of the settings. It is null without a prediction.

# COMMAND ----------

display(figures.segments())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Movements
# MAGIC Customers whose segment changed within a month. Many movements from a good segment into a bad one call for a campaign.

# COMMAND ----------

display(figures.movements())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Concentration
# MAGIC Revenue of each tenth of the buyers, the best tenth first. In many shops, the first two tenths bring in more than half.

# COMMAND ----------

display(figures.tenths())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Ages
# MAGIC Customers of each age. The age is null if no linked contact of the CRM has a day of birth.

# COMMAND ----------

display(figures.ages())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Predictions
# MAGIC `prediction_state` says whether a customer has a prediction, and why not.

# COMMAND ----------

display(figures.predictions())
