# Databricks notebook source
# MAGIC %md
# MAGIC # ingest_crm
# MAGIC Lands the CRM's contacts: all contacts in the first run, then only changed and removed contacts.
# MAGIC
# MAGIC - Reads: `crm_url` (Dataverse)
# MAGIC - Writes: landed batches of `crm/contacts`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.secrets import find_secret, read_secret
from cdp_lib.settings import Settings
from cdp_lib.sources.dataverse import land_entity
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
exit_unless(dbutils, settings.ingest, "The parameter ingest is false: this run reads no source.")
exit_unless(dbutils, settings.crm_url, "No CRM: the variable crm_url is empty.")
account_key = find_secret(dbutils, settings.secret_scope, "storage_account_key")

# COMMAND ----------

landing = Landing(settings.landing, account_key)
extraction = landing.extraction(CRM_CONTACTS_BRONZE.source, settings.batch_id, settings.run_started_at)
batches = land_entity(
    extraction,
    CRM_CONTACTS_BRONZE,
    settings.crm_url,
    client_id=read_secret(dbutils, settings.secret_scope, "crm_client_id"),
    client_secret=read_secret(dbutils, settings.secret_scope, "crm_client_secret"),
    timeout_seconds=settings.api_timeout_seconds,
    from_scratch=settings.from_scratch,
)

# COMMAND ----------

report_rows(dbutils, sum(batch.rows for batch in batches))
