"""Tables that link records to persons: the decisions of people, the links, and their history."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from cdp_lib.contracts.identity import (
    IDENTITY_EDGES_SILVER,
    IDENTITY_OVERRIDES_SILVER,
    IDENTITY_RECORDS_SILVER,
    PERSON_HISTORY_SILVER,
    PERSON_LINKS_SILVER,
)
from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMERS_SILVER
from cdp_lib.identity.history import person_history
from cdp_lib.identity.off import links_of_customers
from cdp_lib.identity.resolution import resolve
from cdp_lib.identity.rules import IdentityRules
from cdp_lib.pipeline.decisions import Decisions
from cdp_lib.pipeline.group_history import GroupHistory
from cdp_lib.pipeline.resolve_touched import ResolveTouched
from cdp_lib.pipeline.table import Table


def latest_decisions(identity_overrides_silver: pa.Table) -> pa.Table:
    """Return the latest decision about each pair of records, whatever the order of its records."""
    first, second = identity_overrides_silver["record_a"], identity_overrides_silver["record_b"]
    ordered = pa.Table.from_pydict(
        {
            "record_a": pc.min_element_wise(first, second),
            "record_b": pc.max_element_wise(first, second),
            **{name: identity_overrides_silver[name] for name in ("decision", "decided_at")},
        }
    ).sort_by("decided_at")
    latest = ordered.group_by(["record_a", "record_b"], use_threads=False).aggregate([("decision", "last")])
    return latest.rename_columns(["record_a", "record_b", "decision"])


def build_person_links_silver(
    records: pa.Table,
    edges: pa.Table,
    decisions: pa.Table,
    previous: pa.Table,
    identity_rules: IdentityRules,
    next_id: int,
    now: datetime,
) -> tuple[pa.Table, int]:
    """Return one row per record, with its person.

    Args:
        records: Rows of `identity_records_silver`: all records of some components.
        edges: Rows of `identity_edges_silver` between these records.
        decisions: Rows of `identity_overrides_silver`.
        previous: Present rows of `person_links_silver` of these components, including records that are deleted now.
        identity_rules: Rules of identity resolution.
        next_id: Next number that no person has had.
        now: Start of the run.

    Returns:
        Columns of `person_links_silver`, and the next number that no person has had.
    """
    resolution = resolve(records, edges, latest_decisions(decisions), previous, identity_rules, next_id, now)
    return resolution.links, resolution.next_person_id


IDENTITY_OVERRIDES = Table(IDENTITY_OVERRIDES_SILVER, latest_decisions, materialization=Decisions())

PERSON_LINKS = Table(
    PERSON_LINKS_SILVER,
    build_person_links_silver,
    reads=(
        IDENTITY_RECORDS_SILVER,
        IDENTITY_EDGES_SILVER,
        IDENTITY_OVERRIDES_SILVER,
        CUSTOMERS_SILVER,
        CRM_CONTACTS_SILVER,
    ),
    settings=("identity_rules",),
    libraries=("scipy", "numpy"),
    materialization=ResolveTouched(
        "person_id", ("record_a", "record_b"), lambda identity_rules: identity_rules.is_on, links_of_customers
    ),
)


def build_person_history_silver(before: pa.Table, after: pa.Table, version: int, now: datetime) -> pa.Table:
    """Return one row per change of the records of a person.

    Args:
        before: `record_key` and `person_id` of all records of the changed persons, before the change.
        after: The same, after the change.
        version: Version of `person_links_silver` after the change.
        now: Start of the run.

    Returns:
        Columns of `person_history_silver`.
    """
    rows = person_history(before, after, now)
    return rows.append_column("links_version", pa.array([version] * rows.num_rows, pa.int64()))


def _known_persons(person_history_silver: DataFrame) -> DataFrame:
    """Return the persons that exist according to the history."""
    gone = person_history_silver.where("event IN ('absorbed', 'retired')").select("person_id")
    return person_history_silver.select("person_id").distinct().join(gone, "person_id", how="left_anti")


PERSON_HISTORY = Table(
    PERSON_HISTORY_SILVER,
    build_person_history_silver,
    reads=(PERSON_LINKS_SILVER,),
    materialization=GroupHistory("person_id", _known_persons),
)
