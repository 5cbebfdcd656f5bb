"""Tests of `cdp run` with a landing in a data lake. They use both local engines, whichever engine is under test."""

import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable

from cdp_lib.landing import Landing

TASKS = ("ingest_customers", "ingest_database", "bronze")


@pytest.mark.parametrize("engine_name", ["sail", "spark"])
def test_a_run_lands_in_the_lake_and_loads_from_it(cdp, azurite, lake: str, tmp_path: Path, engine_name: str) -> None:
    environment = {"CDP_SECRET_CDP_STORAGE_ACCOUNT_KEY": azurite.account_key}
    if engine_name == "spark":
        if not shutil.which("java"):
            pytest.skip("NOT TESTED: Spark on a data lake. It needs Java 17 (`make java`).")
        settings = "".join(f"{name} {value}\n" for name, value in azurite.spark_settings.items())
        (tmp_path / "spark-defaults.conf").write_text(settings)
        environment["SPARK_CONF_DIR"] = str(tmp_path)
    home = tmp_path / "home"
    only = [option for task in TASKS for option in ("--only", task)]
    options = ["--home", home, "--engine", engine_name, "--var", f"landing={lake}", *only]

    run = cdp("run", *options, **environment)
    assert run.returncode == 0, run.stdout + run.stderr
    assert azurite.account_key not in run.stdout + run.stderr
    assert not (home / "landing").exists()
    landing = Landing(lake, azurite.account_key)
    for source, entity, table in (
        ("customers_api", "customers", "customers_bronze"),
        ("database", "transactions", "transactions_bronze"),
    ):
        [batch] = landing.batches(source, entity)
        loaded = DeltaTable(str(home / "warehouse" / "sales" / table)).to_pyarrow_table()
        assert loaded.num_rows == batch.rows == 50
        assert set(loaded["_batch_id"].to_pylist()) == {batch.batch_id}


def test_a_refused_key_ends_a_run_in_one_line(cdp, azurite, lake: str, tmp_path: Path) -> None:
    wrong_key = azurite.account_key.replace("Eby8", "Eby9")
    run = cdp(
        *("run", "--home", tmp_path / "home", "--var", f"landing={lake}", "--only", "ingest_customers"),
        CDP_SECRET_CDP_STORAGE_ACCOUNT_KEY=wrong_key,
        AZURE_STORAGE_CONNECTION_STRING=azurite.connection_string(wrong_key),
    )
    assert run.returncode == 1
    [error] = run.stderr.strip().splitlines()
    assert error.startswith(f"error: Landing location {lake} can't be read: ")
    assert wrong_key not in run.stdout + run.stderr


def test_a_lake_without_a_key_is_an_error_before_the_run_begins(cdp, tmp_path: Path) -> None:
    landing = "abfss://retail@devstoreaccount1.dfs.core.windows.net/landing"
    run = cdp("run", "--home", tmp_path / "home", "--var", f"landing={landing}")
    assert run.returncode == 1
    assert run.stderr == (
        f"error: landing {landing} needs the secret 'storage_account_key': set the environment variable"
        " CDP_SECRET_<SCOPE>_STORAGE_ACCOUNT_KEY to the key of the storage account.\n"
    )
