# Databricks notebook source
# MAGIC %md
# MAGIC # stream_events
# MAGIC Lands behavioural events from a Kafka topic or an event hub: one landed batch per micro-batch.
# MAGIC
# MAGIC - Reads: the topic `event_stream_topic` on `event_stream_servers`
# MAGIC - Writes: landed batches of `events/events`

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.contracts.bronze import EVENTS_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.secrets import find_secret
from cdp_lib.sources.event_stream import kafka_login, land_event_stream, read_kafka
from cdp_lib.task_values import exit_unless, report_rows

# COMMAND ----------

dbutils.widgets.text("landing", "")
dbutils.widgets.text("secret_scope", "")
dbutils.widgets.text("event_stream_servers", "")
dbutils.widgets.text("event_stream_topic", "")
dbutils.widgets.text("event_stream_checkpoint", "")
dbutils.widgets.text("event_stream_max_events", "100000")
dbutils.widgets.text("event_stream_interval", "")
dbutils.widgets.text("run_started_at", "")
topic = dbutils.widgets.get("event_stream_topic")
exit_unless(dbutils, topic, "No event stream: the variable event_stream_topic is empty.")
scope = dbutils.widgets.get("secret_scope")
account_key = find_secret(dbutils, scope, "storage_account_key")
login = kafka_login(
    find_secret(dbutils, scope, "event_hubs_connection_string"),
    find_secret(dbutils, scope, "kafka_username"),
    find_secret(dbutils, scope, "kafka_password"),
)

# COMMAND ----------

servers = dbutils.widgets.get("event_stream_servers")
max_events = dbutils.widgets.get("event_stream_max_events")
batches = land_event_stream(
    read_kafka(spark, servers, topic, login, max_events=max_events),
    Landing(dbutils.widgets.get("landing"), account_key),
    EVENTS_BRONZE,
    dbutils.widgets.get("event_stream_checkpoint"),
    run_started_at=dbutils.widgets.get("run_started_at"),
    interval=dbutils.widgets.get("event_stream_interval"),
    account_key=account_key,
)

# COMMAND ----------

report_rows(dbutils, sum(batch.rows for batch in batches))
