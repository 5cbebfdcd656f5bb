# Databricks notebook source
# MAGIC %md
# MAGIC # Test of the notebooks of sales marts and sales_views
# MAGIC Runs the notebooks on sales of its own, in a schema that is there for this run only.
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

from cdp_lib.contracts.gold import COUNTRY_DETAILED_ANALYSIS_GOLD, MONTHLY_SALES_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.tables import Tables

# COMMAND ----------

dbutils.widgets.text("catalog", "cat1")
# Where the scratch schema's tables are; a workspace knows by itself.
dbutils.widgets.text("location", "")

catalog, schema = dbutils.widgets.get("catalog"), f"nutter_{uuid4().hex}"
location = f"LOCATION '{dbutils.widgets.get('location')}/{schema}'" if dbutils.widgets.get("location") else ""
tables = Tables(spark, catalog, schema)

# Of these the notebooks read none but the schemas and, later, as_of.
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
parameters |= {"customers_api_url": "none", "run_id": "nutter", "serving_schema": schema}

# COMMAND ----------


def sell(transaction_id, customer_id, country, quantity, price, day):
    """A row of retails_silver, its values written as text."""
    customer = (f"Customer {customer_id}", f"{customer_id}@example.com", country, "2025-01-01")
    return (
        transaction_id,
        customer_id,
        "1",
        "1",
        quantity,
        day,
        *customer,
        "Mouse",
        "Electronics",
        price,
        "Mall",
        "UAE",
        f"{day[:7]}-01",
        None,
        "b1",
    )


def refresh(**more):
    """Run the notebooks under test; what they end with."""
    notebooks = (
        "gold/country_gold",
        "gold/product_gold",
        "gold/store_gold",
        "gold/calendar_gold",
        "gold/category_monthly_sales_gold",
        "serving/sales_views",
    )
    return [dbutils.notebook.run(f"../../notebooks/{notebook}", 600, parameters | more) for notebook in notebooks]


def revenue_by_country():
    """Revenue of each country, as text."""
    rows = tables.read_table(COUNTRY_DETAILED_ANALYSIS_GOLD).collect()
    return {row.country: str(row.total_revenue) for row in rows}


# COMMAND ----------


class GoldMarts(NutterFixture):
    def before_all(self):
        spark.sql(f"CREATE SCHEMA `{catalog}`.`{schema}` {location}").collect()
        rows = [
            sell("1", "1", "Egypt", "3", "0.10", "2025-04-01"),
            sell("2", "1", "Egypt", "1", "800.00", "2025-05-31"),
            sell("3", "2", "UAE", "2", "499.50", "2025-06-01"),
        ]
        columns = ", ".join(f"`{column.name}` STRING" for column in RETAILS_SILVER.columns)
        sales = spark.createDataFrame(rows, columns).drop("_warnings").selectExpr("*", "array() AS _warnings")
        sales = sales.selectExpr(*RETAILS_SILVER.select_list)
        tables.replace_table(RETAILS_SILVER, sales)

    @tag("gold")
    def run_1_sums_money_exactly(self):
        refresh()

    def assertion_1_sums_money_exactly(self):
        assert revenue_by_country() == {"Egypt": "800.30", "UAE": "999.00"}
        months = tables.read_table(MONTHLY_SALES_GOLD).collect()
        assert {row.transaction_month: str(row.monthly_revenue) for row in months} == {
            4: "0.30",
            5: "800.00",
            6: "999.00",
        }

    @tag("serving")
    def run_2_serves_the_marts(self):
        self.views = {view: spark.table(f"{catalog}.{schema}.{view}") for view in ("country_sales", "monthly_sales")}

    def assertion_2_serves_the_marts(self):
        assert {row.country: row.customers for row in self.views["country_sales"].collect()} == {"Egypt": 1, "UAE": 1}
        assert [row.month for row in self.views["monthly_sales"].collect()] == ["2025-04", "2025-05", "2025-06"]

    @tag("gold")
    def run_3_ends_on_the_day_it_is_told(self):
        refresh(as_of="2025-05-31")

    def assertion_3_ends_on_the_day_it_is_told(self):
        assert revenue_by_country() == {"Egypt": "800.30"}

    @tag("gold")
    def run_4_leaves_alone_what_is_made_from_nothing_new(self):
        tables.replace_table(COUNTRY_DETAILED_ANALYSIS_GOLD, tables.read_table(COUNTRY_DETAILED_ANALYSIS_GOLD).limit(0))
        self.ended_with = refresh(as_of="2025-05-31")

    def assertion_4_leaves_alone_what_is_made_from_nothing_new(self):
        assert self.ended_with[:2] == ["Nothing they are made from has changed."] * 2
        assert revenue_by_country() == {}

    def after_all(self):
        spark.sql(f"DROP SCHEMA `{catalog}`.`{schema}` CASCADE").collect()


# COMMAND ----------

result = GoldMarts().execute_tests()
print(result.to_string())
result.exit(dbutils)
