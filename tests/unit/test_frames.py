from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from cdp_lib import frames
from cdp_lib.frames import worked_out_few, worked_out_together

SQL = """
SELECT cast(id AS INT) AS id, cast(1.5 AS DECIMAL(38,6)) AS amount, array('a', NULL) AS names,
       TIMESTAMP '2026-03-01 12:00:00' AS at, DATE '2026-03-01' AS day, cast(NULL AS STRING) AS note
FROM range(3)
"""


@pytest.mark.parametrize("few", [0, 2, 3, 100])
@pytest.mark.parametrize("where", ["true", "id = 1", "false"])
def test_rows_that_are_worked_out_are_the_same_rows(
    spark: SparkSession, few: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "FEW_ROWS", few)
    rows = spark.sql(SQL).where(where)
    held, count = worked_out_few(rows)
    assert sorted(map(repr, held.collect())) == sorted(map(repr, rows.collect()))
    assert [(f.name, f.dataType) for f in held.schema.fields] == [(f.name, f.dataType) for f in rows.schema.fields]
    are_many = rows.count() > few
    assert (held is rows, count) == ((True, None) if are_many else (False, rows.count()))


def test_frames_that_are_worked_out_together_are_the_rows_of_all(spark: SparkSession) -> None:
    ones = spark.range(3).selectExpr("id", "CAST(NULL AS DECIMAL(38, 6)) AS amount")
    others = spark.range(3, 5).selectExpr("id", "CAST(id AS DECIMAL(38, 6)) AS amount")
    held = worked_out_together([ones, others.limit(0), others])
    assert held.schema["amount"].dataType.simpleString() == "decimal(38,6)"
    assert sorted(tuple(row) for row in held.collect()) == [(0, None), (1, None), (2, None), (3, 3), (4, 4)]
    assert worked_out_together([others.limit(0)]).collect() == []
