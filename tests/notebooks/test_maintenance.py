# Databricks notebook source
# MAGIC %md
# MAGIC # Test of the notebook maintenance
# MAGIC Runs the notebook on tables of its own, in a schema that is there for this run only.
# MAGIC
# MAGIC - In a workspace, on a cluster that has nutter:
# MAGIC   `nutter run <deployed folder>/tests/notebooks/ --cluster_id <id> --notebook_params "{'catalog': 'cat1'}"`
# MAGIC - On this machine: `pytest tests/notebooks`

# COMMAND ----------

import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from uuid import uuid4

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from runtime.nutterfixture import NutterFixture, tag

from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.storage import open_store

# COMMAND ----------

dbutils.widgets.text("catalog", "cat1")
# Where the scratch schema's tables are; a workspace knows by itself.
dbutils.widgets.text("location", "")

catalog, schema = dbutils.widgets.get("catalog"), f"nutter_{uuid4().hex}"
location = f"LOCATION '{dbutils.widgets.get('location')}/{schema}'" if dbutils.widgets.get("location") else ""
store = open_store(spark, catalog, schema)
parameters = {"catalog": catalog, "schema": schema, "retention_days": "7", "run_started_at": "2026-01-31T12:00:00Z"}
# Nothing has landed.
parameters |= {
    "landing": dbutils.widgets.get("location") or f"/Volumes/{catalog}/{schema}/landing",
    "secret_scope": "none",
}

# COMMAND ----------


def logged(batch_id):
    """A row of the log of runs."""
    run = {"run_id": "1", "started_at": datetime(2026, 1, 31, tzinfo=UTC), "engine": "", "code_version": ""}
    return run | {"table_name": "t_bronze", "state": "refreshed", "latest_batch": batch_id}


def maintain(**more):
    """Run the notebook under test; what it ends with."""
    return dbutils.notebook.run("../../notebooks/ops/maintenance", 600, parameters | more)


def batches():
    """What is in the table."""
    return sorted(row.latest_batch for row in store.read(PIPELINE_RUNS_OPS).collect())


# COMMAND ----------


class Maintenance(NutterFixture):
    def before_all(self):
        spark.sql(f"CREATE SCHEMA `{catalog}`.`{schema}` {location}").collect()
        for batch_id in ("a", "b", "c"):
            store.append(PIPELINE_RUNS_OPS, store.frame(PIPELINE_RUNS_OPS, [logged(batch_id)]))

    @tag("ops")
    def run_1_leaves_the_rows_and_fewer_files(self):
        self.ended_with = maintain()

    def assertion_1_leaves_the_rows_and_fewer_files(self):
        assert batches() == ["a", "b", "c"]
        if store.can_maintain:
            assert store.files_of(PIPELINE_RUNS_OPS).count == 1
        else:
            assert "`cdp maintain`" in self.ended_with

    @tag("ops")
    def run_2_refuses_a_retention_that_is_too_short(self):
        self.error = None
        try:
            maintain(retention_days="6")
        except Exception as error:
            self.error = str(error)

    def assertion_2_refuses_a_retention_that_is_too_short(self):
        assert self.error
        assert batches() == ["a", "b", "c"]

    def after_all(self):
        spark.sql(f"DROP SCHEMA `{catalog}`.`{schema}` CASCADE").collect()


# COMMAND ----------

result = Maintenance().execute_tests()
print(result.to_string())
result.exit(dbutils)
