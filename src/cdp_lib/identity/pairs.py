"""Pairs of records that may belong to one person, with the evidence for and against it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.frames import frame_from_arrow
from cdp_lib.identity.contradiction import is_contradiction
from cdp_lib.identity.evidence import evidence, total
from cdp_lib.identity.model import Model
from cdp_lib.identity.rules import IdentifierKind, IdentityRules

BLOCK = "block"
"""Kind of the keys in `blocks`, which only make two records a pair. They are no evidence."""

_FEW_ROWS = 500_000
"""Number of rows up to which rows are collected and sent back to the engine."""

_COMPARED = (
    "first_name",
    "last_name",
    "birth_date",
    "gender",
    "street",
    "city",
    "postal_code",
    "country_code",
    "email",
    "phone",
)
"""Columns of a record that the model or a contradiction compares."""


def values_of(records: DataFrame) -> DataFrame:
    """Return one row per record and shared value: `record_key` and `value`, an identifier or a key of the model."""
    return records.select("record_key", sf.explode(sf.concat("identifiers", "blocks")).alias("value"))


def find_pairs(records: DataFrame, rules: IdentityRules, touched: DataFrame | None = None) -> DataFrame:
    """Return one row per pair of records that share a value.

    A value that more than `records_per_value` records share makes no pairs, so that the number of pairs grows with the
    number of records, and not with its square.

    Args:
        records: Rows of `identity_records_silver`.
        rules: Rules of identity resolution.
        touched: Records of which every pair is returned, column `record_key`. None for all records.

    Returns:
        `record_a`, `record_b` and `identifiers`, the shared identifiers without the keys of the model.
    """
    values = values_of(records)
    if touched is not None:
        marked = touched.select("record_key", sf.lit(True).alias("is_touched"))
        theirs = values.join(touched, "record_key", how="left_semi").select("value").distinct()
        values = _computed(values.join(theirs, "value", how="left_semi").join(marked, "record_key", how="left"))
    counts = values.groupBy("value").agg(sf.count("*").alias("records"))
    shared = counts.where((sf.col("records") > 1) & (sf.col("records") <= rules.records_per_value)).select("value")
    values = values.join(shared, "value", how="left_semi")
    names = [name for name in values.columns if name != "value"]
    first, second = (
        values.select("value", *(sf.col(name).alias(f"{side}_{name}") for name in names)) for side in ("a", "b")
    )
    pairs = first.join(second, "value", how="inner").where("a_record_key < b_record_key")
    if touched is not None:
        pairs = pairs.where("a_is_touched OR b_is_touched")
    pairs = pairs.where(_may_join(rules.kinds))
    identifier = sf.when(~sf.col("value").startswith(f"{BLOCK}:"), sf.col("value"))
    return pairs.groupBy(sf.col("a_record_key").alias("record_a"), sf.col("b_record_key").alias("record_b")).agg(
        sf.array_sort(sf.collect_set(identifier)).alias("identifiers")
    )


def _computed(rows: DataFrame) -> DataFrame:
    """Compute rows once, if they are few: each later use would read all records again."""
    table = rows.toArrow()
    return frame_from_arrow(table, rows) if 0 < table.num_rows <= _FEW_ROWS else rows


def _may_join(kinds: Sequence[IdentifierKind]) -> Column:
    """Return whether a shared value may join the pair: some kinds join only records without a name (`joins`)."""
    is_of_anonymous = sf.col("a_record_key").startswith("device:") | sf.col("b_record_key").startswith("device:")
    restricted = [sf.col("value").startswith(f"{kind.name}:") for kind in kinds if kind.joins == "anonymous"]
    return is_of_anonymous | ~reduce(lambda left, right: left | right, restricted, sf.lit(False))


def with_evidence(pairs: DataFrame, records: DataFrame, rules: IdentityRules, model: Model | None) -> DataFrame:
    """Return pairs with their evidence.

    Args:
        pairs: Pairs from `find_pairs`.
        records: Rows of `identity_records_silver`.
        rules: Rules of identity resolution.
        model: Model that compares names, birth dates and addresses. None for none.

    Returns:
        Columns of `identity_edges_silver`, of all pairs.
    """
    for side in ("a", "b"):
        record = records.select(sf.col("record_key").alias(f"record_{side}"), sf.struct(*_COMPARED).alias(side))
        pairs = pairs.join(record, f"record_{side}", how="inner")
    bits = _bits_of_kinds(rules.kinds)
    if model:
        bits = sf.map_concat(bits, evidence(model, "a", "b", sf.size("identifiers") > 0))
    weighed = pairs.select(
        *("record_a", "record_b", "identifiers"),
        bits.alias("evidence"),
        is_contradiction("a", "b").alias("is_contradiction"),
    )
    return weighed.withColumn("weight", total(sf.col("evidence")))


def _bits_of_kinds(kinds: Sequence[IdentifierKind]) -> Column:
    """Return the weights of the kinds of the shared identifiers, as a map."""
    return sf.map_from_entries(
        sf.array_compact(
            sf.array(
                *(
                    sf.when(
                        sf.exists("identifiers", partial(_is_of_kind, kind.name)),
                        sf.struct(sf.lit(kind.name).alias("key"), sf.lit(float(kind.weight)).alias("value")),
                    )
                    for kind in kinds
                )
            )
        )
    )


def _is_of_kind(name: str, identifier: Column) -> Column:
    return identifier.startswith(f"{name}:")


def edges_of(scored: DataFrame, rules: IdentityRules) -> DataFrame:
    """Return the pairs that matter: pairs with enough evidence, and pairs that share a value but contradict each other.

    Args:
        scored: Pairs with evidence, from `with_evidence`.
        rules: Rules of identity resolution.
    """
    is_contradicted = sf.col("is_contradiction") & (sf.size("identifiers") > 0)
    return scored.where((sf.col("weight") >= rules.link_weight) | is_contradicted)
