# Databricks notebook source
# MAGIC %md
# MAGIC # Test of customers_silver, refreshed by the notebooks bronze and silver
# MAGIC Runs the notebooks on its own batches, in a schema that exists only during the run.
# MAGIC
# MAGIC - In a workspace, on a cluster that has nutter:
# MAGIC   `nutter run <deployed folder>/tests/notebooks/ --cluster_id <id> --notebook_params "{'catalog': 'cat1'}"`
# MAGIC - On this machine: `pytest tests/notebooks`

# COMMAND ----------

import json
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from runtime.nutterfixture import NutterFixture, tag

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.landing import Landing
from cdp_lib.storage import open_store

# COMMAND ----------

dbutils.widgets.text("catalog", "cat1")
# Location of the tables of the scratch schema. A workspace has a default location.
dbutils.widgets.text("location", "")

catalog, schema = dbutils.widgets.get("catalog"), f"nutter_{uuid4().hex}"
folder = dbutils.widgets.get("location")
location = f"LOCATION '{folder}/{schema}'" if folder else ""
landing = f"{folder}/landing-{schema}" if folder else f"/Volumes/{catalog}/{schema}/landing"
store = open_store(spark, catalog, schema)

# The file of sources is in the root folder of the project.
folders = (Path.cwd(), *Path.cwd().parents)
sources_file = next(str(each / "sources.yml") for each in folders if (each / "sources.yml").exists())

# The notebooks declare all of these parameters, but this test depends only on catalog, schema and landing.
parameters = {
    "catalog": catalog,
    "schema": schema,
    "landing": landing,
    "secret_scope": "none",
    "sources_file": sources_file,
    "api_timeout_seconds": "1",
    "reporting_currency": "USD",
    "gross_margin": "0.4",
    "annual_discount_rate": "0.1",
    "churn_horizon_days": "90",
    "clv_horizon_months": "12",
    "minimum_scored_buyers": "5",
    "minimum_segment_size": "30",
    "refit_new_buyers": "0.1",
    "refit_months": "1",
    "price_bands": "500,1500",
    "refused_share_limit": "0.2",
    "shrink_limit": "0.5",
    "minimum_cell_size": "5",
}
parameters |= {"customers_api_url": "none", "run_id": "nutter"}

# COMMAND ----------


def land(contract, day, *records, load="snapshot", is_deleted=False):
    """Land a batch of records on a day of January 2026, as a source does, and return its name."""
    at = datetime(2026, 1, day, 3, tzinfo=UTC)
    extraction = Landing(landing).extraction(contract.source, f"{at:%Y%m%dT%H%M%SZ}-1", at)
    names = [column.name for column in contract.received_columns][: len(records[0])]
    follows = extraction.find_latest_batch(contract.entity) if load == "increment" else None
    with (
        extraction.new_batch(contract.entity, load, follows) as batch,
        batch.open_data("part.jsonl", "jsonl", deletions=is_deleted) as data,
    ):
        for record in records:
            data.write(f"{json.dumps(dict(zip(names, record, strict=True)))}\n".encode())
        batch.add(len(records), names)
    return batch.manifest.batch_id


def refresh(**parameters_of_run):
    """Run the notebooks under test."""
    for layer in ("bronze", "silver"):
        selected = {"select": f"customers_{layer}"}
        dbutils.notebook.run(f"../../notebooks/{layer}/{layer}", 600, parameters | selected | parameters_of_run)


def customers():
    """Return the rows of customers_silver, by id."""
    return {row.customer_id: row for row in store.read(CUSTOMERS_SILVER).collect()}


def active_customers():
    """Return the rows of the customers that the source still has, by id."""
    return {number: row for number, row in customers().items() if row.is_active}


def broken_rules():
    """Return the broken rules of each row in quarantine, sorted."""
    return sorted(row.broken_rules for row in store.read(CUSTOMERS_SILVER.quarantine).collect())


def refreshes():
    """Return how often customers_silver was refreshed, according to the log of runs."""
    return store.read(PIPELINE_RUNS_OPS).where("table_name = 'customers_silver' AND state = 'refreshed'").count()


# COMMAND ----------


class CustomersSilver(NutterFixture):
    def before_all(self):
        spark.sql(f"CREATE SCHEMA `{catalog}`.`{schema}` {location}").collect()
        if not folder:
            spark.sql(f"CREATE VOLUME `{catalog}`.`{schema}`.landing").collect()

    @tag("silver")
    def run_1_cleans_rows_and_quarantines_invalid_rows(self):
        land(
            CUSTOMERS_BRONZE,
            1,
            ("1", "  Alba   Ackerfeld ", " Alba@Example.com ", "Egypt", "2025-10-16"),
            ("1", "  Alba   Ackerfeld ", " Alba@Example.com ", "Egypt", "2025-10-16"),
            ("two", "Bruno Hollbrook", "bruno@example.com", "UAE", "2025-10-18"),
            ("3", "Celeste Ostermoor", "celeste@example.com", None, "2025-10-19"),
            ("4", None, "dario", "UAE", "2025-10-20"),
        )
        refresh()

    def assertion_1_cleans_rows_and_quarantines_invalid_rows(self):
        assert set(customers()) == {1, 3, 4}
        assert (customers()[3].country, list(customers()[3]["_warnings"])) == ("unknown", ["country_is_present"])
        assert customers()[1].full_name == "Alba Ackerfeld"
        assert customers()[1].email == "alba@example.com"
        assert list(customers()[4]["_warnings"]) == ["full_name_is_present", "email_looks_like_one"]
        assert broken_rules() == [["values_fit_their_columns", "customer_id_is_present"]]

    @tag("silver")
    def run_2_second_refresh_changes_nothing(self):
        self.before = customers()
        refresh()

    def assertion_2_second_refresh_changes_nothing(self):
        assert customers() == self.before
        assert len(broken_rules()) == 1
        assert refreshes() == 1

    @tag("silver")
    def run_3_new_snapshot_replaces_earlier_snapshot(self):
        land(CUSTOMERS_BRONZE, 2, ("3", "Celeste Ostermoor", "celeste@example.com", "UAE", "2025-10-19"))
        refresh()

    def assertion_3_new_snapshot_replaces_earlier_snapshot(self):
        assert set(customers()) == {1, 3, 4}
        assert set(active_customers()) == {3}
        assert broken_rules() == []

    @tag("silver")
    def run_4_increments_are_merged(self):
        emil = ("5", "Emil Farnsworth", "emil@example.com", "UAE", "2025-10-21")
        self.batch = land(CUSTOMERS_BRONZE, 3, emil, load="increment")
        land(CUSTOMERS_BRONZE, 4, ("3", None, None, None, None), load="increment", is_deleted=True)
        refresh()

    def assertion_4_increments_are_merged(self):
        assert {number: row["_batch_id"] for number, row in active_customers().items()} == {5: self.batch}

    @tag("silver")
    def run_5_full_refresh_gives_same_rows(self):
        self.before = customers()
        refresh(full_refresh="true")

    def assertion_5_full_refresh_gives_same_rows(self):
        assert customers() == self.before
        assert refreshes() == 4

    def after_all(self):
        spark.sql(f"DROP SCHEMA `{catalog}`.`{schema}` CASCADE").collect()


# COMMAND ----------

result = CustomersSilver().execute_tests()
print(result.to_string())
result.exit(dbutils)
