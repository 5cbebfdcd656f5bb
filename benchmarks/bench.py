"""Compare the platform's refresh of millions of sales with scripts that build the same tables: `make bench`.

    make bench                                                             # 1 million sales
    make bench SALES=10000000,40000000 BENCH="--only product,duckdb --repeat 3 --docs"

The contestants are the platform and the scripts. The benchmark lands the data of a generated shop once. Each contestant
runs in its own process, reads the same landed files and writes the same Delta tables. The benchmark fails if the tables
of two contestants differ. Each round runs every contestant once. To compare two contestants, the benchmark computes the
ratio of their durations in each round, and reports the median of these ratios. `MEASURES` lists what is measured.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from contestants import CONTESTANTS, RefreshMeasurement, refresh
from page import write_page
from results import BenchmarkResult, figure_table, goal_table, machine_facts, merge_results, task_seconds
from retail_data import Shop
from rich.console import Console
from same_tables import Contents, contents_of, ensure_same

from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_local.workspace import PROJECT

ORPHANS = 1_000
"""Every thousandth sale has an unknown product.

The platform puts sales with an unknown product into quarantine. The inner joins of the baselines drop them.
"""

BYTES_LANDED = 60
BYTES_OF_TABLES = 200
"""Disk space in bytes per sale, rounded up, for the landed files and for the tables of one contestant."""

console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 10_000, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)
RESULTS = PROJECT / "benchmarks" / "results.json"


@dataclass
class Bench:
    """One run of the benchmark.

    Attributes:
        home: Folder of temporary files. It is removed after the run.
        landings: Folder of the landed data of the shops.
        contestants: Names of the contestants to run.
        repeat: Number of rounds.
        repeat_spark: Number of rounds in which contestants on Spark take part.
        batch: Number of sales in the batch that lands after the history.
        smallest: Number of sales in the smallest history.
        command: Command line that repeats this run.
    """

    home: Path
    landings: Path
    contestants: Sequence[str]
    repeat: int
    repeat_spark: int
    batch: int
    smallest: int
    command: str
    _loaded: dict[tuple[int, str], Path] = field(default_factory=dict)

    def landing(self, sales: int, *, receipts: bool = False) -> Path:
        """Return the folder with a shop's landed history. Land the history unless the folder already has it."""
        folder = self.landings / f"landing-{sales}{'-receipts' if receipts else ''}"
        description_file = folder.with_suffix(".json")
        shop = Shop(sales=sales, orphans=ORPHANS, receipts=receipts)
        description = json.dumps(asdict(shop))
        if not (description_file.exists() and description_file.read_text(encoding="utf-8") == description):
            console.print(f"Landing {sales:,} sales ...")
            shutil.rmtree(folder, ignore_errors=True)
            shop.land_history(Landing(str(folder)))
            description_file.write_text(description, encoding="utf-8")
        return folder

    def loaded_home(self, sales: int, name: str) -> Path:
        """Return a home folder in which a contestant has loaded a shop's history. The first call loads the history."""
        if (sales, name) not in self._loaded:
            home = self._empty_folder(f"loaded-{sales}-{name}")
            console.print(f"Loading {sales:,} sales with {name} ...")
            refresh(CONTESTANTS[name], home, self.landing(sales))
            self._loaded[sales, name] = home
        return self._loaded[sales, name]

    def run_rounds(
        self,
        names: Collection[str],
        measure: Callable[[str], RefreshMeasurement],
        inspect: Callable[[str], None],
    ) -> tuple[dict[str, RefreshMeasurement], ...]:
        """Run every contestant once in each round. Each round starts with a different contestant.

        Args:
            names: Names of the contestants.
            measure: Function that runs and measures one contestant.
            inspect: Function called after each contestant of the first round.
        """
        rounds: list[dict[str, RefreshMeasurement]] = []
        names = list(names)
        for number in range(max(self.repeat, self.repeat_spark)):
            measured: dict[str, RefreshMeasurement] = {}
            start = number % len(names)
            for name in names[start:] + names[:start]:
                runs_on_spark = name in CONTESTANTS and CONTESTANTS[name].runs_on_spark
                if number < (self.repeat_spark if runs_on_spark else self.repeat):
                    measured[name] = measure(name)
                    console.print(f"  round {number + 1}: {name} {measured[name].seconds:.1f} s")
                    if number == 0:
                        inspect(name)
            rounds.append(measured)
        return tuple(rounds)

    def full(self, sales: int) -> BenchmarkResult | None:
        """Measure a full refresh: every contestant builds all tables from the landed history."""
        names = [name for name in self.contestants if not CONTESTANTS[name].refreshes_largest_mart_last]
        if not names:
            return None
        contents: dict[str, Contents] = {}

        def measure(name: str) -> RefreshMeasurement:
            landing = self.landing(sales, receipts=CONTESTANTS[name].reads_receipts)
            return refresh(CONTESTANTS[name], self._empty_folder("run"), landing)

        def inspect(name: str) -> None:
            if not CONTESTANTS[name].reads_receipts:
                contents[name] = contents_of(_warehouse(self.home / "run"))

        rounds = self.run_rounds(names, measure, inspect)
        return self._result("full", sales, rounds, rows=ensure_same(contents))

    def batch_on_history(self, sales: int) -> BenchmarkResult | None:
        """Measure a refresh of one new batch in a workspace that has loaded the history.

        All sales of the batch are in the newest month. On the smallest history, the contestant `first-version-sail`
        also runs, for comparison. It rebuilds all tables from all landed files.
        """
        names = [name for name in ("product", "product-apart", "product-whole-job") if name in self.contestants]
        if not names:
            return None
        if sales == self.smallest and "first-version-sail" in self.contestants:
            names.append("first-version-sail")
        loaded_by = "product-whole-job" if "product-whole-job" in names else "product"
        history = self.landing(sales)
        landing = self._empty_folder(f"landing-{sales}-and-batch")
        # Landed batches are immutable, so hard links can replace copies.
        shutil.copytree(history, landing, copy_function=os.link, dirs_exist_ok=True)
        Shop(sales=sales, orphans=ORPHANS).land_newest_sales(Landing(str(landing)), self.batch)
        contents: dict[str, Contents] = {}

        def measure(name: str) -> RefreshMeasurement:
            home = self._empty_folder("run")
            if CONTESTANTS[name].is_product:
                shutil.copytree(self.loaded_home(sales, loaded_by), home, dirs_exist_ok=True)
            before = _commits(home)
            measured = refresh(CONTESTANTS[name], home, landing)
            measured.bytes_written = _bytes_added(_commits(home) - before)
            return measured

        def inspect(name: str) -> None:
            contents[name] = contents_of(_warehouse(self.home / "run"))

        rounds = self.run_rounds(names, measure, inspect)
        return self._result("batch", sales, rounds, batch=self.batch, rows=ensure_same(contents))

    def nothing_new(self, sales: int) -> BenchmarkResult | None:
        """Measure the whole job when nothing new has landed.

        For comparison, measure the job on the sample data twice: in an empty home folder, and again in the same folder.
        """
        if "product" not in self.contestants:
            return None
        landing = self.landing(sales)
        loaded, fixture = self.loaded_home(sales, "product-whole-job"), self.home / "fixture"

        def measure(name: str) -> RefreshMeasurement:
            whole_job = CONTESTANTS["product-whole-job"]
            if name == "nothing-new":
                return refresh(whole_job, loaded, landing)
            return refresh(whole_job, self._empty_folder("fixture") if name == "fixture" else fixture)

        # The first round starts with "fixture", so the home folder of "fixture" exists when "fixture-again" runs.
        rounds = self.run_rounds(("fixture", "fixture-again", "nothing-new"), measure, lambda _: None)
        return self._result("nothing-new", sales, rounds)

    def remove_loaded(self, sales: int) -> None:
        """Remove the folders that `loaded_home` and `batch_on_history` have created for a number of sales."""
        for key in [key for key in self._loaded if key[0] == sales]:
            shutil.rmtree(self._loaded.pop(key))
        shutil.rmtree(self.home / f"landing-{sales}-and-batch", ignore_errors=True)

    def _empty_folder(self, name: str) -> Path:
        folder = self.home / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _result(
        self,
        measure: str,
        sales: int,
        rounds: tuple[dict[str, RefreshMeasurement], ...],
        batch: int = 0,
        rows: dict[str, int] | None = None,
    ) -> BenchmarkResult:
        return BenchmarkResult(
            measure=measure,
            sales=sales,
            rounds=rounds,
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            command=self.command,
            machine=machine_facts(),
            batch=batch,
            rows=rows or {},
        )


MEASURES: dict[str, Callable[[Bench, int], BenchmarkResult | None]] = {
    "full": Bench.full,
    "batch": Bench.batch_on_history,
    "nothing-new": Bench.nothing_new,
}
"""For each measure: the method that runs it at one size. Growth and peak memory come from `full`."""


def _warehouse(home: Path) -> Path:
    return home / "warehouse" / "sales"


def _commits(home: Path) -> set[Path]:
    """Return the commit files of all Delta tables in a home folder."""
    return set(_warehouse(home).glob("*/_delta_log/*.json"))


def _bytes_added(commits: Collection[Path]) -> dict[str, int]:
    """Return the number of bytes in the files that the commits add, for each table."""
    sizes: dict[str, int] = {}
    for commit in commits:
        table = commit.parents[1].name
        for line in commit.read_text(encoding="utf-8").splitlines():
            sizes[table] = sizes.get(table, 0) + json.loads(line).get("add", {}).get("size", 0)
    return sizes


def _sizes(option: str, text: str) -> list[int]:
    try:
        sizes = sorted({int(part.replace("_", "")) for part in text.split(",")})
    except ValueError:
        sizes = []
    if not sizes or sizes[0] < 1_000:
        raise CdpError(f"{option} {text}: give numbers of sales, 1000 or more, such as 10000000,40000000.")
    return sizes


def _selected(only: str) -> tuple[list[str], list[str]]:
    """Return the measures and the contestants that `--only` names.

    If `--only` names no measure, return all measures. If it names no contestant, return all contestants.
    """
    names = [name for name in only.split(",") if name]
    for name in names:
        if name not in MEASURES and name not in CONTESTANTS:
            raise CdpError(f"Unknown '{name}': --only takes {', '.join((*MEASURES, *CONTESTANTS))}.")
    return [name for name in MEASURES if name in names] or list(MEASURES), [
        name for name in CONTESTANTS if name in names
    ] or list(CONTESTANTS)


@contextmanager
def _working_folder(parent: Path | None, sizes: Sequence[int]) -> Iterator[Path]:
    """Create a temporary folder for one run, in `parent` or in the system's folder for temporary files."""
    try:
        if parent:
            parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as folder:
            needed = sum(sizes) * BYTES_LANDED + 3 * max(sizes) * BYTES_OF_TABLES
            free = shutil.disk_usage(folder).free
            if free < needed:
                raise CdpError(
                    f"{needed / 1e9:.0f} GB of disk are needed and {free / 1e9:.0f} GB are free: choose another --home"
                    " or fewer sales."
                )
            yield Path(folder)
    except OSError as error:
        raise CdpError(
            f"{parent or tempfile.gettempdir()} can't be written ({error.strerror}): choose another --home."
        ) from None


def bench(
    sales: Annotated[str, typer.Option(help="Sales in the history; separate several sizes by commas.")] = "1000000",
    only: Annotated[
        str,
        typer.Option(help=f"Names to run, separated by commas: {', '.join(MEASURES)}; {', '.join(CONTESTANTS)}."),
    ] = "",
    repeat: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 3,
    repeat_spark: Annotated[
        int | None, typer.Option(min=0, help="Rounds in which contestants on Spark take part; default: all.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Sales in the batch; default: 1 % of the smallest history.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Working folder, which keeps landed shops; default: a temporary folder.")
    ] = None,
    docs: Annotated[
        bool, typer.Option("--docs", help="Store the results in benchmarks/results.json and write docs/benchmarks.md.")
    ] = False,
) -> None:
    """Benchmark a refresh of many sales against scripts that one would write without the platform."""
    sizes = _sizes("--sales", sales)
    measures, contestants = _selected(only)
    command = _command(sales, only, repeat, repeat_spark, batch)
    results: list[BenchmarkResult] = []
    with _working_folder(home, sizes) as folder:
        run = Bench(
            folder,
            home or folder,
            contestants,
            repeat,
            repeat if repeat_spark is None else repeat_spark,
            batch or sizes[0] // 100,
            sizes[0],
            command,
        )
        for size in sizes:
            for measure in measures:
                console.print(f"{measure}, {size:,} sales")
                result = MEASURES[measure](run, size)
                if result:
                    results.append(result)
                    if docs:
                        # Store each result at once, so that a later failure does not lose it.
                        write_page(PROJECT, merge_results(RESULTS, [result]))
            run.remove_loaded(size)
    _print(results)


def _command(sales: str, only: str, repeat: int, repeat_spark: int | None, batch: int | None) -> str:
    """Return the command that repeats the run on any machine."""
    options_given = {"--only": only, "--repeat": repeat, "--repeat-spark": repeat_spark, "--batch": batch}
    options = " ".join(f"{name} {value}" for name, value in options_given.items() if value not in ("", None))
    return f"make bench SALES={sales} BENCH={shlex.quote(options)}"


def _print(results: Sequence[BenchmarkResult]) -> None:
    by_key = {result.key: result for result in results}
    console.print(f"\n{goal_table(by_key)}\n\n{figure_table(by_key)}", markup=False, soft_wrap=True)
    for result in results:
        for name in result.contestants:
            if name.startswith(("product", "nothing-new")):
                tasks = [
                    f"{task} {seconds:.1f}" for task, seconds in task_seconds(result, name).items() if seconds >= 0.05
                ]
                console.print(
                    f"\n{result.measure}, {result.sales:,} sales, {name}, seconds of each task: {', '.join(tasks)}",
                    soft_wrap=True,
                )


def main() -> None:
    """Run the command. An error is reported in one line, with a non-zero exit code."""
    # Handle SIGTERM like Ctrl-C, so that child processes end and temporary files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        typer.run(bench)
    except (CdpError, OSError) as error:
        errors.print(f"error: {error}", markup=False)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
