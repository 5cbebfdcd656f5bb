"""Tests of events as a stream: every message lands once, even after kills. Batches look like batches of event files.

The parts that need no Spark are tested separately. The stream is tested with Structured Streaming on a folder of files.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from cdp_lib.contracts.bronze import EVENTS_BRONZE
from cdp_lib.contracts.silver import EVENTS_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing, Manifest
from cdp_lib.sources.event_stream import (
    KafkaLogin,
    MicroBatches,
    json_line_of,
    kafka_login,
    land_event_stream,
    read_kafka,
)
from cdp_lib.sources.files import land_files

from ..warehouse import Warehouse

STREAM = "12345678-9abc-def0-1234-56789abcdef0"
NAME = "stream-123456789abcdef0"
STARTED_AT = datetime(2026, 1, 31, tzinfo=UTC)
KEY = "c2VjcmV0a2V5"
CONNECTION_STRING = f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=read;SharedAccessKey={KEY}="

Land = Callable[..., list[Manifest]]


def event(number: int) -> bytes:
    return json.dumps({"event_id": f"e{number}", "channel": "web"}).encode()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Folder of a checkpoint, with the files that Spark creates."""
    folder = tmp_path / "checkpoints" / "events"
    folder.mkdir(parents=True)
    (folder / "metadata").write_text(json.dumps({"id": STREAM}))
    return folder


@pytest.fixture
def land(landing: Landing, checkpoint: Path) -> Callable[..., None]:
    """Return a function that lands one micro-batch with the given message values."""

    def land(epoch: int, *values: bytes | None, hours: int = 0) -> None:
        batches = MicroBatches(landing, "events", "events", str(checkpoint), STARTED_AT + timedelta(hours=hours))
        batches.land_messages(((value, f"web/0/{number}") for number, value in enumerate(values)), epoch)

    return land


def lines_of(landing: Landing, batch_id: str) -> list[bytes]:
    manifest = landing.find_batch("events", "events", batch_id)
    assert manifest
    assert landing.examine(manifest).rows == manifest.rows
    (file,) = manifest.files
    return Path(landing.path_of(manifest, file.name)).read_bytes().splitlines()


def folders(landing: Landing) -> list[str]:
    return sorted(path.name for path in Path(landing.root, "events", "events").glob("*/*"))


# Names


def test_a_micro_batch_lands_like_a_file_of_events(landing, land) -> None:
    land(3, event(1), event(2))

    [manifest] = landing.batches("events", "events")

    assert manifest.batch_id == f"20260131T000000Z-{NAME}-0000000003"
    assert (manifest.load, manifest.format, manifest.rows) == ("files", "jsonl", 2)
    assert manifest.columns == ("channel", "event_id")
    assert [file.name for file in manifest.files] == [f"data/file={NAME}-0000000003/part-00000.jsonl"]
    assert lines_of(landing, manifest.batch_id) == [event(1), event(2)]


def test_a_landed_epoch_is_not_read_again_by_a_later_run(landing, land, checkpoint) -> None:
    land(0, event(1))
    land(1, event(2))

    def unread() -> Iterator[tuple[bytes, str]]:
        raise AssertionError("read")
        yield

    later = MicroBatches(landing, "events", "events", str(checkpoint), STARTED_AT + timedelta(days=1))
    later.land_messages(unread(), 0)
    later.land_messages(unread(), 1)

    assert len(landing.batch_ids("events", "events")) == 2


def test_a_new_checkpoint_starts_a_new_stream_with_its_own_epochs(landing, land, checkpoint) -> None:
    land(0, event(1))
    (checkpoint / "metadata").write_text(json.dumps({"id": STREAM[::-1]}))
    land(0, event(2), hours=1)

    assert [lines_of(landing, name) for name in landing.batch_ids("events", "events")] == [[event(1)], [event(2)]]


def test_batches_sort_in_the_order_of_their_landing(landing, land) -> None:
    for epoch in (9, 10, 11):
        land(epoch, event(epoch))
    land(12, event(12), hours=5)
    # A run that started earlier is still landing.
    land(13, event(13), hours=1)

    names = landing.batch_ids("events", "events")

    assert [lines_of(landing, name) for name in names] == [[event(epoch)] for epoch in range(9, 14)]
    assert names[-1].startswith("20260131T050001Z-")


@pytest.mark.parametrize(
    ("latest", "prefix"),
    [
        ("", "20260131T000000Z"),
        ("20260130T235959Z-8", "20260131T000000Z"),
        ("20260131T000000Z-8", "20260131T000000Z"),
        ("20260131T000500Z-8", "20260131T000501Z"),
        ("20260131T235959Z-zoe", "20260201T000000Z"),
    ],
)
def test_a_batch_is_named_after_the_run_unless_a_later_one_has_landed(landing, land, latest: str, prefix: str) -> None:
    if latest:
        with landing.extraction("events", latest, STARTED_AT).new_batch("events", "files"):
            pass
    land(0, event(1))
    assert landing.batch_ids("events", "events") == [*filter(None, [latest]), f"{prefix}-{NAME}-0000000000"]


def test_files_and_the_stream_land_side_by_side(landing, land, tmp_path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(event(1) + b"\n")

    def land_folder(hours: int) -> list[Manifest]:
        started_at = STARTED_AT + timedelta(hours=hours)
        extraction = landing.extraction("events", f"{started_at:%Y%m%dT%H%M%SZ}-1", started_at)
        return land_files(extraction, EVENTS_BRONZE, str(folder), account_key=None)

    land(0, event(2))
    assert len(land_folder(1)) == 1
    land(1, event(3))
    assert land_folder(2) == []
    (folder / "b.jsonl").write_bytes(event(4) + b"\n")
    assert len(land_folder(3)) == 1
    assert [lines_of(landing, name) for name in landing.batch_ids("events", "events")] == [
        [event(number)] for number in (2, 1, 3, 4)
    ]


def test_an_empty_micro_batch_lands_nothing(landing, land) -> None:
    land(0)
    assert landing.batch_ids("events", "events") == []


def test_a_repeated_epoch_removes_the_files_of_a_killed_attempt(landing, land, monkeypatch) -> None:
    land(0, event(1))
    with monkeypatch.context() as killed:
        killed.setattr(Landing, "_land_manifest", _die)
        killed.setattr(Landing, "_remove", _die)
        with pytest.raises(RuntimeError, match="killed"):
            land(1, event(2))
    assert len(folders(landing)) == 2
    assert len(landing.batch_ids("events", "events")) == 1

    land(1, event(2), hours=1)

    assert folders(landing) == landing.batch_ids("events", "events")
    assert [lines_of(landing, name) for name in folders(landing)] == [[event(1)], [event(2)]]


def _die(*arguments: object, **options: object) -> None:
    raise RuntimeError("killed")


def test_a_checkpoint_that_can_not_be_read_is_an_error_that_names_it(landing, land, checkpoint) -> None:
    (checkpoint / "metadata").unlink()
    with pytest.raises(CdpError, match=f"^Checkpoint {checkpoint} can't be read: "):
        land(0, event(1))
    assert landing.batch_ids("events", "events") == []


def test_the_writer_of_micro_batches_can_be_pickled(landing, checkpoint) -> None:
    batches = MicroBatches(landing, "events", "events", str(checkpoint), STARTED_AT, account_key="a key")
    pickle.loads(pickle.dumps(batches)).land_messages([(event(1), None)], 0)
    assert len(landing.batch_ids("events", "events")) == 1
    assert "a key" not in repr(batches)


# Messages


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b'{"event_id":\r\n "e1"}\n', b'{"event_id":   "e1"}'),
        (b'\xef\xbb\xbf{"event_id": "e1"}', b'{"event_id": "e1"}'),
        (b'{"event_id": "caf\xc3\xa9"}', b'{"event_id": "caf\xc3\xa9"}'),
        (b'{"event_id": ', b'{"event_id":'),
        (b"[1, 2]", b"[1, 2]"),
        (b"[" * 5000, b"[" * 5000),
        (b"text", b"text"),
        (b'{"a": 1}\n{"a": 2}', b'{"_no_json": "{\\"a\\": 1}\\n{\\"a\\": 2}"}'),
        (b"caf\xe9", b'{"_invalid_utf8": "caf\\\\xe9"}'),
        (None, b'{"_empty_message": "web/0/7"}'),
        (b"", b'{"_empty_message": "web/0/7"}'),
        (b" \r\n", b'{"_empty_message": "web/0/7"}'),
    ],
)
def test_every_message_becomes_one_line(value: bytes | None, line: bytes) -> None:
    assert json_line_of(value, "web/0/7")[0] == line
    assert json_line_of(value and bytearray(value), "web/0/7")[0] == line


# Kafka


def test_event_hubs_are_read_encrypted_with_a_connection_string() -> None:
    login = kafka_login(CONNECTION_STRING, None, None)
    options = login.options(is_databricks=True)
    assert options == {
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "PLAIN",
        "kafka.sasl.jaas.config": "kafkashaded.org.apache.kafka.common.security.plain.PlainLoginModule required"
        f' username="$ConnectionString" password="{CONNECTION_STRING}";',
    }
    open_source_config = login.options(is_databricks=False)["kafka.sasl.jaas.config"]
    assert open_source_config.startswith("org.apache.kafka.common.security.plain.PlainLoginModule required ")


def test_kafka_is_read_encrypted_with_a_login_or_anonymously() -> None:
    options = kafka_login(None, "cdp", "pw").options(is_databricks=False)
    assert 'username="cdp" password="pw";' in options["kafka.sasl.jaas.config"]
    assert kafka_login(None, None, None).options(is_databricks=True) == {"kafka.security.protocol": "SSL"}


@pytest.mark.parametrize(("username", "password"), [("cdp", None), (None, "pw")])
def test_an_incomplete_login_is_refused(username: str | None, password: str | None) -> None:
    with pytest.raises(CdpError, match="One of the secrets kafka_username and kafka_password is missing"):
        kafka_login(None, username, password)


@pytest.mark.parametrize("wrong", ['key";x', "key\nx", "key x", "key\\x"])
def test_a_secret_with_invalid_characters_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(CdpError) as refused:
        kafka_login(wrong, None, None)
    assert wrong not in str(refused.value)


def test_a_login_shows_its_password_nowhere() -> None:
    login = kafka_login(CONNECTION_STRING, None, None)
    assert KEY not in f"{login!r} {login}"
    assert str(CdpError(f"no {CONNECTION_STRING}; nor {KEY}=")) == "no [REDACTED]; nor [REDACTED]"


@pytest.mark.parametrize(
    "wrong",
    [
        "SharedAccessKeyName=read;SharedAccessKey=0123456789",
        "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=read",
        "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=read;SharedAccessKey=",
        "Endpoint=;SharedAccessKeyName=read;SharedAccessKey=0123456789",
        "0123456789",
    ],
    ids=["no endpoint", "no key", "empty key", "empty endpoint", "key only"],
)
def test_an_incomplete_connection_string_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(CdpError, match="^Secret 'event_hubs_connection_string' is not a connection string") as refused:
        kafka_login(wrong, None, None)
    assert "0123456789" not in str(refused.value)


class Reader:
    """Fake of `spark.readStream` that records the options that are set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.given: dict[str, str] = {}
        self.error = error

    def format(self, name: str) -> Reader:
        assert name == "kafka"
        return self

    def options(self, **options: str) -> Reader:
        self.given = options
        return self

    def load(self) -> Any:
        if self.error:
            raise self.error
        return SimpleNamespace(select=lambda *columns: SimpleNamespace(schema=None))


def test_a_topic_is_read_from_its_beginning_in_bounded_micro_batches(spark, monkeypatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    reader = Reader()
    read_kafka(
        SimpleNamespace(readStream=reader),
        "a:9093",
        "web",
        kafka_login(CONNECTION_STRING, None, None),
        max_events="500",
    )
    assert reader.given["kafka.bootstrap.servers"] == "a:9093"
    assert (reader.given["subscribe"], reader.given["startingOffsets"]) == ("web", "earliest")
    assert (reader.given["maxOffsetsPerTrigger"], reader.given["failOnDataLoss"]) == ("500", "true")
    assert reader.given["kafka.sasl.jaas.config"].startswith("kafkashaded.")


@pytest.mark.parametrize(
    ("servers", "max_events", "message"),
    [
        ("", "1", "Variable 'event_stream_servers' is empty"),
        ("a:9093", "0", "Variable 'event_stream_max_events' is '0'"),
        ("a:9093", "", "Variable 'event_stream_max_events' is ''"),
    ],
)
def test_an_invalid_setting_is_an_error_that_names_it(servers: str, max_events: str, message: str) -> None:
    with pytest.raises(CdpError, match=f"^{message}"):
        read_kafka(SimpleNamespace(readStream=Reader()), servers, "web", KafkaLogin(), max_events=max_events)


def test_an_error_of_the_source_does_not_show_the_login() -> None:
    login = kafka_login(CONNECTION_STRING, None, None)
    reader = Reader(PySparkException(f"Failed with {login.options(is_databricks=True)}\nand more"))
    with pytest.raises(CdpError) as failed:
        read_kafka(SimpleNamespace(readStream=reader), "a:9093", "web", login, max_events="1")
    assert KEY not in str(failed.value)
    assert failed.value.__cause__ is None and failed.value.__suppress_context__
    assert len(str(failed.value).splitlines()) == 1


def test_an_engine_without_kafka_is_an_error_of_one_line(spark) -> None:
    with pytest.raises(CdpError, match="^This engine can't stream events from Kafka .* events_path") as refused:
        read_kafka(spark, "a:9093", "web", KafkaLogin(), max_events="1")
    assert len(str(refused.value).splitlines()) == 1


# Structured Streaming


class Source:
    """A folder of files that is read as a stream of messages, one file per micro-batch."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark = spark
        self.folder = folder
        self.files = 0
        folder.mkdir()

    def send(self, *values: bytes | None) -> None:
        """Write a file with messages into the folder."""
        self.files += 1
        rows = [{"value": value, "position": f"web/{self.files}/{n}"} for n, value in enumerate(values)]
        schema = pa.schema([("value", pa.binary()), ("position", pa.string())])
        pq.write_table(pa.Table.from_pylist(rows, schema), self.folder / f"{self.files:05}.parquet")

    def read(self, files_per_micro_batch: int = 1) -> DataFrame:
        reader = self.spark.readStream.format("parquet").schema("value binary, position string")
        return reader.option("maxFilesPerTrigger", files_per_micro_batch).load(str(self.folder))


@pytest.fixture
def source(engine: str, spark: SparkSession, tmp_path: Path) -> Source:
    """An empty source."""
    if engine != "spark":
        pytest.skip("NOT CHECKED: Structured Streaming needs the spark engine, CDP_TEST_ENGINE=spark")
    return Source(spark, tmp_path / "topic")


@pytest.fixture
def run(source: Source, landing: Landing, tmp_path: Path) -> Land:
    """Return a function that runs the job. Each run starts an hour after the previous run."""
    runs = iter(range(100))

    def run(
        files_per_micro_batch: int = 1, checkpoint: Path = tmp_path / "of streams", **options: Any
    ) -> list[Manifest]:
        started_at = STARTED_AT + timedelta(hours=next(runs))
        messages = source.read(files_per_micro_batch)
        return land_event_stream(
            messages, landing, EVENTS_BRONZE, str(checkpoint), run_started_at=started_at.isoformat(), **options
        )

    return run


@pytest.fixture
def load(landing: Landing, warehouse: Warehouse) -> Callable[[], list[str | None]]:
    """Return a function that loads new batches into bronze and returns the ids of all events in bronze."""
    warehouse.landing = landing

    def load() -> list[str | None]:
        warehouse.run(EVENTS_BRONZE.name)
        rows = warehouse.store.read(EVENTS_BRONZE).select("event_id").collect()
        return sorted((row.event_id for row in rows), key=str)

    return load


def test_micro_batches_land_one_by_one_and_bronze_has_each_event_once(source, run, load, landing) -> None:
    source.send(event(1), event(2))
    source.send(event(3))
    first = run()
    assert [batch.rows for batch in first] == [2, 1]
    assert load() == ["e1", "e2", "e3"]
    source.send(event(4))
    assert [batch.rows for batch in run()] == [1]
    assert run() == []
    assert load() == ["e1", "e2", "e3", "e4"]
    names = landing.batch_ids("events", "events")
    assert [re.sub("stream-[0-9a-f]{16}", "stream", name) for name in names] == [
        "20260131T000000Z-stream-0000000000",
        "20260131T000000Z-stream-0000000001",
        "20260131T010000Z-stream-0000000002",
    ]


def test_the_size_of_a_micro_batch_is_bounded(source, run) -> None:
    for number in range(5):
        source.send(event(number), event(100 + number))
    assert [batch.rows for batch in run(files_per_micro_batch=2)] == [4, 4, 2]


def test_a_kill_between_landing_and_the_checkpoint_lands_each_event_once(source, run, load, monkeypatch) -> None:
    source.send(event(1))
    source.send(event(2), event(3))
    original_land = MicroBatches.land

    def land_and_die(batches: MicroBatches, messages: DataFrame, epoch: int) -> None:
        original_land(batches, messages, epoch)
        if epoch == 1:
            _die()

    with monkeypatch.context() as killed:
        killed.setattr(MicroBatches, "land", land_and_die)
        with pytest.raises(CdpError, match="The event stream has failed"):
            run()
    assert load() == ["e1", "e2", "e3"]
    source.send(event(4))
    assert [batch.rows for batch in run()] == [1]
    assert load() == ["e1", "e2", "e3", "e4"]


def test_a_kill_between_data_and_manifest_lands_each_event_once(source, run, load, landing, monkeypatch) -> None:
    source.send(event(1))
    with monkeypatch.context() as killed:
        killed.setattr(Landing, "_land_manifest", _die)
        killed.setattr(Landing, "_remove", _die)
        with pytest.raises(CdpError, match="The event stream has failed"):
            run()
    assert len(folders(landing)) == 1
    assert landing.batch_ids("events", "events") == []
    source.send(event(2))
    assert [batch.rows for batch in run()] == [1, 1]
    assert folders(landing) == landing.batch_ids("events", "events")
    assert load() == ["e1", "e2"]


def test_a_stream_with_a_new_checkpoint_lands_its_messages_again(source, run, tmp_path) -> None:
    source.send(event(1))
    assert [batch.rows for batch in run()] == [1]
    assert [batch.rows for batch in run(checkpoint=tmp_path / "another")] == [1]


def test_messages_that_are_not_events_end_in_quarantine(source, run, load, warehouse) -> None:
    good = b'{"event_id": "e1", "event_type": "page_view", "occurred_at": "2026-01-30T10:00:00Z", "channel": "web",'
    good += b' "customer_id": "1", "session_id": "s1", "consent": "true"}'
    source.send(good, None, b"", b"caf\xe9", b"text", b'{"event_id": ', b'{"other": 1}', b'{"a":1}\n{"a":2}')
    assert [batch.rows for batch in run()] == [8]
    assert load() == [*[None] * 7, "e1"]
    rescued = [row[0] for row in warehouse.store.read(EVENTS_BRONZE).select("_rescued_data").collect()]
    assert sum(text is not None and "_record" in text for text in rescued) == 7
    warehouse.refresh(EVENTS_SILVER)
    assert warehouse.rows(EVENTS_SILVER, "event_id") == [("e1",)]
    assert len(warehouse.rows(EVENTS_SILVER.quarantine, "record")) == 7


def test_a_run_without_new_messages_lands_nothing(source, run, landing) -> None:
    assert run() == []
    assert landing.batch_ids("events", "events") == []


def test_an_error_of_landing_keeps_its_message(source, run, landing) -> None:
    source.send(event(1))
    Path(landing.root).mkdir()
    Path(landing.root, "events").write_text("no folder")
    with pytest.raises(CdpError) as failed:
        run()
    assert str(failed.value).startswith(f"Landing location {landing.root} can't be ")
    assert len(str(failed.value).splitlines()) == 1


def test_a_checkpoint_within_the_landing_is_refused(run, landing) -> None:
    with pytest.raises(CdpError, match="is in the landing location"):
        run(checkpoint=Path(landing.root, "_checkpoints"))


def test_an_invalid_interval_is_an_error_of_one_line(source, run) -> None:
    with pytest.raises(CdpError) as failed:
        run(interval="often")
    assert len(str(failed.value).splitlines()) == 1
