"""Storage: the only way in which the platform reads and writes tables."""

from __future__ import annotations

import importlib
from contextlib import suppress

from pyspark.sql import SparkSession

from cdp_lib.storage.delta import ConflictError, DeltaStore
from cdp_lib.storage.lease import release_lease, take_lease

STORE_CLASS = "spark.cdp.store"
"""Session setting that names the store class of a local engine, as `module:Class`. Empty on Databricks."""

__all__ = ["STORE_CLASS", "ConflictError", "DeltaStore", "open_store", "release_lease", "take_lease"]


def open_store(spark: SparkSession, catalog: str, schema: str, unmasked_group: str = "") -> DeltaStore:
    """Return an object that reads and writes the tables of one schema.

    Args:
        spark: Spark session. In a session of a local engine, the setting `STORE_CLASS` names the class to return.
        catalog: Unity Catalog catalog.
        schema: Schema of the tables.
        unmasked_group: Account group that reads personal data on Databricks. Empty for no masks.
    """
    # From the expressions of a query, Spark derives further conditions. If a query hashes many columns and then renames
    # them, as compaction does, the number of conditions is exponential. Serverless compute does not offer the setting.
    with suppress(Exception):
        spark.conf.set("spark.sql.constraintPropagation.enabled", "false")
    name = spark.conf.get(STORE_CLASS, "") or ""
    if not name:
        return DeltaStore(spark, catalog, schema, unmasked_group)
    module, _, class_name = name.partition(":")
    store: DeltaStore = getattr(importlib.import_module(module), class_name)(spark, catalog, schema)
    return store
