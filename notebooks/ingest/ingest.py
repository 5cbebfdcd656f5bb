# Databricks notebook source
# MAGIC %md
# MAGIC # ingest
# MAGIC Lands the new and changed records of one or more entities.
# MAGIC
# MAGIC - Reads: the sources that the file `sources_file` declares for the entities in the widget `entities`
# MAGIC - Writes: landed batches

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.ingest import configured_sources, land_entities
from cdp_lib.settings import Settings
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

dbutils.widgets.text("entities", "")
settings = Settings.from_widgets(dbutils)
exit_unless(dbutils, settings.ingest, "The parameter ingest is false: this run reads no source.")
entities = dbutils.widgets.get("entities").split()
sources = configured_sources(settings, entities)
exit_unless(dbutils, sources, f"No source: {settings.sources_file} has no address for {', '.join(entities)}.")

# COMMAND ----------

batches = land_entities(dbutils, spark, settings, sources)

# COMMAND ----------

report_rows(dbutils, sum(batch.rows for batch in batches))
