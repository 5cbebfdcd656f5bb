"""Tests of sessions of the local engines."""

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


def test_unknown_engine_is_rejected_with_the_known_names(tmp_path: Path) -> None:
    with (
        pytest.raises(CdpError, match="Unknown engine 'duck': the engines are sail and spark"),
        open_session("duck", tmp_path, "cat1", []),
    ):
        pass


def test_spark_engine_without_java_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(CdpError, match="needs Java 17 or newer"), open_session("spark", tmp_path, "cat1", []):
        pass


# These tests use only Sail: Spark allows one session per process, and the fixtures use it. End-to-end tests use Spark.
Open = Callable[[], AbstractContextManager[SparkSession]]


@pytest.fixture
def open_again(tmp_path: Path) -> Open:
    """Return a function that opens a session on the test's home folder. All tables and views are registered in it."""

    @contextmanager
    def opened() -> Iterator[SparkSession]:
        with open_session("sail", tmp_path, "cat1", ["sales", "serving"]) as spark:
            catalog = catalog_of(spark)
            assert catalog
            catalog.register_all()
            yield spark

    return opened


def test_table_exists_in_the_next_session(open_again: Open, tmp_path: Path) -> None:
    with open_again() as spark:
        spark.sql("CREATE TABLE cat1.sales.colours (name STRING) USING delta").collect()
        spark.sql("INSERT INTO cat1.sales.colours VALUES ('red')").collect()

    assert (tmp_path / "warehouse" / "sales" / "colours" / "_delta_log").is_dir()
    with open_again() as spark:
        assert [row.name for row in spark.table("cat1.sales.colours").collect()] == ["red"]
        assert not spark.catalog.tableExists("cat1.serving.colours")


def test_idle_session_stays_open_for_weeks(open_again: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = "SAIL_SPARK__SESSION_TIMEOUT_SECS"
    monkeypatch.delenv(timeout, raising=False)
    with open_again():
        assert timedelta(seconds=int(os.environ[timeout])) > timedelta(weeks=4)

    monkeypatch.setenv(timeout, "1")  # check that the engine uses this setting
    with pytest.raises(IllegalArgumentException, match="is not running"), open_again() as spark:
        time.sleep(2)
        spark.range(1).collect()


def test_table_without_first_commit_does_not_exist(open_again: Open, tmp_path: Path) -> None:
    (tmp_path / "warehouse" / "sales" / "colours" / "_delta_log").mkdir(parents=True)

    with open_again() as spark:
        assert not spark.catalog.tableExists("cat1.sales.colours")
        spark.sql("CREATE TABLE cat1.sales.colours (name STRING) USING delta").collect()
        assert spark.table("cat1.sales.colours").count() == 0


def test_view_exists_in_the_next_session(open_again: Open, tmp_path: Path) -> None:
    with open_again() as spark:
        store = open_store(spark, "cat1", "serving")
        assert not store.has_view("one")
        store.create_view("one", "SELECT ';\n' AS mark")
        assert store.has_view("one")

    with open_again() as spark:
        assert [row.mark for row in spark.table("cat1.serving.one").collect()] == [";\n"]
        assert open_store(spark, "cat1", "serving").has_view("one")
        assert not open_store(spark, "cat1", "sales").has_view("one")


def test_view_of_a_missing_table_is_skipped(open_again: Open, tmp_path: Path) -> None:
    with open_again() as spark:
        spark.sql("CREATE TABLE cat1.sales.colours (name STRING) USING delta")
        open_store(spark, "cat1", "serving").create_view("loud", "SELECT upper(name) AS name FROM cat1.sales.colours")
    shutil.rmtree(tmp_path / "warehouse" / "sales" / "colours")

    with open_again() as spark:
        assert not spark.catalog.tableExists("cat1.serving.loud")


def test_view_resolves_its_tables_from_any_schema(open_again: Open) -> None:
    with open_again() as spark:
        spark.sql("CREATE TABLE cat1.sales.colours (name STRING) USING delta")
        spark.sql("INSERT INTO cat1.sales.colours VALUES ('red'), ('grey')")
        open_store(spark, "cat1", "serving").create_view("loud", "SELECT upper(name) AS name FROM cat1.sales.colours")
        use_schema(spark, "cat1", "serving")

        assert {row.name for row in spark.table("loud").collect()} == {"RED", "GREY"}
