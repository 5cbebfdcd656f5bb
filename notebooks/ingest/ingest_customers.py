# Databricks notebook source
# MAGIC %md
# MAGIC # ingest_customers
# MAGIC Lands the customers of the API as one batch, if they have changed.
# MAGIC
# MAGIC - Reads: `customers_api_url`
# MAGIC - Writes: landed batches of `customers_api/customers`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.secrets import find_secret
from cdp_lib.settings import Settings
from cdp_lib.sources.rest_api import land_records
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
exit_unless(dbutils, settings.ingest, "The parameter ingest is false: this run reads no source.")
exit_unless(dbutils, settings.customers_api_url, "No customers API: the variable customers_api_url is empty.")
account_key = find_secret(dbutils, settings.secret_scope, "storage_account_key")

# COMMAND ----------

landing = Landing(settings.landing, account_key)
extraction = landing.extraction(CUSTOMERS_BRONZE.source, settings.batch_id, settings.run_started_at)
batches = land_records(
    extraction,
    CUSTOMERS_BRONZE,
    settings.customers_api_url,
    token=find_secret(dbutils, settings.secret_scope, "api_token"),
    timeout_seconds=settings.api_timeout_seconds,
    from_scratch=settings.from_scratch,
)

# COMMAND ----------

report_rows(dbutils, sum(batch.rows for batch in batches))
