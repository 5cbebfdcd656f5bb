"""Events from Kafka or Event Hubs: each micro-batch of a stream becomes one landed batch with one data file.

    <landing>/events/events/2026-01-31/20260131T235959Z-stream-<stream>-<epoch>/data/file=stream-<stream>-<epoch>/part-00000.jsonl

The epoch is the number of a micro-batch in its stream. Spark stores the id of the stream in the stream's checkpoint. A
batch id ends with the stream id and the epoch, so that it identifies the micro-batch.

If a run fails before the checkpoint marks an epoch as done, Spark repeats the epoch with the same messages. An epoch
that is already landed is skipped.

A batch id begins with the start of the run. If this id does not sort after the latest landed batch, the id gets a later
time. Therefore, batch ids sort in the order of landing. Batch ids do not depend on the times of messages, because a
single message with a time in the future would change the ids of all later batches.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

from pyspark import cloudpickle
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

import cdp_lib
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.json_text import field_names, parse_json
from cdp_lib.landing import FILE_FOLDER, BatchWriter, Landing, Manifest, open_filesystem, storage_errors
from cdp_lib.redaction import register
from cdp_lib.settings import parse_time

_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_TIME_LENGTH = len("20260131T235959Z")
_LOGIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
_CONNECTION_STRING = re.compile(
    r"(?=.*\bEndpoint=sb://[^;]+)(?=.*\bSharedAccessKeyName=[^;]+)(?=.*\bSharedAccessKey=[^;]+)", re.IGNORECASE
)
_CDP_ERROR = re.compile(r"CdpError: (.+)")


@dataclass(frozen=True)
class KafkaLogin:
    """Login for the topic. Without a username, the login is anonymous.

    Attributes:
        username: Username. For Event Hubs, it is `$ConnectionString`.
        password: Password or connection string. Messages and `repr` never show it.
    """

    username: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Remove the password from all later messages and logs."""
        register(self.password)

    def options(self, *, is_databricks: bool) -> dict[str, str]:
        """Return login options for Spark's Kafka source.

        The connection is always encrypted, because events are personal data.

        Args:
            is_databricks: Whether the engine is Databricks. If true, Kafka's class names begin with `kafkashaded`.
        """
        if not self.username:
            return {"kafka.security.protocol": "SSL"}
        module = f"kafkashaded.{_LOGIN_MODULE}" if is_databricks else _LOGIN_MODULE
        return {
            "kafka.security.protocol": "SASL_SSL",
            "kafka.sasl.mechanism": "PLAIN",
            "kafka.sasl.jaas.config": f'{module} required username="{self.username}" password="{self.password}";',
        }


def kafka_login(connection_string: str | None, username: str | None, password: str | None) -> KafkaLogin:
    """Return the login for the given secrets.

    Args:
        connection_string: Connection string of an Event Hubs namespace. None for Kafka.
        username: Username for SASL/PLAIN. None for an anonymous login.
        password: Password of the user.

    Raises:
        CdpError: A secret is missing, has a character that is not allowed in a login, or is not a connection string.
    """
    login = KafkaLogin("$ConnectionString", connection_string) if connection_string else KafkaLogin()
    if not connection_string and (username or password):
        if not (username and password):
            raise CdpError("One of the secrets kafka_username and kafka_password is missing: set both secrets.")
        login = KafkaLogin(username, password)
    # A quote or backslash would end or change a quoted value of the JAAS configuration. White space means that the
    # secret was copied incorrectly.
    if re.search(r'["\\\s]', login.username + login.password):
        raise CdpError(
            "The secret for the event stream contains a quote, a backslash or white space: copy the secret again,"
            " without surrounding characters."
        )
    if connection_string and not _CONNECTION_STRING.match(connection_string):
        raise CdpError(
            "Secret 'event_hubs_connection_string' is not a connection string of Event Hubs: it needs the fields"
            " Endpoint=sb://…, SharedAccessKeyName and SharedAccessKey; copy it again from the event hub's policy."
        )
    return login


def read_kafka(
    spark: SparkSession, bootstrap_servers: str, topic: str, login: KafkaLogin, *, max_events: str
) -> DataFrame:
    """Return the messages of a topic as a stream that begins with the oldest message.

    Args:
        spark: Spark session.
        bootstrap_servers: Servers as `host:port`. For Event Hubs, `<namespace>.servicebus.windows.net:9093`.
        topic: Name of the topic or event hub.
        login: Login for the topic.
        max_events: Maximum number of messages in a micro-batch.

    Returns:
        Stream with two columns: `value` is the message as received, and `position` is `<topic>/<partition>/<offset>`.

    Raises:
        CdpError: An argument is missing, or the engine can't stream from Kafka.
    """
    if not bootstrap_servers:
        raise CdpError("Variable 'event_stream_servers' is empty: write the servers of the topic as host:port.")
    if not (max_events.isascii() and max_events.isdecimal() and int(max_events)):
        raise CdpError(f"Variable 'event_stream_max_events' is '{max_events}': write a whole number, 1 or more.")
    options = {
        "kafka.bootstrap.servers": bootstrap_servers,
        "subscribe": topic,
        "startingOffsets": "earliest",
        # Fail if messages expired before they were read. Otherwise, nobody would notice the missing messages.
        "failOnDataLoss": "true",
        "maxOffsetsPerTrigger": max_events,
        # Event Hubs responds more slowly than Kafka's defaults allow.
        "kafka.request.timeout.ms": "60000",
        "kafka.session.timeout.ms": "30000",
        **login.options(is_databricks="DATABRICKS_RUNTIME_VERSION" in os.environ),
    }
    try:
        messages = spark.readStream.format("kafka").options(**options).load()
        position = sf.concat_ws("/", "topic", sf.col("partition").cast("string"), sf.col("offset").cast("string"))
        messages = messages.select("value", position.alias("position"))
        # Resolve the schema here, so that an engine without Kafka support fails before the stream starts.
        _ = messages.schema
    except PySparkException as error:
        raise _unsupported_engine_error(_first_line(error)) from None
    return messages


def land_event_stream(
    messages: DataFrame,
    landing: Landing,
    contract: BronzeContract,
    checkpoint: str,
    *,
    run_started_at: str,
    interval: str = "",
    account_key: str | None = None,
) -> list[Manifest]:
    """Land the messages of a stream: each micro-batch becomes one landed batch.

    The driver holds at most one partition of a micro-batch in memory. The source limits the size of a micro-batch.
    Empty messages, and messages that are not a JSON object in UTF-8, are also landed. Silver rejects them.

    Args:
        messages: Stream of `value` (binary) and `position` (string).
        landing: Landing location of the batches.
        contract: Bronze table of the records.
        checkpoint: Folder in which Spark stores the progress of this stream. No other stream may use the folder, and
            the folder must be outside of the landing location.
        run_started_at: Start of the run, ISO 8601, UTC.
        interval: Time between two micro-batches, such as `1 minute`. If given, the stream never ends. If empty, the
            stream ends when all available messages are landed. Serverless compute supports only an empty interval.
        account_key: Key of the storage account of an `abfss://` checkpoint. None for the managed identity.

    Returns:
        The event stream batches that were landed while the function ran.

    Raises:
        CdpError: The stream can't be read, the location can't be written, or another run has landed a batch of the
            entity meanwhile.
    """
    started_at = parse_time("run_started_at", run_started_at)
    if f"{checkpoint}/".startswith(f"{landing.root}/"):
        raise CdpError(
            f"Checkpoint {checkpoint} is in the landing location, which may contain only batches:"
            " set another checkpoint."
        )
    since = f"{started_at:{_TIME_FORMAT}}"
    before = landing.batch_ids(contract.source, contract.entity, since)
    # Spark may call `micro_batches.land` in another process. That process can't import `cdp_lib` from the notebook's
    # folder, so the library is sent together with the function.
    cloudpickle.register_pickle_by_value(cdp_lib)  # type: ignore[no-untyped-call]
    micro_batches = MicroBatches(landing, contract.source, contract.entity, checkpoint, started_at, account_key)
    try:
        writer = messages.writeStream.option("checkpointLocation", checkpoint).foreachBatch(micro_batches.land)
        writer = writer.trigger(processingTime=interval) if interval else writer.trigger(availableNow=True)
        query = writer.start()
        query.awaitTermination()
    except PySparkException as error:
        # Do not chain the error, because Spark's error may contain the login.
        raise CdpError(_failure_message(error)) from None
    landed = landing.batches(contract.source, contract.entity, since, before)
    return [batch for batch in landed if "-stream-" in batch.batch_id]


@dataclass(frozen=True)
class MicroBatches:
    """Writer of the micro-batches of one stream.

    Attributes:
        landing: Landing location of the batches.
        source: Source system.
        entity: Name of the entity in the source.
        checkpoint: Folder in which Spark stores the progress of the stream.
        started_at: Start of the run, UTC.
        account_key: Key of the storage account of an `abfss://` checkpoint. None for the managed identity.
    """

    landing: Landing
    source: str
    entity: str
    checkpoint: str
    started_at: datetime
    account_key: str | None = field(default=None, repr=False)

    def land(self, messages: DataFrame, epoch: int) -> None:
        """Land a micro-batch, unless it is already landed or empty.

        Args:
            messages: `value` (binary) and `position` (string) of the messages.
            epoch: Number of the micro-batch in the stream.
        """
        self.land_messages(((row["value"], row["position"]) for row in messages.toLocalIterator()), epoch)

    def land_messages(self, messages: Iterable[tuple[bytes | None, str | None]], epoch: int) -> None:
        """Land the messages of a micro-batch. Read no message if the micro-batch is already landed.

        Args:
            messages: Value and position of each message.
            epoch: Number of the micro-batch in the stream.
        """
        stream = f"stream-{self._stream_id()}"
        name = f"{stream}-{epoch:010}"
        landed = self.landing.batch_ids_newest_first(self.source, self.entity)
        latest_of_stream = next((batch for batch in landed if f"-{stream}-" in batch), "")
        # Epochs are landed in ascending order. If the latest landed epoch is this epoch or a later one, this epoch is
        # already landed.
        if latest_of_stream[_TIME_LENGTH + 1 :] >= name:
            return
        self.landing.remove_incomplete_batches(self.source, self.entity, f"-{name}", latest_of_stream)
        lines = (json_line_of(value, position) for value, position in messages)
        if first := next(lines, None):
            extraction = self.landing.extraction(
                self.source, f"{self.started_at:{_TIME_FORMAT}}-{name}", self.started_at
            )
            latest = extraction.find_latest_batch(self.entity)
            with extraction.new_batch(self.entity, "files", latest) as batch:
                _write(batch, f"{FILE_FOLDER}{name}/part-00000.jsonl", chain([first], lines))

    def _stream_id(self) -> str:
        """Return the stream's id, which Spark created together with the checkpoint. A new checkpoint has a new id."""
        path = f"{self.checkpoint}/metadata"
        with storage_errors(f"Checkpoint {self.checkpoint} can't be read"):
            text = open_filesystem(path, self.account_key).cat_file(path).decode()
        return str(json.loads(text)["id"]).replace("-", "")[:16]


def json_line_of(value: bytes | None, position: str | None) -> tuple[bytes, tuple[str, ...]]:
    r"""Return a message as a line of JSON, and the names of its columns.

    Args:
        value: The message as received.
        position: Position of the message in its topic.

    >>> json_line_of(b'{"event_id":\n "e1"}', "web/0/7")
    (b'{"event_id":  "e1"}', ('event_id',))
    >>> json_line_of(None, "web/0/8")
    (b'{"_empty_message": "web/0/8"}', ())
    >>> json_line_of(b"caf\xe9", "web/0/9")
    (b'{"_invalid_utf8": "caf\\\\xe9"}', ())
    """
    # Spark passes binary values as a bytearray.
    content = bytes(value or b"").removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n")
    if not content:
        return _to_json({"_empty_message": position}), ()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return _to_json({"_invalid_utf8": content.decode(errors="backslashreplace")}), ()
    # In JSON, a line break can only be white space between tokens.
    line = content.replace(b"\r", b" ").replace(b"\n", b" ")
    record = parse_json(text)
    if record is None and line != content:
        # If a line has several JSON values, an engine reads only the first value. Keep the whole text in a field.
        return _to_json({"_no_json": text}), ()
    return line, tuple(field_names(record))


def _write(batch: BatchWriter, name: str, records: Iterable[tuple[bytes, tuple[str, ...]]]) -> None:
    with batch.open_data(name, "jsonl") as data:
        for line, columns in records:
            data.write(line + b"\n")
            batch.add(1, columns)


def _to_json(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode()


def _unsupported_engine_error(reason: str) -> CdpError:
    return CdpError(
        f"This engine can't stream events from Kafka ({reason.rstrip('.')}): run the stream on Databricks, or land"
        " event files on this engine (variable events_path)."
    )


def _failure_message(error: PySparkException) -> str:
    """Return why a stream failed.

    If Spark's error contains a `CdpError`, return the message of the `CdpError`. Otherwise, return the first line of
    Spark's error.
    """
    ours = _CDP_ERROR.findall(str(error))
    return ours[-1].strip() if ours else f"The event stream has failed: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
