# Databricks notebook source
# MAGIC %md
# MAGIC # identity
# MAGIC Shows why two records belong to one person, or what is missing, and tries other rules. Set the widgets `a` and `b` to keys of
# MAGIC records, such as `customer:101`, or to numbers of persons. Set `tried_rules` to the path of another file of rules to see
# MAGIC which persons would merge and split. No job runs this notebook. See `docs/identity.md`.
# MAGIC
# MAGIC - Reads: `identity_records_silver`, `identity_edges_silver`, `identity_overrides_silver`, `person_links_silver`; for a plan,
# MAGIC   also `customers_silver`, `crm_contacts_silver`, `events_silver`, `retails_silver`
# MAGIC - Writes: nothing

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.identity.explore import Explorer

# COMMAND ----------

explorer = Explorer(dbutils, spark)

# COMMAND ----------

explorer.explain(print)

# COMMAND ----------

explorer.plan(print)
