# Databricks notebook source
# MAGIC %md
# MAGIC # Test of the sales marts, refreshed by the notebook gold, and of their views
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

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.gold import COUNTRY_DETAILED_ANALYSIS_GOLD, GOLD_TABLES, MONTHLY_SALES_GOLD
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
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

# The notebooks declare all of these parameters, but this test depends only on catalog, schema and landing. Later runs
# add as_of.
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
parameters |= {"customers_api_url": "none", "run_id": "nutter", "serving_schema": schema}

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
    """Run the notebooks under test for the marts and their upstream tables."""
    marts = " ".join(f"+{contract.name}" for contract in GOLD_TABLES)
    for notebook in ("gold/gold", "serving/publish"):
        dbutils.notebook.run(f"../../notebooks/{notebook}", 600, parameters | {"select": marts} | parameters_of_run)


def refreshes(contract):
    """Return how often a table was refreshed, according to the log of runs."""
    return store.read(PIPELINE_RUNS_OPS).where(f"table_name = '{contract.name}' AND state = 'refreshed'").count()


def revenue_by_country():
    """Return the revenue of each country, as strings."""
    rows = store.read(COUNTRY_DETAILED_ANALYSIS_GOLD).collect()
    return {row.country: f"{row.total_revenue:.2f}" for row in rows}


# COMMAND ----------


class GoldMarts(NutterFixture):
    def before_all(self):
        spark.sql(f"CREATE SCHEMA `{catalog}`.`{schema}` {location}").collect()
        if not folder:
            spark.sql(f"CREATE VOLUME `{catalog}`.`{schema}`.landing").collect()
        land(
            CUSTOMERS_BRONZE,
            1,
            ("1", "Alba Ackerfeld", "alba@example.com", "Egypt", "2025-01-01"),
            ("2", "Bruno Hollbrook", "bruno@example.com", "UAE", "2025-01-01"),
        )
        prices = ("0.10", "800.00", "499.50")
        land(PRODUCTS_BRONZE, 1, *((n, f"Mouse {n}", "Electronics", price) for n, price in enumerate(prices, 1)))
        land(STORE_BRONZE, 1, (1, "Mall", "UAE"))
        land(
            TRANSACTIONS_BRONZE,
            1,
            (1, 1, 1, 1, 3, "2025-04-01"),
            (2, 1, 2, 1, 1, "2025-05-31"),
            (3, 2, 3, 1, 2, "2025-06-01"),
        )

    @tag("gold")
    def run_1_sums_money_exactly(self):
        refresh()

    def assertion_1_sums_money_exactly(self):
        assert revenue_by_country() == {"Egypt": "800.30", "UAE": "999.00"}
        months = store.read(MONTHLY_SALES_GOLD).collect()
        assert {row.transaction_month: f"{row.monthly_revenue:.2f}" for row in months} == {
            4: "0.30",
            5: "800.00",
            6: "999.00",
        }

    @tag("serving")
    def run_2_views_show_the_marts(self):
        self.views = {view: spark.table(f"{catalog}.{schema}.{view}") for view in ("country_sales", "monthly_sales")}

    def assertion_2_views_show_the_marts(self):
        assert {row.country: row.customers for row in self.views["country_sales"].collect()} == {"Egypt": 1, "UAE": 1}
        assert [row.month for row in self.views["monthly_sales"].collect()] == ["2025-04", "2025-05", "2025-06"]

    @tag("gold")
    def run_3_ignores_sales_after_as_of(self):
        refresh(as_of="2025-05-31")

    def assertion_3_ignores_sales_after_as_of(self):
        assert revenue_by_country() == {"Egypt": "800.30"}

    @tag("gold")
    def run_4_skips_marts_without_new_input(self):
        store.replace(COUNTRY_DETAILED_ANALYSIS_GOLD, store.frame(COUNTRY_DETAILED_ANALYSIS_GOLD, []))
        refresh(as_of="2025-05-31")

    def assertion_4_skips_marts_without_new_input(self):
        assert revenue_by_country() == {}
        assert [refreshes(contract) for contract in (COUNTRY_DETAILED_ANALYSIS_GOLD, MONTHLY_SALES_GOLD)] == [2, 2]

    def after_all(self):
        spark.sql(f"DROP SCHEMA `{catalog}`.`{schema}` CASCADE").collect()


# COMMAND ----------

result = GoldMarts().execute_tests()
print(result.to_string())
result.exit(dbutils)
