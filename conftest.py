"""One engine per test run: CDP_TEST_ENGINE names it. Tests that ask for `spark` or `engine` run on every engine."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from cdp_lib.tables import Tables
from cdp_local.engines import open_session

PROJECT = Path(__file__).resolve().parent
ENGINE = os.environ.get("CDP_TEST_ENGINE", "sail")
CATALOG = "cat1"

_schema_numbers = itertools.count(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a run on a further engine, leave out what no engine can make a difference to."""
    if os.environ.get("CDP_TEST_SCOPE") != "engine":
        return
    chosen = [
        item
        for item in items
        if isinstance(item, pytest.DoctestItem) or {"spark", "engine"} & set(getattr(item, "fixturenames", ()))
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.fixture(scope="session")
def engine() -> str:
    """Name of the engine under test."""
    return ENGINE


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session on the engine under test."""
    with open_session(ENGINE, tmp_path_factory.mktemp("home"), CATALOG, []) as session:
        yield session


@pytest.fixture(autouse=True)
def _doctest_spark(request: pytest.FixtureRequest, doctest_namespace: dict[str, object]) -> None:
    """Doctests that say `spark` mean the engine under test."""
    if isinstance(request.node, pytest.DoctestItem):
        doctest_namespace["spark"] = request.getfixturevalue("spark")


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Iterator[Tables]:
    """Tables in a schema of the test's own."""
    schema = f"test_{next(_schema_numbers)}"
    spark.sql(f"CREATE SCHEMA {CATALOG}.{schema} LOCATION '{tmp_path / schema}'").collect()
    yield Tables(spark, CATALOG, schema)


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
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **environment},
            timeout=300,
            check=False,
        )

    return run
