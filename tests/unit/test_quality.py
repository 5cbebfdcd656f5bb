import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import (
    BATCH_ID,
    KEY_IS_UNIQUE,
    QUARANTINE_COLUMNS,
    VALUES_FIT,
    WARNINGS,
    Column,
    Rule,
    TableContract,
)
from cdp_lib.quality import (
    candidates_of_quarantine,
    candidates_of_table,
    check_rows,
    check_versions,
    resolve_versions,
    unchanged_keys,
)

CARDS = TableContract(
    name="cards_silver",
    layer="silver",
    comment="One row per card.",
    columns=(
        Column("card_id", "INT", "card's number", required=True),
        Column("note", "STRING", "what stands on it"),
        Column("colour", "STRING", "its colour"),
        Column("size", "STRING", "its size"),
        Column("changed_at", "TIMESTAMP", "when it was changed"),
        WARNINGS,
        BATCH_ID,
    ),
    key=("card_id",),
    version="changed_at",
    rules=(
        VALUES_FIT,
        KEY_IS_UNIQUE,
        Rule("card_id_is_present", "card_id IS NOT NULL", ""),
        Rule("note_is_not_bad", "note NOT LIKE 'bad%'", ""),
        Rule("note_is_short", "length(note) < 12", "", severity="warn"),
    ),
)
SEATS = TableContract(
    name="seats_silver",
    layer="silver",
    comment="One row per row and seat.",
    columns=(Column("row", "STRING", "row"), Column("seat", "INT", "number"), BATCH_ID),
    key=("row", "seat"),
    rules=(KEY_IS_UNIQUE, Rule("seat_is_positive", "seat > 0", "")),
)
CHECKED = (
    Column("record", "STRING", ""),
    Column("_rescued_data", "STRING", ""),
    Column("_record_hash", "STRING", ""),
    Column("_is_deleted", "BOOLEAN", ""),
    Column("_is_ambiguous", "BOOLEAN", ""),
)
BREAKS_NOTHING = {"_is_deleted": False, "_is_ambiguous": False, "_batch_id": "b1"}

Row = dict[str, Any]
Rows = Callable[..., DataFrame]


def card(card_id: int | None, note: str | None, batch_id: str = "b1", hour: int | None = None, **more: Any) -> Row:
    """Return a version of a card. `hour` is the hour of its change, on a fixed day. The note identifies the version."""
    values = {"card_id": card_id, "note": note, "changed_at": hour and datetime(2026, 1, 31, hour, tzinfo=UTC)}
    record = json.dumps({"card_id": card_id, "note": note})
    return values | {"record": record, "_record_hash": f"{record}{hour}", "_batch_id": batch_id} | more


def tombstone(card_id: int, batch_id: str) -> Row:
    """Return the tombstone of a card."""
    return card(card_id, None, batch_id, _is_deleted=True)


@pytest.fixture
def rows(frame_of: Rows) -> Rows:
    """Return a function that builds a data frame of typed rows, whose rules are then checked."""

    def build(*received: Row, contract: TableContract = CARDS) -> DataFrame:
        columns = {column.name: column for column in (*contract.columns, *CHECKED) if column != WARNINGS}
        return frame_of(columns.values(), *(BREAKS_NOTHING | row for row in received))

    return build


def broken_rules(checked: DataFrame) -> list[list[str]]:
    return sorted(row.broken_rules for row in checked.collect())


def test_check_rows_keeps_rows_that_break_no_rule(rows: Rows) -> None:
    checked = check_rows(rows(card(1, "a", hour=9), card(2, "b")), CARDS)
    assert checked.kept.dtypes == [(column.name, column.type.lower()) for column in CARDS.columns]
    kept = checked.kept.orderBy("card_id").selectExpr("card_id", "note", "hour(changed_at)", "_warnings", "_batch_id")
    assert [tuple(row) for row in kept.collect()] == [(1, "a", 9, [], "b1"), (2, "b", None, [], "b1")]
    assert checked.refused.count() == 0


def test_check_rows_refuses_a_row_with_its_record_and_broken_rules(rows: Rows) -> None:
    received = card(None, "bad", "b7", record='{"card_id":"x"}', _rescued_data='{"card_id":"x"}')
    checked = check_rows(rows(received, card(1, "a")), CARDS)
    [refused] = checked.refused.collect()
    assert refused.asDict() == {
        "record": '{"card_id":"x"}',
        "broken_rules": [VALUES_FIT.name, "card_id_is_present", "note_is_not_bad"],
        "record_key": None,
        "_version_at": None,
        "_batch_id": "b7",
    }
    assert checked.refused.dtypes == [(column.name, column.type.lower()) for column in QUARANTINE_COLUMNS]
    assert [row.card_id for row in checked.kept.collect()] == [1]


def test_check_rows_keeps_a_row_with_its_warnings(rows: Rows) -> None:
    checked = check_rows(rows(card(1, "longer than that")), CARDS)
    assert [row["_warnings"] for row in checked.kept.collect()] == [["note_is_short"]]
    assert checked.refused.count() == 0


def test_broken_rules_of_a_refused_row_do_not_include_warnings(rows: Rows) -> None:
    checked = check_rows(rows(card(1, "bad, and longer than that")), CARDS)
    assert broken_rules(checked.refused) == [["note_is_not_bad"]]


def test_check_rows_does_not_compare_rows(rows: Rows) -> None:
    checked = check_rows(rows(card(1, "a"), card(1, "b")), CARDS)
    assert (checked.kept.count(), checked.refused.count()) == (2, 0)


def test_a_rule_with_a_null_result_counts_as_broken(frame_of: Rows) -> None:
    contract = TableContract(
        name="numbers_silver",
        layer="silver",
        comment="One row per number.",
        columns=(Column("n", "INT", ""), WARNINGS),
        key=("n",),
        rules=(Rule("n_is_small", "n < 5", ""), Rule("n_is_tiny", "n < 3", "", severity="warn")),
    )
    frame = frame_of((contract.columns[0], *CHECKED, BATCH_ID), {"n": 1}, {"n": 4}, {"n": 5}, {"n": None})
    checked = check_rows(frame, contract)
    assert sorted(tuple(row) for row in checked.kept.collect()) == [(1, []), (4, ["n_is_tiny"])]
    assert broken_rules(checked.refused) == [["n_is_small"]] * 2


def test_rows_of_a_table_without_warnings_are_checked(rows: Rows) -> None:
    good, bad = {"row": "A", "seat": 1}, {"row": "A", "seat": 0}
    checked = check_rows(rows(good, bad, contract=SEATS), SEATS)
    assert [tuple(row) for row in checked.kept.collect()] == [("A", 1, "b1")]
    assert broken_rules(checked.refused) == [["seat_is_positive"]]


def test_checks_accept_no_rows(rows: Rows) -> None:
    checked = check_rows(rows(), CARDS)
    assert (checked.kept.count(), checked.refused.count()) == (0, 0)
    assert check_versions(rows(), CARDS).count() == 0


def test_a_refused_row_has_its_key_as_text_or_null(rows: Rows) -> None:
    seats = [{"row": row, "seat": seat} for row, seat in (("A|B", 0), (None, 0), ("A", None))]
    refused = check_rows(rows(*seats, contract=SEATS), SEATS).refused
    assert Counter(row.record_key for row in refused.collect()) == {"A|B|0": 1, None: 2}


def test_a_refused_row_has_its_time_of_change(rows: Rows) -> None:
    refused = check_rows(rows(card(1, "bad", hour=9), card(2, "bad")), CARDS).refused
    hours = refused.orderBy("record_key").selectExpr("record_key", "hour(_version_at)").collect()
    assert [tuple(row) for row in hours] == [("1", 9), ("2", None)]


ambiguous = pytest.mark.parametrize(
    ("others", "are_ambiguous"),
    [
        pytest.param([card(1, "b")], True, id="other values"),
        pytest.param([card(1, "a"), card(1, "b"), card(1, "c")], True, id="copies and other values"),
        pytest.param([card(1, "bad")], True, id="one that is bad"),
        pytest.param([card(1, "a")], False, id="equal values"),
        pytest.param([card(2, "b")], False, id="another key"),
        pytest.param([card(1, "b", "b2")], False, id="another batch"),
        pytest.param([card(1, "b", hour=9)], False, id="another time of change"),
        pytest.param([tombstone(1, "b1")], False, id="a tombstone"),
    ],
)


@ambiguous
def test_different_rows_of_one_key_version_and_batch_are_ambiguous(
    rows: Rows, others: list[Row], are_ambiguous: bool
) -> None:
    for first in (card(1, "a"), card(1, "a", hour=8)):
        received = [
            {**row, "changed_at": row["changed_at"] or first["changed_at"], "_record_hash": row["record"]}
            for row in (first, *others)
        ]
        checked = check_versions(rows(*received), CARDS).where("NOT _is_deleted")
        assert {KEY_IS_UNIQUE.name in names for names in broken_rules(checked)} == {are_ambiguous}


def test_rows_without_a_key_are_not_ambiguous(rows: Rows) -> None:
    checked = check_versions(rows(card(None, "a"), card(None, "b")), CARDS)
    assert broken_rules(checked) == [["card_id_is_present"]] * 2


def test_a_key_of_several_columns_is_compared_by_all_of_them(rows: Rows) -> None:
    seats = [("A", 1, "a"), ("A", 2, "b"), ("B", 1, "c"), ("B", 1, "d")]
    names = ("row", "seat", "_record_hash")
    checked = check_versions(rows(*(dict(zip(names, s, strict=True)) for s in seats), contract=SEATS), SEATS)
    assert broken_rules(checked) == [[], [], [KEY_IS_UNIQUE.name], [KEY_IS_UNIQUE.name]]


def test_check_versions_returns_the_broken_rules_of_each_row(rows: Rows) -> None:
    received = (card(1, "a"), card(2, "bad"), card(3, "longer than that"), card(4, "a", _rescued_data="{}"))
    checked = check_versions(rows(*received), CARDS).orderBy("card_id").select("broken_rules", "_warnings")
    assert [tuple(row) for row in checked.collect()] == [
        ([], []),
        (["note_is_not_bad"], []),
        ([], ["note_is_short"]),
        ([VALUES_FIT.name], []),
    ]


class Resolved:
    """Result of resolving versions.

    Attributes:
        frame: Result of `resolve_versions`.
        kept: (key, note, batch) of each row in the table afterwards, sorted.
        refused: (key, note, batch) of each row in the quarantine afterwards, sorted.
        outcomes: Number of versions by (origin, outcome), for example by `("batch", "kept")`.
        removed: Keys that were in the table before and are not in it afterwards.
    """

    def __init__(self, frame: DataFrame) -> None:
        self.frame = frame
        note = sf.coalesce("note", sf.get_json_object("record", "$.note"))
        names = ("_origin", "_outcome", "_is_gone", "card_id", "note", "_batch_id")
        self._rows = frame.withColumn("note", note).select(*names).collect()
        self.kept = self._of("kept")
        self.refused = self._of("refused")
        self.outcomes = Counter((row["_origin"], row["_outcome"]) for row in self._rows)
        self.removed = sorted(row.card_id for row in self._rows if row["_origin"] == "table" and row["_is_gone"])

    def _of(self, outcome: str) -> list[tuple[Any, ...]]:
        rows = [(row.card_id, row.note, row["_batch_id"]) for row in self._rows if row["_outcome"] == outcome]
        return sorted(rows, key=repr)


Resolve = Callable[..., Resolved]

BATCHES_ALONE = "_origin = 'batch'"
"""Condition for `competes` if the versions include all records, so that rows of the table do not compete."""


@pytest.fixture
def resolve(rows: Rows, frame_of: Rows) -> Resolve:
    """Return a function that resolves received versions together with rows of the table and of the quarantine."""

    def resolve(
        *versions: Row, table: Iterable[Row] = (), quarantine: Iterable[Row] = (), competes: str = "true"
    ) -> Resolved:
        candidates = check_versions(rows(*versions), CARDS)
        keys = candidates.where("record_key IS NOT NULL").select("card_id", "record_key").distinct()
        in_table = check_rows(rows(*table), CARDS).kept
        refused = check_rows(rows(*quarantine), CARDS).refused
        of_quarantine = candidates_of_quarantine(refused, keys if competes == "true" else None, CARDS)
        frames = [candidates, candidates_of_table(in_table, CARDS), of_quarantine]
        return Resolved(resolve_versions(reduce(DataFrame.unionByName, frames), CARDS, competes=sf.expr(competes)))

    return resolve


def test_a_version_of_a_new_key_is_kept(resolve: Resolve) -> None:
    resolved = resolve(card(1, "a"), card(2, "b"))
    assert resolved.kept == [(1, "a", "b1"), (2, "b", "b1")]
    assert resolved.outcomes == {("batch", "kept"): 2}


def test_a_newer_version_replaces_the_row_of_the_table(resolve: Resolve) -> None:
    resolved = resolve(card(1, "b", "b2"), table=[card(1, "a")])
    assert resolved.kept == [(1, "b", "b2")]
    assert resolved.outcomes == {("batch", "kept"): 1, ("table", "superseded"): 1}
    assert resolved.removed == []


def test_a_version_with_a_warning_is_kept_with_the_warning(resolve: Resolve) -> None:
    resolved = resolve(card(1, "longer than that", "b2"), table=[card(1, "a")])
    assert resolved.kept == [(1, "longer than that", "b2")]
    assert [row["_warnings"] for row in resolved.frame.where("_outcome = 'kept'").collect()] == [["note_is_short"]]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        pytest.param(("b1", None), ("b2", None), id="the later batch, without a time of change"),
        pytest.param(("b1", 8), ("b1", 9), id="the later time of change"),
        pytest.param(("b2", 8), ("b1", 9), id="the later time of change, whatever the batch"),
        pytest.param(("b2", None), ("b1", 8), id="a known time of change, whatever the batch"),
        pytest.param(("b1", 8), ("b2", 8), id="the later batch of one time of change"),
        pytest.param(("b1", 8), ("b10", 8), id="the later batch, with a longer name"),
    ],
)
def test_the_later_of_two_versions_is_kept(
    resolve: Resolve, older: tuple[str, int | None], newer: tuple[str, int | None]
) -> None:
    first, second = card(1, "older", *older), card(1, "newer", *newer)
    kept = [(1, "newer", newer[0])]
    in_batch = resolve(second, first)
    assert (in_batch.kept, in_batch.outcomes) == (kept, {("batch", "kept"): 1, ("batch", "superseded"): 1})
    is_new = resolve(second, table=[first])
    assert (is_new.kept, is_new.outcomes) == (kept, {("batch", "kept"): 1, ("table", "superseded"): 1})
    is_late = resolve(first, table=[second])
    assert (is_late.kept, is_late.outcomes) == (kept, {("batch", "superseded"): 1, ("table", "kept"): 1})


@pytest.mark.parametrize("competes", ["true", BATCHES_ALONE], ids=["an increment", "all batches"])
def test_an_equal_version_does_not_replace_the_row_of_the_table(resolve: Resolve, competes: str) -> None:
    for hour in (None, 9):
        resolved = resolve(card(1, "a", "b2", hour), table=[card(1, "a", "b1", hour)], competes=competes)
        assert resolved.kept == [(1, "a", "b1")]
        assert resolved.outcomes == {("batch", "superseded"): 1, ("table", "kept"): 1}


def test_the_same_value_in_another_column_is_not_equal(resolve: Resolve) -> None:
    resolved = resolve(card(1, "a", "b2", colour="red"), table=[card(1, "a", "b1", size="red")])
    assert resolved.kept == [(1, "a", "b2")]


def test_one_of_equal_versions_in_a_batch_is_kept(resolve: Resolve) -> None:
    resolved = resolve(card(1, "a"), card(1, "a"), card(1, "a"))
    assert resolved.kept == [(1, "a", "b1")]
    assert resolved.outcomes == {("batch", "kept"): 1, ("batch", "superseded"): 2}


def test_a_bad_version_of_a_new_key_is_refused(resolve: Resolve) -> None:
    resolved = resolve(card(1, "bad"))
    assert (resolved.kept, resolved.refused) == ([], [(1, "bad", "b1")])
    assert resolved.outcomes == {("batch", "refused"): 1}


def test_a_newer_bad_version_is_refused_and_the_row_of_the_table_stays(resolve: Resolve) -> None:
    resolved = resolve(card(1, "bad", "b2"), table=[card(1, "a")])
    assert (resolved.kept, resolved.refused) == ([(1, "a", "b1")], [(1, "bad", "b2")])
    assert resolved.removed == []


def test_the_latest_good_version_is_kept_and_a_later_bad_version_refused(resolve: Resolve) -> None:
    resolved = resolve(card(1, "a", hour=7), card(1, "b", hour=8), card(1, "bad", hour=9))
    assert (resolved.kept, resolved.refused) == ([(1, "b", "b1")], [(1, "bad", "b1")])
    assert resolved.outcomes == {("batch", "kept"): 1, ("batch", "refused"): 1, ("batch", "superseded"): 1}


def test_good_and_bad_versions_have_the_same_order(resolve: Resolve) -> None:
    for older, newer in ((("b1", 8), ("b10", 8)), (("b1", None), ("b10", None)), (("b2", None), ("b1", 8))):
        bad_is_newer = resolve(card(1, "a", *older), card(1, "bad", *newer))
        assert (len(bad_is_newer.kept), len(bad_is_newer.refused)) == (1, 1)
        bad_is_older = resolve(card(1, "bad", *older), card(1, "a", *newer))
        assert (len(bad_is_older.kept), len(bad_is_older.refused)) == (1, 0)


def test_an_older_bad_version_is_superseded(resolve: Resolve) -> None:
    for resolved in (
        resolve(card(1, "bad", "b2", hour=8), table=[card(1, "a", hour=9)]),
        resolve(card(1, "bad", "b2", hour=8), card(1, "a", hour=9)),
    ):
        assert (resolved.kept, resolved.refused) == ([(1, "a", "b1")], [])


def test_only_the_latest_bad_version_is_refused(resolve: Resolve) -> None:
    resolved = resolve(card(1, "bad 2", "b2"), card(1, "bad 3", "b3"), quarantine=[card(1, "bad 1")])
    assert resolved.refused == [(1, "bad 3", "b3")]
    assert resolved.outcomes == {("batch", "refused"): 1, ("batch", "superseded"): 1, ("quarantine", "superseded"): 1}


def test_a_refused_version_stays_refused_if_a_good_version_is_older(resolve: Resolve) -> None:
    resolved = resolve(
        card(1, "b", "b3", hour=8), table=[card(1, "a", hour=7)], quarantine=[card(1, "bad", "b2", hour=9)]
    )
    assert (resolved.kept, resolved.refused) == ([(1, "b", "b3")], [(1, "bad", "b2")])
    assert resolved.outcomes == {("batch", "kept"): 1, ("table", "superseded"): 1, ("quarantine", "refused"): 1}


def test_one_of_equal_bad_versions_is_refused(resolve: Resolve) -> None:
    resolved = resolve(card(1, "bad"), card(1, "bad"))
    assert resolved.refused == [(1, "bad", "b1")]
    assert resolved.outcomes == {("batch", "refused"): 1, ("batch", "superseded"): 1}


def test_a_newer_good_version_supersedes_a_refused_version(resolve: Resolve) -> None:
    resolved = resolve(card(1, "a", "b2"), quarantine=[card(1, "bad")])
    assert (resolved.kept, resolved.refused) == ([(1, "a", "b2")], [])
    assert resolved.outcomes == {("batch", "kept"): 1, ("quarantine", "superseded"): 1}


def test_a_newer_version_equal_to_the_table_supersedes_a_refused_version(resolve: Resolve) -> None:
    resolved = resolve(card(1, "a", "b3"), table=[card(1, "a")], quarantine=[card(1, "bad", "b2")])
    assert (resolved.kept, resolved.refused) == ([(1, "a", "b1")], [])


def test_refused_rows_of_other_keys_are_not_candidates(resolve: Resolve) -> None:
    assert resolve(card(1, "a", "b2"), quarantine=[card(2, "bad"), card(None, "bad")]).outcomes == {
        ("batch", "kept"): 1
    }


def test_rows_without_a_key_are_each_refused(resolve: Resolve) -> None:
    resolved = resolve(card(None, "a"), card(None, "b"), card(None, "b"), card(1, "c"))
    assert resolved.refused == [(None, "a", "b1"), (None, "b", "b1")]
    assert resolved.outcomes == {("batch", "kept"): 1, ("batch", "refused"): 2, ("batch", "superseded"): 1}


def test_rows_without_a_key_in_two_batches_are_different_rows(resolve: Resolve) -> None:
    resolved = resolve(card(None, "a", "b1"), card(None, "a", "b2"), competes=BATCHES_ALONE)
    assert resolved.refused == [(None, "a", "b1"), (None, "a", "b2")]


def test_ambiguous_rows_are_refused_and_the_row_of_the_table_stays(resolve: Resolve) -> None:
    resolved = resolve(card(1, "b", "b2"), card(1, "c", "b2"), card(1, "c", "b2"), table=[card(1, "a")])
    assert (resolved.kept, resolved.refused) == ([(1, "a", "b1")], [(1, "b", "b2"), (1, "c", "b2")])
    assert resolved.outcomes == {("batch", "refused"): 2, ("batch", "superseded"): 1, ("table", "kept"): 1}


def test_a_later_version_supersedes_ambiguous_rows(resolve: Resolve) -> None:
    ambiguous_rows = [card(1, note, record=json.dumps({"note": note}), _is_ambiguous=True) for note in "ab"]
    resolved = resolve(card(1, "c", "b2"), quarantine=ambiguous_rows)
    assert (resolved.kept, resolved.refused) == ([(1, "c", "b2")], [])
    assert resolved.outcomes == {("batch", "kept"): 1, ("quarantine", "superseded"): 2}


def test_an_older_version_leaves_ambiguous_rows_refused(resolve: Resolve) -> None:
    ambiguous_rows = [card(1, note, hour=8, _is_ambiguous=True) for note in "ab"]
    resolved = resolve(card(1, "c", "b2", hour=7), quarantine=ambiguous_rows)
    assert (resolved.kept, resolved.refused) == ([(1, "c", "b2")], [(1, "a", "b1"), (1, "b", "b1")])


def test_a_tombstone_removes_the_row_from_table_and_quarantine(resolve: Resolve) -> None:
    resolved = resolve(tombstone(1, "b3"), table=[card(1, "a", hour=9)], quarantine=[card(1, "bad", "b2")])
    assert (resolved.kept, resolved.refused, resolved.removed) == ([], [], [1])
    assert set(resolved.outcomes) == {(origin, "superseded") for origin in ("batch", "table", "quarantine")}


def test_a_tombstone_is_later_than_a_record_of_the_same_batch(resolve: Resolve) -> None:
    resolved = resolve(card(1, "b", "b2"), tombstone(1, "b2"), table=[card(1, "a")])
    assert (resolved.kept, resolved.refused, resolved.removed) == ([], [], [1])


def test_a_record_after_its_tombstone_is_kept(resolve: Resolve) -> None:
    resolved = resolve(tombstone(1, "b2"), card(1, "c", "b3", hour=7), table=[card(1, "a", hour=9)])
    assert (resolved.kept, resolved.removed) == ([(1, "c", "b3")], [])


def test_a_tombstone_of_an_unknown_key_changes_nothing(resolve: Resolve) -> None:
    resolved = resolve(tombstone(1, "b2"))
    assert (resolved.kept, resolved.refused, resolved.outcomes) == ([], [], {("batch", "superseded"): 1})


def test_rows_of_the_table_without_a_version_are_removed_if_versions_hold_all_records(resolve: Resolve) -> None:
    table = [card(1, "a"), card(2, "stays"), card(3, "gone"), card(4, "removed"), card(5, "good")]
    versions = [
        card(1, "b", "b2"),
        card(2, "stays", "b2"),
        card(4, "x", "b2"),
        tombstone(4, "b3"),
        card(5, "bad", "b2"),
    ]
    resolved = resolve(*versions, table=table, competes=BATCHES_ALONE)
    assert resolved.kept == [(1, "b", "b2"), (2, "stays", "b1")]
    assert resolved.refused == [(5, "bad", "b2")]
    assert resolved.removed == [3, 4, 5]


def test_a_newer_row_of_the_table_is_replaced_if_versions_hold_all_records(resolve: Resolve) -> None:
    resolved = resolve(card(1, "b", "b2", hour=8), table=[card(1, "a", "b1", hour=9)], competes=BATCHES_ALONE)
    assert (resolved.kept, resolved.removed) == ([(1, "b", "b2")], [])


BATCHES_AND_OLDER_ROWS = f"{BATCHES_ALONE} OR _batch_id < 'b2'"
"""Condition for `competes` if the versions include all records since batch b2: only older stored rows compete."""


def test_rows_older_than_all_batches_compete(resolve: Resolve) -> None:
    table = [card(1, "older", hour=9), card(2, "older"), card(3, "older"), card(4, "a", "b2"), card(5, "a", "b2", 9)]
    versions = [card(1, "late", "b2", hour=8), card(2, "newer", "b2"), card(5, "b", "b2", 8)]
    quarantine = [card(2, "bad"), card(6, "bad"), card(7, "bad", hour=9), card(None, "bad")]
    versions += [card(6, "good", "b2"), card(7, "late", "b2", hour=8)]
    resolved = resolve(*versions, table=table, quarantine=quarantine, competes=BATCHES_AND_OLDER_ROWS)
    assert resolved.kept == [
        *((1, "older", "b1"), (2, "newer", "b2"), (3, "older", "b1"), (5, "b", "b2")),
        *((6, "good", "b2"), (7, "late", "b2")),
    ]
    assert resolved.refused == [(7, "bad", "b1"), (None, "bad", "b1")]
    assert resolved.removed == [4]


def test_resolve_accepts_no_rows(resolve: Resolve) -> None:
    assert resolve().outcomes == {}


@pytest.mark.parametrize("competes", ["true", BATCHES_ALONE], ids=["an increment", "all batches"])
def test_unique_keys_give_the_same_outcomes_without_comparison(rows: Rows, competes: str) -> None:
    versions = [
        card(1, "a", hour=9),
        card(2, "bad"),
        card(3, "longer than that", "b2"),
        card(4, "a", _rescued_data="{}"),
        card(None, "a"),
        tombstone(5, "b1"),
    ]

    def outcomes(keys_are_unique: bool) -> list[tuple[Any, ...]]:
        checked = check_versions(rows(*versions), CARDS, keys_are_unique=keys_are_unique)
        resolved = resolve_versions(checked, CARDS, competes=sf.expr(competes), keys_are_unique=keys_are_unique)
        outcomes = resolved.selectExpr(
            "record", "broken_rules", "_warnings", "record_key", "_origin", "_outcome", "_is_gone"
        )
        return sorted((tuple(row) for row in outcomes.collect()), key=repr)

    assert outcomes(True) == outcomes(False)
    assert {row[-2] for row in outcomes(True)} == {"kept", "refused", "superseded"}


def test_keys_of_refused_rows_are_parsed_from_the_record_key(rows: Rows, frame_of: Rows) -> None:
    seats = [{"row": row, "seat": seat} for row, seat in (("A", 0), ("B", -1), (None, 0))]
    refused = check_rows(rows(*seats, contract=SEATS), SEATS).refused
    candidates = candidates_of_quarantine(refused, None, SEATS).select("row", "seat", "record_key")
    assert sorted((tuple(row) for row in candidates.collect()), key=repr) == [
        ("A", 0, "A|0"),
        ("B", -1, "B|-1"),
        (None, None, None),
    ]


def test_a_text_key_may_have_any_characters(rows: Rows) -> None:
    columns = (Column("campaign", "STRING", "its name"), BATCH_ID)
    contract = replace(SEATS, columns=columns, key=("campaign",), rules=(Rule("never", "false", ""),))
    names = ["a|b", "|", "a||", "New Year"]
    refused = check_rows(rows(*({"campaign": name} for name in names), contract=contract), contract).refused
    candidates = candidates_of_quarantine(refused, None, contract).select("campaign", "record_key")
    assert sorted(tuple(row) for row in candidates.collect()) == sorted((name, name) for name in names)


@pytest.mark.parametrize("seed", range(3))
def test_resolving_batch_by_batch_equals_resolving_all_at_once(resolve: Resolve, seed: int) -> None:
    chance = random.Random(seed)

    def version(batch_id: str) -> Row:
        key = chance.choice([None, *range(6)])
        if key is not None and chance.random() < 0.15:
            return tombstone(key, batch_id)
        hour = None if key is None else chance.choice([None, 7, 8, 9])
        return card(key, chance.choice(["a", "b", "bad 1", "bad 2"]), batch_id, hour)

    received = [version(f"b{number}") for number in range(5) for _ in range(8)]
    table: list[Row] = []
    quarantine: list[Row] = []
    for number in range(5):
        batch = [row for row in received if row["_batch_id"] == f"b{number}"]
        touched = {row["card_id"] for row in batch} - {None}
        resolved = resolve(
            *batch,
            table=[row for row in table if row["card_id"] in touched],
            quarantine=[row for row in quarantine if row["card_id"] in touched],
        )
        assert sum(count for (origin, _), count in resolved.outcomes.items() if origin == "batch") == len(batch)
        table = [row for row in table if row["card_id"] not in touched] + _as_received(resolved, "kept")
        quarantine = [row for row in quarantine if row["card_id"] not in touched] + _as_received(resolved, "refused")
        assert len({row["card_id"] for row in table}) == len(table)
    at_once = resolve(*received, competes=BATCHES_ALONE)
    assert sorted((row["card_id"], row["note"]) for row in table) == sorted(row[:2] for row in at_once.kept)
    refused = [(row["card_id"], row["note"], row["_batch_id"]) for row in quarantine]
    assert sorted(refused, key=repr) == at_once.refused


def _as_received(resolved: Resolved, outcome: str) -> list[Row]:
    """Return the rows with this outcome as cards, which a test passes to `resolve` again."""
    rows = resolved.frame.where(sf.col("_outcome") == outcome).selectExpr(
        "card_id",
        "coalesce(note, get_json_object(record, '$.note')) AS note",
        "hour(_version_at) AS hour",
        "_batch_id",
        "array_contains(broken_rules, 'key_is_unique') AS is_ambiguous",
    )
    return [
        card(row.card_id, row.note, row["_batch_id"], row.hour, _is_ambiguous=bool(row.is_ambiguous))
        for row in rows.collect()
    ]


# Unchanged keys of a snapshot


@pytest.mark.parametrize(
    ("received", "quarantine", "expected"),
    [
        ([card(1, "a", "b2")], [], [1]),
        ([card(1, "a", "b2", hour=9)], [], []),
        ([card(1, "b", "b2")], [], []),
        ([card(1, None, "b2")], [], []),
        ([card(1, "a", "b2"), card(1, "a", "b3")], [], []),
        ([card(1, "a", "b2"), tombstone(1, "b2")], [], []),
        ([card(1, "a", "b2", _rescued_data='{"size":"x"}')], [], []),
        ([card(1, "a", "b2")], [card(1, "bad")], []),
        ([card(1, "a", "b2")], [card(2, "bad")], [1]),
        ([card(2, "a", "b2"), card(None, "a", "b2")], [], []),
        ([], [], []),
    ],
    ids=[
        "equal",
        "other time of change",
        "other value",
        "null value",
        "two versions",
        "tombstone",
        "value does not fit",
        "refused row",
        "refused row of another key",
        "other keys",
        "no rows",
    ],
)
def test_a_key_is_unchanged_if_its_only_version_equals_the_row_of_the_table(
    rows: Rows, received: list[Row], quarantine: list[Row], expected: list[int]
) -> None:
    existing = check_rows(rows(card(1, "a")), CARDS).kept
    refused = check_rows(rows(*quarantine), CARDS).refused
    unchanged = unchanged_keys(rows(*received), existing, refused, CARDS)
    assert [row.card_id for row in unchanged.collect()] == expected
