import json
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from cdp_lib.bronze import build_batches, build_bronze
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, EVENTS_BRONZE, PRODUCTS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import DataFile, Landing, Manifest
from cdp_lib.pipeline.load_batches import newest_files, repeats_files
from cdp_lib.pipeline.state import read_states

from .warehouse import Warehouse, batch_id_of, customer, product

STARTED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
CUSTOMER = {
    "customer_id": 101,
    "full_name": "Alba Ackerfeld",
    "email": "alba@example.com",
    "country": "Egypt",
    "registration_date": "2025-10-16",
    "household_id": "h-1",
}


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(str(tmp_path / "landing"))


@pytest.fixture
def customers(spark: SparkSession, landing: Landing) -> Callable[..., DataFrame]:
    """Return a function that lands JSON lines of customers and builds their bronze rows."""

    def build(*lines: str) -> DataFrame:
        with landing.extraction("customers_api", "20260131T000001Z-1", STARTED_AT).new_batch("customers") as batch:
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                file.write("".join(f"{line}\n" for line in lines).encode())
                batch.add(len(lines), set(CUSTOMER))
        [batch] = examined(landing, CUSTOMERS_BRONZE)
        return build_bronze(spark, landing, batch, CUSTOMERS_BRONZE)

    return build


@pytest.fixture
def products(spark: SparkSession, landing: Landing) -> Callable[..., DataFrame]:
    """Return a function that lands a snapshot of products and builds its bronze rows."""

    def build(**columns: pa.Array) -> DataFrame:
        land_parquet(landing, "products", pa.table(columns))
        [batch] = examined(landing, PRODUCTS_BRONZE)
        return build_bronze(spark, landing, batch, PRODUCTS_BRONZE)

    return build


def examined(landing: Landing, contract: BronzeContract, besides: Collection[str] = ()) -> list[Manifest]:
    """Examine the landed batches of a table, and return the resulting manifests, oldest first."""
    return [landing.examine(batch) for batch in landing.batches(contract.source, contract.entity, exclude=besides)]


def land_parquet(landing: Landing, entity: str, table: pa.Table, batch_id: str = "20260131T000001Z-1") -> Manifest:
    with landing.extraction("database", batch_id, STARTED_AT).new_batch(entity) as batch:
        with batch.open_data("part-00000.parquet", "parquet") as file:
            pq.write_table(table, file)
            batch.add(len(table), set(table.column_names))
    return batch.manifest


def products_of(**types: pa.Array) -> dict[str, pa.Array]:
    return {
        "product_id": pa.array([1], pa.int32()),
        "product_name": pa.array(["Yoga Mat"]),
        "category": pa.array(["Fitness"]),
        "price": pa.array([499], pa.int32()),
    } | types


def received(rows: DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rows.select(*names).collect()]


def test_a_json_record_is_kept_as_text_with_its_batch_and_file(customers) -> None:
    [row] = customers(json.dumps(CUSTOMER)).collect()
    assert row.asDict() | {"_ingested_at": ""} == CUSTOMER | {
        "customer_id": "101",
        "updated_at": None,
        "_rescued_data": None,
        "_load": "snapshot",
        "_is_deleted": False,
        "_batch_id": "20260131T000001Z-1",
        "_source_file": "customers_api/customers/2026-01-31/20260131T000001Z-1/data/part-00000.jsonl",
        "_ingested_at": "",
        "_version": None,
        "_extra": None,
    }


def test_rows_have_the_columns_and_types_of_the_contract(customers, products) -> None:
    for rows, contract in ((customers("{}"), CUSTOMERS_BRONZE), (products(**products_of()), PRODUCTS_BRONZE)):
        assert rows.dtypes == [(column.name, column.type.lower()) for column in contract.columns]


def test_ingested_at_is_the_start_of_the_run_that_extracted_the_rows(customers) -> None:
    [row] = customers("{}").selectExpr("unix_seconds(_ingested_at) AS seconds").collect()
    assert row.seconds == STARTED_AT.timestamp()


def test_json_values_are_kept_as_text(customers) -> None:
    expected = {
        '"  Zo\\u00eb \\n\\"x\\" "': '  Zoë \n"x" ',
        '"line\u2028paragraph\u2029next\u0085end"': "line\u2028paragraph\u2029next\u0085end",
        '"\\ud83d\\ude00 😀"': "😀 😀",
        '""': "",
        '"null"': "null",
        "null": None,
        "true": "true",
        "12345678901234567890": "12345678901234567890",
        '{"first":"Zoë"}': '{"first":"Zoë"}',
        '["Zoë",null]': '["Zoë",null]',
    }
    rows = customers(*(f'{{"customer_id": 1, "full_name": {value}}}' for value in expected))
    assert dict(zip(expected, (name for [name] in received(rows, "full_name")), strict=True)) == expected


def test_a_json_record_without_known_columns_is_rescued_whole(customers) -> None:
    records = ["[1, 2]", '"text"', "5", "null", "{}", '{"id": 1}', '{"customer_id": null}']
    rows = customers(*records).collect()
    assert [json.loads(row["_rescued_data"]) for row in rows] == [{"_record": record} for record in records]
    assert {row[name] for row in rows for name in CUSTOMER} == {None}


def test_a_json_record_with_one_known_column_is_not_rescued(customers) -> None:
    assert received(customers('{"customer_id": 1}'), "customer_id", "_rescued_data") == [("1", None)]


def test_parquet_columns_keep_their_types(products) -> None:
    rows = products(
        product_id=pa.array([1, None], pa.int32()),
        product_name=pa.array(["Zoë 😀", None]),
        category=pa.array(["Fitness", ""]),
        price=pa.array([Decimal("499.50"), None], pa.decimal128(18, 2)),
    )
    assert received(rows, "product_id", "product_name", "category", "price", "_rescued_data") == [
        (1, "Zoë 😀", "Fitness", Decimal("499.50"), None),
        (None, None, "", None, None),
    ]


@pytest.mark.every_case
@pytest.mark.parametrize(
    "price",
    [
        pa.array([499], pa.int16()),
        pa.array([499], pa.int64()),
        pa.array([499.0], pa.float64()),
        pa.array([Decimal("499.0")], pa.decimal128(10, 1)),
        pa.array(["499"]),
    ],
    ids=lambda array: str(array.type),
)
def test_a_column_may_have_any_compatible_type(products, price: pa.Array) -> None:
    assert received(products(**products_of(price=price)), "price", "_rescued_data") == [(Decimal("499.00"), None)]


def test_a_value_that_does_not_fit_becomes_null_and_is_rescued(products) -> None:
    rows = products(
        product_id=pa.array(["one", "2", "99999999999999999999"]),
        product_name=pa.array(["A", "B", "C"]),
        category=pa.array(["x", "y", "z"]),
        price=pa.array(["12,5", "EUR 5", "7"]),
    )
    assert received(rows, "product_id", "product_name", "price", "_rescued_data") == [
        (None, "A", None, '{"product_id":"one","price":"12,5"}'),
        (2, "B", None, '{"price":"EUR 5"}'),
        (None, "C", Decimal("7.00"), '{"product_id":"99999999999999999999"}'),
    ]


def test_a_number_too_large_for_its_column_is_rescued(products) -> None:
    ids, prices = pa.array(["1", str(2**63)]), pa.array([1.0, 1e30], pa.float64())
    rows = products(product_id=ids, price=prices)
    [(product_id, price, rescued)] = received(rows.where("product_id IS NULL"), "product_id", "price", "_rescued_data")
    assert (product_id, price) == (None, None)
    assert json.loads(rescued)["product_id"] == str(2**63)
    assert float(json.loads(rescued)["price"]) == 1e30


def test_a_date_may_be_received_as_date_text_or_timestamp(spark: SparkSession, landing: Landing) -> None:
    numbers = {name: pa.array([1], pa.int32()) for name in TRANSACTIONS_BRONZE.column_names[:5]}
    for number, day in enumerate(
        (
            pa.array([date(2025, 4, 1)], pa.date32()),
            pa.array([datetime(2025, 4, 1, 23, 59, tzinfo=UTC)], pa.timestamp("us", tz="UTC")),
            pa.array(["2025-04-01"]),
        )
    ):
        table = pa.table(numbers | {"transaction_date": day})
        manifest = land_parquet(landing, "transactions", table, f"20260131T00000{number}Z-{number}")
        rows = build_bronze(spark, landing, manifest, TRANSACTIONS_BRONZE)
        assert received(rows, "transaction_date", "_rescued_data") == [(date(2025, 4, 1), None)]


@pytest.mark.parametrize(
    ("name", "values", "received_type"),
    [
        ("product_id", pa.array([1.5], pa.float64()), "double"),
        ("product_id", pa.array([date(2025, 4, 1)]), "date"),
        ("price", pa.array([True]), "boolean"),
        ("product_name", pa.array([["a"]]), "array"),
    ],
)
def test_a_column_of_an_incompatible_type_is_an_error_that_names_both_types(
    products, name: str, values: pa.Array, received_type: str
) -> None:
    with pytest.raises(
        CdpError, match=f"Column {name} of batch 20260131T000001Z-1 of database/products has the type {received_type}"
    ):
        products(**products_of(**{name: values}))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("price", ["1,99 EUR"], "string (for example '1,99 EUR'), but products_bronze expects numbers such as 12.50"),
        ("product_id", ["A-17"], "string (for example 'A-17'), but products_bronze expects whole numbers such as 42"),
        ("product_id", pa.array([1.5], pa.float64()), "double (for example '1.5'), but products_bronze expects whole"),
    ],
)
def test_error_of_an_incompatible_type_shows_a_value_and_the_expected_values(
    products, name: str, values: Any, message: str
) -> None:
    with pytest.raises(CdpError) as refused:
        products(**products_of(**{name: values}))
    assert message in str(refused.value)


def test_a_missing_column_is_an_error_that_names_missing_and_received_columns(products) -> None:
    columns = products_of()
    del columns["price"], columns["product_id"]
    with pytest.raises(CdpError, match="has no column price, product_id") as refused:
        products(**columns)
    assert "its columns are category, product_name" in str(refused.value)
    assert "products_bronze is unchanged" in str(refused.value)


def test_a_missing_optional_column_is_null(customers, products) -> None:
    assert received(customers(json.dumps(CUSTOMER)), "updated_at", "_rescued_data") == [(None, None)]
    assert received(products(**products_of()), "updated_at", "_rescued_data") == [(None, None)]


def test_only_needed_columns_are_required(customers, products) -> None:
    needed = {name: values for name, values in products_of().items() if name in ("product_id", "price")}
    assert received(products(**needed), "product_name", "category", "_rescued_data") == [(None, None, None)]
    only_number = received(customers('{"customer_id": 1}'), *CUSTOMER, "_rescued_data")
    assert only_number == [(*("1" if name == "customer_id" else None for name in CUSTOMER), None)]


@pytest.mark.parametrize(
    ("updated_at", "text"),
    [
        (pa.array(["2026-01-30T08:00:00+02:00"]), "2026-01-30T08:00:00+02:00"),
        (pa.array([datetime(2026, 1, 30, 6, tzinfo=UTC)], pa.timestamp("us")), "2026-01-30 06:00:00"),
        (
            pa.array([datetime(2026, 1, 30, 6, 0, 0, 250_000, UTC)], pa.timestamp("us", "UTC")),
            "2026-01-30 06:00:00.25Z",
        ),
    ],
)
def test_a_received_optional_column_is_kept(products, updated_at: pa.Array, text: str) -> None:
    rows = products(**products_of(updated_at=updated_at))
    assert rows.columns == list(PRODUCTS_BRONZE.column_names)
    assert received(rows, "updated_at", "_rescued_data") == [(text, None)]


def test_an_unknown_column_is_kept_as_text(products) -> None:
    rows = products(**products_of(colour=pa.array(["red"]), weight=pa.array([1.5])))
    assert rows.columns == [*PRODUCTS_BRONZE.column_names, "colour", "weight"]
    assert received(rows, "colour", "weight") == [("red", "1.5")]


def test_an_unknown_json_field_is_kept_as_text(spark: SparkSession, landing: Landing) -> None:
    fields = {"tier": "gold", "x.y": 1, "it's; a (name)": True, "nested": {"a": ["ü"]}, "none": None}
    with landing.extraction("customers_api", "20260131T000001Z-1", STARTED_AT).new_batch("customers") as batch:
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            file.write(f"{json.dumps(CUSTOMER | fields)}\n{json.dumps(CUSTOMER)}\n".encode())
            batch.add(2, {*CUSTOMER, *fields})
    rows = build_bronze(spark, landing, batch.manifest, CUSTOMERS_BRONZE)
    assert rows.columns[len(CUSTOMERS_BRONZE.column_names) :] == ["it's__a__name_", "nested", "none", "tier", "x.y"]
    first, second = rows.orderBy(sf.col("tier").isNull()).collect()
    assert (first["it's__a__name_"], json.loads(first["nested"]), first["none"]) == ("true", {"a": ["ü"]}, None)
    assert (first["tier"], first["x.y"]) == ("gold", "1")
    assert (second["tier"], second["nested"]) == (None, None)


def test_columns_that_differ_only_in_case_are_an_error_that_names_them(products) -> None:
    with pytest.raises(
        CdpError,
        match="has columns whose names differ only in upper and lower case .price.: products_bronze is unchanged",
    ):
        products(**products_of(PRICE=pa.array([1])))


def test_an_unknown_field_never_replaces_a_column(spark: SparkSession, landing: Landing) -> None:
    fields = {"Country": "France", "_batch_id": "b0", "a`b": "1", "A B": "2", "a b": "3", "": "4"}
    with landing.extraction("customers_api", "20260131T000001Z-1", STARTED_AT).new_batch("customers") as batch:
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            file.write(f"{json.dumps(CUSTOMER | fields)}\n".encode())
            batch.add(1, {*CUSTOMER, *fields})
    [row] = build_bronze(spark, landing, batch.manifest, CUSTOMERS_BRONZE).collect()
    values = row.asDict()
    assert len({name.lower() for name in values}) == len(values)
    assert (row["country"], row["_batch_id"]) == ("Egypt", "20260131T000001Z-1")
    extra = {name: value for name, value in values.items() if name not in CUSTOMERS_BRONZE.column_names}
    assert sorted(extra.values()) == ["1", "2", "3", "4", "France", "b0"]
    assert {name.rpartition("_")[0] for name, value in extra.items() if value in ("France", "b0")} == {
        "country",
        "_batch_id",
    }
    assert {name.lower() for name in values} == set(values)


def test_a_tombstone_has_only_its_key(spark: SparkSession, landing: Landing) -> None:
    with landing.extraction("customers_api", "20260131T000001Z-1", STARTED_AT).new_batch(
        "customers", "increment"
    ) as batch:
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            file.write(f"{json.dumps(CUSTOMER)}\n".encode())
            batch.add(1, set(CUSTOMER))
        with batch.open_data("gone.jsonl", "jsonl", deletions=True) as file:
            file.write(b'{"customer_id": 102}\n')
            batch.add(1)
    [manifest] = examined(landing, CUSTOMERS_BRONZE)
    rows = build_bronze(spark, landing, manifest, CUSTOMERS_BRONZE)
    assert sorted(received(rows, "customer_id", "full_name", "_load", "_is_deleted", "_rescued_data")) == [
        ("101", "Alba Ackerfeld", "increment", False, None),
        ("102", None, "increment", True, None),
    ]


def test_a_parquet_tombstone_needs_only_its_key(spark: SparkSession, landing: Landing) -> None:
    with landing.extraction("database", "20260131T000001Z-1", STARTED_AT).new_batch("products", "increment") as batch:
        with batch.open_data("gone.parquet", "parquet", deletions=True) as file:
            pq.write_table(pa.table({"product_id": pa.array([7], pa.int32())}), file)
            batch.add(1)
    [manifest] = examined(landing, PRODUCTS_BRONZE)
    rows = build_bronze(spark, landing, manifest, PRODUCTS_BRONZE)
    assert received(rows, "product_id", "price", "_is_deleted") == [(7, None, True)]


def land_events(landing: Landing, *lines: str) -> Manifest:
    with landing.extraction("events", "20260131T000001Z-1", STARTED_AT).new_batch("events", "files") as batch:
        with batch.open_data("a.jsonl", "jsonl") as file:
            for line in lines:
                file.write(f"{line}\n".encode())
                batch.add(1, json.loads(line) if line.startswith("{") else ())
    [manifest] = examined(landing, EVENTS_BRONZE)
    return manifest


def test_many_files_are_read_at_once_and_each_row_has_its_file(
    spark: SparkSession, landing: Landing, tmp_path: Path
) -> None:
    event = {"event_type": "page_view", "occurred_at": "2026-01-31"}
    with landing.extraction("events", "20260131T000001Z-1", STARTED_AT).new_batch("events", "files") as batch:
        for number in range(500):
            with batch.open_data(f"file=2025-{number}.jsonl/part-00000.jsonl", "jsonl") as file:
                file.write(f"{json.dumps(event | {'event_id': str(number)})}\n".encode())
                batch.add(1, {*event, "event_id"})
    stray = tmp_path / "landing/events/events/2026-01-31/20260131T000001Z-1/data/file=stray.jsonl/part-00000.jsonl"
    stray.parent.mkdir()
    stray.write_text('{"event_id": "stray"}\n')
    [manifest] = examined(landing, EVENTS_BRONZE)
    rows = received(build_bronze(spark, landing, manifest, EVENTS_BRONZE), "event_id", "_source_file")
    assert sorted(rows) == sorted(
        (str(number), f"events/events/2026-01-31/20260131T000001Z-1/data/file=2025-{number}.jsonl/part-00000.jsonl")
        for number in range(500)
    )


def test_an_event_may_omit_fields(spark: SparkSession, landing: Landing) -> None:
    batch = land_events(landing, '{"event_id": "e1", "event_type": "page_view", "occurred_at": "2026-01-31"}')
    rows = build_bronze(spark, landing, batch, EVENTS_BRONZE)
    assert received(rows, "event_id", "channel", "_load", "_rescued_data") == [("e1", None, "files", None)]


def test_unreadable_lines_of_a_file_are_rescued(spark: SparkSession, landing: Landing) -> None:
    rows = build_bronze(spark, landing, land_events(landing, "not JSON", "[1]"), EVENTS_BRONZE)
    assert sorted(json.loads(text)["_record"] for [text] in received(rows, "_rescued_data")) == ["[1]", "not JSON"]


@pytest.mark.parametrize("column", ["product_id", "price"])
def test_a_text_column_without_any_fitting_value_is_an_error(products, column: str) -> None:
    with pytest.raises(
        CdpError, match=f"Column {column} of batch 20260131T000001Z-1 of database/products has the type string"
    ):
        products(**products_of(**{column: pa.array(["499 EUR"])}))


def test_a_snapshot_that_cannot_be_loaded_is_skipped_once_a_later_one_is_landed(
    spark: SparkSession, landing: Landing
) -> None:
    def build() -> list[str]:
        batches = examined(landing, PRODUCTS_BRONZE, {"20260131T000001Z-1"})
        return list(build_batches(spark, landing, batches, PRODUCTS_BRONZE))

    land_parquet(landing, "products", pa.table(products_of()), "20260131T000001Z-1")
    without_price = products_of()
    del without_price["price"]
    land_parquet(landing, "products", pa.table(without_price), "20260131T000002Z-2")
    with pytest.raises(CdpError, match="Batch 20260131T000002Z-2 of database/products has no column price"):
        build()
    land_parquet(landing, "products", pa.table(products_of()), "20260131T000003Z-3")
    assert build() == ["20260131T000003Z-3"]
    land_parquet(landing, "products", pa.table(products_of(price=pa.array([True]))), "20260131T000004Z-4")
    with pytest.raises(CdpError, match="Column price of batch 20260131T000004Z-4"):
        build()


def test_blank_lines_are_not_records(spark: SparkSession, landing: Landing, tmp_path: Path) -> None:
    data = tmp_path / "landing/customers_api/customers/2026-01-31/20260131T000001Z-1/data"
    data.mkdir(parents=True)
    (data / "a.jsonl").write_text(f"{json.dumps(CUSTOMER)}\n\n  \n{json.dumps(CUSTOMER | {'customer_id': 102})}")
    manifest = Manifest(
        "customers_api",
        "customers",
        "20260131T000001Z-1",
        "snapshot",
        "2026-01-31",
        "jsonl",
        (DataFile("data/a.jsonl"),),
        "",
    )
    (data.parent / "manifest.json").write_text(manifest.to_json())
    [batch] = examined(landing, CUSTOMERS_BRONZE)
    assert batch.rows == build_bronze(spark, landing, batch, CUSTOMERS_BRONZE).count() == 2


def test_an_empty_batch_has_no_rows(spark: SparkSession, landing: Landing) -> None:
    with landing.extraction("customers_api", "20260131T000001Z-1", STARTED_AT).new_batch("customers", "increment"):
        pass
    [batch] = examined(landing, CUSTOMERS_BRONZE)
    assert build_batches(spark, landing, [batch], CUSTOMERS_BRONZE) == {}


def test_all_files_of_a_batch_are_read(spark: SparkSession, landing: Landing) -> None:
    with landing.extraction("customers_api", "20260131T000001Z-1", STARTED_AT).new_batch("customers") as batch:
        for number in range(3):
            with batch.open_data(f"part-{number}.jsonl", "jsonl") as file:
                file.write(f'{{"customer_id": {number}}}\n'.encode())
                batch.add(1, set(CUSTOMER))
    rows = build_bronze(spark, landing, batch.manifest, CUSTOMERS_BRONZE)
    assert sorted(received(rows, "customer_id", "_source_file")) == [
        (str(number), f"customers_api/customers/2026-01-31/20260131T000001Z-1/data/part-{number}.jsonl")
        for number in range(3)
    ]


def test_files_that_are_not_in_the_manifest_are_not_read(spark: SparkSession, landing: Landing, tmp_path: Path) -> None:
    manifest = land_parquet(landing, "products", pa.table(products_of()))
    pq.write_table(
        pa.table(products_of(product_id=pa.array([2], pa.int32()))),
        tmp_path / "landing/database/products/2026-01-31/20260131T000001Z-1/data/stray.parquet",
    )
    assert received(build_bronze(spark, landing, manifest, PRODUCTS_BRONZE), "product_id") == [(1,)]


@pytest.fixture
def landed_products(landing: Landing, tmp_path: Path) -> Iterator[Landing]:
    """Return a landing with three batches of products and one incomplete batch."""
    for number in (1, 2, 3):
        table = pa.table(products_of(product_id=pa.array([number], pa.int32())))
        land_parquet(landing, "products", table, f"20260131T00000{number}Z-{number}")
    unfinished = tmp_path / "landing/database/products/2026-01-31/20260131T000004Z-4/data"
    unfinished.mkdir(parents=True)
    (unfinished / "part-00000.parquet").write_bytes(b"PAR1")
    yield landing


def test_build_batches_returns_rows_by_batch_name(spark: SparkSession, landed_products: Landing) -> None:
    batches = examined(landed_products, PRODUCTS_BRONZE, {"20260131T000002Z-2"})
    rows_by_batch = build_batches(spark, landed_products, batches, PRODUCTS_BRONZE)
    rows = {name: received(rows, "product_id", "_batch_id") for name, rows in rows_by_batch.items()}
    assert list(rows.items()) == [
        ("20260131T000001Z-1", [(1, "20260131T000001Z-1")]),
        ("20260131T000003Z-3", [(3, "20260131T000003Z-3")]),
    ]


def test_an_increment_that_cannot_be_loaded_is_not_skipped(spark: SparkSession, landing: Landing) -> None:
    latest = None
    for batch_id, price in (("20260131T000001Z-1", pa.array([True])), ("20260131T000002Z-2", pa.array([499]))):
        with landing.extraction("database", batch_id, STARTED_AT).new_batch("products", "increment", latest) as batch:
            with batch.open_data("part-00000.parquet", "parquet") as file:
                pq.write_table(pa.table(products_of(price=price)), file)
                batch.add(1, set(products_of()))
        latest = batch.manifest
    batches = examined(landing, PRODUCTS_BRONZE)
    assert [batch.batch_id for batch in batches] == ["20260131T000001Z-1", "20260131T000002Z-2"]
    with pytest.raises(CdpError, match="Column price of batch 20260131T000001Z-1"):
        build_batches(spark, landing, batches, PRODUCTS_BRONZE)


# Loading batches into a bronze table


def loaded(warehouse: Warehouse, contract: BronzeContract, **parameters: str) -> int:
    """Load the new batches of a bronze table, and return the number of loaded rows."""
    [run] = warehouse.run(contract.name, **parameters)
    return run.counts.rows


def batches_in(warehouse: Warehouse, contract: BronzeContract) -> dict[str, int]:
    """Return the number of rows of each batch in the table."""
    rows = warehouse.store.read(contract).groupBy("_batch_id").count().collect()
    return {batch_id: count for batch_id, count in sorted(map(tuple, rows))}


def test_a_table_loads_new_complete_batches_also_if_they_arrive_late(warehouse: Warehouse) -> None:
    unfinished = warehouse.folder_of(PRODUCTS_BRONZE, 9) / "data"
    unfinished.mkdir(parents=True)
    (unfinished / "part-00000.jsonl").write_text("{", encoding="utf-8")
    for day in (2, 4):
        warehouse.land(PRODUCTS_BRONZE, day, product(day))
    assert loaded(warehouse, PRODUCTS_BRONZE) == 2
    assert loaded(warehouse, PRODUCTS_BRONZE) == 0
    warehouse.land(PRODUCTS_BRONZE, 3, product(3), product(4))
    warehouse.land(PRODUCTS_BRONZE, 5, product(5))
    assert loaded(warehouse, PRODUCTS_BRONZE) == 3
    assert batches_in(warehouse, PRODUCTS_BRONZE) == {batch_id_of(day): 2 if day == 3 else 1 for day in (2, 3, 4, 5)}


def test_rows_have_the_version_of_the_table_that_loaded_them(warehouse: Warehouse) -> None:
    for day in (1, 2):
        warehouse.land(PRODUCTS_BRONZE, day, product(day))
        loaded(warehouse, PRODUCTS_BRONZE)
        warehouse.runs += 1
    assert warehouse.rows(PRODUCTS_BRONZE, "product_id", "_version") == [(1, 1), (2, 2)]
    assert read_states(warehouse.store)[PRODUCTS_BRONZE.name].version == 2


def test_an_empty_batch_is_loaded_once(warehouse: Warehouse) -> None:
    warehouse.land(PRODUCTS_BRONZE, 1, product(1))
    loaded(warehouse, PRODUCTS_BRONZE)
    warehouse.land(PRODUCTS_BRONZE, 2, load="increment")
    assert warehouse.refreshed(PRODUCTS_BRONZE.name) == [PRODUCTS_BRONZE.name]
    assert warehouse.refreshed(PRODUCTS_BRONZE.name) == []
    assert batches_in(warehouse, PRODUCTS_BRONZE) == {batch_id_of(1): 1}


def test_only_batches_of_the_contracts_source_and_entity_are_loaded(warehouse: Warehouse) -> None:
    warehouse.land(replace(PRODUCTS_BRONZE, source="crm"), 1, product(1))
    warehouse.land(replace(PRODUCTS_BRONZE, entity="wares"), 1, product(1))
    assert loaded(warehouse, PRODUCTS_BRONZE) == 0
    assert batches_in(warehouse, PRODUCTS_BRONZE) == {}


def test_a_batch_that_differs_from_its_manifest_is_refused(landing: Landing, tmp_path: Path) -> None:
    land_parquet(landing, "products", pa.table(products_of()))
    file = tmp_path / "landing/database/products/2026-01-31/20260131T000001Z-1/data/part-00000.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"X")
    with pytest.raises(CdpError, match="Batch 20260131T000001Z-1 of database/products does not match its manifest"):
        examined(landing, PRODUCTS_BRONZE)


def test_a_table_is_unchanged_if_a_batch_cannot_be_loaded(warehouse: Warehouse) -> None:
    warehouse.land(PRODUCTS_BRONZE, 1, product(1))
    loaded(warehouse, PRODUCTS_BRONZE)
    before = read_states(warehouse.store)
    batch_id = warehouse.land(PRODUCTS_BRONZE, 2, product(2))
    data = warehouse.folder_of(PRODUCTS_BRONZE, 2) / "data" / "part-00000.jsonl"
    data.unlink()
    [run] = warehouse.runner().refresh([PRODUCTS_BRONZE.name])
    assert run.state == "failed" and batch_id in run.error
    assert batches_in(warehouse, PRODUCTS_BRONZE) == {batch_id_of(1): 1}
    assert read_states(warehouse.store) == before


def test_replayed_batches_replace_their_rows(warehouse: Warehouse) -> None:
    for day in (1, 2, 3):
        warehouse.land(PRODUCTS_BRONZE, day, product(day))
    loaded(warehouse, PRODUCTS_BRONZE)
    for day in (1, 2, 3):
        shutil.rmtree(warehouse.folder_of(PRODUCTS_BRONZE, day))
        warehouse.land(PRODUCTS_BRONZE, day, product(10 * day), product(10 * day + 1))
    assert loaded(warehouse, PRODUCTS_BRONZE) == 0
    assert loaded(warehouse, PRODUCTS_BRONZE, replay_from=batch_id_of(2)) == 4
    assert [row[0] for row in warehouse.rows(PRODUCTS_BRONZE, "product_id")] == [1, 20, 21, 30, 31]
    assert loaded(warehouse, PRODUCTS_BRONZE, full_refresh="true") == 6
    assert [row[0] for row in warehouse.rows(PRODUCTS_BRONZE, "product_id")] == [10, 11, 20, 21, 30, 31]


def test_a_full_refresh_keeps_rows_of_removed_batches(warehouse: Warehouse) -> None:
    for day in (1, 2, 3):
        warehouse.land(PRODUCTS_BRONZE, day, product(day))
    loaded(warehouse, PRODUCTS_BRONZE)
    for day in (1, 2):
        shutil.rmtree(warehouse.folder_of(PRODUCTS_BRONZE, day))
    loaded(warehouse, PRODUCTS_BRONZE, full_refresh="true")
    assert batches_in(warehouse, PRODUCTS_BRONZE) == {batch_id_of(day): 1 for day in (1, 2, 3)}


def land_with(warehouse: Warehouse, day: int, **fields: object) -> None:
    """Land a customer with unknown fields."""
    warehouse.land(CUSTOMERS_BRONZE, day, customer(day), load="increment")
    folder = warehouse.folder_of(CUSTOMERS_BRONZE, day)
    [path] = folder.glob("data/*")
    path.write_text(f"{json.dumps(json.loads(path.read_text(encoding='utf-8')) | fields)}\n", encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["columns"] += list(fields)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_new_field_is_reported_and_null_in_older_rows(warehouse: Warehouse) -> None:
    land_with(warehouse, 1)
    loaded(warehouse, CUSTOMERS_BRONZE)
    land_with(warehouse, 2, tier="gold")
    land_with(warehouse, 3, size="XL", tier="silver")
    land_with(warehouse, 4)
    [run] = warehouse.run(CUSTOMERS_BRONZE.name)
    assert (run.counts.rows, run.notes) == (
        3,
        ("New columns in the source, added to customers_bronze: tier, size",),
    )
    land_with(warehouse, 5, size="L")
    [run] = warehouse.run(CUSTOMERS_BRONZE.name)
    assert run.notes == ()
    expected = [("1", None, None), ("2", "gold", None), ("3", "silver", "XL"), ("4", None, None), ("5", None, "L")]
    assert warehouse.rows(CUSTOMERS_BRONZE, "customer_id", "tier", "size") == expected
    [run] = warehouse.run(CUSTOMERS_BRONZE.name, full_refresh="true")
    assert warehouse.rows(CUSTOMERS_BRONZE, "customer_id", "tier", "size") == expected


@pytest.mark.first_engine
@pytest.mark.parametrize("run", [{}, {"replay_from": batch_id_of(1)}, {"full_refresh": "true"}], ids=str)
def test_a_killed_load_that_is_repeated_loads_each_row_once(
    warehouse: Warehouse, tmp_path: Path, run: dict[str, str]
) -> None:
    land_with(warehouse, 1)
    loaded(warehouse, CUSTOMERS_BRONZE)
    copy = tmp_path / "copy"
    shutil.copytree(warehouse.tables_folder, copy)
    land_with(warehouse, 2, tier="gold")
    land_with(warehouse, 3, size="L")
    commit = 0
    while True:
        warehouse.restore(copy)
        if not warehouse.dies_at(commit, lambda: loaded(warehouse, CUSTOMERS_BRONZE, **run)):
            break
        loaded(warehouse, CUSTOMERS_BRONZE)
        assert batches_in(warehouse, CUSTOMERS_BRONZE) == {batch_id_of(day): 1 for day in (1, 2, 3)}, commit
        assert warehouse.complaints() == [], commit
        commit += 1
    assert commit >= 4


# Files of a source


@pytest.fixture
def filed(frame_of: Callable[..., DataFrame]) -> DataFrame:
    """Return bronze rows of three batches of files.

    - Batch a has the files 04 and 05, in the layout of the notebooks. It was loaded in table version 1.
    - Batch b has a new version of file 04, in the layout of Data Factory. It was loaded in table version 2.
    - Batch c has file 06, in the layout of Data Factory. It was loaded in table version 3.
    """

    def in_file(batch_id: str, name: str, *numbers: str | None) -> list[dict[str, object]]:
        version = "abc".index(batch_id) + 1
        lineage = {"_batch_id": batch_id, "_source_file": f"s/e/{batch_id}/data/{name}", "_version": version}
        return [{"event_id": number, "_ingested_at": STARTED_AT} | lineage for number in numbers]

    return frame_of(
        EVENTS_BRONZE.columns,
        *in_file("a", "file=04.csv/part-00000.jsonl", "1a", "2a"),
        *in_file("a", "file=05.csv/part-00000.jsonl", "other file"),
        *in_file("b", "04.csv.jsonl", "2b", None),
        *in_file("c", "06.csv.jsonl", "3c"),
    )


@pytest.mark.parametrize(
    ("batch_ids", "numbers"),
    [
        ("abc", ["2b", "3c", "other file", None]),
        ("ac", ["1a", "2a", "3c", "other file"]),
        ("b", ["2b", None]),
        ("d", []),
    ],
)
def test_newest_files_returns_rows_of_the_newest_batch_of_each_file(
    filed: DataFrame, batch_ids: str, numbers: list[str | None]
) -> None:
    rows = newest_files(filed.where(sf.col("_batch_id").isin(*batch_ids)))
    assert rows.columns == list(EVENTS_BRONZE.column_names)
    assert sorted((row.event_id for row in rows.select("event_id").collect()), key=lambda n: n or "~") == numbers


@pytest.mark.parametrize(
    ("batch_ids", "seen", "is_repeated"),
    [("ab", 1, True), ("abc", 1, True), ("abc", 2, False), ("ac", 1, False), ("ab", 0, True), ("ac", 0, False)],
)
def test_repeats_files_finds_files_that_were_loaded_before(
    filed: DataFrame, batch_ids: str, seen: int, is_repeated: bool
) -> None:
    assert repeats_files(filed.where(sf.col("_batch_id").isin(*batch_ids)), seen) is is_repeated
