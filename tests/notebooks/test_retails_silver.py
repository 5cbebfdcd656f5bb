# Databricks notebook source
# MAGIC %md
# MAGIC # Test of retails_silver, refreshed with its upstream tables by the notebook silver
# MAGIC Runs the notebook on its own batches, in a schema that exists only during the run.
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

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import RETAILS_SILVER
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

# The notebook declares all of these parameters, but this test depends only on catalog, schema and landing.
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


def refresh():
    """Run the notebook under test."""
    dbutils.notebook.run("../../notebooks/silver/silver", 600, parameters | {"select": "+retails_silver"})


def sales():
    """Return the rows of retails_silver, by id."""
    return {row.transaction_id: row for row in store.read(RETAILS_SILVER).collect()}


def broken_rules():
    """Return the broken rules of each row in quarantine, sorted."""
    return sorted(row.broken_rules for row in store.read(RETAILS_SILVER.quarantine).collect())


# COMMAND ----------


class RetailsSilver(NutterFixture):
    def before_all(self):
        spark.sql(f"CREATE SCHEMA `{catalog}`.`{schema}` {location}").collect()
        if not folder:
            spark.sql(f"CREATE VOLUME `{catalog}`.`{schema}`.landing").collect()

    @tag("silver")
    def run_1_joins_known_keys_and_quarantines_unknown_keys(self):
        land(CUSTOMERS_BRONZE, 1, ("1", "Alba Ackerfeld", "alba@example.com", "Egypt", "2025-10-16"))
        # The first price has no start. The second price is valid from the extraction of its batch.
        land(PRODUCTS_BRONZE, 1, (1, "Wireless Mouse", "Electronics", "800.00"))
        land(PRODUCTS_BRONZE, 10, (1, "Wireless Mouse", "Electronics", "850.00"))
        land(STORE_BRONZE, 1, (1, "City Mall Store", "UAE"))
        land(
            TRANSACTIONS_BRONZE,
            20,
            (31, 1, 1, 1, 3, "2025-04-01"),
            (32, 2, 1, 1, 1, "2026-01-12"),
            (33, 1, 9, 9, 1, "2025-04-03"),
        )
        refresh()

    def assertion_1_joins_known_keys_and_quarantines_unknown_keys(self):
        assert set(sales()) == {31}
        assert sales()[31].full_name == "Alba Ackerfeld"
        assert f"{sales()[31].price:.2f}" == "800.00"
        assert list(sales()[31]["_warnings"]) == ["sale_is_not_before_registration"]
        assert broken_rules() == [["customer_is_known"], ["product_is_known", "store_is_known"]]

    @tag("silver")
    def run_2_late_customer_releases_sale_from_quarantine(self):
        bruno = ("2", "Bruno Hollbrook", "bruno@example.com", "UAE", "2025-10-18")
        land(CUSTOMERS_BRONZE, 2, bruno, load="increment")
        refresh()

    def assertion_2_late_customer_releases_sale_from_quarantine(self):
        assert set(sales()) == {31, 32}
        assert f"{sales()[32].price:.2f}" == "850.00"
        assert broken_rules() == [["product_is_known", "store_is_known"]]

    @tag("silver")
    def run_3_changed_sale_replaces_earlier_version(self):
        land(TRANSACTIONS_BRONZE, 21, (33, 1, 1, 1, 7, "2025-04-03"), load="increment")
        refresh()

    def assertion_3_changed_sale_replaces_earlier_version(self):
        assert {number: row.quantity for number, row in sales().items()} == {31: 3, 32: 1, 33: 7}
        assert broken_rules() == []

    def after_all(self):
        spark.sql(f"DROP SCHEMA `{catalog}`.`{schema}` CASCADE").collect()


# COMMAND ----------

result = RetailsSilver().execute_tests()
print(result.to_string())
result.exit(dbutils)
