"""Fixtures of all tests. `CDP_TEST_ENGINE` names the engine of a test run.

The engines `sail` and `spark` are those of `cdp run`. The engines `connect`, a local Spark Connect server, and
`databricks`, a workspace, use databricks-connect. A workspace cannot read files of this machine.
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

from cdp_lib import redaction
from cdp_lib.storage import STORE_CLASS, DeltaStore, open_store
from cdp_local.engines import ENGINES, open_session
from effort import IS_TORTURE

PROJECT = Path(__file__).resolve().parent
ENGINE = os.environ.get("CDP_TEST_ENGINE", "sail")
# `cdp` does not know the engines of databricks-connect.
ENGINE_FIXTURES = {"spark", "engine"} if ENGINE in ENGINES else {"spark"}
CATALOG = os.environ.get("CDP_TEST_CATALOG", "cat1")
os.environ.setdefault("SPARK_CONF_DIR", str(PROJECT / "tests" / "spark"))


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that select the tests of a run on another engine."""
    for marker in (
        "first_engine: the result does not depend on the engine; only the first engine runs the test",
        "every_case: every case may depend on the engine; other engines run all cases",
        "torture: the test takes minutes on another engine, which runs it in `make torture` only",
    ):
        config.addinivalue_line("markers", marker)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that do not depend on the engine, when another engine runs, and skip tests that it cannot run."""
    if os.environ.get("CDP_TEST_SCOPE") == "engine":
        chosen = _sample_cases([item for item in items if _may_differ(item)])
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
    if ENGINE == "databricks":
        for item in items:
            if {"spark", "tmp_path_factory"} <= _fixtures(item):
                item.add_marker(pytest.mark.skip(reason="shares files with the engine"))


def _may_differ(item: pytest.Item) -> bool:
    """Return whether the result of a test may depend on the engine."""
    if item.get_closest_marker("first_engine") or (item.get_closest_marker("torture") and not IS_TORTURE):
        return False
    return isinstance(item, pytest.DoctestItem) or bool(ENGINE_FIXTURES & _fixtures(item))


def _sample_cases(items: list[pytest.Item]) -> list[pytest.Item]:
    """Keep the first and the last case of each test: most cases differ only in values, not in queries."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.split("[")[0], []).append(item)
    sample = {
        case
        for each in cases.values()
        for case in (each if each[0].get_closest_marker("every_case") else (each[0], each[-1]))
    }
    return [item for item in items if item in sample]


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
            with _engine_start_lock():
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
def _engine_start_lock() -> Iterator[None]:
    """Let one process at a time start its engine: two processes cannot download the jars of Spark at once."""
    with (Path(gettempdir()) / "cdp_test_engine.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def _no_known_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets of other tests, so that they are not removed from the messages of this test."""
    monkeypatch.setattr(redaction, "_KNOWN", redaction.Redactor())


@pytest.fixture(autouse=True)
def _doctest_spark(request: pytest.FixtureRequest, doctest_namespace: dict[str, object]) -> None:
    """Provide `spark` to doctests, on the engine under test."""
    if isinstance(request.node, pytest.DoctestItem):
        doctest_namespace["spark"] = request.getfixturevalue("spark")


@pytest.fixture
def schema(request: pytest.FixtureRequest, spark: SparkSession) -> Iterator[str]:
    """Name of a new schema for one test. On this machine its tables are in `tmp_path / schema`."""
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
    """Store of the test's schema."""
    return open_store(spark, catalog, schema)


@pytest.fixture(scope="session")
def rows_of() -> Callable[[DataFrame], list[tuple[object, ...]]]:
    """Function that returns the rows of a frame as sorted tuples, to compare with expected rows."""

    def collect(frame: DataFrame) -> list[tuple[object, ...]]:
        return sorted((tuple(row) for row in frame.collect()), key=repr)

    return collect


Cdp = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def cdp() -> Cdp:
    """Run the `cdp` command as a user does: `cdp("run", "--home", home, CDP_SECRET_CDP_API_TOKEN="x")`."""

    def run(*arguments: object, cwd: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "cdp"), *map(str, arguments)]
        # A session of this process sets SPARK_CONNECT_* variables, which `cdp` must not inherit. A parallel
        # test process may have COLUMNS set, which would wrap the lines of `cdp`.
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
