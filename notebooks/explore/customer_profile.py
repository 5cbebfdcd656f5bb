# Databricks notebook source
# MAGIC %md
# MAGIC # customer_profile
# MAGIC Shows one person's whole story: profile with the source of each value, records and why they are linked, history, purchases
# MAGIC and events. Set one of the widgets `email`, `phone`, `customer_id` and `person`. No job runs this notebook. See
# MAGIC `docs/identity.md`.
# MAGIC
# MAGIC - Reads: `person_lookup_gold`, `customer_profile_gold`, `person_links_silver`, `person_history_silver`, `retails_silver`,
# MAGIC   `events_silver`
# MAGIC - Writes: nothing

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.identity.explore import Explorer

# COMMAND ----------

explorer = Explorer(dbutils, spark)

# COMMAND ----------

persons = explorer.find_persons(print)

# COMMAND ----------

explorer.show_person(persons, print, display)
