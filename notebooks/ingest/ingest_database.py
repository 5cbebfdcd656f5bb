# Databricks notebook source
# MAGIC %md
# MAGIC # ingest_database
# MAGIC Lands the tables of the transactional database: small tables as snapshots, and only the changed rows of large tables.
# MAGIC
# MAGIC - Reads: the database at the address in the secret `database_url`
# MAGIC - Writes: landed batches of `database/…`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.contracts.bronze import tables_of
from cdp_lib.landing import Landing
from cdp_lib.secrets import find_secret, read_secret
from cdp_lib.settings import Settings
from cdp_lib.sources.spark_jdbc import land_large_tables
from cdp_lib.sources.sql_database import land_tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
exit_unless(dbutils, settings.ingest, "The parameter ingest is false: this run reads no source.")
account_key = find_secret(dbutils, settings.secret_scope, "storage_account_key")

# COMMAND ----------

landing = Landing(settings.landing, account_key)
extraction = landing.extraction("database", settings.batch_id, settings.run_started_at)
database_url = read_secret(dbutils, settings.secret_scope, "database_url")
source = (extraction, database_url, settings.database_schema, tables_of("database"))

land_large_tables(spark, *source, partitions=settings.jdbc_partitions, from_scratch=settings.from_scratch)
batches = land_tables(*source, from_scratch=settings.from_scratch)

# COMMAND ----------

report_rows(dbutils, sum(batch.rows for batch in batches))
