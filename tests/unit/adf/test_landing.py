"""Tests that `cdp_lib.landing` reads the pipelines' batches, and that records land exactly once despite kills."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import duckdb
import pytest

from cdp_lib.contracts.bronze import BRONZE_TABLES, EVENTS_BRONZE
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.landing import Landing
from cdp_lib.sources.files import land_files

from .expressions import FUNCTIONS
from .simulator import Crash, Failure
from .world import MORNING, NIGHT, World, event

Entities = dict[str, dict[str, Any]]

LATER = MORNING - timedelta(hours=2)
INCREMENTS = ["database/transactions", "crm/contacts", "events/events", "marketing/marketing_spend"]
SNAPSHOTS = ["customers_api/customers", "database/stores"]


@pytest.mark.parametrize("contract", BRONZE_TABLES, ids=lambda contract: contract.name)
def test_the_library_reads_the_landed_batches(world: World, contract: BronzeContract, entities: Entities) -> None:
    entity = entities[f"{contract.source}/{contract.entity}"]
    world.run("land_entity", entity=entity)
    (batch,) = world.batches(entity)
    assert batch.rows and batch.bytes and world.landing.find_latest_batch(contract.source, contract.entity)
    assert world.landing.examine(batch) == batch
    assert (batch.load, batch.format) == (entity["load"], entity["format"])
    assert batch.batch_id.startswith("20260131T23") and batch.batch_id.endswith("Z-adf")
    assert datetime.fromisoformat(batch.extracted_at) == NIGHT
    assert batch.after is None and (batch.watermark is None) == (batch.load == "snapshot")


def test_every_entity_is_landed_and_then_the_job_runs(world: World, entities: Entities) -> None:
    run = world.run("refresh_cdp")
    assert all(len(world.batches(entity)) == 1 for entity in entities.values())
    name, job = run.ran[-1]
    assert name == "Run cdp_refresh"
    assert job["typeProperties"] == {"jobId": "42", "jobParameters": {"ingest": "false"}}
    assert job["linkedServiceName"]["parameters"]["url"] == run.global_parameters["databricks_url"]


def test_a_run_may_name_another_job_and_one_source(world: World, entities: Entities) -> None:
    run = world.run("refresh_cdp", job_id="43", source="finance")
    assert run.ran[-1][1]["typeProperties"]["jobId"] == "43"
    assert [name for name, entity in entities.items() if world.batches(entity)] == ["finance/exchange_rates"]


def test_an_entity_that_is_not_enabled_is_left_to_the_notebooks(world: World, entities: Entities) -> None:
    world.list_entities([entity | {"enabled": name != "events/events"} for name, entity in entities.items()])
    world.run("land_entities")
    assert [name for name, entity in entities.items() if not world.batches(entity)] == ["events/events"]


def test_a_source_without_listed_entities_is_refused(world: World) -> None:
    with pytest.raises(Failure, match="No enabled entity of source 'event'"):
        world.run("refresh_cdp", source="event")


def test_an_unknown_kind_is_refused(world: World, entities: Entities) -> None:
    with pytest.raises(Failure, match="kind 'soap'"):
        world.run("land_entity", entity=entities["crm/contacts"] | {"kind": "soap"})


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("events/events", ["data/1.jsonl.jsonl", "data/2.jsonl.jsonl", "data/3.jsonl.jsonl"]),
        ("marketing/marketing_spend", ["data/1.csv.jsonl", "data/2.csv.jsonl", "data/3.csv.jsonl"]),
        ("finance/exchange_rates", ["data/exchange_rates.csv.jsonl"]),
    ],
)
def test_data_files_are_named_after_the_source_files(
    world: World, entities: Entities, name: str, files: list[str]
) -> None:
    world.run("land_entity", entity=entities[name])
    (batch,) = world.batches(entities[name])
    assert [file.name for file in batch.files] == files


def test_data_files_have_the_names_that_the_notebooks_use(world: World, entities: Entities, tmp_path: Path) -> None:
    entity, name = entities["events/events"], "a b'(1)!*[2]%20é.jsonl"
    world.write_file(f"events/{name}", event(4), NIGHT - timedelta(hours=1))
    world.run("land_entity", entity=entity)
    (batch,) = world.batches(entity)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).write_text(event(4))
    extraction = Landing(str(tmp_path / "landing")).extraction("events", "20260131T000000Z-1", NIGHT)
    [by_notebook] = land_files(extraction, EVENTS_BRONZE, str(tmp_path / "source"), account_key=None)
    [file] = by_notebook.files
    name_by_notebook = unquote(file.name).removeprefix("data/file=").removesuffix("/part-00000.jsonl")
    assert f"data/{name_by_notebook}.jsonl" in {each.name for each in batch.files}


def test_white_space_in_the_list_of_files_makes_no_difference(
    world: World, entities: Entities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FUNCTIONS, "string", lambda value: json.dumps(value, indent=2))
    world.run("land_entity", entity=entities["events/events"])
    assert world.landed(entities["events/events"]) == ["1", "2", "3"]


def test_an_answer_is_kept_as_received(world: World, entities: Entities) -> None:
    entity = entities["customers_api/customers"]
    world.run("land_entity", entity=entity)
    (batch,) = world.batches(entity)
    received = Path(world.landing.path_of(batch, "received/answer.json"))
    assert json.loads(received.read_text()) == world.customers
    assert [file.name for file in batch.files] == ["data/part-00000.jsonl"]


def test_a_line_that_is_not_json_is_landed_unchanged(world: World, entities: Entities) -> None:
    text = event(1) + "not json\n"
    world.write_file("events/1.jsonl", text, NIGHT - timedelta(hours=1))
    world.run("land_entity", entity=entities["events/events"])
    (batch,) = world.batches(entities["events/events"])
    assert Path(world.landing.path_of(batch, "data/1.jsonl.jsonl")).read_text() == text


def test_hidden_files_and_files_with_other_suffixes_are_ignored(world: World, entities: Entities) -> None:
    for name in ("_temporary.jsonl", ".4.jsonl", "4.txt"):
        world.write_file(f"events/{name}", event(4), NIGHT - timedelta(hours=1))
    world.run("land_entity", entity=entities["events/events"])
    assert world.landed(entities["events/events"]) == ["1", "2", "3"]


@pytest.mark.parametrize("name", INCREMENTS)
def test_a_second_run_lands_what_is_new_since_the_first(world: World, entities: Entities, name: str) -> None:
    world.run("land_entity", entity=entities[name])
    world.change([4, 5], LATER)
    world.run("land_entity", MORNING, entity=entities[name])
    before, after = world.batches(entities[name])
    assert (before.rows, after.rows) == (3, 2)
    assert world.landed(entities[name]) == ["1", "2", "3", "4", "5"]
    assert before.watermark and after.watermark and after.after == before.watermark != after.watermark
    assert before.batch_id < after.batch_id < world.watermark(entities[name])["next_batch_id"]
    assert world.watermark(entities[name])["watermark"] == after.watermark["value"]


def test_a_batch_that_lands_after_the_clock_was_ahead_is_the_newest(world: World, entities: Entities) -> None:
    entity = entities["database/transactions"]
    world.run("land_entity", entity=entity)
    world.change([4], LATER)
    world.run("land_entity", MORNING + timedelta(days=300), entity=entity)
    for number in (5, 6):
        world.change([number], LATER + timedelta(minutes=number))
        world.run("land_entity", MORNING + timedelta(hours=number), entity=entity)
    assert [batch.rows for batch in world.batches(entity)] == [3, 1, 1, 1]
    assert world.landed(entity) == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("database/transactions", "Copy table"),
        ("crm/contacts", "Copy contacts"),
        ("events/events", "List files"),
        ("marketing/marketing_spend", "Copy CSV"),
    ],
)
def test_records_that_arrive_during_a_run_are_landed_once(
    world: World, entities: Entities, name: str, step: str
) -> None:
    arriving = [4]

    def meanwhile(activity: str) -> None:
        if activity == step and arriving:
            world.change([arriving.pop()], NIGHT + timedelta(minutes=1))

    world.run("land_entity", meanwhile=meanwhile, entity=entities[name])
    assert world.landed(entities[name]) == ["1", "2", "3"] and not arriving
    world.run("land_entity", MORNING, entity=entities[name])
    assert world.landed(entities[name]) == ["1", "2", "3", "4"]


def test_the_watermark_column_may_be_the_time_of_change(world: World, entities: Entities) -> None:
    entity = entities["database/transactions"] | {"watermark_column": "updated_at"}
    world.run("land_entity", entity=entity)
    world.database.execute(
        "UPDATE dbo.transactions SET updated_at = TIMESTAMP '2026-02-01 04:00:00' WHERE transaction_id = 2"
    )
    world.run("land_entity", MORNING, entity=entity)
    assert world.landed(entity) == ["1", "2", "2", "3"]


@pytest.mark.parametrize("name", ["events/events", "marketing/marketing_spend"])
def test_a_changed_file_is_landed_again_under_its_name(world: World, entities: Entities, name: str) -> None:
    world.run("land_entity", entity=entities[name])
    world.change([2], LATER)
    world.run("land_entity", MORNING, entity=entities[name])
    before, after = world.batches(entities[name])
    assert [file.name for file in after.files] == [before.files[1].name]


@pytest.mark.parametrize("name", INCREMENTS)
def test_a_run_without_new_records_makes_no_batch_and_loses_nothing(
    world: World, entities: Entities, name: str
) -> None:
    world.run("land_entity", entity=entities[name])
    watermark = world.watermark(entities[name])
    world.run("land_entity", MORNING, entity=entities[name])
    assert len(world.batches(entities[name])) == 1 and world.watermark(entities[name]) == watermark
    world.change([4], LATER)  # a row that becomes visible only now, with a time before the last run
    world.run("land_entity", MORNING + timedelta(days=1), entity=entities[name])
    assert world.landed(entities[name]) == ["1", "2", "3", "4"]


def test_a_source_that_is_empty_from_the_start_makes_no_batch(world: World, entities: Entities) -> None:
    entity = entities["database/transactions"]
    world.database.execute("DELETE FROM dbo.transactions")
    world.run("land_entity", entity=entity)
    assert world.batches(entity) == []
    world.change([1], LATER)
    world.run("land_entity", MORNING, entity=entity)
    assert world.landed(entity) == ["1"]


@pytest.mark.parametrize("name", ["customers_api/customers", "database/stores", "finance/exchange_rates"])
def test_an_empty_snapshot_is_refused(world: World, entities: Entities, name: str) -> None:
    world.run("land_entity", entity=entities[name])
    world.customers = []
    world.database.execute("DELETE FROM dbo.stores")
    (world.lake / "incoming" / "exchange_rates" / "exchange_rates.csv").unlink()
    with pytest.raises(Failure, match="check the source; nothing was landed"):
        world.run("land_entity", MORNING, entity=entities[name])
    assert len(world.batches(entities[name])) == 1


@pytest.mark.parametrize("name", INCREMENTS)
def test_a_run_that_dies_at_any_step_loses_and_duplicates_nothing(
    new_world: Callable[[], World], entities: Entities, name: str
) -> None:
    steps = new_world().run("land_entity", entity=entities[name]).steps
    assert steps >= 10
    for step in range(1, steps + 1):
        world = new_world()
        with pytest.raises(Crash):
            world.run("land_entity", crash_at=step, entity=entities[name])
        assert world.landed(entities[name]) in ([], ["1", "2", "3"]), f"a crash at step {step} left a partial batch"
        world.change([4, 5], LATER)
        for hours in (0, 1):  # the first of these two runs may only move the watermark
            world.run("land_entity", MORNING + timedelta(hours=hours), entity=entities[name])
        assert world.landed(entities[name]) == ["1", "2", "3", "4", "5"], f"after a crash at step {step}"


@pytest.mark.parametrize("name", INCREMENTS)
def test_a_later_run_that_dies_at_any_step_loses_and_duplicates_nothing(
    new_world: Callable[[], World], entities: Entities, name: str
) -> None:
    def once_landed() -> World:
        world = new_world()
        world.run("land_entity", entity=entities[name])
        world.change([4], LATER)
        return world

    for step in range(1, once_landed().run("land_entity", MORNING, entity=entities[name]).steps + 1):
        world = once_landed()
        with pytest.raises(Crash):
            world.run("land_entity", MORNING, crash_at=step, entity=entities[name])
        assert world.landed(entities[name]) in (["1", "2", "3"], ["1", "2", "3", "4"])
        for hours in (1, 2):
            world.run("land_entity", MORNING + timedelta(hours=hours), entity=entities[name])
        assert world.landed(entities[name]) == ["1", "2", "3", "4"], f"after a crash at step {step}"


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_snapshot_that_dies_at_any_step_is_landed_whole_or_not_at_all(
    new_world: Callable[[], World], entities: Entities, name: str
) -> None:
    for step in range(1, new_world().run("land_entity", entity=entities[name]).steps + 1):
        world = new_world()
        with pytest.raises(Crash):
            world.run("land_entity", crash_at=step, entity=entities[name])
        assert world.landed(entities[name]) in ([], ["1"])
        world.run("land_entity", MORNING, entity=entities[name])
        assert world.landed(entities[name]) == ["1"], f"after a crash at step {step}"


def test_files_of_a_killed_copy_are_not_landed(world: World, entities: Entities) -> None:
    """The files are not landed even if the source file is deleted before the next run."""
    run = world.run("land_entity", entity=entities["events/events"])
    second_file = [number for number, (name, _) in enumerate(run.ran, start=1) if name == "Copy JSON lines"][1]
    world.change([4, 5], LATER)
    with pytest.raises(Crash):
        world.run("land_entity", MORNING, crash_at=second_file, entity=entities["events/events"])
    (world.lake / "incoming" / "events" / "5.jsonl").unlink()
    world.run("land_entity", MORNING, entity=entities["events/events"])
    assert world.landed(entities["events/events"]) == ["1", "2", "3", "4"]


def test_a_manifest_is_never_overwritten(world: World, entities: Entities) -> None:
    """A run that finds an existing manifest fails."""
    entity = entities["database/stores"]
    world.run("land_entity", entity=entity)
    landed = world.run("land_entity", MORNING, entity=entity)
    (manifest,) = (step for name, step in landed.ran if name == "Write manifest")
    assert manifest["typeProperties"]["headers"]["If-None-Match"] == "*"


@pytest.mark.parametrize(
    "watermark",
    ["3'", "3' OR '1'='1", "3'; DELETE FROM dbo.transactions; --", "3\\", '3","value":"9', "3</fetch>&amp;"],
    ids=["quote", "condition", "statement", "backslash", "JSON field", "XML"],
)
def test_text_in_a_watermark_is_never_part_of_the_query(world: World, entities: Entities, watermark: str) -> None:
    entity = entities["database/transactions"] | {"watermark_column": "code"}
    world.database.execute("ALTER TABLE dbo.transactions ADD COLUMN code TEXT DEFAULT '1'")
    world.database.execute("UPDATE dbo.transactions SET code = ? WHERE transaction_id = 3", [watermark])
    world.run("land_entity", entity=entity)
    assert world.landed(entity) == ["1", "2", "3"]
    assert world.watermark(entity)["watermark"] == watermark

    world.database.execute(
        "INSERT INTO dbo.transactions SELECT * REPLACE (4 AS transaction_id, '4' AS code)"
        " FROM dbo.transactions WHERE transaction_id = 1"
    )
    world.run("land_entity", MORNING, entity=entity)
    before, after = world.batches(entity)
    assert after.after == before.watermark == {"column": "code", "value": watermark}
    assert world.landed(entity) == ["1", "2", "3", "4"]
    assert world.database.sql("SELECT count(*) FROM dbo.transactions").fetchall() == [(4,)]


@pytest.mark.parametrize("field", ["schema", "table", "watermark_column"])
def test_a_name_in_the_list_of_entities_is_never_part_of_the_query(
    world: World, entities: Entities, field: str
) -> None:
    entity = entities["database/transactions"]
    attack = f"{entity[field]}] WHERE 1 = 0; DELETE FROM [dbo].[transactions"
    # The database knows no table, schema or column with this name.
    with pytest.raises((duckdb.CatalogException, duckdb.BinderException), match="DELETE FROM"):
        world.run("land_entity", entity=entity | {field: attack})
    assert world.database.sql("SELECT count(*) FROM dbo.transactions").fetchall() == [(3,)]
    assert world.batches(entity) == []


@pytest.mark.parametrize("watermark", ['2026"/><link-entity name="account"', "2026</fetch>", "2026&amp;"])
def test_text_in_a_watermark_of_the_crm_is_never_part_of_the_query(
    world: World, entities: Entities, watermark: str
) -> None:
    entity = entities["crm/contacts"]
    world.run("land_entity", entity=entity)
    path = world.lake / "retail" / "landing" / "_watermarks" / "crm" / "contacts.json"
    path.write_text(json.dumps(world.watermark(entity) | {"watermark": watermark}))
    run = world.run("land_entity", MORNING, entity=entity)
    (copy,) = (step for name, step in run.ran if name == "Copy contacts")
    conditions = ElementTree.fromstring(copy["typeProperties"]["source"]["query"]).iter("condition")
    assert [each.get("value") for each in conditions if each.get("operator") == "gt"] == [watermark]
