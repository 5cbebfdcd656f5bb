# Databricks notebook source
# MAGIC %md
# MAGIC # Test of the notebook customers_silver
# MAGIC Runs the notebook on bronze rows of its own, in a schema that is there for this run only.
# MAGIC
# MAGIC - In a workspace, on a cluster that has nutter:
# MAGIC   `nutter run <deployed folder>/tests/notebooks/ --cluster_id <id> --notebook_params "{'catalog': 'cat1'}"`
# MAGIC - On this machine: `pytest tests/notebooks`

# COMMAND ----------

import sys
from uuid import uuid4

dbutils.widgets.text("library_path", "../../src")
sys.path.append(dbutils.widgets.get("library_path"))

from runtime.nutterfixture import NutterFixture, tag

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.tables import Tables

# COMMAND ----------

dbutils.widgets.text("catalog", "cat1")
# Where the scratch schema's tables are; a workspace knows by itself.
dbutils.widgets.text("location", "")

catalog, schema = dbutils.widgets.get("catalog"), f"nutter_{uuid4().hex}"
location = f"LOCATION '{dbutils.widgets.get('location')}/{schema}'" if dbutils.widgets.get("location") else ""
tables = Tables(spark, catalog, schema)

# Of these the notebook reads none but catalog and schema.
parameters = {
    "catalog": catalog,
    "schema": schema,
    "landing": "none",
    "secret_scope": "none",
    "api_timeout_seconds": "1",
    "reporting_currency": "USD",
    "gross_margin": "0.4",
    "annual_discount_rate": "0.1",
    "churn_horizon_days": "90",
    "clv_horizon_months": "12",
}
parameters |= {"customers_api_url": "none", "run_id": "nutter"}

# COMMAND ----------


def land(batch_id, *customers, load="snapshot", is_deleted="false"):
    """Put a batch of customers into bronze, their values as the API sends them."""
    ingested_at = "2026-01-31 03:00:00"
    rows = [
        (*customer, None, load, is_deleted, None, batch_id, f"{batch_id}.jsonl", ingested_at) for customer in customers
    ]
    columns = ", ".join(f"`{column.name}` STRING" for column in CUSTOMERS_BRONZE.columns)
    batch = spark.createDataFrame(rows, columns).selectExpr(*CUSTOMERS_BRONZE.select_list)
    tables.replace_batches(CUSTOMERS_BRONZE, {batch_id: batch})


def refresh(**more):
    """Run the notebook under test."""
    dbutils.notebook.run("../../notebooks/silver/customers_silver", 600, parameters | more)


def customers():
    """Rows of customers_silver, by id."""
    return {row.customer_id: row for row in tables.read_table(CUSTOMERS_SILVER).collect()}


def refused():
    """Broken rules of each row in quarantine, sorted."""
    return sorted(row.broken_rules for row in tables.read_table(CUSTOMERS_SILVER.quarantine).collect())


def changes():
    """How often the table has been changed, as the log of runs says."""
    log = tables.read_table(PIPELINE_RUNS_OPS)
    return log.where("table_name = 'customers_silver' AND state = 'done'").select("change_id").distinct().count()


# COMMAND ----------


class CustomersSilver(NutterFixture):
    def before_all(self):
        spark.sql(f"CREATE SCHEMA `{catalog}`.`{schema}` {location}").collect()

    @tag("silver")
    def run_1_cleans_and_refuses(self):
        land(
            "b1",
            ("1", "  Alba   Ackerfeld ", " Alba@Example.com ", "Egypt", "2025-10-16"),
            ("1", "  Alba   Ackerfeld ", " Alba@Example.com ", "Egypt", "2025-10-16"),
            ("two", "Bruno Hollbrook", "bruno@example.com", "UAE", "2025-10-18"),
            ("3", "Celeste Ostermoor", "celeste@example.com", None, "2025-10-19"),
            ("4", None, "dario", "UAE", "2025-10-20"),
        )
        refresh()

    def assertion_1_cleans_and_refuses(self):
        assert set(customers()) == {1, 4}
        assert customers()[1].full_name == "Alba Ackerfeld"
        assert customers()[1].email == "alba@example.com"
        assert list(customers()[4]["_warnings"]) == ["full_name_is_present", "email_looks_like_one"]
        assert refused() == [["country_is_present"], ["values_fit_their_columns", "customer_id_is_present"]]

    @tag("silver")
    def run_2_again_changes_nothing(self):
        self.before = customers()
        refresh()

    def assertion_2_again_changes_nothing(self):
        assert customers() == self.before
        assert len(refused()) == 2
        assert changes() == 1

    @tag("silver")
    def run_3_follows_the_latest_answer(self):
        land("b2", ("3", "Celeste Ostermoor", "celeste@example.com", "UAE", "2025-10-19"))
        refresh()

    def assertion_3_follows_the_latest_answer(self):
        assert set(customers()) == {3}
        assert refused() == []

    @tag("silver")
    def run_4_merges_what_has_changed_since(self):
        land("b3", ("5", "Emil Farnsworth", "emil@example.com", "UAE", "2025-10-21"), load="increment")
        land("b4", ("3", None, None, None, None), load="increment", is_deleted="true")
        refresh()

    def assertion_4_merges_what_has_changed_since(self):
        assert {number: row["_batch_id"] for number, row in customers().items()} == {5: "b3"}

    @tag("silver")
    def run_5_written_anew_is_the_same(self):
        self.before = customers()
        refresh(full_refresh="true")

    def assertion_5_written_anew_is_the_same(self):
        assert customers() == self.before
        assert changes() == 4

    def after_all(self):
        spark.sql(f"DROP SCHEMA `{catalog}`.`{schema}` CASCADE").collect()


# COMMAND ----------

result = CustomersSilver().execute_tests()
print(result.to_string())
result.exit(dbutils)
