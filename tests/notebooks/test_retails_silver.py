# Databricks notebook source
# MAGIC %md
# MAGIC # Test of the notebook retails_silver
# MAGIC Runs the notebook on silver rows of its own, in a schema that is there for this run only.
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

from cdp_lib.contracts.silver import (
    CUSTOMERS_SILVER,
    PRODUCT_PRICES_SILVER,
    PRODUCTS_SILVER,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.runs import Account, BatchChange, Change, RunLog
from cdp_lib.settings import Settings
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
settings = Settings.from_parameters(dict.fromkeys(Settings.parameter_names(), "") | parameters)

# COMMAND ----------


def merge(contract, batch_id, *rows):
    """Merge a batch of rows, their values written as text, into a table, and say so as its task would."""
    others = {"_batch_id": f"'{batch_id}'", "_warnings": "array()", "updated_at": "NULL"}
    if contract is TRANSACTIONS_SILVER:
        others["sale_month"] = "trunc(transaction_date, 'month')"
    names = [column.name for column in contract.columns if column.name not in others]
    received = spark.createDataFrame(rows, ", ".join(f"`{name}` STRING" for name in names))
    typed = received.selectExpr("*", *(f"{value} AS {name}" for name, value in others.items()))
    typed = typed.selectExpr(*contract.select_list)
    tables.merge_rows(contract, typed, typed.limit(0))
    runs = RunLog(tables, settings, contract.name)
    change = BatchChange(Account(len(rows), len(rows)), merged=len(rows))
    runs.finish(contract, Change(runs.new_change_id(runs.history(contract.name)), {batch_id: change}))


def refresh():
    """Run the notebook under test."""
    dbutils.notebook.run("../../notebooks/silver/retails_silver", 600, parameters)


def sales():
    """Rows of retails_silver, by id."""
    return {row.transaction_id: row for row in tables.read_table(RETAILS_SILVER).collect()}


def refused():
    """Broken rules of each row in quarantine, sorted."""
    return sorted(row.broken_rules for row in tables.read_table(RETAILS_SILVER.quarantine).collect())


# COMMAND ----------


class RetailsSilver(NutterFixture):
    def before_all(self):
        spark.sql(f"CREATE SCHEMA `{catalog}`.`{schema}` {location}").collect()

    @tag("silver")
    def run_1_joins_what_is_known_and_refuses_the_rest(self):
        merge(CUSTOMERS_SILVER, "b1", ("1", "Alba Ackerfeld", "alba@example.com", "Egypt", "2025-10-16"))
        merge(PRODUCTS_SILVER, "b1", ("1", "Wireless Mouse", "Electronics", "850.00"))
        merge(
            PRODUCT_PRICES_SILVER,
            "b1",
            ("1", "800.00", None, "2025-05-01"),
            ("1", "850.00", "2025-05-01", None),
        )
        merge(STORES_SILVER, "b1", ("1", "City Mall Store", "UAE"))
        merge(
            TRANSACTIONS_SILVER,
            "b1",
            ("31", "1", "1", "1", "3", "2025-04-01"),
            ("32", "2", "1", "1", "1", "2025-11-02"),
            ("33", "1", "9", "9", "1", "2025-04-03"),
        )
        refresh()

    def assertion_1_joins_what_is_known_and_refuses_the_rest(self):
        assert set(sales()) == {31}
        assert sales()[31].full_name == "Alba Ackerfeld"
        assert str(sales()[31].price) == "800.00"
        assert list(sales()[31]["_warnings"]) == ["sale_is_not_before_registration"]
        assert refused() == [["customer_is_known"], ["product_is_known", "store_is_known"]]

    @tag("silver")
    def run_2_takes_a_sale_back_when_its_customer_arrives(self):
        merge(CUSTOMERS_SILVER, "b2", ("2", "Bruno Hollbrook", "bruno@example.com", "UAE", "2025-10-18"))
        refresh()

    def assertion_2_takes_a_sale_back_when_its_customer_arrives(self):
        assert set(sales()) == {31, 32}
        assert str(sales()[32].price) == "850.00"
        assert refused() == [["product_is_known", "store_is_known"]]

    @tag("silver")
    def run_3_follows_a_sale_that_changed(self):
        merge(TRANSACTIONS_SILVER, "b3", ("33", "1", "1", "1", "7", "2025-04-03"))
        refresh()

    def assertion_3_follows_a_sale_that_changed(self):
        assert {number: row.quantity for number, row in sales().items()} == {31: 3, 32: 1, 33: 7}
        assert refused() == []

    def after_all(self):
        spark.sql(f"DROP SCHEMA `{catalog}`.`{schema}` CASCADE").collect()


# COMMAND ----------

result = RetailsSilver().execute_tests()
print(result.to_string())
result.exit(dbutils)
