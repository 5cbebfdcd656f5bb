"""Events from Kafka or Event Hubs: each micro-batch of a stream becomes one landed batch, as a file of events would.

    <landing>/events/events/2026-01-31/20260131T235959Z-stream-<stream>-<epoch>/data/file=stream-<stream>-<epoch>/part-00000.jsonl

A stream is known by the id that Spark writes into its checkpoint, a micro-batch by that and its epoch. Spark repeats an
epoch, with the same messages, until it has noted in the checkpoint that the epoch is done: one whose batch is landed
already is found by the end of its name, and passed over. The beginning of the name is the start of the run, or, where
others have landed meanwhile, the time of the latest batch, so that names sort in the order of landing. Messages' own
times are no help here: a producer whose clock is wrong would name a batch that all others have to come after.
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
from cdp_lib.landing import FILE_FOLDER, BatchWriter, Landing, Manifest, open_filesystem, storage_errors
from cdp_lib.settings import instant_of

_TIME = "%Y%m%dT%H%M%SZ"
_LENGTH_OF_TIME = len("20260131T235959Z")
_LOGIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
_REDACTED = "[REDACTED]"
_OUR_ERROR = re.compile(r"CdpError: (.+)")


@dataclass(frozen=True)
class KafkaLogin:
    """Who reads the topic; without a name, nobody in particular.

    Attributes:
        username: Name, `$ConnectionString` for Event Hubs.
        password: Password or connection string. No message has it, and no `repr`.
    """

    username: str = ""
    password: str = field(default="", repr=False)

    def options(self, *, is_databricks: bool) -> dict[str, str]:
        """Options of the Kafka source; always encrypted, for events are personal data.

        Args:
            is_databricks: Whether Kafka's classes have the prefix that Databricks gives them.
        """
        if not self.username:
            return {"kafka.security.protocol": "SSL"}
        module = f"kafkashaded.{_LOGIN_MODULE}" if is_databricks else _LOGIN_MODULE
        return {
            "kafka.security.protocol": "SASL_SSL",
            "kafka.sasl.mechanism": "PLAIN",
            "kafka.sasl.jaas.config": f'{module} required username="{self.username}" password="{self.password}";',
        }

    def redact(self, text: str) -> str:
        """The text without the password, and without the key in it."""
        key = re.search(r"SharedAccessKey=([^;]+)", self.password)
        for secret in filter(None, (self.password, key and key[1])):
            text = text.replace(secret, _REDACTED)
        return text


def kafka_login(connection_string: str | None, username: str | None, password: str | None) -> KafkaLogin:
    """The login that the secrets make.

    Args:
        connection_string: Connection string of an Event Hubs namespace; None for Kafka.
        username: Name for SASL/PLAIN, None for none.
        password: Its password.

    Raises:
        CdpError: A secret is missing, or could not be one.
    """
    login = KafkaLogin("$ConnectionString", connection_string) if connection_string else KafkaLogin()
    if not connection_string and (username or password):
        if not (username and password):
            raise CdpError("Of the secrets kafka_username and kafka_password one is missing: put both into the scope.")
        login = KafkaLogin(username, password)
    # Either would end the text that the login stands in.
    if re.search(r'["\\\s]', login.username + login.password):
        raise CdpError(
            "The secret for the event stream has a quote, a backslash or white space in it: copy it again, whole and"
            " alone."
        )
    return login


def read_kafka(
    spark: SparkSession, bootstrap_servers: str, topic: str, login: KafkaLogin, *, max_events: str
) -> DataFrame:
    """The messages of a topic as a stream, from the oldest there is.

    Args:
        spark: Session.
        bootstrap_servers: Servers, `host:port`; of Event Hubs `<namespace>.servicebus.windows.net:9093`.
        topic: Topic, or event hub.
        login: Who reads.
        max_events: Messages in a micro-batch, at most.

    Returns:
        `value`, as received, and `position`, where the message stands in the topic.

    Raises:
        CdpError: An argument is missing, or the engine can't stream from Kafka.
    """
    if not bootstrap_servers:
        raise CdpError("Variable 'event_stream_servers' is empty: name the servers of the topic, as host:port.")
    if not (max_events.isascii() and max_events.isdecimal() and int(max_events)):
        raise CdpError(f"Variable 'event_stream_max_events' is '{max_events}': write a whole number, 1 or more.")
    options = {
        "kafka.bootstrap.servers": bootstrap_servers,
        "subscribe": topic,
        "startingOffsets": "earliest",
        # Messages that expired unread are missed: a person has to know.
        "failOnDataLoss": "true",
        "maxOffsetsPerTrigger": max_events,
        # Event Hubs is slower to answer than Kafka's own defaults allow.
        "kafka.request.timeout.ms": "60000",
        "kafka.session.timeout.ms": "30000",
        **login.options(is_databricks="DATABRICKS_RUNTIME_VERSION" in os.environ),
    }
    try:
        messages = spark.readStream.format("kafka").options(**options).load()
        position = sf.concat_ws("/", "topic", sf.col("partition").cast("string"), sf.col("offset").cast("string"))
        messages = messages.select("value", position.alias("position"))
        # An engine that has to say what comes says now that it can't, and not as late as it may.
        _ = messages.schema
    except PySparkException as error:
        raise _no_stream(login.redact(_first_line(error))) from None
    return messages


def land_event_stream(
    messages: DataFrame,
    landing: Landing,
    contract: BronzeContract,
    checkpoint: str,
    *,
    run_started_at: str,
    interval: str = "",
    login: KafkaLogin | None = None,
    account_key: str | None = None,
) -> list[Manifest]:
    """Land the messages of a stream, a batch a micro-batch, until there are no more.

    The driver holds one partition of a micro-batch at a time, or less, and the source bounds the micro-batch. Messages
    that are no JSON object in UTF-8, or empty, are landed too, for silver to refuse.

    Args:
        messages: Stream of `value` (binary) and `position` (text).
        landing: Where to land them.
        contract: Bronze table of the records.
        checkpoint: Folder in which Spark keeps how far the stream has been read; its own, outside of the landing.
        run_started_at: Start of the run, ISO 8601, UTC.
        interval: Time between micro-batches of a stream that never ends, `1 minute`; empty for what is there, and then
            an end. Serverless compute has only that.
        login: Login that no message is to show.
        account_key: Key of the storage account of an `abfss://` checkpoint; None for the managed identity.

    Returns:
        The batches landed meanwhile.

    Raises:
        CdpError: The stream can't be read, the location can't be written, or others have landed the entity meanwhile.
    """
    started_at = instant_of("run_started_at", run_started_at)
    if f"{checkpoint}/".startswith(f"{landing.root}/"):
        raise CdpError(f"Checkpoint {checkpoint} is in the landing location, where only batches may be: move it.")
    since = f"{started_at:{_TIME}}"
    before = landing.batch_ids(contract.source, contract.entity, since)
    # Where Spark runs the function in a process of its own, that does not find a library beside the notebook.
    cloudpickle.register_pickle_by_value(cdp_lib)  # type: ignore[no-untyped-call]
    micro_batches = MicroBatches(landing, contract.source, contract.entity, checkpoint, started_at, account_key)
    try:
        writer = messages.writeStream.option("checkpointLocation", checkpoint).foreachBatch(micro_batches.land)
        writer = writer.trigger(processingTime=interval) if interval else writer.trigger(availableNow=True)
        query = writer.start()
        query.awaitTermination()
    except PySparkException as error:
        # Not chained: the login may stand anywhere in what Spark says.
        raise CdpError((login or KafkaLogin()).redact(_reason(error))) from None
    landed = landing.batches(contract.source, contract.entity, since, before)
    return [batch for batch in landed if "-stream-" in batch.batch_id]


@dataclass(frozen=True)
class MicroBatches:
    """Lands the micro-batches of one stream.

    Attributes:
        landing: Where to land them.
        source: Source system.
        entity: What the source calls the records.
        checkpoint: Folder in which Spark keeps how far the stream has been read.
        started_at: Start of the run, UTC.
        account_key: Key of the storage account of an `abfss://` checkpoint; None for the managed identity.
    """

    landing: Landing
    source: str
    entity: str
    checkpoint: str
    started_at: datetime
    account_key: str | None = field(default=None, repr=False)

    def land(self, messages: DataFrame, epoch: int) -> None:
        """Land a micro-batch, unless it is landed or empty.

        Args:
            messages: `value` (binary) and `position` (text) of its messages.
            epoch: Its number in the stream.
        """
        self.land_messages(((row["value"], row["position"]) for row in messages.toLocalIterator()), epoch)

    def land_messages(self, messages: Iterable[tuple[bytes | None, str | None]], epoch: int) -> None:
        """Land the messages of a micro-batch, unless it is landed: then not one of them is looked at.

        Args:
            messages: Value and position of each.
            epoch: Number of the micro-batch in the stream.
        """
        stream = f"stream-{self._stream_id()}"
        name = f"{stream}-{epoch:010}"
        landed = self.landing.newest_first(self.source, self.entity)
        latest_of_stream = next((batch for batch in landed if f"-{stream}-" in batch), "")
        # Epochs land in their order.
        if latest_of_stream[_LENGTH_OF_TIME + 1 :] >= name:
            return
        self.landing.remove_attempts(self.source, self.entity, f"-{name}", latest_of_stream)
        lines = (record_of(value, position) for value, position in messages)
        if first := next(lines, None):
            extraction = self.landing.extraction(self.source, f"{self.started_at:{_TIME}}-{name}", self.started_at)
            latest = extraction.find_latest_batch(self.entity)
            with extraction.new_batch(self.entity, "files", latest) as batch:
                _write(batch, f"{FILE_FOLDER}{name}/part-00000.jsonl", chain([first], lines))

    def _stream_id(self) -> str:
        """What Spark has called the stream when its checkpoint was new: another one, where that is begun anew."""
        path = f"{self.checkpoint}/metadata"
        with storage_errors(f"Checkpoint {self.checkpoint} can't be read"):
            text = open_filesystem(path, self.account_key).cat_file(path).decode()
        return str(json.loads(text)["id"]).replace("-", "")[:16]


def record_of(value: bytes | None, position: str | None) -> tuple[bytes, tuple[str, ...]]:
    r"""A message as a line of JSON, and the names of its columns.

    Args:
        value: The message as received.
        position: Where it stands in its topic.

    >>> record_of(b'{"event_id":\n "e1"}', "web/0/7")
    (b'{"event_id":  "e1"}', ('event_id',))
    >>> record_of(None, "web/0/8")
    (b'{"_empty_message": "web/0/8"}', ())
    >>> record_of(b"caf\xe9", "web/0/9")
    (b'{"_invalid_utf8": "caf\\\\xe9"}', ())
    """
    # Spark's own type for bytes is a bytearray.
    content = bytes(value or b"").removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n")
    if not content:
        return _to_json({"_empty_message": position}), ()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return _to_json({"_invalid_utf8": content.decode(errors="backslashreplace")}), ()
    # Inside a JSON text the end of a line can only be white space between tokens.
    line = content.replace(b"\r", b" ").replace(b"\n", b" ")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        # Of several lines an engine would take the first for all there is.
        return (line, ()) if line == content else (_to_json({"_no_json": text}), ())
    return line, tuple(record) if isinstance(record, dict) else ()


def _write(batch: BatchWriter, name: str, records: Iterable[tuple[bytes, tuple[str, ...]]]) -> None:
    with batch.open_data(name, "jsonl") as data:
        for line, columns in records:
            data.write(line + b"\n")
            batch.add(1, columns)


def _to_json(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode()


def _no_stream(reason: str) -> CdpError:
    return CdpError(
        f"This engine can't stream events from Kafka ({reason.rstrip('.')}): Databricks can; here, give files of events"
        " (variable events_path)."
    )


def _reason(error: PySparkException) -> str:
    """What ended a stream: our own words, where they are in Spark's, which hold the whole stack."""
    ours = _OUR_ERROR.findall(str(error))
    return ours[-1].strip() if ours else f"The stream of events has failed: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
