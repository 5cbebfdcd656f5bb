"""identity_edges_silver: pairs of records with evidence that they are, or are not, records of one person."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.identity import IDENTITY_EDGES_SILVER, IDENTITY_RECORDS_SILVER
from cdp_lib.frames import nulls, union, without_comments
from cdp_lib.identity.model_file import load_model
from cdp_lib.identity.pairs import edges_of, find_pairs, values_of, with_evidence
from cdp_lib.identity.rules import IdentityRules
from cdp_lib.pipeline.merge_pairs import MergePairs
from cdp_lib.pipeline.table import Table


def build_identity_edges_silver(
    identity_records_silver: DataFrame, identity_rules: IdentityRules, touched: DataFrame | None = None
) -> DataFrame:
    """Return one row per pair of records with enough evidence, or with a contradiction.

    Only records that share an identifier or a key of the model are compared. A pair is a row in two cases:

    - its evidence is at least `link_weight`;
    - it shares an identifier, but the two records contradict each other. Such a pair keeps other records from joining
      the two.

    Args:
        identity_records_silver: One row per record.
        identity_rules: Rules of identity resolution.
        touched: Keys of the records whose pairs are returned, in `record_key`. None for all pairs.

    Returns:
        Columns of `identity_edges_silver`. No row if identity resolution is off.
    """
    if not identity_rules.is_on:
        return identity_records_silver.select(*nulls(IDENTITY_EDGES_SILVER.types)).limit(0)
    model = load_model(identity_rules.model) if identity_rules.model else None
    pairs = find_pairs(identity_records_silver, identity_rules, touched)
    scored = with_evidence(pairs, identity_records_silver, identity_rules, model)
    return edges_of(scored, identity_rules).selectExpr(*IDENTITY_EDGES_SILVER.select_list)


def records_with_touched_pairs(changed: DataFrame, records: DataFrame, identity_rules: IdentityRules) -> DataFrame:
    """Return the keys of the records whose pairs may differ after a change of records.

    A record is touched in two cases:

    - the record changed;
    - the record has a value that so many records share that the change may have crossed the limit `records_per_value`.

    Args:
        changed: Changed rows of `identity_records_silver`, before and after the change.
        records: All rows of `identity_records_silver`.
        identity_rules: Rules of identity resolution.

    Returns:
        `record_key`, one row per touched record. A deleted record is included.
    """
    keys = changed.select("record_key").distinct()
    changes = values_of(changed).groupBy("value").agg(sf.count("*").alias("changes"))
    values = values_of(records).join(changes, "value", how="inner")
    counts = values.groupBy("value", "changes").agg(sf.count("*").alias("records"))
    is_near_limit = sf.abs(sf.col("records") - identity_rules.records_per_value) <= sf.col("changes")
    near = values.join(counts.where(is_near_limit).select("value"), "value", how="left_semi")
    return union([without_comments(rows, ["record_key"]) for rows in (keys, near)]).distinct()


IDENTITY_EDGES = Table(
    IDENTITY_EDGES_SILVER,
    build_identity_edges_silver,
    reads=(IDENTITY_RECORDS_SILVER,),
    settings=("identity_rules",),
    materialization=MergePairs(("record_a", "record_b"), records_with_touched_pairs),
)
