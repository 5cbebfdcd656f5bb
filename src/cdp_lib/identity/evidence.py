"""Evidence of a model as expressions of the engine: blocking keys of records, and bits of pairs of records."""

from __future__ import annotations

import math
from functools import partial

from pyspark.sql import Column
from pyspark.sql import functions as sf

from cdp_lib.identity.comparisons import BlockingKey, Comparison, Level, Names, evidence_bits
from cdp_lib.identity.model import Model

_FREQUENCY_STEPS = 2
"""Steps per factor of two, to which a term frequency is rounded. Few steps keep the SQL short."""


def blocks(model: Model) -> Column:
    """Return the blocking keys of a record, as ARRAY<STRING>: only records that share a key are compared.

    A record has no key from columns that are null. The expression reads the columns of `identity_records_silver`.
    """
    keys = [_block(key) for key in model.blocks]
    return sf.array_compact(sf.array(*keys)) if keys else sf.array().cast("array<string>")


def _block(key: BlockingKey) -> Column:
    """Return a blocking key as `<name>:<part>|<part>`; null if one of the parts is null or empty."""
    parts = [sf.expr(f"nullif(CAST({sql} AS STRING), '')") for sql in key.sql(str)]
    separated = [column for part in parts for column in (sf.lit("|"), part)][1:]
    return sf.concat(sf.lit(f"{key.name}:"), *separated)


def evidence(model: Model, a: str, b: str, shares_identifier: Column | None = None) -> Column:
    """Return the evidence that two records belong to one person, as MAP<STRING,DOUBLE>: bits by compared attribute.

    Every comparison has an entry. It is 0 if one of the records has no value. `total` adds the entries up.

    Args:
        model: Model.
        a: Alias of the first record, or name of a struct column with its columns.
        b: Alias of the second record, or name of a struct column with its columns.
        shares_identifier: Whether the two records share an identifier of the rules. If so, the prior is 0, because the
            weight of an identifier is net of it. None if no pair shares an identifier.
    """
    prior = sf.lit(model.prior)
    if shares_identifier is not None:
        prior = sf.when(shares_identifier, 0.0).otherwise(prior)
    entries = [sf.lit("prior"), prior]
    for comparison in model.comparisons:
        entries += [sf.lit(comparison.name), _bits(model, comparison, a, b)]
    return sf.create_map(*entries)


def total(bits: Column) -> Column:
    """Return the sum of the evidence, in bits, rounded to 0.001 bits.

    >>> rows = spark.range(1).select(sf.create_map(sf.lit("a"), sf.lit(1.5), sf.lit("b"), sf.lit(-0.25)).alias("bits"))
    >>> rows.select(total(rows.bits).alias("weight")).first().weight
    1.25
    """
    return sf.round(sf.aggregate(sf.map_values(bits), sf.lit(0.0), lambda sum_, each: sum_ + each), 3)


def _bits(model: Model, comparison: Comparison, a: str, b: str) -> Column:
    """Return the evidence of a comparison, in bits; 0 if the records have nothing to compare."""
    names_a, names_b = partial(_qualified, a), partial(_qualified, b)
    bits = sf.when(sf.expr(comparison.null_sql(names_a, names_b)), 0.0)
    for level in comparison.levels:
        value = _level_bits(model, level, names_a)
        bits = bits.when(sf.expr(level.sql(names_a, names_b)), value) if level.when else bits.otherwise(value)
    return bits


def _level_bits(model: Model, level: Level, names: Names) -> Column:
    """Return the evidence of a level, in bits. Agreement on a frequent value is weaker than on a rare value.

    The evidence of a value with the frequency f is log2(m / u × equal / f).
    """
    if not level.term_frequency or level.is_identifier:
        return sf.lit(level.bits)
    frequencies = model.term_frequencies[level.term_frequency]
    by_frequency: dict[float, list[str]] = {}
    for value, frequency in frequencies.values.items():
        by_frequency.setdefault(rounded_frequency(frequency), []).append(value)
    column = sf.col(names(level.term_frequency))
    typical = level.m * frequencies.equal / level.u
    bits = sf.lit(evidence_bits(typical, frequencies.rest))
    for frequency in sorted(by_frequency):
        bits = sf.when(column.isin(*by_frequency[frequency]), evidence_bits(typical, frequency)).otherwise(bits)
    return bits


def rounded_frequency(frequency: float) -> float:
    """Return a frequency rounded to half a power of two: its evidence is at most a quarter of a bit off.

    >>> rounded_frequency(0.0101) == 2**-6.5
    True
    """
    return float(2 ** (round(math.log2(frequency) * _FREQUENCY_STEPS) / _FREQUENCY_STEPS))


def _qualified(record: str, column: str) -> str:
    return f"{record}.{column}"
