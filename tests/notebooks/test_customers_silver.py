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
}
parameters |= {"customers_api_url": "none", "run_id": "nutter"}

# COMMAND ----------


def land(batch_id, *customers):
    """Put a batch of customers into bronze, their values as the API sends them."""
    lineage = "2026-01-31 03:00:00"
    rows = [
        (*customer, "snapshot", "false", None, str(hash(customer)), batch_id, f"{batch_id}.jsonl", lineage)
        for customer in customers
    ]
    columns = ", ".join(f"`{column.name}` STRING" for column in CUSTOMERS_BRONZE.columns)
    batch = spark.createDataFrame(rows, columns).selectExpr(*CUSTOMERS_BRONZE.select_list)
    tables.replace_batches(CUSTOMERS_BRONZE, {batch_id: batch})


def refresh():
    """Run the notebook under test."""
    dbutils.notebook.run("../../notebooks/silver/customers_silver", 600, parameters)


def customers():
    """Rows of customers_silver, by id."""
    return {row.customer_id: row for row in tables.read_table(CUSTOMERS_SILVER).collect()}


def refused():
    """Broken rules of each row in quarantine, sorted."""
    return sorted(row.broken_rules for row in tables.read_table(CUSTOMERS_SILVER.quarantine).collect())


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
        )
        refresh()

    def assertion_1_cleans_and_refuses(self):
        assert set(customers()) == {1}
        assert customers()[1].full_name == "Alba Ackerfeld"
        assert customers()[1].email == "alba@example.com"
        assert refused() == [["country_is_present"], ["values_fit_their_columns", "customer_id_is_present"]]

    @tag("silver")
    def run_2_again_changes_nothing(self):
        self.before = customers()
        refresh()

    def assertion_2_again_changes_nothing(self):
        assert customers() == self.before
        assert len(refused()) == 2

    @tag("silver")
    def run_3_follows_the_latest_answer(self):
        land("b2", ("3", "Celeste Ostermoor", "celeste@example.com", "UAE", "2025-10-19"))
        refresh()

    def assertion_3_follows_the_latest_answer(self):
        assert set(customers()) == {3}
        assert refused() == []

    def after_all(self):
        spark.sql(f"DROP SCHEMA `{catalog}`.`{schema}` CASCADE").collect()


# COMMAND ----------

result = CustomersSilver().execute_tests()
print(result.to_string())
result.exit(dbutils)
