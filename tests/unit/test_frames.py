from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from cdp_lib.frames import compute_in_parallel, frame_from_rows, nulls, read_csv, with_types


def test_compute_in_parallel_returns_the_rows_of_all_frames(spark: SparkSession) -> None:
    nulls_only = spark.range(3).selectExpr("id", "CAST(NULL AS DECIMAL(38, 6)) AS amount")
    amounts = spark.range(3, 5).selectExpr("id", "CAST(id AS DECIMAL(38, 6)) AS amount")
    combined = compute_in_parallel([nulls_only, amounts.limit(0), amounts])
    assert combined.schema["amount"].dataType.simpleString() == "decimal(38,6)"
    assert sorted(tuple(row) for row in combined.collect()) == [(0, None), (1, None), (2, None), (3, 3), (4, 4)]
    assert compute_in_parallel([amounts.limit(0)]).collect() == []


def test_read_csv_returns_texts_and_null_for_empty_fields(spark: SparkSession, tmp_path: Path) -> None:
    file = tmp_path / "countries.csv"
    file.write_text('alias,country,code\nNamibia,"Namibia, Republic of",NA\n,Zoë,007\nnull,NaN,""\n', encoding="utf-8")
    rows = read_csv(spark, file)
    assert rows.dtypes == [("alias", "string"), ("country", "string"), ("code", "string")]
    assert sorted((tuple(row) for row in rows.collect()), key=repr) == [
        ("Namibia", "Namibia, Republic of", "NA"),
        ("null", "NaN", None),
        (None, "Zoë", "007"),
    ]


TYPES = {"n": "INT", "big": "BIGINT", "share": "DOUBLE", "day": "DATE", "at": "TIMESTAMP", "name": "STRING"}
AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_frame_from_rows_has_the_given_types(spark: SparkSession, count: int) -> None:
    values = [(1, 2**40, 0.1 + 0.2, date(2026, 3, 1), AT, "Zoë 'x'"), (2, None, None, None, None, None)][:count]
    rows = [{name: value for name, value in zip(TYPES, row, strict=True) if value is not None} for row in values]
    frame = frame_from_rows(rows, TYPES, spark.range(1))
    assert dict(frame.dtypes) == {name: type_.lower() for name, type_ in TYPES.items()}
    micros = "CAST(unix_micros(at) AS BIGINT) AS at"
    read = frame.orderBy("n").selectExpr("n", "big", "share", "day", micros, "name").collect()
    assert [tuple(row) for row in read] == [
        (*row[:4], row[4] and int(row[4].timestamp()) * 1_000_000 + 123456, row[5]) for row in values
    ]


def test_frame_from_rows_joins_with_a_frame_of_its_session(spark: SparkSession) -> None:
    rows = spark.range(3)
    frame = frame_from_rows([{"id": 1, "name": "one"}], {"id": "BIGINT", "name": "STRING"}, rows)
    assert [tuple(row) for row in rows.join(frame, "id").collect()] == [(1, "one")]


def test_with_types_keeps_values(spark: SparkSession) -> None:
    types = {"names": "ARRAY<STRING>", "id": "BIGINT", "amount": "DECIMAL(38,6)"}
    rows = with_types(
        spark.sql("SELECT 7 AS id, cast(1.5 AS DECIMAL(10,1)) AS amount, array('a', NULL) AS names"), types
    )
    assert rows.dtypes == [("names", "array<string>"), ("id", "bigint"), ("amount", "decimal(38,6)")]
    [row] = rows.toArrow().to_pylist()
    assert (row["names"], row["id"], float(row["amount"])) == (["a", None], 7, 1.5)


def test_nulls_have_the_given_types(spark: SparkSession) -> None:
    rows = spark.range(2).select(*nulls(TYPES))
    assert dict(rows.dtypes) == {name: type_.lower() for name, type_ in TYPES.items()}
    assert rows.toArrow().drop_columns(list(TYPES)[1:]).column("n").null_count == 2
    assert pa.types.is_int32(rows.toArrow().schema.field("n").type)
