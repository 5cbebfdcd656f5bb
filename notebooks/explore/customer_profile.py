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

from cdp_lib.identity.story import find_persons, tables_of_person
from cdp_lib.storage import open_store

# COMMAND ----------

for name in ("catalog", "schema", "email", "phone", "country", "customer_id", "person"):
    dbutils.widgets.text(name, "")
store = open_store(spark, dbutils.widgets.get("catalog"), dbutils.widgets.get("schema"))

# COMMAND ----------

typed = {kind: dbutils.widgets.get(kind) for kind in ("email", "phone", "customer_id")}
country = dbutils.widgets.get("country")
persons = [int(dbutils.widgets.get("person"))] if dbutils.widgets.get("person") else []
for kind, text in typed.items():
    persons += find_persons(store, kind, text, country) if text and not persons else []
print(f"Persons: {', '.join(map(str, persons)) or 'none'}")

# COMMAND ----------

for title, rows in (tables_of_person(store, persons[0]) if persons else {}).items():
    print(title)
    display(rows)
