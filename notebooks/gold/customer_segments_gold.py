# Databricks notebook source
# MAGIC %md
# MAGIC # RFM segments
# MAGIC - `customer_segments_gold`: One row per customer, with the RFM segment at as_of and a month before.
# MAGIC - `segment_movements_gold`: One row per pair of segments that customers moved between, or stayed in.
# MAGIC
# MAGIC - Reads: `customer_value_gold`, `customer_acquisitions_silver`, `purchases_silver`
# MAGIC - Writes: the tables above, `pipeline_runs_ops`

# COMMAND ----------

import sys

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from cdp_lib.analytics.rfm import with_rfm
from cdp_lib.analytics.summaries import build_customer_summaries
from cdp_lib.business_date import DATED_BY, agreed_date, month_before
from cdp_lib.contracts.analytics import CUSTOMER_SEGMENTS_GOLD, CUSTOMER_VALUE_GOLD, SEGMENT_MOVEMENTS_GOLD
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.gold.segments import build_customer_segments_gold, build_segment_movements_gold
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

settings = Settings.from_widgets(dbutils)
tables = Tables(spark, settings.catalog, settings.schema)
runs = RunLog(tables, settings, "customer_segments_gold")

# COMMAND ----------

written = [CUSTOMER_SEGMENTS_GOLD, SEGMENT_MOVEMENTS_GOLD]
inputs = runs.read_inputs([*DATED_BY, CUSTOMER_ACQUISITIONS_SILVER, CUSTOMER_VALUE_GOLD], as_of=settings.as_of)
exit_unless(dbutils, runs.is_due(written, inputs), "Nothing they are made from has changed.")
as_of = agreed_date(tables, settings, CUSTOMER_VALUE_GOLD)
previous_as_of = month_before(as_of)
acquisitions = tables.read_table(CUSTOMER_ACQUISITIONS_SILVER)
before = with_rfm(build_customer_summaries(acquisitions, tables.read_table(PURCHASES_SILVER), previous_as_of))
segments = build_customer_segments_gold(tables.read_table(CUSTOMER_VALUE_GOLD), before, as_of, previous_as_of)

# COMMAND ----------

segments_written = tables.replace_tables({CUSTOMER_SEGMENTS_GOLD: segments})
movements = build_segment_movements_gold(tables.read_table(CUSTOMER_SEGMENTS_GOLD))
movements_written = tables.replace_tables({SEGMENT_MOVEMENTS_GOLD: movements})
rows = segments_written.rows + movements_written.rows
runs.finish_tables(written, inputs, rows)
report_rows(dbutils, rows)
