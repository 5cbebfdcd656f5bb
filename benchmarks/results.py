"""Store the benchmark results as JSON, and summarize them in a table of goals and a table of figures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, Self

from contestants import CONTESTANTS, MEMORY_POOL_GIGABYTES, RefreshMeasurement
from product import LARGEST_MART

from cdp_lib.errors import CdpError
from cdp_local.markdown import table

_LARGEST_MART_TASKS = (LARGEST_MART, "product_gold")
"""Names of the task that writes the largest mart: the current name, and the name that older results use."""

_PACKAGES = ("pyspark", "delta-spark", "pysail", "duckdb", "deltalake")


@dataclass(frozen=True)
class BenchmarkResult:
    """All rounds of one measure at one size.

    Attributes:
        measure: Name of the measure.
        sales: Number of sales in the shop's history.
        rounds: For each round, the measurement of each contestant by its name.
        date: Day of the measurement, in ISO 8601.
        command: Command line that repeats the measurement.
        machine: Hardware and software of the measurement.
        batch: Number of sales in the batch; 0 for a measure without a batch.
        rows: Row count of each table. All contestants have the same counts.
    """

    measure: str
    sales: int
    rounds: tuple[dict[str, RefreshMeasurement], ...]
    date: str
    command: str
    machine: dict[str, str]
    batch: int = 0
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def contestants(self) -> tuple[str, ...]:
        """Names of all measured contestants."""
        return tuple(dict.fromkeys(name for each in self.rounds for name in each))

    @property
    def key(self) -> str:
        """Key of this result. A later result with the same key replaces this result."""
        return f"{self.measure} {self.sales} {self.batch} {','.join(sorted(self.contestants))}"

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Build a result from an entry of `results.json`."""
        rounds = tuple(
            {name: RefreshMeasurement(**measurement) for name, measurement in each.items()} for each in values["rounds"]
        )
        return cls(**{**values, "rounds": rounds})

    def values(self, contestant: str, figure: Callable[[RefreshMeasurement], float | None]) -> list[float]:
        """Return one figure of a contestant for each round. Rounds in which the figure is unknown are left out."""
        found = (figure(each[contestant]) for each in self.rounds if contestant in each)
        return [value for value in found if value is not None]

    def median(
        self, contestant: str, figure: Callable[[RefreshMeasurement], float | None] = lambda one: one.seconds
    ) -> float:
        """Return one figure of a contestant: the median of the values in all rounds."""
        return median(self.values(contestant, figure))

    def ratio(self, contestant: str, baseline: str) -> float:
        """Divide a contestant's duration by a baseline's duration in each round. Return the median of these ratios."""
        pair = {contestant, baseline}
        return median(each[contestant].seconds / each[baseline].seconds for each in self.rounds if pair <= each.keys())


Results = dict[str, BenchmarkResult]


def read_results(path: Path) -> Results:
    """Read the stored results. Return an empty dict if the file does not exist.

    Raises:
        CdpError: The file does not have the format that this version writes.
    """
    if not path.exists():
        return {}
    try:
        stored = [BenchmarkResult.from_json(each) for each in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError) as error:
        raise CdpError(f"{path.name} can't be read ({error}): remove it, or restore it from git.") from None
    return {result.key: result for result in stored}


def merge_results(path: Path, new_results: Iterable[BenchmarkResult]) -> Results:
    """Add results to the stored results, and return all. A stored result with the same key as a new one is replaced."""
    results = read_results(path)
    for result in new_results:
        results.pop(result.key, None)  # so that the new result is the last one in the file
        results[result.key] = result
    path.write_text(json.dumps([asdict(result) for result in results.values()], indent=1) + "\n", encoding="utf-8")
    return results


def machine_facts() -> dict[str, str]:
    """Return the hardware and software versions that the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GB",
        "system": platform.system(),
        "Python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


@dataclass(frozen=True)
class Goal:
    """A measured figure and its targets, as strings for a table.

    Attributes:
        title: Name of the figure.
        reach: Required value.
        dream: Stretch target, better than the required value.
        measured: Measured value, or "not measured".
        state: "dream", "reached" or "missed"; empty when not measured.
    """

    title: str
    reach: str
    dream: str
    measured: str = "not measured"
    state: str = ""


def latest(results: Results, measure: str, *contestants: str) -> dict[int, BenchmarkResult]:
    """Return the latest result of a measure for each number of sales, smallest first.

    Results without a round that measured all given contestants are ignored.
    """
    found = {
        result.sales: result
        for result in results.values()
        if result.measure == measure and any(set(contestants) <= each.keys() for each in result.rounds)
    }
    return dict(sorted(found.items()))


def latest_of_largest(results: Results, measure: str, *contestants: str) -> BenchmarkResult | None:
    """Return the latest result of a measure for the largest number of sales, or None.

    Results without a round that measured all given contestants are ignored.
    """
    found = latest(results, measure, *contestants)
    return found[max(found)] if found else None


def goals(results: Results) -> list[Goal]:
    """Return all goals with their measured values."""
    return [
        _times_as_fast(
            results, "full refresh, bronze to gold, with quarantine and reconciliation, Sail, against (a)", 10, 20
        ),
        _time_of_duckdb(results),
        _times_as_fast(results, "full refresh on local Spark, against (a)", 1.5, 3, "product-spark"),
        _batch_against_rerun(results),
        _batch_by_history(results),
        _growth(results),
        _receipts(results),
        _memory(results),
        _nothing_new(results),
    ]


def _goal(title: str, reach: str, dream: str, value: float, bounds: tuple[float, float], measured: str) -> Goal:
    """Build a goal for a value that should be small. `bounds` holds its required value and its stretch target."""
    state = "dream" if value <= bounds[1] else "reached" if value <= bounds[0] else "missed"
    return Goal(title, reach, dream, measured, state)


def _times_as_fast(results: Results, title: str, reach: float, dream: float, product: str = "product") -> Goal:
    words = (title, f"≥ {reach:g} × as fast", f"{dream:g} ×")
    result = latest_of_largest(results, "full", product, "first-version-spark")
    if not result:
        return Goal(*words)
    ratio = result.ratio("first-version-spark", product)
    seconds = f"{result.median(product):.1f} s, {result.median('first-version-spark'):.1f} s; {millions(result.sales)}"
    return _goal(*words, 1 / ratio, (1 / reach, 1 / dream), f"{ratio:.1f} × ({seconds})")


def _time_of_duckdb(results: Results) -> Goal:
    words = ("the same against (c), which does neither", "≤ 1.5 × its time", "1.0 ×")
    found = latest(results, "full", "product", "duckdb")
    if not found:
        return Goal(*words)
    measured = ", ".join(
        f"{result.ratio('product', 'duckdb'):.2f} × ({result.median('product'):.1f} s, {result.median('duckdb'):.1f} s;"
        f" {millions(sales)})"
        for sales, result in found.items()
    )
    return _goal(*words, found[min(found)].ratio("product", "duckdb"), (1.5, 1.0), measured)


def _batch_against_rerun(results: Results) -> Goal:
    words = ("refresh after a batch of 1 % new sales (newest month), against (b) run again", "≤ 15 %", "5 %")
    with_one_percent = {key: result for key, result in results.items() if result.batch * 100 == result.sales}
    result = latest_of_largest(with_one_percent, "batch", "product", "first-version-sail")
    if not result:
        return Goal(*words)
    ratio = result.ratio("product", "first-version-sail")
    seconds = f"{result.median('product'):.1f} s, {result.median('first-version-sail'):.1f} s"
    return _goal(
        *words,
        ratio,
        (0.15, 0.05),
        f"{100 * ratio:.0f} % ({seconds}; {result.batch:,} sales onto {millions(result.sales)})",
    )


def _batch_by_history(results: Results) -> Goal:
    """Compare a refresh after the smallest history with a refresh after the largest history.

    Both refreshes load a batch of the same size. If several batch sizes were measured with at least two histories, the
    function uses the largest of them.
    """
    pair: tuple[BenchmarkResult, BenchmarkResult] | None = None
    for batch in sorted({result.batch for result in results.values()}):
        same_batch = {key: result for key, result in results.items() if result.batch == batch}
        sizes = list(latest(same_batch, "batch", "product-apart").values())
        pair = (sizes[0], sizes[-1]) if len(sizes) > 1 else pair
    small, large = pair or (None, None)
    between = (
        f"{millions(large.sales)} as at {millions(small.sales)}" if small and large else "40 million as at 10 million"
    )
    words = (f"the same batch size at {between}, {LARGEST_MART} apart", "≤ 1.5 ×", "1.1 ×")
    if not small or not large:
        return Goal(*words)
    other_tables, mart = (
        (small.median("product-apart", seconds), large.median("product-apart", seconds))
        for seconds in (_seconds_without_largest_mart, _seconds_of_largest_mart)
    )
    written = " → ".join(
        f"{result.median('product-apart', _bytes_of_all_tables) / 1e6:.0f} MB"
        f" ({result.median('product-apart', _bytes_of_largest_mart) / 1e6:.0f} MB of them {LARGEST_MART})"
        for result in (small, large)
    )
    measured = (
        f"{other_tables[1] / other_tables[0]:.2f} × ({other_tables[0]:.1f} s, {other_tables[1]:.1f} s); {LARGEST_MART},"
        f" after all other tables, {mart[1] / mart[0]:.2f} × ({mart[0]:.1f} s, {mart[1]:.1f} s);"
        f" rewritten: {written}"
    )
    return _goal(*words, other_tables[1] / other_tables[0], (1.5, 1.1), measured)


def _seconds_of_largest_mart(one: RefreshMeasurement) -> float:
    return next(one.tasks[name] for name in _LARGEST_MART_TASKS if name in one.tasks)


def _seconds_without_largest_mart(one: RefreshMeasurement) -> float:
    """Return the duration of the refresh minus the duration of the largest mart, in seconds.

    The largest mart was refreshed alone, after the other marts.
    """
    return one.seconds - _seconds_of_largest_mart(one)


def _bytes_of_all_tables(one: RefreshMeasurement) -> float:
    return sum(one.bytes_written.values())


def _bytes_of_largest_mart(one: RefreshMeasurement) -> float:
    return one.bytes_written.get(LARGEST_MART, 0)


def _growth(results: Results) -> Goal:
    sizes = list(latest(results, "full", "product").values())
    small, large = (sizes[0], sizes[-1]) if len(sizes) > 1 else (None, None)
    if not small or not large:
        return Goal("growth of a full refresh from 10 to 40 million sales", "≤ 4.2 ×", "4.0 ×")
    # The required value is 5 % above proportional growth: 4.2 × for four times as many sales.
    factor = large.sales / small.sales
    words = (
        f"growth of a full refresh from {millions(small.sales)} to {millions(large.sales)} sales",
        f"≤ {1.05 * factor:.1f} ×",
        f"{factor:.1f} ×",
    )
    growth = large.median("product") / small.median("product")
    measured = f"{growth:.2f} × ({small.median('product'):.1f} s, {large.median('product'):.1f} s)"
    return _goal(*words, growth, (1.05 * factor, factor), measured)


def _receipts(results: Results) -> Goal:
    """Compare a full refresh of receipts with a full refresh of sales without optional columns. It has no target."""
    title = "full refresh of receipts, which have all optional columns, against sales without them"
    result = latest_of_largest(results, "full", "product", "product-receipts")
    if not result:
        return Goal(title, "", "")
    ratio = result.ratio("product-receipts", "product")
    seconds = f"{result.median('product-receipts'):.1f} s, {result.median('product'):.1f} s; {millions(result.sales)}"
    return Goal(title, "", "", f"{ratio:.2f} × ({seconds})")


def _memory(results: Results) -> Goal:
    by_size = {
        sales: result
        for sales, result in latest(results, "full", "product").items()
        if result.values("product", peak_gigabytes)
    }
    sales = millions(max(by_size, default=40_000_000))
    words = (f"peak memory of a full refresh at {sales} sales", "≤ 5 GB", "3 GB")
    if not by_size:
        return Goal(*words)
    result = by_size[max(by_size)]
    peak = result.median("product", peak_gigabytes)
    if "product-in-memory-pool" not in result.contestants:
        return _goal(*words, peak, (5, 3), f"{peak:.1f} GB")
    pool_peak = result.median("product-in-memory-pool", peak_gigabytes)
    measured = (
        f"{pool_peak:.1f} GB in a memory pool of {MEMORY_POOL_GIGABYTES:g} GB"
        f" ({result.median('product-in-memory-pool'):.1f} s); {peak:.1f} GB without ({result.median('product'):.1f} s)"
    )
    return _goal(*words, pool_peak, (5, 3), measured)


def peak_gigabytes(one: RefreshMeasurement) -> float | None:
    """Return the peak memory in gigabytes. Return None if it is unknown."""
    return None if one.peak_megabytes is None else one.peak_megabytes / 1e3


def _nothing_new(results: Results) -> Goal:
    words = ("refresh with nothing new, against the refresh of the fixture", "≤ 0.5 ×", "0.2 ×")
    result = latest_of_largest(results, "nothing-new", "nothing-new", "fixture")
    if not result:
        return Goal(*words)
    ratio = result.ratio("nothing-new", "fixture")
    again = result.ratio("fixture-again", "fixture")
    measured = (
        f"{ratio:.2f} × ({result.median('nothing-new'):.1f} s at {millions(result.sales)} sales,"
        f" {result.median('fixture'):.1f} s; the fixture itself again {again:.2f} ×)"
    )
    return _goal(*words, ratio, (0.5, 0.2), measured)


def millions(sales: int) -> str:
    """Format a number of sales, for example as `10 million` or `2,000`."""
    return f"{sales / 1e6:g} million" if sales >= 1_000_000 else f"{sales:,}"


def title_of(contestant: str) -> str:
    """Return the title of a contestant. `contestant` is its name in a result."""
    titles = {
        "nothing-new": "product, Sail, whole job, nothing new",
        "fixture": "product, Sail, whole job, the fixture",
        "fixture-again": "product, Sail, whole job, the fixture again",
    }
    return titles.get(contestant) or CONTESTANTS[contestant].title


def goal_table(results: Results) -> str:
    """Return the goals as a Markdown table."""
    rows = [(goal.title, goal.reach, goal.dream, goal.measured, goal.state) for goal in goals(results)]
    return "\n".join(table(("measure", "to reach", "dream", "measured", ""), rows))


def figure_table(results: Results) -> str:
    """Return a Markdown table with one row per result and contestant. The figures are medians over the rounds."""
    header = ("measure", "sales", "who", "rounds", "seconds of the job", "of the process", "peak memory", "measured on")
    return "\n".join(table(header, _figures(results)))


def _figures(results: Results) -> Iterator[list[str]]:
    for result in sorted(results.values(), key=lambda one: (one.measure != "full", one.measure, one.sales)):
        measure = f"batch of {result.batch:,}" if result.batch else result.measure.replace("-", " ")
        for name in result.contestants:
            peaks = result.values(name, peak_gigabytes)
            yield [
                measure,
                f"{result.sales:,}",
                title_of(name),
                str(len(result.values(name, lambda one: one.seconds))),
                f"{result.median(name):.1f}",
                f"{result.median(name, lambda one: one.process_seconds):.1f}",
                f"{median(peaks):.1f} GB" if peaks else "",
                result.date,
            ]


def task_seconds(result: BenchmarkResult, contestant: str) -> dict[str, float]:
    """Return the median duration of each task in seconds, the longest duration first."""
    rounds = [each[contestant].tasks for each in result.rounds if contestant in each]
    names = dict.fromkeys(name for tasks in rounds for name in tasks)
    seconds = {name: median(tasks.get(name, 0.0) for tasks in rounds) for name in names}
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))
