"""What was measured: kept as JSON piece by piece, and summed up against what was to be reached."""

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

from contestants import CONTESTANTS, MEMORY_POOL_GIGABYTES, Measured
from product import LARGEST_MART

from cdp_lib.errors import CdpError
from cdp_local.markdown import table

_CALLED_MART = (LARGEST_MART, "product_gold")
"""The largest mart, and the task that wrote it in what was measured until there was a graph of tables."""

_PACKAGES = ("pyspark", "delta-spark", "pysail", "duckdb", "deltalake")


@dataclass(frozen=True)
class Piece:
    """One measure at one size, all its rounds.

    Attributes:
        measure: Name of the measure.
        sales: Sales of the shop's history.
        rounds: Contestant → what was measured, round by round.
        date: Day it was measured, ISO 8601.
        command: Command that measures it again.
        machine: What it was measured on.
        batch: Sales of the batch, 0 where there was none.
        rows: Table → rows, the same of all contestants.
    """

    measure: str
    sales: int
    rounds: tuple[dict[str, Measured], ...]
    date: str
    command: str
    machine: dict[str, str]
    batch: int = 0
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def contestants(self) -> tuple[str, ...]:
        """Everybody who was measured."""
        return tuple(dict.fromkeys(name for each in self.rounds for name in each))

    @property
    def key(self) -> str:
        """What a later piece has to be equal in, to take this one's place."""
        return f"{self.measure} {self.sales} {self.batch} {','.join(sorted(self.contestants))}"

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """A piece as `results.json` has it."""
        rounds = tuple({name: Measured(**one) for name, one in each.items()} for each in values["rounds"])
        return cls(**{**values, "rounds": rounds})

    def values(self, contestant: str, value: Callable[[Measured], float | None]) -> list[float]:
        """A figure of a contestant, round by round."""
        found = (value(each[contestant]) for each in self.rounds if contestant in each)
        return [one for one in found if one is not None]

    def median(self, contestant: str, value: Callable[[Measured], float | None] = lambda one: one.seconds) -> float:
        """Median of a figure of a contestant over the rounds."""
        return median(self.values(contestant, value))

    def ratio(self, one: str, other: str) -> float:
        """Seconds of one by those of another, within each round: the median over the rounds."""
        return median(each[one].seconds / each[other].seconds for each in self.rounds if {one, other} <= each.keys())


Results = dict[str, Piece]


def read_results(path: Path) -> Results:
    """The pieces that are kept, none before the first.

    Raises:
        CdpError: The file is not what this version writes.
    """
    if not path.exists():
        return {}
    try:
        pieces = [Piece.from_json(each) for each in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError) as error:
        raise CdpError(f"{path.name} can't be read ({error}): remove it, or take it from git.") from None
    return {piece.key: piece for piece in pieces}


def merge_results(path: Path, pieces: Iterable[Piece]) -> Results:
    """Keep pieces beside those that are kept already; one of the same measure, size and contestants is replaced."""
    results = read_results(path)
    for piece in pieces:
        results.pop(piece.key, None)  # the latest is the last
        results[piece.key] = piece
    path.write_text(json.dumps([asdict(piece) for piece in results.values()], indent=1) + "\n", encoding="utf-8")
    return results


def machine_facts() -> dict[str, str]:
    """What the figures depend on besides the code."""
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
    """A measure and what is to be reached.

    Attributes:
        title: What is measured.
        reach: What has to be reached, in words.
        dream: What would be better still, in words.
        measured: What was measured, in words, or that nothing was.
        state: dream, reached, missed, or nothing where nothing was measured.
    """

    title: str
    reach: str
    dream: str
    measured: str = "not measured"
    state: str = ""


def latest(results: Results, measure: str, *contestants: str) -> dict[int, Piece]:
    """Sales → the latest piece of a measure in which all of these took part, by size."""
    found = {
        piece.sales: piece
        for piece in results.values()
        if piece.measure == measure and any(set(contestants) <= each.keys() for each in piece.rounds)
    }
    return dict(sorted(found.items()))


def latest_of_largest(results: Results, measure: str, *contestants: str) -> Piece | None:
    """The latest piece of a measure in which all of these took part, of the largest size; None where there is none."""
    found = latest(results, measure, *contestants)
    return found[max(found)] if found else None


def goals(results: Results) -> list[Goal]:
    """The table of measures: what was to be reached, and what was."""
    return [
        _times_as_fast(
            results, "full refresh, bronze to gold, with quarantine and reconciliation, Sail, against (a)", 10, 20
        ),
        _time_of_duckdb(results),
        _times_as_fast(results, "full refresh on local Spark, against (a)", 1.5, 3, "product-spark"),
        _batch_against_rerun(results),
        _batch_by_history(results),
        _growth(results),
        _memory(results),
        _nothing_new(results),
    ]


def _goal(title: str, reach: str, dream: str, value: float, bounds: tuple[float, float], measured: str) -> Goal:
    """A goal whose value should be small."""
    state = "dream" if value <= bounds[1] else "reached" if value <= bounds[0] else "missed"
    return Goal(title, reach, dream, measured, state)


def _times_as_fast(results: Results, title: str, reach: float, dream: float, product: str = "product") -> Goal:
    words = (title, f"≥ {reach:g} × as fast", f"{dream:g} ×")
    piece = latest_of_largest(results, "full", product, "first-version-spark")
    if not piece:
        return Goal(*words)
    ratio = piece.ratio("first-version-spark", product)
    seconds = f"{piece.median(product):.1f} s, {piece.median('first-version-spark'):.1f} s; {millions(piece.sales)}"
    return _goal(*words, 1 / ratio, (1 / reach, 1 / dream), f"{ratio:.1f} × ({seconds})")


def _time_of_duckdb(results: Results) -> Goal:
    words = ("the same against (c), which does neither", "≤ 1.5 × its time", "1.0 ×")
    found = latest(results, "full", "product", "duckdb")
    if not found:
        return Goal(*words)
    measured = ", ".join(
        f"{piece.ratio('product', 'duckdb'):.2f} × ({piece.median('product'):.1f} s, {piece.median('duckdb'):.1f} s;"
        f" {millions(sales)})"
        for sales, piece in found.items()
    )
    return _goal(*words, found[min(found)].ratio("product", "duckdb"), (1.5, 1.0), measured)


def _batch_against_rerun(results: Results) -> Goal:
    words = ("refresh after a batch of 1 % new sales (newest month), against (b) run again", "≤ 15 %", "5 %")
    pieces = {key: piece for key, piece in results.items() if piece.batch * 100 == piece.sales}
    piece = latest_of_largest(pieces, "batch", "product", "first-version-sail")
    if not piece:
        return Goal(*words)
    ratio = piece.ratio("product", "first-version-sail")
    seconds = f"{piece.median('product'):.1f} s, {piece.median('first-version-sail'):.1f} s"
    return _goal(
        *words,
        ratio,
        (0.15, 0.05),
        f"{100 * ratio:.0f} % ({seconds}; {piece.batch:,} sales onto {millions(piece.sales)})",
    )


def _batch_by_history(results: Results) -> Goal:
    pair: tuple[Piece, Piece] | None = None
    for batch in sorted({piece.batch for piece in results.values()}):
        pieces = {key: piece for key, piece in results.items() if piece.batch == batch}
        sizes = list(latest(pieces, "batch", "product-apart").values())
        pair = (sizes[0], sizes[-1]) if len(sizes) > 1 else pair
    small, large = pair or (None, None)
    between = (
        f"{millions(large.sales)} as at {millions(small.sales)}" if small and large else "40 million as at 10 million"
    )
    words = (f"the same batch size at {between}, {LARGEST_MART} apart", "≤ 1.5 ×", "1.1 ×")
    if not small or not large:
        return Goal(*words)
    others, mart = (
        (small.median("product-apart", seconds), large.median("product-apart", seconds))
        for seconds in (_seconds_of_others, _seconds_of_mart)
    )
    written = " → ".join(
        f"{piece.median('product-apart', _all_bytes) / 1e6:.0f} MB"
        f" ({piece.median('product-apart', _mart_bytes) / 1e6:.0f} MB of them {LARGEST_MART})"
        for piece in (small, large)
    )
    measured = (
        f"{others[1] / others[0]:.2f} × ({others[0]:.1f} s, {others[1]:.1f} s); {LARGEST_MART},"
        f" when all others are there, {mart[1] / mart[0]:.2f} × ({mart[0]:.1f} s, {mart[1]:.1f} s);"
        f" rewritten: {written}"
    )
    return _goal(*words, others[1] / others[0], (1.5, 1.1), measured)


def _seconds_of_mart(one: Measured) -> float:
    return next(one.tasks[name] for name in _CALLED_MART if name in one.tasks)


def _seconds_of_others(one: Measured) -> float:
    """Seconds of the refresh without those of the largest mart, which was refreshed by itself."""
    return one.seconds - _seconds_of_mart(one)


def _all_bytes(one: Measured) -> float:
    return sum(one.bytes_written.values())


def _mart_bytes(one: Measured) -> float:
    return one.bytes_written.get(LARGEST_MART, 0)


def _growth(results: Results) -> Goal:
    sizes = list(latest(results, "full", "product").values())
    small, large = (sizes[0], sizes[-1]) if len(sizes) > 1 else (None, None)
    if not small or not large:
        return Goal("growth of a full refresh from 10 to 40 million sales", "≤ 4.2 ×", "4.0 ×")
    # What is to be reached is said of four times the sales: 5 % more than in proportion.
    factor = large.sales / small.sales
    words = (
        f"growth of a full refresh from {millions(small.sales)} to {millions(large.sales)} sales",
        f"≤ {1.05 * factor:.1f} ×",
        f"{factor:.1f} ×",
    )
    growth = large.median("product") / small.median("product")
    measured = f"{growth:.2f} × ({small.median('product'):.1f} s, {large.median('product'):.1f} s)"
    return _goal(*words, growth, (1.05 * factor, factor), measured)


def _memory(results: Results) -> Goal:
    found = {
        sales: piece
        for sales, piece in latest(results, "full", "product").items()
        if piece.values("product", peak_gigabytes)
    }
    at = millions(max(found, default=40_000_000))
    words = (f"peak memory of a full refresh at {at} sales", "≤ 5 GB", "3 GB")
    if not found:
        return Goal(*words)
    piece = found[max(found)]
    peak = piece.median("product", peak_gigabytes)
    if "product-in-memory-pool" not in piece.contestants:
        return _goal(*words, peak, (5, 3), f"{peak:.1f} GB")
    bounded = piece.median("product-in-memory-pool", peak_gigabytes)
    measured = (
        f"{bounded:.1f} GB in a memory pool of {MEMORY_POOL_GIGABYTES:g} GB"
        f" ({piece.median('product-in-memory-pool'):.1f} s); {peak:.1f} GB without ({piece.median('product'):.1f} s)"
    )
    return _goal(*words, bounded, (5, 3), measured)


def peak_gigabytes(one: Measured) -> float | None:
    """Peak memory, None where it is not known."""
    return None if one.peak_megabytes is None else one.peak_megabytes / 1e3


def _nothing_new(results: Results) -> Goal:
    words = ("refresh with nothing new, against the refresh of the fixture", "≤ 0.5 ×", "0.2 ×")
    piece = latest_of_largest(results, "nothing-new", "nothing-new", "fixture")
    if not piece:
        return Goal(*words)
    ratio = piece.ratio("nothing-new", "fixture")
    again = piece.ratio("fixture-again", "fixture")
    measured = (
        f"{ratio:.2f} × ({piece.median('nothing-new'):.1f} s at {millions(piece.sales)} sales,"
        f" {piece.median('fixture'):.1f} s; the fixture itself again {again:.2f} ×)"
    )
    return _goal(*words, ratio, (0.5, 0.2), measured)


def millions(sales: int) -> str:
    """A number of sales, as people say it."""
    return f"{sales / 1e6:g} million" if sales >= 1_000_000 else f"{sales:,}"


def title_of(contestant: str) -> str:
    """A contestant of a piece, for readers."""
    titles = {
        "nothing-new": "product, Sail, whole job, nothing new",
        "fixture": "product, Sail, whole job, the fixture",
        "fixture-again": "product, Sail, whole job, the fixture again",
    }
    return titles.get(contestant) or CONTESTANTS[contestant].title


def goal_table(results: Results) -> str:
    """The goals as Markdown."""
    rows = [(goal.title, goal.reach, goal.dream, goal.measured, goal.state) for goal in goals(results)]
    return "\n".join(table(("measure", "to reach", "dream", "measured", ""), rows))


def figure_table(results: Results) -> str:
    """Every contestant of every piece as Markdown: medians."""
    header = ("measure", "sales", "who", "rounds", "seconds of the job", "of the process", "peak memory", "measured on")
    return "\n".join(table(header, _figures(results)))


def _figures(results: Results) -> Iterator[list[str]]:
    for piece in sorted(results.values(), key=lambda one: (one.measure != "full", one.measure, one.sales)):
        what = f"batch of {piece.batch:,}" if piece.batch else piece.measure.replace("-", " ")
        for name in piece.contestants:
            peaks = piece.values(name, peak_gigabytes)
            yield [
                what,
                f"{piece.sales:,}",
                title_of(name),
                str(len(piece.values(name, lambda one: one.seconds))),
                f"{piece.median(name):.1f}",
                f"{piece.median(name, lambda one: one.process_seconds):.1f}",
                f"{median(peaks):.1f} GB" if peaks else "",
                piece.date,
            ]


def task_seconds(piece: Piece, contestant: str) -> dict[str, float]:
    """Task → median of its seconds, the longest first."""
    rounds = [each[contestant].tasks for each in piece.rounds if contestant in each]
    names = dict.fromkeys(name for tasks in rounds for name in tasks)
    seconds = {name: median(tasks.get(name, 0.0) for tasks in rounds) for name in names}
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))
