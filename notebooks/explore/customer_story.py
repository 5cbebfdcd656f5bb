# Databricks notebook source
# MAGIC %md
# MAGIC # customer_story
# MAGIC Shows one person's whole story. Set one of the widgets `email`, `phone`, `customer_id` and `person`. No job runs this notebook.
# MAGIC See `docs/identity.md`.
# MAGIC
# MAGIC Read the tables from top to bottom:
# MAGIC
# MAGIC 1. The profile has the value of each attribute, and the record that it comes from.
# MAGIC 2. The records are the customers, contacts, addresses and devices of the person. `evidence` says why a record belongs to them.
# MAGIC 3. The history says when records joined or left the person.
# MAGIC 4. The purchases and events are the newest ones.
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
