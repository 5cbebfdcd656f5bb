"""Tests of the whole benchmark on a small shop, and of the goals and tables that are computed from its results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import page
import pytest
from bench import MEASURES, Bench, _command, _selected, _sizes, _working_folder
from contestants import CONTESTANTS, Contestant, RefreshMeasurement
from product import LARGEST_MART
from results import BenchmarkResult, Results, goal_table, goals, latest, merge_results, read_results, task_seconds

from cdp_lib.errors import CdpError

PROJECT = Path(__file__).resolve().parents[2]


def run_bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the benchmark's command in the same way as `make bench`."""
    command = [sys.executable, str(PROJECT / "benchmarks" / "bench.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)


def measured(seconds: float, peak: float | None = 500.0, **tasks: float) -> RefreshMeasurement:
    return RefreshMeasurement(
        seconds, seconds + 2, peak, tasks or {LARGEST_MART: seconds / 2, "retails_silver": seconds / 2}
    )


def result(
    measure: str, sales: int, *rounds: dict[str, RefreshMeasurement], batch: int = 0, date: str = "2026-11-26"
) -> BenchmarkResult:
    return BenchmarkResult(
        measure=measure,
        sales=sales,
        rounds=rounds,
        date=date,
        command=f"make bench SALES={sales} BENCH='--only {measure}'",
        machine={"cores": "2", "memory": "24 GB"},
        batch=batch,
    )


def by_key(*results: BenchmarkResult) -> Results:
    return {result.key: result for result in results}


def figures() -> Results:
    """Return example results for every measure of the benchmark."""
    small, large = 10_000_000, 40_000_000
    batch = {"product": measured(2.0), "product-apart": measured(2.0), "first-version-sail": measured(20.0)}
    for one in batch.values():
        one.bytes_written = {"customer_product_affinity_gold": 30_000_000, "retails_silver": 10_000_000}
    return by_key(
        # The median of the ratios is 12. The ratio of the medians would be 15.
        result(
            "full",
            small,
            {"product": measured(10.0), "duckdb": measured(8.0), "first-version-spark": measured(120.0)},
            {"product": measured(20.0), "duckdb": measured(20.0), "first-version-spark": measured(150.0)},
            {"product": measured(10.0), "duckdb": measured(8.0), "first-version-spark": measured(150.0)},
        ),
        result(
            "full",
            large,
            {
                "product": measured(41.0, 8_000.0),
                "product-receipts": measured(61.5, 9_000.0),
                "product-in-memory-pool": measured(43.0, 4_000.0),
                "duckdb": measured(40.0),
            },
        ),
        result("batch", small, batch, batch=100_000),
        result("batch", large, {"product-apart": measured(9.5, customer_product_affinity_gold=8.0)}, batch=100_000),
        result(
            "nothing-new",
            large,
            {"fixture": measured(8.0), "fixture-again": measured(1.6), "nothing-new": measured(2.0)},
        ),
    )


def test_benchmark_measures_a_tiny_shop_and_keeps_only_the_landing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ran = run_bench(
        *(
            "--sales",
            "2000",
            "--only",
            "full,batch,product,product-apart,duckdb,first-version-sail",
            "--repeat",
            "1",
            "--home",
            home,
        )
    )

    assert ran.returncode == 0, ran.stderr
    assert "| the same against (c), which does neither | ≤ 1.5 × its time | 1.0 × | " in ran.stdout
    assert "20 sales onto 2,000" in ran.stdout
    for who in ("product, Sail", "(b) first version, Sail", "(c) DuckDB script"):
        assert f"| full | 2,000 | {who} | 1 | " in ran.stdout
    assert "full, 2,000 sales, product, seconds of each task: " in ran.stdout
    assert sorted(path.name for path in home.iterdir()) == ["landing-2000", "landing-2000.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sales", "many"), "error: --sales many: give numbers of sales"),
        (("--only", "pandas"), "error: Unknown 'pandas': --only takes full, batch, nothing-new, product, "),
    ],
)
def test_bad_argument_is_reported_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    ran = run_bench(*arguments)

    assert ran.returncode == 1
    assert ran.stderr.startswith(message)
    assert ran.stderr.count("\n") == 1


def test_too_little_disk_is_reported_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CdpError, match="GB of disk are needed and .* GB are free"), _working_folder(tmp_path, [10**13]):
        pass

    assert list(tmp_path.iterdir()) == []


def test_option_only_selects_measures_and_contestants() -> None:
    assert _selected("") == (list(MEASURES), list(CONTESTANTS))
    assert _selected("duckdb,product") == (list(MEASURES), ["product", "duckdb"])
    assert _selected("batch") == (["batch"], list(CONTESTANTS))
    assert _sizes("--sales", "40_000_000,10000000") == [10_000_000, 40_000_000]


def test_stored_command_names_no_folder() -> None:
    assert _command("10000000", "full", 3, None, None) == "make bench SALES=10000000 BENCH='--only full --repeat 3'"


def test_each_round_runs_every_contestant_and_spark_only_in_its_rounds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tmp_path, ["product", "duckdb"], 2, 1, 10, 1_000, "make bench")
    turns: list[str] = []

    def measure(name: str) -> RefreshMeasurement:
        turns.append(name)
        return measured(1.0)

    rounds = bench.run_rounds(["product", "first-version-spark", "duckdb"], measure, lambda _: None)

    assert turns == ["product", "first-version-spark", "duckdb", "duckdb", "product"]
    assert [set(each) for each in rounds] == [{"product", "first-version-spark", "duckdb"}, {"product", "duckdb"}]


def test_unequal_tables_end_the_benchmark(tmp_path: Path, landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = iter([{"sales_by_country_gold": (8, 1)}, {"sales_by_country_gold": (8, 2)}])
    monkeypatch.setattr("bench.refresh", lambda *_: measured(1.0))
    monkeypatch.setattr("bench.contents_of", lambda _: next(contents))
    monkeypatch.setattr(Bench, "landing", lambda *_, **__: landing)
    bench = Bench(tmp_path, tmp_path, ["product", "duckdb"], 1, 1, 10, 2_000, "make bench")

    with pytest.raises(CdpError, match="are not the same"):
        bench.full(2_000)


def test_nothing_new_is_measured_on_a_loaded_home_and_on_the_fixture(
    tmp_path: Path, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refreshed: list[tuple[str, bool]] = []

    def refresh(contestant: Contestant, home: Path, landing: Path | None = None) -> RefreshMeasurement:
        refreshed.append((home.name, landing is not None))
        return measured(1.0)

    monkeypatch.setattr("bench.refresh", refresh)
    monkeypatch.setattr(Bench, "landing", lambda *_, **__: landing)
    bench = Bench(tmp_path, tmp_path, ["product"], 1, 1, 10, 2_000, "make bench")

    bench.nothing_new(2_000)
    assert refreshed == [
        ("loaded-2000-product-whole-job", True),
        ("fixture", False),
        ("fixture", False),
        ("loaded-2000-product-whole-job", True),
    ]


def test_partial_run_replaces_only_its_own_results(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    full, batch = result("full", 1_000, {"product": measured(1.0)}), result("batch", 1_000, {"product": measured(2.0)})
    merge_results(path, [full, batch])

    again = result("full", 1_000, {"product": measured(3.0)}, date="2026-11-27")
    with_duckdb = result("full", 1_000, {"product": measured(4.0), "duckdb": measured(2.0)})
    merge_results(path, [again])
    merge_results(path, [with_duckdb])

    assert read_results(path) == by_key(batch, again, with_duckdb)
    assert latest(read_results(path), "full", "product") == {1_000: with_duckdb}


def test_invalid_results_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text('[{"measure": "full"}]')

    with pytest.raises(CdpError, match=r"results\.json can't be read"):
        merge_results(path, [])


def test_goals_use_medians_of_the_ratios_within_rounds() -> None:
    assert [(goal.state, goal.measured.split(" (")[0]) for goal in goals(figures())] == [
        ("reached", "12.0 ×"),
        ("reached", "1.25 ×"),
        ("", "not measured"),
        ("reached", "10 %"),
        ("reached", "1.50 ×"),
        ("reached", "4.10 ×"),
        ("", "1.50 ×"),
        ("reached", "4.0 GB in a memory pool of 3.5 GB"),
        ("reached", "0.25 ×"),
    ]


def test_batches_of_different_sizes_are_not_compared() -> None:
    one_percent = result("batch", 40_000_000, {"product": measured(9.0)}, batch=400_000)

    assert goals(figures() | by_key(one_percent)) == goals(figures())


def test_unmeasured_goals_say_not_measured() -> None:
    assert goal_table({}).count("| not measured |  |") == 9
    assert {goal.state for goal in goals(by_key(result("full", 1_000, {"product": measured(1.0, None)})))} == {""}


def test_tasks_are_sorted_by_median_seconds() -> None:
    rounds = [{"product": measured(3.0, a=1.0, b=seconds)} for seconds in (2.0, 0.5, 3.0)]

    assert list(task_seconds(result("full", 1_000, *rounds), "product").items()) == [("b", 2.0), ("a", 1.0)]


def test_page_has_goals_plots_with_texts_and_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.write_page(tmp_path, figures())
    text = (tmp_path / "docs" / "benchmarks.md").read_text(encoding="utf-8")

    assert goal_table(figures()) in text
    for name in ("benchmark-seconds", "benchmark-memory", "benchmark-tasks"):
        assert f"](images/{name}.svg)" in text
        assert (tmp_path / "docs" / "images" / f"{name}.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "(c) DuckDB script at 40 million 40.0 s" in text
    assert "make bench SALES=10000000 BENCH='--only full'\n" in text
    assert "$" not in text
    assert "\n\n\n" not in text


def test_notes_are_part_of_the_page_when_they_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = (page.FOLDER / "page.md").read_text(encoding="utf-8")
    (tmp_path / "page.md").write_text(template, encoding="utf-8")
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    assert "Bottlenecks" not in page.page(figures(), [])

    (tmp_path / "notes.md").write_text("## Bottlenecks\n\nOne core, at $2.\n", encoding="utf-8")
    assert "\n\n## Bottlenecks\n\nOne core, at $2.\n\n## All measurements" in page.page(figures(), [])
