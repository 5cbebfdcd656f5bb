# Databricks notebook source
# MAGIC %md
# MAGIC # Test of the notebook maintenance
# MAGIC Runs the notebook on its own tables, in a schema that exists only during the run.
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
# Location of the tables of the scratch schema. A workspace has a default location.
dbutils.widgets.text("location", "")

catalog, schema = dbutils.widgets.get("catalog"), f"nutter_{uuid4().hex}"
location = f"LOCATION '{dbutils.widgets.get('location')}/{schema}'" if dbutils.widgets.get("location") else ""
store = open_store(spark, catalog, schema)
parameters = {"catalog": catalog, "schema": schema, "retention_days": "7", "run_started_at": "2026-01-31T12:00:00Z"}
# No batch has landed.
parameters |= {
    "landing": dbutils.widgets.get("location") or f"/Volumes/{catalog}/{schema}/landing",
    "secret_scope": "none",
}

# COMMAND ----------


def logged_run(batch_id):
    """Return a row of the log of runs."""
    run = {"run_id": "1", "started_at": datetime(2026, 1, 31, tzinfo=UTC), "engine": "", "code_version": ""}
    return run | {"table_name": "t_bronze", "state": "refreshed", "latest_batch": batch_id}


def maintain(**parameters_of_run):
    """Run the notebook under test, and return its exit value."""
    return dbutils.notebook.run("../../notebooks/ops/maintenance", 600, parameters | parameters_of_run)


def batches():
    """Return the batches in the log of runs, sorted."""
    return sorted(row.latest_batch for row in store.read(PIPELINE_RUNS_OPS).collect())


# COMMAND ----------


class Maintenance(NutterFixture):
    def before_all(self):
        spark.sql(f"CREATE SCHEMA `{catalog}`.`{schema}` {location}").collect()
        for batch_id in ("a", "b", "c"):
            store.append(PIPELINE_RUNS_OPS, store.frame(PIPELINE_RUNS_OPS, [logged_run(batch_id)]))

    @tag("ops")
    def run_1_keeps_rows_in_fewer_files(self):
        self.exit_value = maintain()

    def assertion_1_keeps_rows_in_fewer_files(self):
        assert batches() == ["a", "b", "c"]
        if store.can_maintain:
            assert store.files_of(PIPELINE_RUNS_OPS).count == 1
        else:
            assert "`cdp maintain`" in self.exit_value

    @tag("ops")
    def run_2_refuses_too_short_retention(self):
        self.error = None
        try:
            maintain(retention_days="6")
        except Exception as error:
            self.error = str(error)

    def assertion_2_refuses_too_short_retention(self):
        assert self.error
        assert batches() == ["a", "b", "c"]

    def after_all(self):
        spark.sql(f"DROP SCHEMA `{catalog}`.`{schema}` CASCADE").collect()


# COMMAND ----------

result = Maintenance().execute_tests()
print(result.to_string())
result.exit(dbutils)
