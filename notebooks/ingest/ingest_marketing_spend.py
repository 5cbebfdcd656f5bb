# Databricks notebook source
# MAGIC %md
# MAGIC # ingest_marketing_spend
# MAGIC Lands new and corrected files of marketing spend.
# MAGIC
# MAGIC - Reads: `marketing_spend_path`
# MAGIC - Writes: landed batches of `marketing/marketing_spend`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.contracts.bronze import MARKETING_SPEND_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.secrets import find_secret
from cdp_lib.settings import Settings
from cdp_lib.sources.files import land_csv
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
exit_unless(dbutils, settings.ingest, "The parameter ingest is false: this run reads no source.")
exit_unless(dbutils, settings.marketing_spend_path, "No marketing spend: the variable marketing_spend_path is empty.")
account_key = find_secret(dbutils, settings.secret_scope, "storage_account_key")

# COMMAND ----------

landing = Landing(settings.landing, account_key)
extraction = landing.extraction(MARKETING_SPEND_BRONZE.source, settings.batch_id, settings.run_started_at)
batches = land_csv(extraction, MARKETING_SPEND_BRONZE, settings.marketing_spend_path, account_key=account_key)

# COMMAND ----------

report_rows(dbutils, sum(batch.rows for batch in batches))
