"""Sessions of the local engines."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.errors import IllegalArgumentException
from pyspark.sql import SparkSession

from cdp_lib.errors import CdpError
from cdp_lib.storage import open_store
from cdp_local.engines import catalog_of, open_session, use_schema


def test_an_unknown_engine_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with (
        pytest.raises(CdpError, match="Unknown engine 'duck': there are sail and spark"),
        open_session("duck", tmp_path, "cat1", []),
    ):
        pass


def test_the_spark_engine_asks_for_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(CdpError, match="needs Java 17 or newer"), open_session("spark", tmp_path, "cat1", []):
        pass


# The Spark engine keeps to one session a process, the tests' own: there the command's tests see to this.
Open = Callable[[], AbstractContextManager[SparkSession]]


@pytest.fixture
def open_again(tmp_path: Path) -> Open:
    """Open a session on a home of the test's own, in which every table and view of it has been asked for."""

    @contextmanager
    def opened() -> Iterator[SparkSession]:
        with open_session("sail", tmp_path, "cat1", ["sales", "serving"]) as spark:
            catalog = catalog_of(spark)
            assert catalog
            catalog.register_all()
            yield spark

    return opened


def test_a_table_of_one_session_is_there_in_the_next(open_again: Open, tmp_path: Path) -> None:
    with open_again() as spark:
        spark.sql("CREATE TABLE cat1.sales.colours (name STRING) USING delta").collect()
        spark.sql("INSERT INTO cat1.sales.colours VALUES ('red')").collect()

    assert (tmp_path / "warehouse" / "sales" / "colours" / "_delta_log").is_dir()
    with open_again() as spark:
        assert [row.name for row in spark.table("cat1.sales.colours").collect()] == ["red"]
        assert not spark.catalog.tableExists("cat1.serving.colours")


def test_a_session_may_wait_for_weeks(open_again: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = "SAIL_SPARK__SESSION_TIMEOUT_SECS"
    monkeypatch.delenv(timeout, raising=False)
    with open_again():
        assert timedelta(seconds=int(os.environ[timeout])) > timedelta(weeks=4)

    monkeypatch.setenv(timeout, "1")  # What the engine makes of it
    with pytest.raises(IllegalArgumentException, match="is not running"), open_again() as spark:
        time.sleep(2)
        spark.range(1).collect()


def test_a_table_whose_first_commit_is_missing_is_not_there(open_again: Open, tmp_path: Path) -> None:
    (tmp_path / "warehouse" / "sales" / "colours" / "_delta_log").mkdir(parents=True)

    with open_again() as spark:
        assert not spark.catalog.tableExists("cat1.sales.colours")
        spark.sql("CREATE TABLE cat1.sales.colours (name STRING) USING delta").collect()
        assert spark.table("cat1.sales.colours").count() == 0


def test_a_view_is_there_in_the_next_session(open_again: Open, tmp_path: Path) -> None:
    with open_again() as spark:
        store = open_store(spark, "cat1", "serving")
        assert not store.has_view("one")
        store.create_view("one", "SELECT ';\n' AS mark")
        assert store.has_view("one")

    with open_again() as spark:
        assert [row.mark for row in spark.table("cat1.serving.one").collect()] == [";\n"]
        assert open_store(spark, "cat1", "serving").has_view("one")
        assert not open_store(spark, "cat1", "sales").has_view("one")


def test_a_view_whose_table_is_gone_is_left_out(open_again: Open, tmp_path: Path) -> None:
    with open_again() as spark:
        spark.sql("CREATE TABLE cat1.sales.colours (name STRING) USING delta")
        open_store(spark, "cat1", "serving").create_view("loud", "SELECT upper(name) AS name FROM cat1.sales.colours")
    shutil.rmtree(tmp_path / "warehouse" / "sales" / "colours")

    with open_again() as spark:
        assert not spark.catalog.tableExists("cat1.serving.loud")


def test_a_view_finds_its_tables_wherever_its_reader_is(open_again: Open) -> None:
    with open_again() as spark:
        spark.sql("CREATE TABLE cat1.sales.colours (name STRING) USING delta")
        spark.sql("INSERT INTO cat1.sales.colours VALUES ('red'), ('grey')")
        open_store(spark, "cat1", "serving").create_view("loud", "SELECT upper(name) AS name FROM cat1.sales.colours")
        use_schema(spark, "cat1", "serving")

        assert {row.name for row in spark.table("loud").collect()} == {"RED", "GREY"}
