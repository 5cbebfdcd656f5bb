"""Landing of entities from the sources that the file of sources declares."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

from pyspark.sql import SparkSession

from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Landing, Manifest
from cdp_lib.secrets import find_secret, read_secret
from cdp_lib.settings import Settings
from cdp_lib.source_address import SourceAddress
from cdp_lib.sources import files, http, sql_database
from cdp_lib.sources.dataverse import land_entity
from cdp_lib.sources.files import land_exchange_rates, land_files, newest_file
from cdp_lib.sources.rest_api import land_records
from cdp_lib.sources.spark_jdbc import land_large_tables
from cdp_lib.sources.sql_database import land_rows, land_tables
from cdp_lib.sources_file import EntitySource, read_sources


def configured_sources(settings: Settings, entities: Collection[str]) -> list[EntitySource]:
    """Return the declared sources of the given entities.

    An entity is left out if it has no source, or if the address of its source is empty.
    """
    declared = read_sources(settings.sources_file, asdict(settings), settings.business_time_zone).entities
    return [declared[entity] for entity in entities if entity in declared and declared[entity].address]


def land_entities(
    dbutils: Any, spark: SparkSession, settings: Settings, sources: Sequence[EntitySource]
) -> list[Manifest]:
    """Land new and changed records of entities.

    All tables of one database are read in one transaction, so their rows are from the same point in time.

    Args:
        dbutils: The notebook's `dbutils`.
        spark: Spark session.
        settings: Settings of the run.
        sources: Sources of the entities.

    Returns:
        The landed batches. An unchanged entity has no batch.

    Raises:
        CdpError: A source can't be read, a secret is missing, or the landing remembers another address of a source.
    """
    account_key = find_secret(dbutils, settings.secret_scope, "storage_account_key")
    landing = Landing(settings.landing, account_key)
    # Check the addresses of all sources before the first source is read.
    extractions = []
    for group in _by_database(sources):
        first = group[0]
        is_database = first.kind == "database"
        database_url = read_secret(dbutils, settings.secret_scope, first.address) if is_database else ""
        extraction = landing.extraction(
            first.contract.source,
            settings.batch_id,
            settings.run_started_at,
            {source.entity: address_of(source, database_url) for source in group},
            accept_new_sources=settings.accept_new_sources,
        )
        extractions.append((extraction, database_url, group))
    batches = []
    for extraction, database_url, group in extractions:
        if database_url:
            tables = (extraction, database_url, group)
            land_large_tables(spark, *tables, partitions=settings.jdbc_partitions, from_scratch=settings.from_scratch)
            batches += land_tables(*tables, from_scratch=settings.from_scratch)
        else:
            batches += _land(dbutils, settings, group[0], extraction, account_key)
        for source in group:
            extraction.remember_source(source.entity)
    return batches


def address_of(source: EntitySource, database_url: str) -> SourceAddress:
    """Return the address of an entity's source, in the form that a landing stores.

    Args:
        source: Source of the entity.
        database_url: SQLAlchemy URL of the source's database. Other kinds of sources do not need it.

    Raises:
        CdpError: The URL of the database is invalid.
    """
    if source.kind == "database":
        return sql_database.source_address(database_url, source.schema, source.relation)
    return (
        files.source_address(source.address) if source.kind == "files" else http.address_of(source.kind, source.address)
    )


def _land(
    dbutils: Any, settings: Settings, source: EntitySource, extraction: Extraction, account_key: str | None
) -> list[Manifest]:
    """Land an entity that does not come from a database."""
    if source.kind == "api":
        return land_records(
            extraction,
            source.contract,
            source.address,
            token=find_secret(dbutils, settings.secret_scope, source.token),
            timeout_seconds=settings.api_timeout_seconds,
            from_scratch=settings.from_scratch,
            limits=settings.source_limits,
            redirect_hosts=settings.redirect_hosts,
        )
    if source.kind == "crm":
        return land_entity(
            extraction,
            source.contract,
            source.address,
            client_id=read_secret(dbutils, settings.secret_scope, "crm_client_id"),
            client_secret=read_secret(dbutils, settings.secret_scope, "crm_client_secret"),
            timeout_seconds=settings.api_timeout_seconds,
            from_scratch=settings.from_scratch,
            limits=settings.source_limits,
            redirect_hosts=settings.redirect_hosts,
            columns=_crm_columns(source),
        )
    if source.entity == "exchange_rates":
        return land_exchange_rates(
            extraction,
            source.contract,
            source.address,
            reporting_currency=settings.reporting_currency,
            account_key=account_key,
            limits=settings.source_limits,
        )
    return land_files(
        extraction,
        source.contract,
        source.address,
        account_key=account_key,
        is_mapped=bool(source.mapping),
        limits=settings.source_limits,
    )


def land_sample(dbutils: Any, settings: Settings, source: EntitySource, rows: int) -> Manifest:
    """Land a part of an entity's records, to check its source.

    Args:
        dbutils: The notebook's `dbutils`.
        settings: Settings of the run. Set `landing` to a separate location, because the batch may lack records.
        source: Source of the entity.
        rows: Maximum number of rows to read from a table of a database. From a folder, the newest file is read. An API
            and the CRM are read completely.

    Raises:
        CdpError: The source can't be read, or a secret is missing.
    """
    account_key = find_secret(dbutils, settings.secret_scope, "storage_account_key")
    extraction = Landing(settings.landing, account_key).extraction(
        source.contract.source, settings.batch_id, settings.run_started_at
    )
    if source.kind == "database":
        database_url = read_secret(dbutils, settings.secret_scope, source.address)
        return land_rows(extraction, database_url, source, rows)
    if source.kind == "files":
        source = replace(source, address=newest_file(source.address, account_key))
    [batch] = _land(dbutils, settings, source, extraction, account_key)
    return batch


def _by_database(sources: Sequence[EntitySource]) -> list[list[EntitySource]]:
    """Group the tables of the same database. Every other source is a group of its own."""
    groups: dict[tuple[str, ...], list[EntitySource]] = {}
    for source in sources:
        is_table = source.kind == "database"
        key = ("database", source.address, source.contract.source) if is_table else (source.entity,)
        groups.setdefault(key, []).append(source)
    return list(groups.values())


def _crm_columns(source: EntitySource) -> list[str]:
    """Return the columns to request from the CRM. An empty list means the columns of the contract."""
    mapping = source.mapping
    if not (mapping.columns or mapping.attributes):
        return []
    mapped = dict(mapping.columns)
    if expressions := [theirs for theirs in mapped.values() if not theirs.isidentifier()]:
        raise CdpError(
            f"The file of sources maps a column of {source.entity} from '{expressions[0]}'. Columns of the CRM are"
            " requested by name: write the name of a column, not an expression."
        )
    ours = [
        mapped.get(column.name, column.name)
        for column in source.contract.received_columns
        if column.name in mapped or not column.on_request
    ]
    return list(dict.fromkeys([*ours, *mapping.attributes]))
