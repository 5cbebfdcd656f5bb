# Databricks notebook source
# MAGIC %md
# MAGIC # ingest_exchange_rates
# MAGIC Lands the exchange rates to the reporting currency as one batch, if they have changed.
# MAGIC
# MAGIC - Reads: `exchange_rates_path`
# MAGIC - Writes: landed batches of `finance/exchange_rates`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.contracts.bronze import EXCHANGE_RATES_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.secrets import find_secret
from cdp_lib.settings import Settings
from cdp_lib.sources.files import land_exchange_rates
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
exit_unless(dbutils, settings.ingest, "The parameter ingest is false: this run reads no source.")
exit_unless(dbutils, settings.exchange_rates_path, "No exchange rates: the variable exchange_rates_path is empty.")
account_key = find_secret(dbutils, settings.secret_scope, "storage_account_key")

# COMMAND ----------

landing = Landing(settings.landing, account_key)
extraction = landing.extraction(EXCHANGE_RATES_BRONZE.source, settings.batch_id, settings.run_started_at)
batches = land_exchange_rates(
    extraction,
    EXCHANGE_RATES_BRONZE,
    settings.exchange_rates_path,
    reporting_currency=settings.reporting_currency,
    account_key=account_key,
)

# COMMAND ----------

report_rows(dbutils, sum(batch.rows for batch in batches))
