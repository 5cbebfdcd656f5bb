"""Tests of the columns for notebooks that people open."""

from __future__ import annotations

from cdp_lib.explore import bar


def test_bar_shows_a_value_relative_to_the_largest(spark) -> None:
    rows = spark.createDataFrame([(40.0,), (20.0,), (0.0,), (-5.0,), (None,)], "value double")
    bars = {row["value"]: row["bar"] for row in rows.withColumn("bar", bar("value")).collect()}
    assert bars == {40.0: "█" * 30, 20.0: "█" * 15, 0.0: "", -5.0: "", None: ""}


def test_bar_of_zeros_is_empty(spark) -> None:
    assert spark.createDataFrame([(0,), (0,)], "value int").select(bar("value")).distinct().first()[0] == ""
