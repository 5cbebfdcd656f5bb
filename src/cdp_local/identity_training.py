"""Training of a model of identity resolution on the records of a shop. Nothing leaves this machine.

The training needs no labels: expectation maximisation by Splink, in DuckDB, finds the probabilities m and u. It needs
the extra `train` of the project. The file of a model has frequent names and cities with their shares, but no records.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from splink import DuckDBAPI, Linker

from cdp_lib.identity.comparisons import BlockingKey, Comparison, Level
from cdp_lib.identity.model import Model, TermFrequencies

SEED = 1
SMALLEST_M = 1e-3
"""Least m of a level, so that one rare accident can't outweigh all other evidence."""

SMALLEST_U = 1e-6
"""Least u of a level: the share of one pair in the sample."""

# The soundex of Spark. Vowels separate equal codes, h and w do not, and every other character counts as a vowel.
SOUNDEX = """
CREATE MACRO soundex_codes(name) AS translate(
    upper(regexp_replace(name, '[^A-Za-z]', 'a', 'g')), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '01230127022455012623017202');
CREATE MACRO soundex_merged(codes) AS regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
    regexp_replace(codes, '1+', '1', 'g'), '2+', '2', 'g'), '3+', '3', 'g'), '4+', '4', 'g'), '5+', '5', 'g'),
    '6+', '6', 'g');
CREATE MACRO soundex(name) AS CASE WHEN NOT regexp_matches(name, '^[A-Za-z]') THEN name ELSE
    upper(left(name, 1)) || left(replace(CASE WHEN left(soundex_codes(name), 1) = '7'
        THEN soundex_merged(replace(soundex_codes(name), '7', ''))
        ELSE substr(soundex_merged(replace(soundex_codes(name), '7', '')), 2) END, '0', '') || '000', 3) END;
"""


def train(records: pa.Table, like: Model, name: str, top_values: int = 200, sampled_pairs: float = 1e6) -> Model:
    """Return a trained model.

    Args:
        records: Records with the columns that the model compares, and `record_key`.
        like: Model with the comparisons and keys. Its probabilities are not read.
        name: Name of the trained model.
        top_values: Most values per column whose frequency is stored.
        sampled_pairs: Number of random pairs that give the probabilities u.
    """
    connection = duckdb.connect()
    connection.execute(SOUNDEX)
    connection.register("received", records)
    # A pair reads soundex as columns: it is slow in DuckDB, and each record is in many pairs.
    keys = [
        f"soundex({name}) AS soundex_{name}"
        for name in records.column_names
        if records.schema.field(name).type == pa.string()
    ]
    connection.execute(f"CREATE TABLE records AS SELECT *, {', '.join(keys)} FROM received ORDER BY record_key")
    database = DuckDBAPI(connection)
    linker = Linker(database.register("records"), _settings(like), log_level=logging.ERROR, validate_settings=False)
    linker.training.estimate_u_using_random_sampling(sampled_pairs, seed=SEED, min_count_per_level=None, num_chunks=1)
    for key in like.training:
        linker.training.estimate_parameters_using_expectation_maximisation(_same_key(key))  # type: ignore[arg-type]
    settings = linker.misc.save_model_to_json()
    weights = linker.inference.predict().as_duckdbpyrelation().select("match_weight").fetchnumpy()["match_weight"]
    assumed = settings["probability_two_random_records_match"]
    evidence = np.asarray(weights, dtype=float) - np.log2(assumed / (1 - assumed))
    count = records.num_rows
    return replace(
        like,
        name=name,
        prior=round(_prior(evidence, count * (count - 1) / 2), 3),
        comparisons=tuple(
            _trained(comparison, estimates)
            for comparison, estimates in zip(like.comparisons, settings["comparisons"], strict=True)
        ),
        term_frequencies={column: _frequencies(connection, column, top_values) for column in _frequency_columns(like)},
    )


def _settings(model: Model) -> dict[str, Any]:
    """Return the settings of Splink for a model."""
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "record_key",
        "probability_two_random_records_match": 1e-4,
        "comparisons": [_comparison(each) for each in model.comparisons],
        "blocking_rules_to_generate_predictions": [_same_key(key) for key in model.blocks],
        "max_iterations": 100,
        "em_convergence": 1e-5,
        "retain_matching_columns": False,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison for Splink. Its first level is the level of pairs without evidence."""
    names = (lambda column: f"{column}_l", lambda column: f"{column}_r")
    levels: list[dict[str, Any]] = [
        {"sql_condition": comparison.null_sql(*names), "label_for_charts": "null", "is_null_level": True}
    ]
    for level in comparison.levels:
        frequency = {"tf_adjustment_column": level.term_frequency, "disable_tf_exact_match_detection": True}
        sql = _with_soundex_columns(level.sql(*names)) if level.when else "ELSE"
        levels.append({"sql_condition": sql, "label_for_charts": level.name})
        levels[-1] |= frequency if level.term_frequency else {}
    return {"output_column_name": comparison.name, "comparison_levels": levels}


def _same_key(key: BlockingKey) -> dict[str, str]:
    """Return a blocking rule of Splink: the two records have the same key."""
    sides = (key.sql(lambda column: f"l.{column}"), key.sql(lambda column: f"r.{column}"))
    equal = " AND ".join(f"{left} = {right}" for left, right in zip(*sides, strict=True))
    return {"blocking_rule": _with_soundex_columns(equal)}


def _with_soundex_columns(sql: str) -> str:
    """Return SQL that reads the columns `soundex_…` instead of computing them."""
    return re.sub(
        r"soundex\((?:([lr])\.)?(\w+)\)",
        lambda found: f"{found[1]}.soundex_{found[2]}" if found[1] else f"soundex_{found[2]}",
        sql,
    )


def _trained(comparison: Comparison, settings: Mapping[str, Any]) -> Comparison:
    """Return a comparison with the probabilities that Splink estimated."""
    levels = zip(comparison.levels, settings["comparison_levels"][1:], strict=True)
    return replace(comparison, levels=tuple(_with_estimates(level, estimate) for level, estimate in levels))


def _with_estimates(level: Level, estimate: Mapping[str, Any]) -> Level:
    """Return a level with its probabilities.

    A level that was seen neither among matches nor among other pairs keeps its probabilities. If it has none, it is no
    evidence.
    """
    m, u = _estimate(estimate.get("m_probability")), _estimate(estimate.get("u_probability"))
    if m < SMALLEST_M and u < SMALLEST_U:
        return replace(level, m=level.m or SMALLEST_U, u=level.u or SMALLEST_U)
    return replace(level, m=max(m, SMALLEST_M), u=max(u, SMALLEST_U))


def _estimate(probability: object) -> float:
    """Return a probability with six digits; 0 if Splink has no estimate."""
    return float(f"{probability:.6g}") if isinstance(probability, float) else 0.0


def _prior(evidence: np.ndarray, pairs: float) -> float:
    """Return the logarithm to base 2 of the odds that two random records belong to one person.

    The odds are those at which the expected number of matches among the blocked pairs equals the odds × all pairs.

    Args:
        evidence: Evidence of each blocked pair without prior, in bits.
        pairs: Number of pairs of all records.
    """
    probability = 1e-4
    for _ in range(200):
        odds = np.exp2(np.clip(evidence + np.log2(probability / (1 - probability)), -60, 60))
        probability = max(float((odds / (1 + odds)).sum()) / pairs, 1e-12)
    return float(np.log2(probability / (1 - probability)))


def _frequency_columns(model: Model) -> list[str]:
    columns = {level.term_frequency for each in model.comparisons for level in each.levels}
    return sorted(columns - {""})


def _frequencies(connection: duckdb.DuckDBPyConnection, column: str, top_values: int) -> TermFrequencies:
    """Return the frequencies of the most frequent values, and the average frequency of all other values.

    Values of fewer than ten records are never listed, because they could describe one person.
    """
    counts = connection.execute(
        f"SELECT {column}, count(*) FROM records WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    total = sum(count for _, count in counts)
    listed = [(value, count) for value, count in counts[:top_values] if count >= 10]
    others = [count for _, count in counts[len(listed) :]] or [1]
    equal = sum(count * count for _, count in counts) / max(total, 1) ** 2
    rest = sum(count * count for count in others) / sum(others) / max(total, 1)
    shares = {value: _rounded(count / total) for value, count in listed}
    return TermFrequencies(shares, _rounded(rest), _rounded(equal))


def _rounded(share: float) -> float:
    return float(f"{share:.4g}")
