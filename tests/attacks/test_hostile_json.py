"""Attacks by JSON of a source: no record stops its source, floods its table, or vanishes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from cdp_lib.bronze import build_bronze
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, EVENTS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_lib.json_text import EXTRA, MAX_FIELD_NAMES
from cdp_lib.landing import DataFile, Landing, Manifest
from cdp_lib.pipeline.load_batches import MAX_OWN_COLUMNS
from cdp_lib.sources.event_stream import json_line_of
from cdp_lib.sources.pages import Page
from unit.warehouse import Warehouse, customer

GOOD = json.dumps(customer(1))
IN_EXTRA = {
    "nul": ("\\u0000", "\0"),
    "nul in a name": ("a\\u0000b", "a\0b"),
    "escape sequence": ("\\u001b[31m", "\033[31m"),
    "line break": ("a\\nb", "a\nb"),
    "tab": ("a\\tb", "a\tb"),
    "text from right to left": ("\\u202egpj", "\u202egpj"),
    "no-break space": ("\\u00a0", "\u00a0"),
    "line separator": ("\\u2028", "\u2028"),
    "10,000 characters": ("x" * 10_000, "x" * 10_000),
    "201 characters": ("é" * 201, "é" * 201),
    "private use": ("\\ue000", "\ue000"),
    "_extra": ("_extra", "_extra"),
}
"""Names that can't be the name of a column: their spelling in JSON, and the name."""

OWN_COLUMN = {
    "empty": "",
    "blank": " ",
    "dot": "a.b",
    "quotes": "'; DROP TABLE customers_bronze; --",
    "back quote": "a`b",
    "markup": "[/b]",
    "html": "<script>alert(1)</script>",
    "template": "{{secrets/cdp/api_token}}",
    "percent": "%s%n",
    "path": "../../x",
    "technical column": "_batch_id",
    "contract column in capitals": "EMAIL",
    "emoji": "😀",
    "cyrillic look-alike": "\u0435mail",
    "200 characters": "x" * 200,
    "semicolon": "a;b",
    "dollar": "$.email",
    "star": "*",
    "is_active": "is_active",
    "record": "_record",
}
"""Names that become a column, whatever they look like."""

REFUSED = {
    "lone surrogate in a name": '{"customer_id": 1, "\\ud800": 1}',
    "lone surrogate in a value": '{"customer_id": 1, "full_name": "\\udfff"}',
    "surrogates in the wrong order": '{"customer_id": 1, "full_name": "\\ude00\\ud83d"}',
    "2,000 levels of arrays": '{"customer_id": 1, "a": ' + "[" * 2_000 + "]" * 2_000 + "}",
    "2,000 levels of objects": '{"customer_id": 1, "a": ' + '{"a":' * 2_000 + "1" + "}" * 2_000 + "}",
    "100,000 levels": "[" * 100_000 + "]" * 100_000,
    "number": "1",
    "5,000-digit number": "1" * 5_000,
    "text": '"customer"',
    "array": '[{"customer_id": 1}]',
    "null": "null",
    "empty object": "{}",
}
"""Records that bronze keeps whole, and that silver refuses. The engines differ for the first three."""


def bronze_rows(warehouse: Warehouse, *records: str) -> list[dict[str, object]]:
    """Land records as the page of an API, and return their bronze rows."""
    [batch] = [land_page(warehouse.landing, *records)]
    rows = build_bronze(warehouse.store.session, warehouse.landing, warehouse.landing.examine(batch), CUSTOMERS_BRONZE)
    return [row.asDict() for row in rows.collect()]


def land_page(landing: Landing, *records: str, batch_id: str = "20260301T050000Z-1") -> Manifest:
    page = Page(io.BytesIO(f"[{','.join(records)}]".encode()), "API")
    with landing.new_batch("customers_api", "customers", batch_id, "2026-03-01T05:00:00+00:00") as batch:
        with batch.open_data("part-00000.jsonl", "jsonl") as data:
            for line, _ in page.records:
                data.write(line)
        batch.add(page.rows, page.columns)
    return batch.manifest


@pytest.mark.parametrize("name", IN_EXTRA)
def test_a_name_that_cannot_be_a_column_is_in_extra(warehouse: Warehouse, name: str) -> None:
    spelled, received = IN_EXTRA[name]
    [row] = bronze_rows(warehouse, f'{{"customer_id": 1, "{spelled}": "value"}}')
    assert row.keys() == {*CUSTOMERS_BRONZE.column_names}
    assert json.loads(str(row[EXTRA])) == {received: "value"}
    assert (row["customer_id"], row["_rescued_data"]) == ("1", None)


@pytest.mark.parametrize("name", OWN_COLUMN)
def test_a_hostile_name_becomes_a_column_of_its_own(warehouse: Warehouse, name: str) -> None:
    record = {"customer_id": "1", "email": "a@example.com", OWN_COLUMN[name]: "value"}
    [row] = bronze_rows(warehouse, json.dumps(record))
    [own] = [value for column, value in row.items() if column not in CUSTOMERS_BRONZE.column_names]
    assert own == "value"
    assert (row["email"], row["_batch_id"], row[EXTRA]) == ("a@example.com", "20260301T050000Z-1", None)


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_record_does_not_stop_its_page(warehouse: Warehouse, name: str) -> None:
    good, hostile = bronze_rows(warehouse, GOOD, REFUSED[name])
    assert (good["customer_id"], good["_rescued_data"]) == ("1", None)
    if "surrogate" not in name:
        assert json.loads(str(hostile["_rescued_data"]))["_record"] == REFUSED[name]


@pytest.mark.parametrize("digits", [20, 5_000, 100_000])
def test_a_long_number_is_kept_as_received(warehouse: Warehouse, digits: int) -> None:
    record = f'{{"customer_id": {"1" * digits}}}'
    [row] = bronze_rows(warehouse, record)
    if digits == 20:
        assert (row["customer_id"], row["_rescued_data"]) == ("1" * digits, None)
    else:
        # Engines have a limit for the length of a number.
        assert (row["customer_id"], row["_rescued_data"]) == (
            None,
            json.dumps({"_record": record}, separators=(",", ":")),
        )


@pytest.mark.torture
def test_hostile_records_are_in_quarantine_and_the_next_batch_goes_through(warehouse: Warehouse) -> None:
    records = [*REFUSED.values(), *(f'{{"customer_id": 2, "{spelled}": 1}}' for spelled, _ in IN_EXTRA.values())]
    good = [json.dumps(customer(number)) for number in range(10, 100)]
    land_page(warehouse.landing, *records, *good)
    warehouse.refresh(CUSTOMERS_SILVER)
    assert {number for (number,) in warehouse.rows(CUSTOMERS_SILVER, "customer_id")} >= {*range(10, 100)}
    refused = [record for name, record in REFUSED.items() if "surrogate" not in name]
    assert len(warehouse.rows(CUSTOMERS_SILVER.quarantine)) >= len(refused)
    warehouse.land(CUSTOMERS_BRONZE, 2, *(customer(number) for number in range(10, 101)))
    warehouse.refresh(CUSTOMERS_SILVER)
    assert (100,) in warehouse.rows(CUSTOMERS_SILVER, "customer_id")
    assert not warehouse.complaints()


@pytest.mark.torture
def test_a_flood_of_names_adds_few_columns(warehouse: Warehouse) -> None:
    events = [
        {"event_id": f"e{n}", "event_type": "page_view", "occurred_at": "2026-02-01T00:00:00Z", "anonymous_id": "d"}
        | {f"key_{n}_{key}": str(key) for key in range(50)}
        for n in range(60)
    ]
    names = sorted({name for event in events for name in event})
    warehouse.land(EVENTS_BRONZE, 1, *events, load="files", columns=names[:MAX_FIELD_NAMES])
    [run, _] = warehouse.run("events_bronze", "events_silver")
    table = warehouse.store.read(EVENTS_BRONZE)
    assert len(table.columns) == len(EVENTS_BRONZE.columns) + MAX_OWN_COLUMNS
    assert any(f"{MAX_OWN_COLUMNS} columns that are not in its contract" in note for note in run.notes)
    extra = {key for (text,) in table.select(EXTRA).collect() for key in json.loads(text or "{}")}
    own = {*table.columns} - {*EVENTS_BRONZE.column_names}
    assert extra | own >= {name for name in names if name.startswith("key_")}
    warehouse.land(
        EVENTS_BRONZE, 2, events[0] | {"event_id": "next", "new": "1"}, load="files", columns=[*events[0], "new"]
    )
    warehouse.run("events_bronze", "events_silver")
    assert len(warehouse.store.read(EVENTS_BRONZE).columns) == len(EVENTS_BRONZE.columns) + MAX_OWN_COLUMNS
    assert ("next",) in warehouse.rows(EVENTS_SILVER, "event_id")


def test_the_names_of_a_manifest_are_few_and_short(tmp_path: Path) -> None:
    records = [json.dumps({f"k{n}_{key}": 1 for key in range(50)}) for n in range(100)]
    records.append(json.dumps({"x" * 10_000: 1, "\ud800": 2}))
    batch = land_page(Landing(str(tmp_path)), *records)
    assert len(batch.columns or ()) <= MAX_FIELD_NAMES + 1
    assert EXTRA in (batch.columns or ())
    assert len(batch.to_json()) < 1 << 16


@pytest.mark.torture
def test_an_unreadable_batch_does_not_block_later_ones(warehouse: Warehouse) -> None:
    for day, damage in ((1, b"\xff\xfe\n"), (2, b"")):
        warehouse.land(CUSTOMERS_BRONZE, day, customer(1))
        path = warehouse.folder_of(CUSTOMERS_BRONZE, day) / ("data/part-00000.jsonl" if damage else "manifest.json")
        path.write_bytes(damage or b"{")
    warehouse.land(CUSTOMERS_BRONZE, 3, customer(1), customer(2))
    [run, _] = warehouse.run("customers_bronze", "customers_silver")
    assert warehouse.rows(CUSTOMERS_SILVER, "customer_id") == [(1,), (2,)]
    assert len(run.notes) == 1 and "20260301" in run.notes[0] and "20260302" in run.notes[0]
    assert warehouse.refreshed("customers_bronze", "customers_silver") == []


@pytest.mark.torture
def test_an_unreadable_batch_without_a_later_snapshot_is_an_error_that_names_it(warehouse: Warehouse) -> None:
    warehouse.land(CUSTOMERS_BRONZE, 1, customer(1))
    (warehouse.folder_of(CUSTOMERS_BRONZE, 1) / "data" / "part-00000.jsonl").write_bytes(b"\xff\n")
    [run] = warehouse.runner().refresh(["customers_bronze"])
    assert run.state == "failed" and "data/part-00000.jsonl can't be read" in run.error


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_message_of_a_stream_becomes_one_line(name: str) -> None:
    line, columns = json_line_of(REFUSED[name].encode(), "web/0/7")
    assert b"\n" not in line
    assert all(isinstance(column, str) for column in columns)


@pytest.mark.first_engine
@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../manifest.json", "data/../../x.jsonl", "data/..", "data/./x.jsonl", "data//x.jsonl"),
        *("data/*.jsonl", "data/?.jsonl", "data/[a].jsonl", "data/{a,b}.jsonl", "data/", "data", "", "data\\..\\x"),
        *("data/a\nb", "data/a\0", "file:///etc/passwd", "abfss://x@y/data/z", "received/x.json", "data/a b"),
    ],
)
def test_a_manifest_cannot_name_a_file_outside_its_batch(name: str) -> None:
    manifest = Manifest(
        *("database", "stores", "20260301T050000Z-1", "snapshot", "2026-03-01T05:00:00+00:00", "jsonl"),
        files=(DataFile(name),),
        extractor_version="1",
    )
    with pytest.raises(ValueError, match="is outside the batch's data folder, or its name is not allowed"):
        Manifest.from_json(manifest.to_json())
