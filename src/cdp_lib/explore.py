"""Figures for the notebooks that people open. They are for the team: figures of a few people are not withheld.

The column `bar` shows a figure as a bar of up to 30 characters, relative to the largest value of the result.
It needs no chart library.
"""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts import TABLES
from cdp_lib.frames import union
from cdp_lib.storage import open_store

_WIDTH = 30
_WIDGETS = ("catalog", "schema")


def bar(value: str) -> Column:
    """Return a bar whose length shows a value. Null, zero and negative values have no bar.

    Use it for few rows, because all rows go through one partition.

    Args:
        value: Name of a column of numbers.
    """
    number = sf.col(value).cast("double")
    largest = sf.max(number).over(Window.partitionBy(sf.lit(1)))
    share = number / sf.nullif(largest, sf.lit(0.0))
    length = sf.when(number > 0, sf.round(share * _WIDTH)).otherwise(0).cast("int")
    return sf.repeat(sf.lit("█"), length)


class Figures:
    """Figures of the tables in the widgets `catalog` and `schema`. Writes nothing."""

    def __init__(self, dbutils: Any, spark: SparkSession) -> None:
        """Read the notebook's widgets, and create the missing ones.

        Args:
            dbutils: The notebook's `dbutils`.
            spark: Spark session.
        """
        for name in _WIDGETS:
            dbutils.widgets.text(name, "")
        self._store = open_store(spark, *(dbutils.widgets.get(name).strip() for name in _WIDGETS))

    def segments(self) -> DataFrame:
        """Return one row per segment: customers, revenue, means of recency (days), churn probability and CLV."""
        rows = self._read("customer_value_gold").groupBy("segment")
        figures = rows.agg(
            sf.count("*").alias("customers"),
            sf.sum("total_revenue").alias("revenue"),
            sf.round(sf.avg("recency_days")).alias("days_since_purchase"),
            sf.round(sf.avg("churn_probability"), 3).alias("churn_probability"),
            sf.round(sf.avg("predictive_clv"), 2).alias("predictive_clv"),
        )
        return figures.withColumn("bar", bar("revenue")).orderBy(sf.desc("revenue"))

    def movements(self) -> DataFrame:
        """Return the 15 largest movements between two segments within a month."""
        rows = self._read("segment_movements_gold").where("from_segment <> to_segment")
        return rows.select("from_segment", "to_segment", "customer_count").orderBy(sf.desc("customer_count")).limit(15)

    def tenths(self) -> DataFrame:
        """Return one row per tenth of the buyers by revenue, the best tenth first."""
        rank = sf.ntile(10).over(Window.orderBy(sf.desc("total_revenue"), "person_id"))
        rows = self._read("customer_value_gold").where("transaction_count > 0").withColumn("tenth", rank)
        figures = rows.groupBy("tenth").agg(sf.count("*").alias("customers"), sf.sum("total_revenue").alias("revenue"))
        return figures.withColumn("bar", bar("revenue")).orderBy("tenth")

    def ages(self) -> DataFrame:
        """Return the number of customers of each age band; null for an unknown age."""
        return self._count("customer_demographics_gold", "age_band").orderBy("age_band")

    def predictions(self) -> DataFrame:
        """Return the number of customers with each state of the prediction."""
        return self._count("customer_value_gold", "prediction_state").orderBy(sf.desc("customers"))

    def kpi_by_month(self, kpi: str) -> DataFrame:
        """Return a KPI of the whole shop, one row per month."""
        rows = self._kpi(kpi, "all").select("month", sf.round("value", 4).alias("value"))
        return rows.withColumn("bar", bar("value")).orderBy("month")

    def kpi_of_latest_month(self, kpi: str, dimension: str) -> DataFrame:
        """Return a KPI of the latest month that has it, one row per value of a dimension."""
        latest = Window.partitionBy("kpi")
        rows = self._kpi(kpi, dimension).withColumn("latest", sf.max("month").over(latest)).where("month = latest")
        rows = rows.select("month", "dimension_value", sf.round("value", 4).alias("value"))
        return rows.withColumn("bar", bar("value")).orderBy(sf.desc("value"), "dimension_value")

    def rejected_rows(self) -> DataFrame:
        """Return the number of rows in quarantine, one row per table and broken rule."""
        frames = [
            self._store.read(contract.quarantine).select(
                sf.lit(name).alias("table_name"), sf.explode("broken_rules").alias("rule")
            )
            for name, contract in TABLES.items()
            if contract.rules and self._store.exists(contract.quarantine)
        ]
        figures = union(frames).groupBy("table_name", "rule").agg(sf.count("*").alias("rows"))
        return figures.withColumn("bar", bar("rows")).orderBy(sf.desc("rows"), "rule")

    def warnings_of_sales(self) -> DataFrame:
        """Return the number of sales with a warning, one row per rule."""
        rules = self._read("retails_silver").select(sf.explode("_warnings").alias("rule"))
        figures = rules.groupBy("rule").agg(sf.count("*").alias("rows"))
        return figures.withColumn("bar", bar("rows")).orderBy(sf.desc("rows"))

    def reconciliation(self) -> DataFrame:
        """Return rows in, rows out, rejected and superseded rows, one row per table."""
        rows = self._read("reconciliation_ops").where("batch_id = 'all'").drop("batch_id", "counted_version")
        share = sf.round(sf.col("rows_quarantined") / sf.nullif("rows_in", sf.lit(0)), 5)
        return rows.withColumn("quarantined_share", share).orderBy("table_name")

    def slowest_tables(self) -> DataFrame:
        """Return the 20 tables with the longest refresh (seconds), and when each table last changed."""
        runs = self._read("pipeline_runs_ops").where("state = 'refreshed'").groupBy("table_name")
        figures = runs.agg(sf.max("started_at").alias("changed_at"), sf.max("seconds").alias("seconds"))
        return figures.withColumn("bar", bar("seconds")).orderBy(sf.desc("seconds")).limit(20)

    def _read(self, table: str) -> DataFrame:
        return self._store.read(TABLES[table])

    def _count(self, table: str, column: str) -> DataFrame:
        figures = self._read(table).groupBy(column).agg(sf.count("*").alias("customers"))
        return figures.withColumn("bar", bar("customers"))

    def _kpi(self, kpi: str, dimension: str) -> DataFrame:
        rows = self._read("kpi_monthly_gold").where("value IS NOT NULL")
        return rows.where((sf.col("kpi") == kpi) & (sf.col("dimension") == dimension))
