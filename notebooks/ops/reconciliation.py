# Databricks notebook source
# MAGIC %md
# MAGIC # reconciliation
# MAGIC Whether every row of every batch is accounted for: rows in = out + quarantined + superseded.
# MAGIC
# MAGIC - Reads: bronze and silver tables and their quarantines, `table_state_ops`
# MAGIC - Writes: `reconciliation_ops`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.reconciliation import reconcile, record_reconciliation, refuse_imbalance
from cdp_lib.settings import Settings
from cdp_lib.storage import open_store
from cdp_lib.task_values import report_held, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
dbutils.widgets.text("held", "")
held = dbutils.widgets.get("held").split()
store = open_store(spark, settings.catalog, settings.schema)

# COMMAND ----------

accounts = reconcile(store, held=held, only_changed=True)

# COMMAND ----------

report_held(dbutils, [*held, *record_reconciliation(store, accounts)])
report_rows(dbutils, len(accounts))
refuse_imbalance(accounts)
