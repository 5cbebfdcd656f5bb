"""A refresh of a shop of millions of sales, beside what one would write without the platform: `make bench`.

    make bench                                                             # 1 million sales
    make bench SALES=10000000,40000000 BENCH="--only product,duckdb --repeat 3 --docs"

A shop is landed once. Everybody reads the same landed files, in a process of their own, and writes the same tables as
Delta; unequal tables end the benchmark. In each round everybody takes a turn; a ratio is taken within a round, and the
median of the rounds counts. What is measured of each: see `MEASURES`.
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
from contestants import CONTESTANTS, Measured, refresh
from page import write_page
from results import Piece, figure_table, goal_table, machine_facts, merge_results, task_seconds
from retail_data import Shop
from rich.console import Console
from same_tables import Contents, contents_of, ensure_same

from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_local.workspace import PROJECT

ORPHANS = 1_000
"""One in so many sales names a product that nobody knows: quarantine has something to do, and inner joins to lose."""

BYTES_LANDED = 60
BYTES_OF_TABLES = 200
"""Disk that a sale takes, of its source's files and of a contestant's tables, rounded up."""

console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 10_000, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)
RESULTS = PROJECT / "benchmarks" / "results.json"


@dataclass
class Bench:
    """One run of the benchmark.

    Attributes:
        home: Folder of everything that is gone after it.
        landings: Folder of the landed shops.
        contestants: Who takes part.
        repeat: Rounds.
        repeat_spark: Rounds in which those on Spark take part.
        batch: Sales of the batch that lands on a history.
        smallest: Sales of the smallest shop.
        command: The command that does the same.
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

    def landing(self, sales: int) -> Path:
        """The landed history of a shop; one that an earlier run has landed here is taken as it is."""
        folder = self.landings / f"landing-{sales}"
        landed = folder.with_suffix(".json")
        shop = _shop(sales)
        description = json.dumps(asdict(shop))
        if not (landed.exists() and landed.read_text(encoding="utf-8") == description):
            console.print(f"{sales:,} sales are landed ...")
            shutil.rmtree(folder, ignore_errors=True)
            shop.land_history(Landing(str(folder)))
            landed.write_text(description, encoding="utf-8")
        return folder

    def loaded_home(self, sales: int, name: str) -> Path:
        """A home in which a contestant has refreshed a shop's history, made when first asked for."""
        if (sales, name) not in self._loaded:
            home = self._fresh(f"loaded-{sales}-{name}")
            console.print(f"{sales:,} sales are loaded by {name} ...")
            refresh(CONTESTANTS[name], home, self.landing(sales))
            self._loaded[sales, name] = home
        return self._loaded[sales, name]

    def take_turns(
        self, names: Collection[str], one: Callable[[str], Measured], look: Callable[[str], None]
    ) -> tuple[dict[str, Measured], ...]:
        """Let everybody take a turn in each round; who comes first changes.

        Args:
            names: Who.
            one: Measures a turn.
            look: Called after each turn of the first round.
        """
        rounds: list[dict[str, Measured]] = []
        names = list(names)
        for number in range(max(self.repeat, self.repeat_spark)):
            measured: dict[str, Measured] = {}
            start = number % len(names)
            for name in names[start:] + names[:start]:
                is_slow = name in CONTESTANTS and CONTESTANTS[name].is_slow
                if number < (self.repeat_spark if is_slow else self.repeat):
                    measured[name] = one(name)
                    console.print(f"  round {number + 1}: {name} {measured[name].seconds:.1f} s")
                    if number == 0:
                        look(name)
            rounds.append(measured)
        return tuple(rounds)

    def full(self, sales: int) -> Piece | None:
        """Everybody makes all tables from what has landed."""
        names = [name for name in self.contestants if not CONTESTANTS[name].is_apart]
        if not names:
            return None
        landing = self.landing(sales)
        contents: dict[str, Contents] = {}

        def one(name: str) -> Measured:
            return refresh(CONTESTANTS[name], self._fresh("run"), landing)

        def look(name: str) -> None:
            contents[name] = contents_of(_warehouse(self.home / "run"))

        rounds = self.take_turns(names, one, look)
        return self._piece("full", sales, rounds, rows=ensure_same(contents))

    def batch_on_history(self, sales: int) -> Piece | None:
        """A batch of new sales of the newest month lands on a history that is loaded, and the product refreshes.

        On the smallest history the first version, on Sail, makes all tables again from all that has landed.
        """
        names = [name for name in ("product", "product-apart", "product-whole-job") if name in self.contestants]
        if not names:
            return None
        if sales == self.smallest and "first-version-sail" in self.contestants:
            names.append("first-version-sail")
        loaded_by = "product-whole-job" if "product-whole-job" in names else "product"
        history = self.landing(sales)
        landing = self._fresh(f"landing-{sales}-and-batch")
        # A landed batch is never changed, so that links will do.
        shutil.copytree(history, landing, copy_function=os.link, dirs_exist_ok=True)
        _shop(sales).land_newest_sales(Landing(str(landing)), self.batch)
        contents: dict[str, Contents] = {}

        def one(name: str) -> Measured:
            home = self._fresh("run")
            if CONTESTANTS[name].is_product:
                shutil.copytree(self.loaded_home(sales, loaded_by), home, dirs_exist_ok=True)
            before = _commits(home)
            measured = refresh(CONTESTANTS[name], home, landing)
            measured.bytes_written = _bytes_added(_commits(home) - before)
            return measured

        def look(name: str) -> None:
            contents[name] = contents_of(_warehouse(self.home / "run"))

        rounds = self.take_turns(names, one, look)
        return self._piece("batch", sales, rounds, batch=self.batch, rows=ensure_same(contents))

    def nothing_new(self, sales: int) -> Piece | None:
        """The product's whole job with nothing new, beside the same job on the shipped fixture, and on that again."""
        if "product" not in self.contestants:
            return None
        landing = self.landing(sales)
        loaded, fixture = self.loaded_home(sales, "product-whole-job"), self.home / "fixture"

        def one(name: str) -> Measured:
            whole = CONTESTANTS["product-whole-job"]
            if name == "nothing-new":
                return refresh(whole, loaded, landing)
            return refresh(whole, self._fresh("fixture") if name == "fixture" else fixture)

        # In the first round the fixture comes before itself again; in all others it is there already.
        rounds = self.take_turns(("fixture", "fixture-again", "nothing-new"), one, lambda _: None)
        return self._piece("nothing-new", sales, rounds)

    def forget(self, sales: int) -> None:
        """Make room on the disk: nobody needs what was loaded of a size any more, or what landed after its history."""
        for loaded in [key for key in self._loaded if key[0] == sales]:
            shutil.rmtree(self._loaded.pop(loaded))
        shutil.rmtree(self.home / f"landing-{sales}-and-batch", ignore_errors=True)

    def _fresh(self, name: str) -> Path:
        folder = self.home / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _piece(
        self,
        measure: str,
        sales: int,
        rounds: tuple[dict[str, Measured], ...],
        batch: int = 0,
        rows: dict[str, int] | None = None,
    ) -> Piece:
        return Piece(
            measure=measure,
            sales=sales,
            rounds=rounds,
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            command=self.command,
            machine=machine_facts(),
            batch=batch,
            rows=rows or {},
        )


MEASURES: dict[str, Callable[[Bench, int], Piece | None]] = {
    "full": Bench.full,
    "batch": Bench.batch_on_history,
    "nothing-new": Bench.nothing_new,
}
"""What is measured at each size. Growth and peak memory are those of `full`."""


def _shop(sales: int) -> Shop:
    return Shop(sales=sales, orphans=ORPHANS)


def _warehouse(home: Path) -> Path:
    return home / "warehouse" / "sales"


def _commits(home: Path) -> set[Path]:
    """The commits of all Delta tables."""
    return set(_warehouse(home).glob("*/_delta_log/*.json"))


def _bytes_added(commits: Collection[Path]) -> dict[str, int]:
    """Size of the files that commits add, by table."""
    sizes: dict[str, int] = {}
    for commit in commits:
        table = commit.parents[1].name
        for line in commit.read_text(encoding="utf-8").splitlines():
            sizes[table] = sizes.get(table, 0) + json.loads(line).get("add", {}).get("size", 0)
    return sizes


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = sorted({int(part.replace("_", "")) for part in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1_000:
        raise CdpError(f"{option} {text}: write numbers of sales, 1000 or more, such as 10000000,40000000.")
    return numbers


def _chosen(only: str) -> tuple[list[str], list[str]]:
    """Measures and contestants that `--only` names; where it names none of a kind, all of that kind."""
    names = [name for name in only.split(",") if name]
    for name in names:
        if name not in MEASURES and name not in CONTESTANTS:
            raise CdpError(f"Unknown '{name}': there are {', '.join((*MEASURES, *CONTESTANTS))}.")
    return [name for name in MEASURES if name in names] or list(MEASURES), [
        name for name in CONTESTANTS if name in names
    ] or list(CONTESTANTS)


@contextmanager
def _home(given: Path | None, sizes: Sequence[int]) -> Iterator[Path]:
    """A folder for one run, in the given one, or where temporary ones are."""
    try:
        if given:
            given.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=given) as folder:
            needed = sum(sizes) * BYTES_LANDED + 3 * max(sizes) * BYTES_OF_TABLES
            free = shutil.disk_usage(folder).free
            if free < needed:
                raise CdpError(
                    f"{needed / 1e9:.0f} GB of disk are needed and {free / 1e9:.0f} GB are free: take another --home,"
                    " or fewer sales."
                )
            yield Path(folder)
    except OSError as error:
        raise CdpError(
            f"{given or tempfile.gettempdir()} can't be written ({error.strerror}): take another --home."
        ) from None


def bench(
    sales: Annotated[str, typer.Option(help="Sales of the shop's history; several sizes with commas.")] = "1000000",
    only: Annotated[
        str, typer.Option(help=f"These alone, with commas: {', '.join(MEASURES)}; {', '.join(CONTESTANTS)}.")
    ] = "",
    repeat: Annotated[int, typer.Option(min=1, help="Rounds.")] = 3,
    repeat_spark: Annotated[
        int | None, typer.Option(min=0, help="Rounds in which those on Spark take part; all if not given.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Sales of a batch; a hundredth of the smallest history if not given.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Folder to work in, where landed shops are kept; else a temporary one.")
    ] = None,
    docs: Annotated[
        bool, typer.Option("--docs", help="Keep the results in benchmarks/results.json and write docs/benchmarks.md.")
    ] = False,
) -> None:
    """Measure the refresh of a shop of many sales, beside what one would write without the platform."""
    sizes = _numbers("--sales", sales)
    measures, contestants = _chosen(only)
    command = _command(sales, only, repeat, repeat_spark, batch)
    pieces: list[Piece] = []
    with _home(home, sizes) as folder:
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
                piece = MEASURES[measure](run, size)
                if piece:
                    pieces.append(piece)
                    if docs:
                        # Piece by piece: what is measured stays, whatever becomes of the rest.
                        write_page(PROJECT, merge_results(RESULTS, [piece]))
            run.forget(size)
    _print(pieces)


def _command(sales: str, only: str, repeat: int, repeat_spark: int | None, batch: int | None) -> str:
    """The command that measures the same again, wherever."""
    given = {"--only": only, "--repeat": repeat, "--repeat-spark": repeat_spark, "--batch": batch}
    options = " ".join(f"{name} {value}" for name, value in given.items() if value not in ("", None))
    return f"make bench SALES={sales} BENCH={shlex.quote(options)}"


def _print(pieces: Sequence[Piece]) -> None:
    results = {piece.key: piece for piece in pieces}
    console.print(f"\n{goal_table(results)}\n\n{figure_table(results)}", markup=False, soft_wrap=True)
    for piece in pieces:
        for name in piece.contestants:
            if name.startswith(("product", "nothing-new")):
                tasks = [
                    f"{task} {seconds:.1f}" for task, seconds in task_seconds(piece, name).items() if seconds >= 0.05
                ]
                console.print(
                    f"\n{piece.measure}, {piece.sales:,} sales, {name}, seconds of each task: {', '.join(tasks)}",
                    soft_wrap=True,
                )


def main() -> None:
    """Run the command; what went wrong is one line and a non-zero exit."""
    # As Ctrl-C does: what was started is ended, and what was written is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        typer.run(bench)
    except (CdpError, OSError) as error:
        errors.print(f"error: {error}", markup=False)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
