"""One engine per test run: CDP_TEST_ENGINE names it. Tests that ask for `spark` or `engine` run on every engine.

Engines: sail and spark, as of `cdp run`; connect, a Spark Connect server on this machine, and databricks, a workspace,
both through databricks-connect. A workspace sees no file of this machine.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from uuid import uuid4

import pytest
from pyspark.sql import DataFrame, SparkSession

from cdp_lib.storage import STORE_CLASS, DeltaStore, open_store
from cdp_local.engines import ENGINES, open_session
from effort import IS_TORTURE

PROJECT = Path(__file__).resolve().parent
ENGINE = os.environ.get("CDP_TEST_ENGINE", "sail")
# Those of databricks-connect are none that `cdp` knows.
ENGINE_FIXTURES = {"spark", "engine"} if ENGINE in ENGINES else {"spark"}
CATALOG = os.environ.get("CDP_TEST_CATALOG", "cat1")
os.environ.setdefault("SPARK_CONF_DIR", str(PROJECT / "tests" / "spark"))


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers that say what a run on a further engine leaves out."""
    for marker in (
        "first_engine: a further engine makes no difference to what the test is about",
        "every_case: a further engine may differ in any of the test's cases, and runs them all",
        "torture: it takes a further engine minutes, which `make torture` has",
    ):
        config.addinivalue_line("markers", marker)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a run on a further engine, leave out what no engine can make a difference to, and what it can't run."""
    if os.environ.get("CDP_TEST_SCOPE") == "engine":
        chosen = _few_cases([item for item in items if _may_differ(item)])
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
    if ENGINE == "databricks":
        for item in items:
            if {"spark", "tmp_path_factory"} <= _fixtures(item):
                item.add_marker(pytest.mark.skip(reason="shares files with the engine"))


def _may_differ(item: pytest.Item) -> bool:
    """Whether another engine may make a difference to a test."""
    if item.get_closest_marker("first_engine") or (item.get_closest_marker("torture") and not IS_TORTURE):
        return False
    return isinstance(item, pytest.DoctestItem) or bool(ENGINE_FIXTURES & _fixtures(item))


def _few_cases(items: list[pytest.Item]) -> list[pytest.Item]:
    """Of the cases of a test the first, the one in the middle and the last: most differ in values, not in queries."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.split("[")[0], []).append(item)
    few = {
        case
        for each in cases.values()
        for case in (each if each[0].get_closest_marker("every_case") else (each[0], each[len(each) // 2], each[-1]))
    }
    return [item for item in items if item in few]


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def engine() -> str:
    """Name of the engine under test."""
    return ENGINE


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session on the engine under test."""
    if ENGINE in ENGINES:
        with TemporaryDirectory() as home, ExitStack() as stack:
            with _one_after_the_other():
                session = stack.enter_context(open_session(ENGINE, Path(home), CATALOG, []))
            yield session
    else:
        from databricks.connect import DatabricksSession

        session = DatabricksSession.builder.getOrCreate()
        if ENGINE == "connect":
            session.conf.set(STORE_CLASS, "cdp_local.stores:SparkStore")
        yield session
        session.stop()


@contextmanager
def _one_after_the_other() -> Iterator[None]:
    """Of processes side by side, one at a time: the first Spark fetches its jars, and no two can do so at once."""
    with (Path(gettempdir()) / "cdp_test_engine.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def _doctest_spark(request: pytest.FixtureRequest, doctest_namespace: dict[str, object]) -> None:
    """Doctests that say `spark` mean the engine under test."""
    if isinstance(request.node, pytest.DoctestItem):
        doctest_namespace["spark"] = request.getfixturevalue("spark")


@pytest.fixture
def schema(request: pytest.FixtureRequest, spark: SparkSession) -> Iterator[str]:
    """A schema of the test's own; on this machine its tables are in `tmp_path / schema`."""
    name = f"cdp_test_{uuid4().hex}"
    if ENGINE == "databricks":
        spark.sql(f"CREATE SCHEMA {CATALOG}.{name}").collect()
        yield name
        spark.sql(f"DROP SCHEMA {CATALOG}.{name} CASCADE").collect()
    else:
        folder = request.getfixturevalue("tmp_path") / name
        spark.sql(f"CREATE SCHEMA {CATALOG}.{name} LOCATION '{folder}'").collect()
        yield name


@pytest.fixture(scope="session")
def catalog() -> str:
    """Catalog of the tests' schemas."""
    return CATALOG


@pytest.fixture
def store(spark: SparkSession, catalog: str, schema: str) -> DeltaStore:
    """Tables in the test's schema."""
    return open_store(spark, catalog, schema)


@pytest.fixture(scope="session")
def rows_of() -> Callable[[DataFrame], list[tuple[object, ...]]]:
    """The rows of a frame as sorted tuples, to compare with rows written down in a test."""

    def collect(frame: DataFrame) -> list[tuple[object, ...]]:
        return sorted((tuple(row) for row in frame.collect()), key=repr)

    return collect


Cdp = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def cdp() -> Cdp:
    """Run the `cdp` command as a person does: `cdp("run", "--home", home, CDP_SECRET_CDP_API_TOKEN="x")`."""

    def run(*arguments: object, cwd: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "cdp"), *map(str, arguments)]
        # A session of this process leaves word in its environment that Spark is to be reached through Spark Connect.
        # A process that shares the tests is told how wide the terminal is: lines of `cdp` are as long as they are.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SPARK_CONNECT_") and name != "COLUMNS"
        }
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**inherited, **environment},
            timeout=1800,
            check=False,
        )

    return run
