# Databricks notebook source
# MAGIC %md
# MAGIC # ingest_events
# MAGIC Lands new and changed files of behavioural events.
# MAGIC
# MAGIC - Reads: `events_path`
# MAGIC - Writes: landed batches of `events/events`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.contracts.bronze import EVENTS_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.secrets import find_secret
from cdp_lib.settings import Settings
from cdp_lib.sources.files import land_json_lines
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
exit_unless(dbutils, settings.ingest, "The parameter ingest is false: this run reads no source.")
exit_unless(dbutils, settings.events_path, "No event files: the variable events_path is empty.")
account_key = find_secret(dbutils, settings.secret_scope, "storage_account_key")

# COMMAND ----------

landing = Landing(settings.landing, account_key)
extraction = landing.extraction(EVENTS_BRONZE.source, settings.batch_id, settings.run_started_at)
batches = land_json_lines(extraction, EVENTS_BRONZE, settings.events_path, account_key=account_key)

# COMMAND ----------

report_rows(dbutils, sum(batch.rows for batch in batches))
