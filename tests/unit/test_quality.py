import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
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
    settle_versions,
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
    """A version of a card, changed at an hour of a day; the note tells it from others."""
    values = {"card_id": card_id, "note": note, "changed_at": hour and datetime(2026, 1, 31, hour, tzinfo=UTC)}
    record = json.dumps({"card_id": card_id, "note": note})
    return values | {"record": record, "_record_hash": f"{record}{hour}", "_batch_id": batch_id} | more


def removal(card_id: int, batch_id: str) -> Row:
    """That the source has a card no longer."""
    return card(card_id, None, batch_id, _is_deleted=True)


@pytest.fixture
def rows(frame_of: Rows) -> Rows:
    """Rows ready to be checked."""

    def build(*received: Row, contract: TableContract = CARDS) -> DataFrame:
        columns = {column.name: column for column in (*contract.columns, *CHECKED) if column != WARNINGS}
        return frame_of(columns.values(), *(BREAKS_NOTHING | row for row in received))

    return build


def broken_rules(checked: DataFrame) -> list[list[str]]:
    return sorted(row.broken_rules for row in checked.collect())


def test_check_rows_keeps_rows_that_break_nothing_in_the_columns_of_the_contract(rows: Rows) -> None:
    checked = check_rows(rows(card(1, "a", hour=9), card(2, "b")), CARDS)
    assert checked.kept.dtypes == [(column.name, column.type.lower()) for column in CARDS.columns]
    kept = checked.kept.orderBy("card_id").selectExpr("card_id", "note", "hour(changed_at)", "_warnings", "_batch_id")
    assert [tuple(row) for row in kept.collect()] == [(1, "a", 9, [], "b1"), (2, "b", None, [], "b1")]
    assert checked.refused.count() == 0


def test_check_rows_refuses_a_row_as_it_was_received_with_every_rule_it_breaks(rows: Rows) -> None:
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


def test_check_rows_keeps_a_row_that_breaks_a_warning_and_names_it(rows: Rows) -> None:
    checked = check_rows(rows(card(1, "longer than that")), CARDS)
    assert [row["_warnings"] for row in checked.kept.collect()] == [["note_is_short"]]
    assert checked.refused.count() == 0


def test_check_rows_does_not_give_a_warning_as_a_reason_to_refuse(rows: Rows) -> None:
    checked = check_rows(rows(card(1, "bad, and longer than that")), CARDS)
    assert broken_rules(checked.refused) == [["note_is_not_bad"]]


def test_check_rows_counts_what_becomes_of_the_rows_of_each_batch(rows: Rows) -> None:
    of_one_batch = [card(1, "a"), card(2, "longer than that"), card(3, "bad, and longer than that")]
    counts = check_rows(rows(*of_one_batch, card(4, "bad", "b2")), CARDS).counts
    assert counts.columns == ["_batch_id", "kept", "warned", "refused"]
    assert [tuple(row) for row in counts.orderBy("_batch_id").collect()] == [("b1", 2, 1, 1), ("b2", 0, 0, 1)]


def test_check_rows_does_not_look_at_other_rows(rows: Rows) -> None:
    checked = check_rows(rows(card(1, "a"), card(1, "b")), CARDS)
    assert (checked.kept.count(), checked.refused.count()) == (2, 0)


def test_a_rule_that_can_not_be_answered_counts_as_broken(frame_of: Rows) -> None:
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


def test_rows_of_a_table_without_warnings_are_checked_too(rows: Rows) -> None:
    good, bad = {"row": "A", "seat": 1}, {"row": "A", "seat": 0}
    checked = check_rows(rows(good, bad, contract=SEATS), SEATS)
    assert [tuple(row) for row in checked.kept.collect()] == [("A", 1, "b1")]
    assert broken_rules(checked.refused) == [["seat_is_positive"]]


def test_no_rows_are_checked_to_no_rows(rows: Rows) -> None:
    checked = check_rows(rows(), CARDS)
    assert (checked.kept.count(), checked.refused.count()) == (0, 0)
    assert check_versions(rows(), CARDS).count() == 0


def test_a_refused_row_has_its_key_as_text_and_none_where_a_part_is_missing(rows: Rows) -> None:
    seats = [{"row": row, "seat": seat} for row, seat in (("A|B", 0), (None, 0), ("A", None))]
    refused = check_rows(rows(*seats, contract=SEATS), SEATS).refused
    assert Counter(row.record_key for row in refused.collect()) == {"A|B|0": 1, None: 2}


def test_a_refused_row_says_when_its_source_changed_it(rows: Rows) -> None:
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
        pytest.param([removal(1, "b1")], False, id="a removal"),
    ],
)


@ambiguous
def test_rows_of_one_key_version_and_batch_with_other_values_are_ambiguous(
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


def test_rows_of_a_key_of_several_columns_are_compared_by_all_of_them(rows: Rows) -> None:
    seats = [("A", 1, "a"), ("A", 2, "b"), ("B", 1, "c"), ("B", 1, "d")]
    names = ("row", "seat", "_record_hash")
    checked = check_versions(rows(*(dict(zip(names, s, strict=True)) for s in seats), contract=SEATS), SEATS)
    assert broken_rules(checked) == [[], [], [KEY_IS_UNIQUE.name], [KEY_IS_UNIQUE.name]]


def test_check_versions_names_the_rules_that_each_row_breaks(rows: Rows) -> None:
    received = (card(1, "a"), card(2, "bad"), card(3, "longer than that"), card(4, "a", _rescued_data="{}"))
    checked = check_versions(rows(*received), CARDS).orderBy("card_id").select("broken_rules", "_warnings")
    assert [tuple(row) for row in checked.collect()] == [
        ([], []),
        (["note_is_not_bad"], []),
        ([], ["note_is_short"]),
        ([VALUES_FIT.name], []),
    ]


class Settled:
    """What has become of versions.

    Attributes:
        frame: As `settle_versions` gave it.
        kept: Key, note and batch of the rows that the table holds afterwards, sorted.
        refused: The same of the rows that its quarantine holds.
        fates: How many versions of each origin met each fate.
        gone: Keys of which the table had a row, and has none.
    """

    def __init__(self, frame: DataFrame) -> None:
        self.frame = frame
        note = sf.coalesce("note", sf.get_json_object("record", "$.note"))
        names = ("_origin", "_fate", "_is_gone", "card_id", "note", "_batch_id")
        self._rows = frame.withColumn("note", note).select(*names).collect()
        self.kept = self._of("kept")
        self.refused = self._of("refused")
        self.fates = Counter((row["_origin"], row["_fate"]) for row in self._rows)
        self.gone = sorted(row.card_id for row in self._rows if row["_origin"] == "table" and row["_is_gone"])

    def _of(self, fate: str) -> list[tuple[Any, ...]]:
        rows = [(row.card_id, row.note, row["_batch_id"]) for row in self._rows if row["_fate"] == fate]
        return sorted(rows, key=repr)


Settle = Callable[..., Settled]


@pytest.fixture
def settle(rows: Rows, frame_of: Rows) -> Settle:
    """Settle versions with what the table and its quarantine hold: rows that are in them by the same checks."""

    def settle(
        *versions: Row, table: Iterable[Row] = (), quarantine: Iterable[Row] = (), is_increment: bool = True
    ) -> Settled:
        candidates = check_versions(rows(*versions), CARDS)
        keys = candidates.where("record_key IS NOT NULL").select("card_id", "record_key").distinct()
        in_table = check_rows(rows(*table), CARDS).kept
        refused = check_rows(rows(*quarantine), CARDS).refused
        frames = [candidates, candidates_of_table(in_table, CARDS)]
        if is_increment:
            frames.append(candidates_of_quarantine(refused, keys, CARDS))
        return Settled(settle_versions(reduce(DataFrame.unionByName, frames), CARDS, is_increment=is_increment))

    return settle


def test_a_version_of_a_new_key_is_kept(settle: Settle) -> None:
    settled = settle(card(1, "a"), card(2, "b"))
    assert settled.kept == [(1, "a", "b1"), (2, "b", "b1")]
    assert settled.fates == {("batch", "kept"): 2}


def test_a_newer_version_takes_the_place_of_the_tables_row(settle: Settle) -> None:
    settled = settle(card(1, "b", "b2"), table=[card(1, "a")])
    assert settled.kept == [(1, "b", "b2")]
    assert settled.fates == {("batch", "kept"): 1, ("table", "superseded"): 1}
    assert settled.gone == []


def test_a_version_with_a_warning_is_kept_with_it(settle: Settle) -> None:
    settled = settle(card(1, "longer than that", "b2"), table=[card(1, "a")])
    assert settled.kept == [(1, "longer than that", "b2")]
    assert [row["_warnings"] for row in settled.frame.where("_fate = 'kept'").collect()] == [["note_is_short"]]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        pytest.param(("b1", None), ("b2", None), id="the later batch, where no time is known"),
        pytest.param(("b1", 8), ("b1", 9), id="the later time of change"),
        pytest.param(("b2", 8), ("b1", 9), id="the later time of change, whatever the batch"),
        pytest.param(("b2", None), ("b1", 8), id="a known time of change, whatever the batch"),
        pytest.param(("b1", 8), ("b2", 8), id="the later batch of one time of change"),
        pytest.param(("b1", 8), ("b10", 8), id="the later batch, whose name goes on"),
    ],
)
def test_of_two_versions_the_later_one_is_kept(
    settle: Settle, older: tuple[str, int | None], newer: tuple[str, int | None]
) -> None:
    first, second = card(1, "older", *older), card(1, "newer", *newer)
    kept = [(1, "newer", newer[0])]
    in_batch = settle(second, first)
    assert (in_batch.kept, in_batch.fates) == (kept, {("batch", "kept"): 1, ("batch", "superseded"): 1})
    arrives = settle(second, table=[first])
    assert (arrives.kept, arrives.fates) == (kept, {("batch", "kept"): 1, ("table", "superseded"): 1})
    is_late = settle(first, table=[second])
    assert (is_late.kept, is_late.fates) == (kept, {("batch", "superseded"): 1, ("table", "kept"): 1})


@pytest.mark.parametrize("is_increment", [True, False])
def test_an_equal_version_is_superseded_and_the_tables_row_keeps_its_batch(settle: Settle, is_increment: bool) -> None:
    for hour in (None, 9):
        settled = settle(card(1, "a", "b2", hour), table=[card(1, "a", "b1", hour)], is_increment=is_increment)
        assert settled.kept == [(1, "a", "b1")]
        assert settled.fates == {("batch", "superseded"): 1, ("table", "kept"): 1}


def test_a_version_that_differs_in_where_a_value_is_missing_is_not_equal(settle: Settle) -> None:
    settled = settle(card(1, "a", "b2", colour="red"), table=[card(1, "a", "b1", size="red")])
    assert settled.kept == [(1, "a", "b2")]


def test_of_copies_in_a_batch_one_is_kept(settle: Settle) -> None:
    settled = settle(card(1, "a"), card(1, "a"), card(1, "a"))
    assert settled.kept == [(1, "a", "b1")]
    assert settled.fates == {("batch", "kept"): 1, ("batch", "superseded"): 2}


def test_a_bad_version_of_a_new_key_is_refused(settle: Settle) -> None:
    settled = settle(card(1, "bad"))
    assert (settled.kept, settled.refused) == ([], [(1, "bad", "b1")])
    assert settled.fates == {("batch", "refused"): 1}


def test_a_newer_bad_version_is_refused_and_the_tables_row_stays(settle: Settle) -> None:
    settled = settle(card(1, "bad", "b2"), table=[card(1, "a")])
    assert (settled.kept, settled.refused) == ([(1, "a", "b1")], [(1, "bad", "b2")])
    assert settled.gone == []


def test_of_a_batch_the_latest_good_version_is_kept_and_a_later_bad_one_refused(settle: Settle) -> None:
    settled = settle(card(1, "a", hour=7), card(1, "b", hour=8), card(1, "bad", hour=9))
    assert (settled.kept, settled.refused) == ([(1, "b", "b1")], [(1, "bad", "b1")])
    assert settled.fates == {("batch", "kept"): 1, ("batch", "refused"): 1, ("batch", "superseded"): 1}


def test_a_bad_version_is_newer_by_the_same_order(settle: Settle) -> None:
    for older, newer in ((("b1", 8), ("b10", 8)), (("b1", None), ("b10", None)), (("b2", None), ("b1", 8))):
        bad_is_newer = settle(card(1, "a", *older), card(1, "bad", *newer))
        assert (len(bad_is_newer.kept), len(bad_is_newer.refused)) == (1, 1)
        bad_is_older = settle(card(1, "bad", *older), card(1, "a", *newer))
        assert (len(bad_is_older.kept), len(bad_is_older.refused)) == (1, 0)


def test_an_older_bad_version_is_superseded(settle: Settle) -> None:
    for settled in (
        settle(card(1, "bad", "b2", hour=8), table=[card(1, "a", hour=9)]),
        settle(card(1, "bad", "b2", hour=8), card(1, "a", hour=9)),
    ):
        assert (settled.kept, settled.refused) == ([(1, "a", "b1")], [])


def test_of_bad_versions_the_latest_is_refused_and_the_others_superseded(settle: Settle) -> None:
    settled = settle(card(1, "bad 2", "b2"), card(1, "bad 3", "b3"), quarantine=[card(1, "bad 1")])
    assert settled.refused == [(1, "bad 3", "b3")]
    assert settled.fates == {("batch", "refused"): 1, ("batch", "superseded"): 1, ("quarantine", "superseded"): 1}


def test_a_late_version_that_is_older_than_a_refused_one_leaves_it_refused(settle: Settle) -> None:
    settled = settle(
        card(1, "b", "b3", hour=8), table=[card(1, "a", hour=7)], quarantine=[card(1, "bad", "b2", hour=9)]
    )
    assert (settled.kept, settled.refused) == ([(1, "b", "b3")], [(1, "bad", "b2")])
    assert settled.fates == {("batch", "kept"): 1, ("table", "superseded"): 1, ("quarantine", "refused"): 1}


def test_of_copies_of_a_bad_row_one_is_refused(settle: Settle) -> None:
    settled = settle(card(1, "bad"), card(1, "bad"))
    assert settled.refused == [(1, "bad", "b1")]
    assert settled.fates == {("batch", "refused"): 1, ("batch", "superseded"): 1}


def test_a_newer_good_version_mends_a_refused_one(settle: Settle) -> None:
    settled = settle(card(1, "a", "b2"), quarantine=[card(1, "bad")])
    assert (settled.kept, settled.refused) == ([(1, "a", "b2")], [])
    assert settled.fates == {("batch", "kept"): 1, ("quarantine", "superseded"): 1}


def test_an_equal_newer_version_mends_a_refused_one(settle: Settle) -> None:
    settled = settle(card(1, "a", "b3"), table=[card(1, "a")], quarantine=[card(1, "bad", "b2")])
    assert (settled.kept, settled.refused) == ([(1, "a", "b1")], [])


def test_refused_rows_of_other_keys_have_no_part_in_it(settle: Settle) -> None:
    assert settle(card(1, "a", "b2"), quarantine=[card(2, "bad"), card(None, "bad")]).fates == {("batch", "kept"): 1}


def test_rows_without_a_key_are_each_refused(settle: Settle) -> None:
    settled = settle(card(None, "a"), card(None, "b"), card(None, "b"), card(1, "c"))
    assert settled.refused == [(None, "a", "b1"), (None, "b", "b1")]
    assert settled.fates == {("batch", "kept"): 1, ("batch", "refused"): 2, ("batch", "superseded"): 1}


def test_a_row_without_a_key_is_no_version_of_that_of_another_batch(settle: Settle) -> None:
    settled = settle(card(None, "a", "b1"), card(None, "a", "b2"), is_increment=False)
    assert settled.refused == [(None, "a", "b1"), (None, "a", "b2")]


def test_ambiguous_rows_are_all_refused_and_the_tables_row_stays(settle: Settle) -> None:
    settled = settle(card(1, "b", "b2"), card(1, "c", "b2"), card(1, "c", "b2"), table=[card(1, "a")])
    assert (settled.kept, settled.refused) == ([(1, "a", "b1")], [(1, "b", "b2"), (1, "c", "b2")])
    assert settled.fates == {("batch", "refused"): 2, ("batch", "superseded"): 1, ("table", "kept"): 1}


def test_a_later_version_mends_ambiguous_rows(settle: Settle) -> None:
    ambiguous_rows = [card(1, note, record=json.dumps({"note": note}), _is_ambiguous=True) for note in "ab"]
    settled = settle(card(1, "c", "b2"), quarantine=ambiguous_rows)
    assert (settled.kept, settled.refused) == ([(1, "c", "b2")], [])
    assert settled.fates == {("batch", "kept"): 1, ("quarantine", "superseded"): 2}


def test_an_older_version_leaves_ambiguous_rows_refused(settle: Settle) -> None:
    ambiguous_rows = [card(1, note, hour=8, _is_ambiguous=True) for note in "ab"]
    settled = settle(card(1, "c", "b2", hour=7), quarantine=ambiguous_rows)
    assert (settled.kept, settled.refused) == ([(1, "c", "b2")], [(1, "a", "b1"), (1, "b", "b1")])


def test_a_removal_takes_the_row_out_of_the_table_and_of_quarantine(settle: Settle) -> None:
    settled = settle(removal(1, "b3"), table=[card(1, "a", hour=9)], quarantine=[card(1, "bad", "b2")])
    assert (settled.kept, settled.refused, settled.gone) == ([], [], [1])
    assert set(settled.fates) == {(origin, "superseded") for origin in ("batch", "table", "quarantine")}


def test_of_a_record_and_its_removal_in_one_batch_the_removal_is_later(settle: Settle) -> None:
    settled = settle(card(1, "b", "b2"), removal(1, "b2"), table=[card(1, "a")])
    assert (settled.kept, settled.refused, settled.gone) == ([], [], [1])


def test_a_record_that_comes_back_after_its_removal_is_kept(settle: Settle) -> None:
    settled = settle(removal(1, "b2"), card(1, "c", "b3", hour=7), table=[card(1, "a", hour=9)])
    assert (settled.kept, settled.gone) == ([(1, "c", "b3")], [])


def test_a_removal_of_what_is_not_there_changes_nothing(settle: Settle) -> None:
    settled = settle(removal(1, "b2"))
    assert (settled.kept, settled.refused, settled.fates) == ([], [], {("batch", "superseded"): 1})


def test_what_is_all_there_is_leaves_nothing_else_in_the_table(settle: Settle) -> None:
    table = [card(1, "a"), card(2, "stays"), card(3, "gone"), card(4, "removed"), card(5, "good")]
    versions = [card(1, "b", "b2"), card(2, "stays", "b2"), card(4, "x", "b2"), removal(4, "b3"), card(5, "bad", "b2")]
    settled = settle(*versions, table=table, is_increment=False)
    assert settled.kept == [(1, "b", "b2"), (2, "stays", "b1")]
    assert settled.refused == [(5, "bad", "b2")]
    assert settled.gone == [3, 4, 5]


def test_a_newer_row_of_the_table_has_no_say_against_all_there_is(settle: Settle) -> None:
    settled = settle(card(1, "b", "b2", hour=8), table=[card(1, "a", "b1", hour=9)], is_increment=False)
    assert (settled.kept, settled.gone) == ([(1, "b", "b2")], [])


def test_nothing_settled_is_nothing(settle: Settle) -> None:
    assert settle().fates == {}


@pytest.mark.parametrize("is_increment", [True, False])
def test_versions_that_are_alone_are_settled_as_if_they_were_compared(rows: Rows, is_increment: bool) -> None:
    versions = [
        card(1, "a", hour=9),
        card(2, "bad"),
        card(3, "longer than that", "b2"),
        card(4, "a", _rescued_data="{}"),
        card(None, "a"),
        removal(5, "b1"),
    ]

    def fates(are_alone: bool) -> list[tuple[Any, ...]]:
        checked = check_versions(rows(*versions), CARDS, are_alone=are_alone)
        settled = settle_versions(checked, CARDS, is_increment=is_increment, are_alone=are_alone)
        fates = settled.selectExpr("record", "broken_rules", "_warnings", "record_key", "_origin", "_fate", "_is_gone")
        return sorted((tuple(row) for row in fates.collect()), key=repr)

    assert fates(True) == fates(False)
    assert {row[-2] for row in fates(True)} == {"kept", "refused", "superseded"}


@pytest.mark.parametrize("seed", range(3))
def test_versions_settled_batch_by_batch_are_those_settled_at_once(settle: Settle, seed: int) -> None:
    chance = random.Random(seed)

    def version(batch_id: str) -> Row:
        key = chance.choice([None, *range(6)])
        if key is not None and chance.random() < 0.15:
            return removal(key, batch_id)
        hour = None if key is None else chance.choice([None, 7, 8, 9])
        return card(key, chance.choice(["a", "b", "bad 1", "bad 2"]), batch_id, hour)

    received = [version(f"b{number}") for number in range(5) for _ in range(8)]
    table: list[Row] = []
    quarantine: list[Row] = []
    for number in range(5):
        batch = [row for row in received if row["_batch_id"] == f"b{number}"]
        touched = {row["card_id"] for row in batch} - {None}
        settled = settle(
            *batch,
            table=[row for row in table if row["card_id"] in touched],
            quarantine=[row for row in quarantine if row["card_id"] in touched],
        )
        assert sum(count for (origin, _), count in settled.fates.items() if origin == "batch") == len(batch)
        table = [row for row in table if row["card_id"] not in touched] + _as_received(settled, "kept")
        quarantine = [row for row in quarantine if row["card_id"] not in touched] + _as_received(settled, "refused")
        assert len({row["card_id"] for row in table}) == len(table)
    at_once = settle(*received, is_increment=False)
    assert sorted((row["card_id"], row["note"]) for row in table) == sorted(row[:2] for row in at_once.kept)
    refused = [(row["card_id"], row["note"], row["_batch_id"]) for row in quarantine]
    assert sorted(refused, key=repr) == at_once.refused


def _as_received(settled: Settled, fate: str) -> list[Row]:
    """Rows of the table or of its quarantine, as `settle` takes them."""
    rows = settled.frame.where(sf.col("_fate") == fate).selectExpr(
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
