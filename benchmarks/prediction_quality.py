"""Measure the models of repeat buying and the segments on a grocer, a fashion shop and the data set CDNOW.

    PYTHONPATH=src .venv/bin/python benchmarks/prediction_quality.py            # all tables, about 10 minutes
    PYTHONPATH=src .venv/bin/python benchmarks/prediction_quality.py segments   # one part: models, seeds or segments

The output is Markdown: the tables of docs/predictions.md and docs/segments.md. The simulated shops are in
`tests/shops.py` and `tests/buyers.py`; CDNOW is part of the package `lifetimes`.

- `models` measures the models and the baselines on the shops with seed 1, and on CDNOW at three cut-offs.
- `seeds` measures the chosen model and the baselines on simulated shops with six seeds.
- `segments` checks the promises of the segments. Customers are segmented 90 days before the end of the period.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

import buyers  # noqa: E402
from cdp_lib.analytics.holdout import measure_models  # noqa: E402
from cdp_lib.analytics.selection import MODELS, fit_best  # noqa: E402
from cdp_lib.contracts.segments import ALL_BUYERS, NEVER_BOUGHT, SEGMENTS  # noqa: E402
from cdp_lib.gold.segment_quality import build_segment_quality_gold  # noqa: E402
from cdp_local.engines import open_session  # noqa: E402
from cdp_local.markdown import table  # noqa: E402
from shops import Shop, cdnow, fashion, grocer  # noqa: E402

HORIZON_WEEKS, HORIZON_DAYS = 13, 90
SEEDS = range(1, 7)
SEEDED = (("grocer", 800, 1), ("grocer", 3000, 1), ("fashion", 4000, 1), ("fashion", 6000, 1), ("fashion", 4000, 2))
SHOPS = {"grocer": grocer, "fashion": fashion}
BASELINES = ("active_if_recent", "own_rhythm", "logistic")


@dataclass(frozen=True)
class Case:
    """A forecast to measure.

    Attributes:
        name: Name in the tables.
        shop: Purchases.
        cut_off: Last day that the models see.
        weeks: Length of the predicted period, in weeks.
    """

    name: str
    shop: Shop
    cut_off: date
    weeks: int

    def measure(self) -> Measured:
        """Choose a model, and measure all models and baselines."""
        holdout = self.shop.holdout(self.cut_off, self.weeks)
        chosen = fit_best(holdout.histories, self.shop.replay(self.cut_off, HORIZON_WEEKS)).model
        rows = [row for row in measure_models(holdout, chosen) if not row["decile"]]
        return Measured(chosen, {(str(row["model"]), str(row["measure"])): row.get("value") for row in rows})


@dataclass(frozen=True)
class Measured:
    """Name of the chosen model, and the value of each measure by model and measure; None if it is undefined."""

    chosen: str
    values: dict[tuple[str, str], object]

    def of(self, model: str, measure: str) -> float:
        """Return a measure of a model; not a number if it has none."""
        value = self.values.get((model, measure))
        return float("nan") if value is None else float(str(value))

    def is_best(self, measure: str, sign: int) -> bool:
        """Return whether the chosen model beats all baselines: with a higher value (sign 1) or a lower one (-1)."""
        return all(sign * (self.of(self.chosen, measure) - self.of(name, measure)) > 0 for name in BASELINES)


def simulated(name: str, seed: int, customers: int, periods: int = 1) -> Case:
    """Return a forecast of 13 weeks of a simulated shop, which begin some periods of 13 weeks before its end."""
    shop = SHOPS[name](seed, customers)
    return Case(name, shop, shop.last_day - periods * timedelta(weeks=HORIZON_WEEKS), HORIZON_WEEKS)


def cdnow_case(week: int, weeks: int) -> Case:
    """Return a forecast of CDNOW from the end of a week on."""
    return Case(f"CDNOW, week {week}", cdnow(), date(1997, 1, 1) + timedelta(weeks=week, days=-1), weeks)


def models() -> Iterator[list[str]]:
    """Yield a table of all models, and one of the baselines on CDNOW."""
    cases = [simulated("grocer", 1, 3000), simulated("fashion", 1, 6000)]
    cases += [cdnow_case(week, 78 - week) for week in (26, 39, 52)]
    lines = []
    for case in cases:
        measured = case.measure()
        for name in MODELS:
            shown = f"**{name}**" if name == measured.chosen else name
            figures = [measured.of(name, measure) for measure in ("total_error", "spend_error", "auc", "brier_score")]
            if np.isnan(figures[0]):
                lines.append((f"{case.name}, {case.weeks}", shown, "no fit", "", "", ""))
            else:
                total, spend, auc, brier = figures
                cells = (f"{total:+.1%}", f"{spend:+.1%}", f"{auc:.3f}", f"{brier:.4f}")
                lines.append((f"{case.name}, {case.weeks}", shown, *cells))
    yield table(("shop, weeks predicted", "model", "purchases", "spend", "AUC of churn", "Brier score"), lines)
    lines = []
    for case in (cdnow_case(26, 13), cdnow_case(39, 13), cdnow_case(52, 26)):
        measured = case.measure()
        pairs = [(measured.of(name, "auc"), measured.of(name, "brier_score")) for name in (measured.chosen, *BASELINES)]
        lines.append((f"{case.name}, {case.weeks}", *(f"{auc:.3f} / {brier:.4f}" for auc, brier in pairs)))
    yield table(("shop, weeks predicted", "chosen model", *BASELINES), lines)


def seeds() -> Iterator[list[str]]:
    """Yield a table of six seeds of each simulated shop."""
    lines = []
    for name, customers, periods in SEEDED:
        found = [simulated(name, seed, customers, periods).measure() for seed in SEEDS]
        errors = [np.array([each.of(each.chosen, kind) for each in found]) for kind in ("total_error", "spend_error")]
        shares = [sum(each.is_best(*kind) for each in found) for kind in (("auc", 1), ("brier_score", -1))]
        lines.append(
            (
                f"{name}, {customers:,}" + (", a quarter earlier" if periods > 1 else ""),
                ", ".join(sorted({each.chosen for each in found})),
                *(f"{each.mean():+.1%} ± {each.std(ddof=1):.1%}" for each in errors),
                *(f"{count} of {len(found)}" for count in shares),
            )
        )
    yield table(("shop, customers", "model", "purchases", "spend", "best AUC", "best Brier score"), lines)


def segments() -> Iterator[list[str]]:
    """Yield a table of the share of customers who bought within 90 days, by segment and shop."""
    names = [*(each.name for each in SEGMENTS if each.name != NEVER_BOUGHT), ALL_BUYERS]
    bought = buyers.cdnow()
    cases = [("grocer", buyers.grocer(1, 2000), 450), ("fashion", buyers.fashion(1, 3000), 1000)]
    cases += [(f"CDNOW, up to week {week}", bought, min(week * 7 - 1, bought.last_day)) for week in (39, 52, 78)]
    lines = []
    with tempfile.TemporaryDirectory() as folder, open_session("sail", Path(folder), "cat1", ["sales"]) as spark:
        for name, shop, last in cases:
            frames, as_of = shop.tables(spark), buyers.day(last)
            quality = build_segment_quality_gold(*frames, frames[0], as_of, HORIZON_DAYS, 5, 30, datetime.now(UTC))
            rows = {row.segment: row for row in quality.collect()}
            shares = [
                f"{rows[each].bought_share:.0%} of {rows[each].customer_count:,}" if rows[each].customer_count else "–"
                for each in names
            ]
            broken = [each.name for each in SEGMENTS if each.promise and rows[each.name].is_kept is False]
            lines.append((name, *shares, ", ".join(broken) or "none"))
    yield table(("shop", *names, "broken promises"), lines)


PARTS = {"models": models, "seeds": seeds, "segments": segments}


def main() -> None:
    """Print the tables of the given parts, or all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=PARTS, help="parts to measure; all by default")
    for part in parser.parse_args().parts or PARTS:
        for lines in PARTS[part]():
            print("\n".join(lines), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
