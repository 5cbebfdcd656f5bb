"""Sessions of the local engines, Sail and Spark. Only this module and `stores` have code that depends on the engine."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import RLock
from weakref import WeakKeyDictionary

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from cdp_lib.errors import CdpError
from cdp_lib.storage import STORE_CLASS
from cdp_lib.storage.delta import sql_literal
from cdp_local.checksums import check_files, forget_files, record_files

_DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
_HADOOP_AZURE = "org.apache.hadoop:hadoop-azure:3.4.2"
"""Maven package with which Spark reads `abfss://` addresses. Its version equals that of Spark's Hadoop libraries."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Pattern of the names of catalogs and schemas. The name of a schema is also the name of a folder."""

_NO_CALL_SITES = ("spark.python.sql.dataFrameDebugging.enabled", "false")
"""Setting that stops PySpark from recording the line of code that created each column.

The recording takes a third of the time of a small run.
"""


class HomeCatalog:
    """Catalog of one session, with the tables and views of a home folder.

    A local engine forgets its catalog when the process ends, so each session registers its tables again. Each
    registration costs a query. A session therefore calls `register` for a table when it first uses the table.
    `register_all` registers all tables and views.
    """

    def __init__(self, spark: SparkSession, home: Path, catalog: str, schemas: Sequence[str]) -> None:
        """Create the schemas. `catalog.schema.table` is the Delta table in `<home>/warehouse/<schema>/<table>`.

        Args:
            spark: Spark session.
            home: Folder of the local workspace.
            catalog: Name of the catalog.
            schemas: Names of the schemas.
        """
        self._spark, self._home, self._catalog = spark, home, catalog
        self._folders = {f"`{catalog}`.`{schema}`": home / "warehouse" / schema for schema in schemas}
        self._registered: set[str] = set()
        self._lock = RLock()
        for schema, folder in self._folders.items():
            spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema} LOCATION {sql_literal(str(folder))}")

    def has_schema(self, schema: str) -> bool:
        """Return whether the catalog has the schema with the given quoted full name."""
        return schema in self._folders

    def register(self, schema: str, table: str) -> bool:
        """Check the files of a table and register the table if it exists; return whether it exists.

        Args:
            schema: Quoted full name of the schema.
            table: Name of the table.

        Raises:
            CdpError: A file of the table was changed or is lost.
        """
        name, folder = f"{schema}.`{table}`", self._folders[schema] / table
        with self._lock:
            if name not in self._registered and self.has_table(schema, table):
                check_files(folder)
                location = sql_literal(str(folder))
                self._spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION {location}")
                self._registered.add(name)
            return name in self._registered

    def has_table(self, schema: str, table: str) -> bool:
        """Return whether the home folder has a table. The table need not be registered."""
        # A killed run may leave a folder with a Delta log that has no commit. This folder is not a table.
        return any((self._folders[schema] / table).glob("_delta_log/*.json"))

    def before_create(self, schema: str, table: str) -> None:
        """Forget the files of an earlier table with the same name. Call this method before a table is created."""
        if not self.has_table(schema, table):
            forget_files(self._folders[schema] / table)

    def add(self, schema: str, table: str) -> None:
        """Record that a table is registered. Call this method after the session has created the table."""
        self._registered.add(f"{schema}.`{table}`")
        self.record(schema, table)

    def record(self, schema: str, table: str) -> None:
        """Record the checksums of the new files of a table. Call this method after each commit."""
        record_files(self._folders[schema] / table)

    def find_damage(self, schema: str, tables: Iterable[str]) -> str:
        """Read every file of tables. Return a message that names a damaged file, or "" if no file is damaged.

        Args:
            schema: Quoted full name of the schema.
            tables: Names of the tables. A table may be missing.
        """
        folders = (self._folders[schema] / table for table in tables if self.has_table(schema, table))
        return next(filter(None, map(_damage_of, folders)), "")

    def damaged_tables(self) -> dict[Path, str]:
        """Read every file of all tables. Return a message that names a damaged file, by folder of the damaged table."""
        folders = [path for folder in self._folders.values() for path in sorted(folder.glob("*")) if path.is_dir()]
        return {folder: message for folder in folders if (message := _damage_of(folder))}

    def has_view(self, schema: str, view: str) -> bool:
        """Return whether the home folder has a view."""
        return self._path_of_view(schema, view).exists()

    def keep_view(self, schema: str, view: str, statement: str) -> None:
        """Store the SQL statement that creates a view, so that later sessions can create the view again."""
        path = self._path_of_view(schema, view)
        path.parent.mkdir(parents=True, exist_ok=True)
        building = path.with_suffix(".part")
        building.write_text(statement, encoding="utf-8")
        building.replace(path)
        self._registered.add(path.name)

    def forget_view(self, schema: str, view: str) -> None:
        """Delete the SQL statement of a view, so that later sessions do not create the view again."""
        path = self._path_of_view(schema, view)
        path.unlink(missing_ok=True)
        self._registered.discard(path.name)

    def _path_of_view(self, schema: str, view: str) -> Path:
        return self._home / "views" / f"{schema.rpartition('.')[2].strip('`')}.{view}.sql"

    def register_all(self) -> None:
        """Register every table and view of the home folder.

        Raises:
            CdpError: A file of a table was changed or is lost.
        """
        with self._lock:
            for schema, folder in self._folders.items():
                for table in sorted(path.name for path in folder.glob("*") if path.is_dir()):
                    self.register(schema, table)
            for view in sorted((self._home / "views").glob("*.sql")):
                # Skip a view whose tables or schema do not exist in this session; a later run may create them.
                if view.name not in self._registered:
                    with suppress(AnalysisException):
                        self._spark.sql(view.read_text(encoding="utf-8"))
                        self._registered.add(view.name)


_CATALOGS: WeakKeyDictionary[SparkSession, HomeCatalog] = WeakKeyDictionary()


def catalog_of(spark: SparkSession) -> HomeCatalog | None:
    """Return the catalog of a session that `open_session` has opened; None for any other session."""
    return _CATALOGS.get(spark)


def _damage_of(folder: Path) -> str:
    """Read every file of a table. Return a message that names a damaged file, or "" if no file is damaged."""
    try:
        check_files(folder, reads_all=True)
    except CdpError as error:
        return str(error)
    return ""


@contextmanager
def open_session(
    engine: str, home: Path, catalog: str, schemas: Sequence[str], landing: str = "", account_key: str | None = None
) -> Iterator[SparkSession]:
    """Open a session with the tables and views of a home folder (`HomeCatalog`).

    Args:
        engine: `sail` or `spark`.
        home: Folder of the local workspace.
        catalog: Name of the catalog.
        schemas: Names of the schemas.
        landing: Landing location: a folder or an `abfss://` address.
        account_key: Key of the storage account; needed if the session reads an `abfss://` address.

    Raises:
        CdpError: The engine is unknown, a name is not allowed, or the engine can't start on this machine.
    """
    if engine not in ENGINES:
        raise CdpError(f"Unknown engine '{engine}': the engines are {' and '.join(ENGINES)}.")
    for name in (catalog, *schemas):
        if not _NAME.fullmatch(name):
            raise CdpError(f"'{name}' can't be the name of a catalog or schema: use only letters, digits, '-' and '_'.")
    with ENGINES[engine](catalog, home, landing, account_key) as spark:
        _CATALOGS[spark] = HomeCatalog(spark, home, catalog, schemas)
        yield spark


def use_schema(spark: SparkSession, catalog: str, schema: str) -> None:
    """Set the schema that the session uses for table names without a schema.

    Args:
        spark: Spark session.
        catalog: Name of the catalog. Local Spark ignores this argument and uses `spark_catalog`, which has the same
            schemas.
        schema: Name of the schema.
    """
    if spark.catalog.currentCatalog() != "spark_catalog":
        spark.sql(f"USE CATALOG `{catalog}`")
    spark.sql(f"USE SCHEMA `{schema}`")


@contextmanager
def _sail(catalog: str, home: Path, landing: str, account_key: str | None) -> Iterator[SparkSession]:
    # By default, Sail logs every retry of a commit that conflicted with another commit.
    os.environ.setdefault("RUST_LOG", "error,sail_delta_lake::transaction=off")
    # Number of rows per Arrow record batch. A shuffle splits each record batch, which is slow for small record batches.
    os.environ.setdefault("SAIL_EXECUTION__BATCH_SIZE", "32768")
    # Milliseconds for which the memory allocator keeps free memory. By default, it returns the memory to the operating
    # system after each query, and requests memory again for the next query.
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "1000")
    # Timeout in seconds. By default, a session ends after 15 idle minutes, but `cdp watch` may wait for weeks.
    os.environ.setdefault("SAIL_SPARK__SESSION_TIMEOUT_SECS", str(365 * 24 * 60 * 60))
    if account_key:
        os.environ["AZURE_STORAGE_ACCOUNT_KEY"] = account_key
    os.environ["SAIL_CATALOG__LIST"] = (
        f'[{{name="{catalog}", type="memory", initial_database=["default"], initial_database_comment=""}}]'
    )
    os.environ["SAIL_CATALOG__DEFAULT_CATALOG"] = catalog
    os.environ["SAIL_CATALOG__DEFAULT_DATABASE"] = '["default"]'
    from pysail.spark import SparkConnectServer
    from pyspark.sql.connect.client.retries import DefaultPolicy

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    host, port = server.listening_address
    spark = SparkSession.builder.remote(f"sc://{host}:{port}").create()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set(*_NO_CALL_SITES)
    spark.conf.set(STORE_CLASS, "cdp_local.stores:SailStore")
    # By default, the client repeats a failed request for ten minutes. That is too long here: the server runs in this
    # process, and does not recover after a failure.
    spark.client.set_retry_policies([DefaultPolicy(max_retries=3)])
    # By default, the client sends two extra requests per query, which it needs only to reconnect. The client never
    # reconnects here, because a connection inside this process is never lost.
    spark.client.disable_reattachable_execute()
    try:
        yield spark
    finally:
        spark.stop()
        server.stop()


@contextmanager
def _spark(catalog: str, home: Path, landing: str, account_key: str | None) -> Iterator[SparkSession]:
    settings = {f"spark.sql.catalog.{catalog}": _DELTA_CATALOG}
    if account_key:
        settings["spark.hadoop.fs.azure.account.key"] = account_key
    packages = [_HADOOP_AZURE] if landing.startswith("abfss://") else []
    with delta_session(home, settings, packages) as spark:
        # Let the catalog with the given name delegate to Spark's session catalog. `spark_catalog` does so, too, and the
        # two catalogs therefore have the same tables.
        manager = spark._jsparkSession.sessionState().catalogManager()
        manager.catalog(catalog).setDelegateCatalog(manager.v2SessionCatalog())
        yield spark


@contextmanager
def delta_session(home: Path, settings: Mapping[str, str], packages: Sequence[str] = ()) -> Iterator[SparkSession]:
    """Open a session of local Spark with Delta. Its current catalog is `spark_catalog`.

    Args:
        home: Folder of the local workspace.
        settings: Additional Spark settings.
        packages: Maven coordinates of additional packages.

    Raises:
        CdpError: Java is missing, or Spark does not start.
    """
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise CdpError("The spark engine needs Java 17 or newer: install it (`make java`), or use --engine sail.")
    from delta import configure_spark_with_delta_pip

    os.environ["PYSPARK_PYTHON"] = sys.executable
    # PySpark logs the stack trace of every exception, even if the code catches the exception.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    cores = os.cpu_count() or 2
    builder = SparkSession.builder.master(f"local[{cores}]").appName("cdp")
    for key, value in {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": _DELTA_CATALOG,
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(home / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(cores),
        "spark.databricks.delta.snapshotPartitions": "1",
        # VACUUM lists the files of a table in this number of tasks. By default, it starts 10000 tasks.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(cores),
        "spark.sql.sources.default": "delta",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        STORE_CLASS: "cdp_local.stores:SparkStore",
        **dict([_NO_CALL_SITES]),
        **settings,
    }.items():
        builder = builder.config(key, value)
    log = home / "logs" / "spark.log"
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        with _child_stderr_to(log):
            spark = configure_spark_with_delta_pip(builder, list(packages)).getOrCreate()
    except Exception as error:
        raise CdpError(f"The spark engine does not start ({str(error).splitlines()[0]}): see {log}.") from error
    signal.signal(signal.SIGINT, interrupt)  # restore the handler that PySpark replaced
    try:
        yield spark
    finally:
        spark.stop()


@contextmanager
def _child_stderr_to(log: Path) -> Iterator[None]:
    """Redirect stderr to a file in the `with` block. A child process that starts in the block keeps this stderr."""
    log.parent.mkdir(parents=True, exist_ok=True)
    stderr = os.dup(2)
    try:
        with log.open("wb") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


ENGINES: dict[str, Callable[[str, Path, str, str | None], AbstractContextManager[SparkSession]]] = {
    "sail": _sail,
    "spark": _spark,
}
"""Function that opens a session, by the name of the engine in `cdp run --engine`. The first engine is the default."""
