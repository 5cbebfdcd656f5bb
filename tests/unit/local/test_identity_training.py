"""Tests of the training of a model of identity resolution."""

from __future__ import annotations

import random
from pathlib import Path
from string import ascii_lowercase

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from cdp_lib.identity.comparisons import Level
from cdp_lib.identity.model import Model
from cdp_lib.identity.model_file import load_model, model_json, read_model
from identity_shop import make_shop

pytest.importorskip("splink")

from cdp_local import identity_training as tool  # noqa: E402


def train(records: pa.Table) -> Model:
    return tool.train(records, read_model("retail"), "shop", sampled_pairs=1e5)


def test_soundex_of_the_training_is_that_of_the_engine(spark: SparkSession) -> None:
    rng = random.Random(1)
    words = ["".join(rng.choices(ascii_lowercase + "-' é", k=rng.randint(1, 9))) for _ in range(3000)]
    words += ["ashcraft", "tymczak", "pfister", "honeyman", "müller", "1abc", "hw", "wh1h", "o'brien", "anna maria"]
    connection = duckdb.connect()
    connection.execute(tool.SOUNDEX)
    connection.register("words", pa.table({"word": words}))
    trained = dict(connection.execute("SELECT word, soundex(word) FROM words").fetchall())
    frame = spark.createDataFrame(pa.table({"word": words})).selectExpr("word", "soundex(word) AS code")
    assert {row.word: row.code for row in frame.collect()} == trained


@pytest.fixture(scope="module")
def trained() -> Model:
    return train(make_shop(600, seed=5).records)


@pytest.mark.first_engine
def test_training_finds_levels_that_tell_persons_apart(trained: Model) -> None:
    assert -16 < trained.prior < -6
    levels = {(each.name, level.name): level for each in trained.comparisons for level in each.levels}
    for name in ("first_name", "birth_date", "last_name_address"):
        assert levels[name, "equal"].bits > 4
        assert levels[name, "different"].bits < -3
    assert levels["email_spelling", "equal"].bits == 0


@pytest.mark.first_engine
def test_trained_model_has_only_frequent_values(trained: Model) -> None:
    records = make_shop(600, seed=5).records
    for column, frequencies in trained.term_frequencies.items():
        counts = {each["values"]: each["counts"] for each in records[column].value_counts().to_pylist()}
        assert all(counts[value] >= 10 for value in frequencies.values)
        assert frequencies.values


@pytest.mark.first_engine
def test_trained_model_reads_back(trained: Model, tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text(model_json(trained), encoding="utf-8")
    assert load_model(str(file)).comparisons == trained.comparisons


@pytest.mark.first_engine
def test_training_is_deterministic(trained: Model) -> None:
    records = make_shop(600, seed=5).records
    shuffled = records.take(np.random.default_rng(1).permutation(records.num_rows))
    assert model_json(train(shuffled)) == model_json(trained)


@pytest.mark.first_engine
@pytest.mark.parametrize(
    ("estimate", "m", "u"),
    [
        ({"m_probability": 0.5, "u_probability": 0.25}, 0.5, 0.25),
        ({"m_probability": 0.5}, 0.5, 1e-6),
        ({"m_probability": 1e-9, "u_probability": 0.25}, 1e-3, 0.25),
        ({}, 0.04, 0.02),
    ],
)
def test_levels_without_estimates_keep_their_probabilities(estimate: dict[str, float], m: float, u: float) -> None:
    level = tool._with_estimates(Level("x", (), 0.04, 0.02), estimate)
    assert (level.m, level.u) == (m, u)


@pytest.mark.first_engine
def test_prior_is_the_expected_share_of_matches() -> None:
    """10 of 1,000 pairs have strong evidence: 2^-6.6 is 1 %."""
    evidence = np.array([60.0] * 10 + [-60.0] * 90)
    assert tool._prior(evidence, 1000) == pytest.approx(np.log2(0.01 / 0.99), abs=0.01)
