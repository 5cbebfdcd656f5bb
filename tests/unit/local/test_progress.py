"""Tests of the terminal output of a run."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import pytest

from cdp_local.printing import print_shortened, print_table
from cdp_local.progress import Progress
from cdp_local.runner import State, TaskRun
from cdp_local.terminal import Terminal

ENDED = TaskRun("second", State.FAILED, started=0.0, seconds=1.25, counts={"rows": 1234, "quarantined": 2}, error="no")


def console(*, terminal: bool = False, width: int = 80) -> Terminal:
    return Terminal(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def written(console: Terminal) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_terminal_each_finished_task_is_one_line() -> None:
    output = console(width=20)
    with Progress(output, ["first", "second", "third"]) as progress:
        progress.show(TaskRun("first", State.RUNNING, started=0.0))
        progress.show(TaskRun("first", State.SUCCEEDED, started=0.0, seconds=0.04))
        progress.show(ENDED)
        progress.show(TaskRun("third", State.SKIPPED))

    assert written(output).splitlines() == [
        "first   succeeded    0.0 s",
        "second  failed       1.2 s  1,234 rows, 2 quarantined",
        "third   skipped",
    ]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (
            {"warned": 50, "superseded": 48, "quarantined": 2, "removed": 3, "rows": 50},
            "50 rows, 3 removed, 2 quarantined, 48 superseded, 50 warned",
        ),
        ({"rows": 1}, "1 row"),
        ({"rows": 0, "removed": 1, "superseded": 1}, "1 removed, 1 superseded"),
        ({"rows": 0}, "nothing new"),
        ({}, ""),
    ],
)
def test_task_shows_its_row_counts(counts: dict[str, int], text: str) -> None:
    output = console()
    with Progress(output, ["task"]) as progress:
        progress.show(TaskRun("task", State.SUCCEEDED, started=0.0, seconds=0.0, counts=counts))

    assert written(output) == f"task  succeeded    0.0 s  {text}".rstrip() + "\n"


def test_on_terminal_every_task_keeps_its_line() -> None:
    output = console(terminal=True)
    with Progress(output, ["first", "second"]) as progress:
        progress.show(ENDED)

    last = written(output).rsplit("\x1b[2K", 1)[-1]
    assert [line.split() for line in last.splitlines()] == [
        ["task", "state", "seconds", "rows"],
        ["first", "waiting"],
        ["second", "failed", "1.2", "s", "1,234", "rows,", "2", "quarantined"],
    ]


def test_table_of_a_stage_has_a_line_once_its_refresh_begins() -> None:
    table = TaskRun("customers_silver", State.RUNNING, started=0.0, seconds=0.5)
    piped, terminal = console(), console(terminal=True)
    for output in (piped, terminal):
        with Progress(output, ["silver"], ["customers_silver", "stores_silver"]) as progress:
            progress.show(table)
            progress.show(TaskRun("silver", State.SUCCEEDED, started=0.0, seconds=1.0))

    assert written(piped) == "silver            succeeded    1.0 s\n"
    last = written(terminal).rsplit("\x1b[2K", 1)[-1]
    assert [line.split()[:2] for line in last.splitlines()[1:]] == [
        ["silver", "succeeded"],
        ["customers_silver", "running"],
    ]


def test_on_terminal_a_rejected_run_leaves_no_line() -> None:
    output = console(terminal=True)
    try:
        with Progress(output, ["first"]):
            raise ValueError("no such task")
    except ValueError:
        pass

    assert written(output).endswith("\x1b[2K")


def test_numbers_are_right_aligned_and_amounts_have_separators() -> None:
    output = console(width=120)
    rows = [(31234, 2025, Decimal("74010.00"), 12345, True, date(2025, 4, 1), ["a", "b"], None)]
    print_table(output, "Sales", ("sale_id", "sale_year", "revenue", "sales", "is_new", "day", "rules", "note"), rows)

    title, _, _, _, row, _ = written(output).splitlines()
    assert title == "Sales"
    assert [cell.strip() for cell in row.split("│")] == [
        "",
        "31234",
        "2025",
        "74,010.00",
        "12,345",
        "True",
        "2025-04-01",
        "a, b",
        "",
        "",
    ]


def test_floats_are_rounded_and_stay_right_aligned_beside_null() -> None:
    output = console()
    print_table(output, "KPIs", ("arpu", "share"), [(4017.277777777778, 0.2222222222222222), (None, 0.0), (12.0, 1e-7)])

    rows = [line[1:-1].split("│") for line in written(output).splitlines() if "│" in line]
    assert rows == [[" 4,017.28 ", " 0.2222 "], ["          ", "      0 "], ["    12.00 ", "  1e-07 "]]


def test_square_brackets_in_values_are_not_markup() -> None:
    output = console()
    print_table(output, "[red]", ("record",), [("[/b] [red]x",)])

    assert "[red]\n" in written(output)
    assert "[/b] [red]x" in written(output)


def test_table_wider_than_the_terminal_has_one_line_per_value() -> None:
    output = console(width=30)
    print_table(output, "Months of the year", ("transaction_month", "monthly_customers"), [(1, 20), (2, None)])

    assert [line.replace("│", "").split() for line in written(output).splitlines() if "│" in line] == [
        ["transaction_month", "1"],
        ["monthly_customers", "20"],
        ["transaction_month", "2"],
        ["monthly_customers"],
    ]


def test_shortened_text_is_one_line_without_markup() -> None:
    output = console(width=20)
    print_shortened(output, '  1  {"name":"[red]x","email":"long@example.com"}')
    print_shortened(output, "  2  {}")

    assert written(output) == '  1  {"name":"[red]…\n  2  {}\n'


def test_empty_table_prints_no_rows() -> None:
    output = console()
    print_table(output, "Quarantine of a table with a very long name, longer than the table is wide", ("a",), [])

    assert written(output) == (
        "Quarantine of a table with a very long name, longer than the table is wide\n(no rows)\n"
    )
