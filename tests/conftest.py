"""Fixtures: a temporary PostgreSQL server and its databases, and modules of the benchmarks."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from cdp_lib.errors import CdpError
from cdp_local import postgresql_server as postgresql

_DATABASE_SQL = Path(__file__).resolve().parents[1] / "fixtures" / "database.sql"

_database_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """Function that imports a module of `benchmarks/` by name. These modules are not part of a package."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).resolve().parents[1] / "benchmarks" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """Address of a running PostgreSQL server, as `user@host:port`. Every user of this machine may log in."""
    try:
        postgresql.binaries_folder()
    except CdpError as error:
        pytest.skip(str(error))
    with postgresql.postgresql_server() as server:
        yield server.address


@pytest.fixture
def new_postgresql_database(postgresql_server: str) -> Callable[[str], str]:
    """Function that creates a database, runs a script in it and returns the SQLAlchemy URL of the database."""

    def create(script: str) -> str:
        name = f"test_{os.getpid()}_{next(_database_numbers)}"
        with psycopg.connect(f"postgresql://{postgresql_server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(f"postgresql://{postgresql_server}/{name}") as connection:
            connection.execute(script)
        return f"postgresql+psycopg://{postgresql_server}/{name}"

    return create


@pytest.fixture
def retail_postgresql(new_postgresql_database: Callable[[str], str]) -> str:
    """SQLAlchemy URL of a PostgreSQL database with the sample data."""
    return new_postgresql_database(_DATABASE_SQL.read_text(encoding="utf-8"))
