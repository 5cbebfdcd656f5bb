"""Measure the time and memory of fits and predictions of customer models, compared with `lifetimes`.

    .venv/bin/python benchmarks/customer_models.py            # all, about 4 minutes
    .venv/bin/python benchmarks/customer_models.py refresh    # one part: fit, refresh or weeks

Customers are simulated from the Pareto/NBD model that was fitted to the data set CDNOW. Their first purchases are
spread over three years. Each measurement runs in its own process and reports the peak memory of this process.

- `fit` fits the Pareto/NBD model to several numbers of customers, from 10,000 to 10 million. For comparison,
  `lifetimes` fits the same model to at most 300,000 customers.
- `refresh` builds the tables of the models and the segments for 1 million customers on the embedded engine, from silver
  tables. `refit` is the time of `model_fits_gold` and of the two tables of quality; `score` is the time of
  `customer_value_gold`, `customer_segments_gold` and `segment_movements_gold`.
- `weeks` fits the model to CDNOW twice, with times in whole weeks and with times in days, to compare the results.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from cdp_lib.analytics.histories import Histories
from cdp_lib.analytics.purchases import ParetoNbd, fit_purchases

MODEL = ParetoNbd(r=0.5532, alpha=10.576, s=0.6063, beta=11.672)
WEEKS = 156
CHUNK = 500_000
AS_OF = date(2026, 6, 30)


def simulate(customers: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Simulate customers and their repeat purchases.

    Returns:
        Four arrays. The first two have one value per customer: the weeks since the first purchase (age), and the number
        of repeat purchases. The last two have one value per repeat purchase: the index of the customer, and the weeks
        since the first purchase of the customer.
    """
    generator = np.random.default_rng(seed)
    age = generator.integers(1, WEEKS + 1, customers).astype(float)
    rate = generator.gamma(MODEL.r, 1 / MODEL.alpha, customers)
    lifetime = generator.exponential(1 / generator.gamma(MODEL.s, 1 / MODEL.beta, customers))
    observed = np.minimum(age, lifetime)
    repeats = generator.poisson(rate * observed)
    buyer = np.repeat(np.arange(customers), repeats)
    return age, repeats.astype(float), buyer, generator.random(len(buyer)) * observed[buyer]


def simulated_histories(customers: int) -> Histories:
    """Simulate customers in chunks and return their histories in whole weeks."""
    parts = []
    for seed in range(-(-customers // CHUNK)):
        age, repeats, buyer, at = simulate(min(CHUNK, customers - seed * CHUNK), seed)
        recency = np.zeros_like(age)
        np.maximum.at(recency, buyer, at)
        parts.append(Histories.of_customers(repeats, np.rint(recency), age))
    columns = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("frequency", "recency", "age", "weight")
    )
    return Histories.of_customers(*columns)


def fit(customers: int) -> dict[str, object]:
    """Fit the Pareto/NBD model to simulated histories. Customers with equal histories share one weighted row."""
    histories = simulated_histories(customers)
    begin = time.perf_counter()
    fitted = fit_purchases(ParetoNbd, histories)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "histories": len(histories), "state": fitted.state} | fitted.parameters


def fit_by_lifetimes(customers: int) -> dict[str, object]:
    """Fit the same model with `lifetimes`, which reads one row per customer."""
    from lifetimes import ParetoNBDFitter

    age, repeats, buyer, at = simulate(customers, 0)
    recency = np.zeros_like(age)
    np.maximum.at(recency, buyer, at)
    fitter = ParetoNBDFitter(penalizer_coef=0.0)
    begin = time.perf_counter()
    fitter.fit(repeats, np.rint(recency), age)
    return {"seconds": time.perf_counter() - begin, "histories": customers} | dict(fitter.params_)


def refresh(customers: int) -> dict[str, object]:
    """Build and write the tables of the models and the segments on the embedded engine, from silver tables."""
    from cdp_lib.frames import frame_from_rows
    from cdp_lib.gold.model_fits import MODEL_FITS
    from cdp_lib.gold.model_quality import MODEL_QUALITY
    from cdp_lib.gold.segment_quality import SEGMENT_QUALITY
    from cdp_lib.gold.segments import CUSTOMER_SEGMENTS, SEGMENT_MOVEMENTS
    from cdp_lib.gold.value import CUSTOMER_VALUE
    from cdp_lib.pipeline.table import BUSINESS_DATE, Append
    from cdp_lib.storage import open_store
    from cdp_local.engines import open_session

    settings = {
        BUSINESS_DATE: AS_OF,
        "churn_horizon_days": 90,
        "clv_horizon_months": 12,
        "gross_margin": 0.4,
        "annual_discount_rate": 0.1,
        "minimum_scored_buyers": 5,
        "minimum_segment_size": 30,
    }
    tables = {
        "refit": (MODEL_FITS, MODEL_QUALITY, SEGMENT_QUALITY),
        "score": (CUSTOMER_VALUE, CUSTOMER_SEGMENTS, SEGMENT_MOVEMENTS),
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        sales = 0
        for chunk in range(-(-customers // CHUNK)):
            sales += write_silver(home / "warehouse" / "sales", chunk, min(CHUNK, customers - chunk * CHUNK))
        found: dict[str, object] = {"sales": sales, "megabytes_before": round(peak_megabytes())}
        with open_session("sail", home, "cat1", ["sales"]) as spark:
            store = open_store(spark, "cat1", "sales")
            for step, declared in tables.items():
                total = 0.0
                for table in declared:
                    begin = time.perf_counter()
                    values = {"as_of" if name == BUSINESS_DATE else name: settings[name] for name in table.settings}
                    frames = [store.read(contract) for contract in table.reads]
                    if isinstance(table.materialization, Append):
                        frames.append(frame_from_rows([], table.contract.types, frames[0]))
                        values["recorded_at"] = datetime.combine(AS_OF, datetime.min.time(), UTC)
                    store.replace(table.contract, table.build(*frames, **values))
                    seconds = time.perf_counter() - begin
                    found[table.name] = round(seconds, 2)
                    total += seconds
                found |= {step: round(total, 2), f"megabytes_after_{step}": round(peak_megabytes())}
            rows = store.read(MODEL_FITS.contract).where("model <> 'gamma_gamma'").select("model", "state").collect()
            written = store.count([CUSTOMER_VALUE.contract])[CUSTOMER_VALUE.name]
    return found | {"rows": written, "model": rows[0].model, "state": rows[0].state}


def write_silver(warehouse: Path, chunk: int, customers: int) -> int:
    """Append simulated customers to the silver tables, and return the number of their sales."""
    import pyarrow as pa
    from deltalake import write_deltalake

    epoch = (AS_OF - date(1970, 1, 1)).days
    age, _, buyer, at = simulate(customers, chunk)
    numbers = np.arange(customers) + chunk * CHUNK
    first = epoch - (age * 7).astype(int)
    days = pa.array(first, pa.int32()).cast(pa.date32())
    acquisitions = {
        "person_id": pa.array(numbers, pa.int32()),
        "registration_date": days,
        "first_purchase_date": days,
        "acquisition_date": days,
    }
    write_deltalake(warehouse / "customer_acquisitions_silver", pa.table(acquisitions), mode="append")
    buyer_of_purchase = np.concatenate([np.arange(customers), buyer])
    day = np.concatenate([first, first[buyer] + np.floor(at * 7).astype(int)])
    # A customer usually spends a similar amount, as the spend model assumes.
    generator = np.random.default_rng([7, chunk])
    usual = np.exp(generator.normal(3.3, 0.6, customers))
    cents = np.rint(100 * usual[buyer_of_purchase] * generator.gamma(3, 1 / 3, len(buyer_of_purchase)))
    purchases = pa.table(
        {
            "person_id": pa.array(numbers[buyer_of_purchase], pa.int32()),
            "purchase_date": pa.array(day, pa.int32()).cast(pa.date32()),
            "transaction_count": pa.array(np.ones(len(buyer_of_purchase)), pa.int64()),
            "revenue": pa.array(cents.astype(int)).cast(pa.decimal128(20, 0)).cast(pa.decimal128(38, 2)),
        }
    )
    # The models count days with a purchase, so all purchases of a customer on one day become one row.
    purchase_days = purchases.group_by(["person_id", "purchase_date"]).aggregate(
        [("transaction_count", "sum"), ("revenue", "sum")]
    )
    names = ["person_id", "purchase_date", "transaction_count", "revenue"]
    write_deltalake(warehouse / "purchases_silver", purchase_days.rename_columns(names), mode="append")
    return len(buyer_of_purchase)


def weeks() -> dict[str, object]:
    """Fit CDNOW with times in days and in whole weeks. Return parameters and forecast error of both fits."""
    from importlib.resources import files

    import pandas as pd

    path = str(files("lifetimes.datasets") / "CDNOW_sample.txt")
    sales = pd.read_csv(path, sep=r"\s+", header=None, names=["_", "customer_id", "day", "quantity", "amount"])
    sales["day"] = pd.to_datetime(sales.day, format="%Y%m%d")
    cut_off = pd.Timestamp(date(1997, 1, 1) + timedelta(weeks=39, days=-1))
    days = sales.drop_duplicates(["customer_id", "day"])
    observed = days[days.day <= cut_off].groupby("customer_id").day.agg(["min", "max", "count"])
    later_purchases = len(days[(days.day > cut_off) & days.customer_id.isin(observed.index)])
    x = (observed["count"] - 1).to_numpy(dtype=float)
    t_x, age = ((last - observed["min"]).dt.days.to_numpy() / 7 for last in (observed["max"], cut_off))
    found: dict[str, object] = {"seconds": 0.0, "later_purchases": later_purchases}
    for name, times in {"days": (t_x, age), "weeks": (np.rint(t_x), np.rint(age))}.items():
        fitted = fit_purchases(ParetoNbd, Histories.of_customers(x, *times))
        predicted = ParetoNbd(**fitted.parameters).expected_purchases(39.0, x, *times).sum()
        rounded = {key: round(value, 4) for key, value in fitted.parameters.items()}
        found[name] = rounded | {"error": round(predicted / later_purchases - 1, 4), "histories": fitted.histories}
    return found


def peak_megabytes() -> float:
    """Return the peak memory of this process, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


PARTS: dict[str, Callable[..., dict[str, object]]] = {
    "fit": fit,
    "lifetimes": fit_by_lifetimes,
    "refresh": refresh,
    "weeks": weeks,
}
MEASUREMENTS = [
    ("weeks",),
    ("fit", 10_000),
    ("lifetimes", 10_000),
    ("fit", 100_000),
    ("lifetimes", 100_000),
    ("fit", 300_000),
    ("lifetimes", 300_000),
    ("fit", 1_000_000),
    ("fit", 10_000_000),
    ("refresh", 1_000_000),
]


def measure(part: str, *arguments: int) -> dict[str, object]:
    """Run one measurement in a new process."""
    command = [sys.executable, __file__, "--measure", part, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def main() -> None:
    """Run the measurements and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="fit (with lifetimes), refresh or weeks; default: all")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        part, *numbers = arguments.measure
        found = PARTS[part](*map(int, numbers))
        print(json.dumps(found | {"megabytes": round(peak_megabytes())}))
        return
    wanted = set(arguments.parts) | ({"lifetimes"} if "fit" in arguments.parts else set())
    for part, *numbers in MEASUREMENTS:
        if not wanted or part in wanted:
            found = measure(part, *numbers)
            print(part, *(f"{number:,}" for number in numbers), json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
