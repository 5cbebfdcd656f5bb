"""Check of the sources: reads a sample of each source, and shows what would arrive in silver."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cdp_lib.columns import delta_name
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.ingest import configured_sources, land_sample
from cdp_lib.landing import Manifest
from cdp_lib.mapping import Mapping as ColumnMapping
from cdp_lib.pipeline.graph import platform_graph
from cdp_lib.pipeline.run import Runner
from cdp_lib.secrets import read_secret
from cdp_lib.settings import Settings
from cdp_lib.sources_file import ENTITIES, EntitySource
from cdp_lib.storage import DeltaStore, open_store
from cdp_local.bundle import PROJECT, Bundle
from cdp_local.dbutils import Jobs, LocalDbutils, NotebookUtils, SecretStore, TaskValues, Widgets
from cdp_local.job_settings import new_run_start, setting_values
from cdp_local.quarantine import examples_by_rule, findings, quarantined_rows, warned_rows
from cdp_local.source_proposal import Relation, database_relations, landed_relation
from cdp_local.sources import SECRETS_FILE
from cdp_local.workspace import LocalWorkspace

SHOWN_ROWS = 5
"""Number of accepted rows that the check shows per entity."""


@dataclass(frozen=True)
class CheckedEntity:
    """Result of the check of one entity.

    Attributes:
        source: Source of the entity.
        rows: Number of rows of the sample.
        mapping: A pair for each column of the contract: its name, and the column or SQL expression of the source that
            gives its values. The second item is empty if the sample lacks the column. The pairs of `attributes` come
            last.
        columns: Names of the columns of `accepted`.
        accepted: Accepted rows as they arrive in silver, at most `SHOWN_ROWS`.
        refused: (rule, meaning, number of rows, an example) of each rejecting rule that rows break.
        warned: (rule, meaning, number of rows, an example) of each warning rule that rows break.
        refused_rows: Number of refused rows.
        error: Why the entity can't be read or loaded. Empty if it can.
    """

    source: EntitySource
    rows: int = 0
    mapping: list[tuple[str, str]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    accepted: list[Sequence[Any]] = field(default_factory=list)
    refused: list[tuple[str, str, int, str]] = field(default_factory=list)
    warned: list[tuple[str, str, int, str]] = field(default_factory=list)
    refused_rows: int = 0
    error: str = ""


def check_sources(workspace: LocalWorkspace, settings: Settings, rows: int) -> Iterator[CheckedEntity]:
    """Land a sample of each configured source in a workspace, load it, and yield what arrives.

    A sample goes through the same steps as in a run: it is landed, loaded into bronze, mapped and checked.

    Args:
        workspace: An empty workspace, which is thrown away afterwards.
        settings: Settings of the run.
        rows: Maximum number of rows to read from a table of a database. From a folder, the newest file is read. An API
            and the CRM are read completely.

    Raises:
        CdpError: No source is configured.
    """
    sources = configured_sources(settings, list(ENTITIES))
    if not sources:
        raise CdpError(f"No source to check: {settings.sources_file} has no address for any entity.")
    store = open_store(workspace.session, settings.catalog, settings.schema)
    dbutils = _dbutils(workspace.notebooks.secrets)
    for source in sources:
        try:
            batch = land_sample(dbutils, settings, source, rows)
            yield _load(workspace, settings, store, source, batch)
        except CdpError as error:
            yield CheckedEntity(source, error=str(error))


def relations_at(address: str, schema: str, variables: Mapping[str, str]) -> list[Relation]:
    """Return the tables and views of a database, or the single relation of an API or a folder.

    Args:
        address: One of three: the name of a secret that holds a database URL, the URL of an API, or a folder.
        schema: Schema of the database, empty for the default schema.
        variables: Values of bundle variables, by name.

    Raises:
        CdpError: The address is none of the three, or the source can't be read.
    """
    bundle = Bundle(PROJECT, variables)
    secrets = SecretStore(PROJECT / SECRETS_FILE, {})
    scope = bundle.variable("secret_scope")
    kind = "api" if re.match("https?://", address) else "files"
    if kind == "files" and not (Path(address).exists() or address.startswith("abfss://")):
        return database_relations(read_secret(_dbutils(secrets), scope, address), schema, address)
    with TemporaryDirectory() as folder:
        job = Bundle(PROJECT, {**variables, "landing": folder}).job("cdp_refresh")
        values = setting_values(job, {}, new_run_start())
        # Land the sample as customers. With a mapping, the source may have any columns.
        source = EntitySource(ENTITIES["customers"], kind, address, mapping=ColumnMapping(attributes=("any",)))
        batch = land_sample(_dbutils(secrets), Settings.from_parameters(values), source, 1)
        return [landed_relation(batch, kind, address)]


def _dbutils(secrets: SecretStore) -> LocalDbutils:
    return LocalDbutils(Widgets({}), secrets, NotebookUtils(_no_child), Jobs(TaskValues("", {})))


def _no_child(path: str, arguments: dict[str, str]) -> str | None:
    raise NotImplementedError(path)


def _load(
    workspace: LocalWorkspace, settings: Settings, store: DeltaStore, source: EntitySource, batch: Manifest
) -> CheckedEntity:
    [silver, *_] = [
        table.contract
        for table in platform_graph().tables.values()
        if source.contract in table.reads and table.contract.rules
    ]
    for run in Runner(store, workspace.landing, settings).refresh([source.contract.name, silver.name]):
        if run.error:
            raise CdpError(run.error)
    columns = [name for name in silver.column_names if not name.startswith("_")]
    accepted = store.read(silver).select(*columns).limit(SHOWN_ROWS).collect()
    refused = store.read(silver.quarantine).count() if store.exists(silver.quarantine) else 0
    return CheckedEntity(
        source,
        batch.rows or 0,
        _mapping(source, batch),
        columns,
        [tuple(row) for row in accepted],
        _broken(quarantined_rows(store, [silver]), silver),
        _broken(warned_rows(store, [silver]), silver),
        refused,
    )


def _mapping(source: EntitySource, batch: Manifest) -> list[tuple[str, str]]:
    mapped = dict(source.mapping.columns)
    received = {delta_name(name): name for name in batch.columns or ()}
    ours = [column.name for column in source.contract.received_columns]
    return [
        *((name, mapped.get(name, received.get(name, ""))) for name in ours),
        *((f"attributes['{name}']", name) for name in source.mapping.attributes),
    ]


def _broken(rows: Any, contract: TableContract) -> list[tuple[str, str, int, str]]:
    examples = examples_by_rule(rows, 1)
    found = []
    for finding in findings(rows):
        first = next(iter(examples.get((contract.name, finding.rule), ())), None)
        found.append((finding.rule, finding.meaning, finding.rows, (first.record or first.key or "") if first else ""))
    return found
