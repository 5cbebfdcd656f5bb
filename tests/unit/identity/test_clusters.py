from __future__ import annotations

import random

import pyarrow as pa
import pytest

from cdp_lib.contracts.identity import PERSON_HISTORY_SILVER, PERSON_LINKS_SILVER
from cdp_lib.identity.resolution import resolve

from .people import EDGES, LINKS, OVERRIDES, RECORDS, START, People, decision, edge, edges_of, record, rules

# Joins


def test_records_without_edges_are_persons_of_their_own() -> None:
    people = People(rules())
    assert people.resolve([record("customer:2"), record("customer:1"), record("contact:7")], []) == [
        {"contact:7"},
        {"customer:1"},
        {"customer:2"},
    ]
    assert set(people.column("reason").values()) == {"only_record"}
    assert set(people.column("linked_to").values()) == {None}


def test_no_records_give_no_persons() -> None:
    people = People(rules())
    assert people.resolve([], []) == []
    assert people.history == []


def test_edges_join_records_to_persons() -> None:
    records = [
        record("customer:1", "email:x"),
        record("contact:1", "email:x", "phone:1"),
        record("contact:2", "phone:1"),
    ]
    people = People(rules())
    assert people.resolve(records, edges_of(records)) == [{"customer:1", "contact:1", "contact:2"}]


def test_edge_below_least_evidence_joins_nothing() -> None:
    records = [record("customer:1", "phone:1"), record("customer:2", "phone:1")]
    people = People(rules())
    assert len(people.resolve(records, [edge("customer:1", "customer:2", "phone:1", bits=-4)])) == 1
    assert len(people.resolve(records, [edge("customer:1", "customer:2", "phone:1", bits=-4.1)])) == 2
    assert people.cuts == {}
    assert people.column("component") == {"customer:1": "customer:1", "customer:2": "customer:2"}


def test_links_name_the_strongest_evidence() -> None:
    records = [record("customer:1"), record("contact:1"), record("contact:2"), record("contact:3")]
    edges = [
        edge("customer:1", "contact:1", "phone:1", "email:x"),
        edge("customer:1", "contact:2", bits=9.5),
        edge("contact:1", "contact:2", "phone:1"),
    ]
    people = People(rules())
    people.resolve(records, edges, decision("contact:3", "customer:1", "always"))
    assert people.column("reason") == {
        "customer:1": "always",
        "contact:1": "email+phone",
        "contact:2": "phone",
        "contact:3": "always",
    }
    assert people.column("linked_to") == {
        "customer:1": "contact:3",
        "contact:1": "customer:1",
        "contact:2": "contact:1",
        "contact:3": "customer:1",
    }
    assert people.column("weight") == {"customer:1": None, "contact:1": 28, "contact:2": 12, "contact:3": None}


def test_link_without_identifiers_names_the_model() -> None:
    people = People(rules())
    people.resolve([record("customer:1"), record("contact:1")], [edge("customer:1", "contact:1", bits=11)])
    assert set(people.column("reason").values()) == {"model"}


def test_links_and_history_have_the_columns_of_their_contracts() -> None:
    people = People(rules())
    people.resolve([record("customer:1")], [])
    assert people.last is not None
    assert people.last.links.column_names == [column.name for column in PERSON_LINKS_SILVER.columns]
    assert people.changes.column_names == [column.name for column in PERSON_HISTORY_SILVER.columns][1:]
    for table, contract in ((people.last.links, PERSON_LINKS_SILVER), (people.changes, PERSON_HISTORY_SILVER)):
        types = {"BIGINT": pa.int64(), "STRING": pa.string(), "DOUBLE": pa.float64()}
        for column in contract.columns[1:]:
            if column.name in table.column_names:
                assert table.schema.field(column.name).type == types.get(column.type, pa.timestamp("us", tz="UTC"))


def test_order_of_rows_changes_nothing() -> None:
    random_order = random.Random(1)
    records = [record(f"contact:{number}", f"email:{number % 9}", f"phone:{number % 7}") for number in range(60)]
    edges = edges_of(records)
    expected = People(rules(records_per_person=9, email=(3, 2), phone=(2, 0)))
    expected.resolve(records, edges)
    for _ in range(5):
        shuffled = People(expected.rules)
        shuffled.resolve(random_order.sample(records, len(records)), random_order.sample(edges, len(edges)))
        assert shuffled.links == expected.links
        assert shuffled.cuts == expected.cuts


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([record("customer:1"), record("customer:1")], "a record_key occurs twice"),
        ([record("customer:1") | {"source": "shop"}], "source of a record"),
    ],
)
def test_invalid_records_are_refused(records, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        People(rules()).resolve(records, [])


def test_used_number_is_refused() -> None:
    people = People(rules())
    people.resolve([record("customer:1")], [])
    people.next_person_id = 1
    with pytest.raises(ValueError, match="next_person_id is 1, but person 1 exists"):
        people.resolve([record("customer:1")], [])


def test_edges_and_decisions_with_unknown_records_are_left_out() -> None:
    people = People(rules())
    edges = [edge("customer:1", "contact:9", "email:x"), edge("contact:8", "contact:9", "email:x")]
    assert people.resolve([record("customer:1")], edges, decision("customer:1", "contact:9", "always")) == [
        {"customer:1"}
    ]


def test_chunked_tables_are_resolved() -> None:
    rows = [pa.Table.from_pylist([record(f"customer:{n}", "email:x")], RECORDS) for n in (2, 1, 3)]
    edges = [pa.Table.from_pylist([edge("customer:1", f"customer:{n}", "email:x")], EDGES) for n in (2, 3)]
    previous = pa.concat_tables([LINKS.empty_table(), LINKS.empty_table()])
    tables = (pa.concat_tables(rows), pa.concat_tables(edges), OVERRIDES.empty_table(), previous)
    assert resolve(*tables, rules(), 1, START).links["person_id"].to_pylist() == [1, 1, 1]


def test_types_of_texts_do_not_matter() -> None:
    records = [record("customer:1", "email:x"), record("contact:1", "email:x"), record("contact:2")]
    tables = [pa.Table.from_pylist(records, RECORDS), pa.Table.from_pylist(edges_of(records), EDGES)]
    tables += [pa.Table.from_pylist([decision("contact:1", "contact:2", "never")], OVERRIDES), LINKS.empty_table()]
    large = [_with_large_types(table) for table in tables]
    assert resolve(*large, rules(), 1, START).links == resolve(*tables, rules(), 1, START).links


def _with_large_types(table: pa.Table) -> pa.Table:
    types = {pa.string(): pa.large_string(), pa.list_(pa.string()): pa.large_list(pa.large_string())}
    return table.cast(pa.schema([(field.name, types.get(field.type, field.type)) for field in table.schema]))


def test_identifiers_may_be_missing_and_kinds_unknown() -> None:
    """A kind that the rules no longer have joins by the evidence of its edges, without limits."""
    records = [record("customer:1", "fax:1"), record("contact:1", "fax:1"), record("contact:2") | {"identifiers": None}]
    edges = [edge("contact:1", "customer:1", bits=12) | {"identifiers": ["fax:1"]}]
    people = People(rules())
    assert people.resolve(records, edges) == [{"customer:1", "contact:1"}, {"contact:2"}]
    assert people.column("reason")["customer:1"] == "fax"


# Contradictions


def test_contradiction_keeps_a_household_apart() -> None:
    records = [record("customer:1", "email:x"), record("customer:2", "email:x")]
    people = People(rules())
    assert len(people.resolve(records, edges_of(records, [{"customer:1", "customer:2"}]))) == 2


def test_contradiction_lies_between_groups() -> None:
    """The contact joins the customer with the stronger evidence. The other customer stays apart."""
    records = [
        record("customer:1", "email:x", "phone:1"),
        record("customer:2", "email:x"),
        record("contact:1", "email:x", "phone:1"),
    ]
    people = People(rules())
    persons = people.resolve(records, edges_of(records, [{"customer:1", "customer:2"}]))
    assert persons == [{"customer:1", "contact:1"}, {"customer:2"}]
    assert people.cuts == {("contact:1", "customer:2"): "contradiction", ("customer:1", "customer:2"): "contradiction"}
    assert people.column("reason")["customer:2"] == "contradiction"
    assert set(people.column("component").values()) == {"contact:1"}


def test_always_beats_contradiction() -> None:
    records = [record("customer:1", "email:x"), record("customer:2", "email:x")]
    people = People(rules())
    edges = edges_of(records, [{"customer:1", "customer:2"}])
    assert len(people.resolve(records, edges, decision("customer:1", "customer:2", "always"))) == 1


# Limits of a person


def test_values_per_person_cut_the_weakest_edge() -> None:
    records = [
        record("customer:1", "card:1", "email:x"),
        record("contact:1", "card:1", "phone:1", "email:x"),
        record("contact:2", "card:2", "phone:1"),
    ]
    people = People(rules(card=(1, 0)))
    assert people.resolve(records, edges_of(records)) == [{"customer:1", "contact:1"}, {"contact:2"}]
    assert people.cuts == {("contact:1", "contact:2"): "limit values_per_person:card"}
    assert people.column("reason")["contact:2"] == "limit"


def test_record_with_too_many_values_stays_alone() -> None:
    records = [record("customer:1", "card:1", "card:2", "email:x"), record("contact:1", "email:x")]
    people = People(rules(card=(1, 0)))
    assert len(people.resolve(records, edges_of(records))) == 2


def test_chain_is_cut_at_the_records_of_a_person() -> None:
    records = [record(f"contact:{n:03}", f"email:{n}", f"email:{n + 1}") for n in range(100)]
    people = People(rules(records_per_person=10))
    persons = people.resolve(records, edges_of(records))
    assert [len(person) for person in persons] == [10] * 10
    assert set(people.cuts.values()) == {"limit records_per_person"}
    assert set(people.column("component").values()) == {"contact:000"}


def test_chain_of_values_is_cut_at_the_values_of_a_person() -> None:
    records = [record(f"contact:{n:03}", f"email:{n}", f"email:{n + 1}") for n in range(100)]
    people = People(rules(email=(4, 0)))
    persons = people.resolve(records, edges_of(records))
    assert max(len(person) for person in persons) == 3


# Values of too many persons


def test_phone_of_many_persons_joins_nothing() -> None:
    """Number of a shop on 500 records of 250 persons: only the persons' own e-mail addresses join them."""
    records = [record(f"contact:{n:03}", "phone:shop", f"email:{n // 2}") for n in range(500)]
    people = People(rules(phone=(0, 3)))
    persons = people.resolve(records, edges_of(records))
    assert sorted(len(person) for person in persons) == [2] * 250
    assert people.cuts[("contact:000", "contact:002")] == "shared_value:phone:shop"
    assert ("contact:000", "contact:001") not in people.cuts
    assert people.column("reason")["contact:000"] == "email"
    assert people.column("weight")["contact:000"] == 16


def test_model_remains_without_the_shared_value() -> None:
    records = [record(f"contact:{n}", "phone:shop") for n in range(6)]
    apart = [edge(f"contact:{a}", f"contact:{b}", "phone:shop", contradicts=True) for a in range(5) for b in range(a)]
    same = [edge("contact:5", f"contact:{n}", "phone:shop", bits=9 if n == 4 else 0) for n in range(5)]
    people = People(rules(phone=(0, 1)))
    persons = people.resolve(records, [*apart, *same])
    assert {"contact:4", "contact:5"} in persons
    assert len(persons) == 5
    assert people.column("reason")["contact:5"] == "model"
    assert people.column("weight")["contact:5"] == 9


def test_value_of_few_enough_persons_joins() -> None:
    """Two persons share an address, and the kind allows two: the address still joins the records of each person."""
    records = [record("customer:1", "email:x"), record("contact:1", "email:x"), record("customer:2", "email:x")]
    edges = edges_of(records, [{"customer:1", "customer:2"}])
    assert len(People(rules(email=(0, 2))).resolve(records, edges)) == 2
    assert len(People(rules(email=(0, 1))).resolve(records, edges)) == 3


def test_value_joins_if_its_other_holders_contradict_all_records() -> None:
    """The bare record of the address connects both persons, but must not change which of their records are joined."""
    records = [record("customer:1", "email:x"), record("contact:1", "email:x"), record("customer:2", "email:x")]
    apart = [{"customer:1", "customer:2"}, {"contact:1", "customer:2"}]
    people = People(rules(email=(0, 1)))
    assert people.resolve(records, edges_of(records, apart)) == [{"customer:1", "contact:1"}, {"customer:2"}]
    bare = [*records, record("email:x", "email:x")]
    assert people.resolve(bare, edges_of(bare, apart)) == [{"customer:1", "contact:1"}, {"customer:2"}, {"email:x"}]
    assert people.column("reason")["email:x"] == "shared_value"


def test_values_of_a_component_are_judged_together() -> None:
    """Without the shared phone number, the holders of the address are three persons, so the address joins nothing."""
    records = [
        record("contact:1", "phone:1", "email:x"),
        record("contact:2", "phone:1"),
        record("contact:3", "phone:1"),
        record("contact:4", "phone:1", "email:x"),
        record("contact:5", "phone:1", "email:x"),
    ]
    edges = edges_of(records, [{"contact:2", "contact:3"}, {"contact:1", "contact:4"}, {"contact:1", "contact:5"}])
    edges = [*edges, edge("contact:4", "contact:5", bits=-20, contradicts=False)]
    people = People(rules(phone=(0, 1), email=(0, 1)))
    assert len(people.resolve(records, edges)) == 5


# Records of events


def test_bare_record_belongs_to_the_only_holder_of_its_address() -> None:
    records = [record("customer:1", "email:x"), record("email:x", "email:x")]
    people = People(rules(email=(0, 1)))
    assert people.resolve(records, edges_of(records)) == [{"customer:1", "email:x"}]


def test_address_of_two_persons_links_no_events() -> None:
    records = [record("customer:1", "email:x"), record("customer:2", "email:x"), record("email:x", "email:x")]
    people = People(rules(email=(0, 1)))
    assert len(people.resolve(records, edges_of(records, [{"customer:1", "customer:2"}]))) == 3
    assert people.column("reason")["email:x"] == "shared_value"
    assert people.cuts[("customer:1", "email:x")] == "shared_value:email:x"


def test_bare_record_never_joins_two_persons() -> None:
    """No edge joins the customers, and the kind has no limit: the address belongs to the first of them."""
    records = [record("customer:1", "email:x"), record("customer:2", "email:x"), record("email:x", "email:x")]
    edges = [edge("customer:1", "email:x", "email:x"), edge("customer:2", "email:x", "email:x")]
    people = People(rules())
    assert people.resolve(records, edges) == [{"customer:1", "email:x"}, {"customer:2"}]
    assert people.cuts == {("customer:2", "email:x"): "two_persons"}
    assert people.column("reason")["customer:2"] == "only_record"


def test_bare_records_come_after_stronger_and_weaker_edges() -> None:
    records = [
        record("contact:1", "card:1", "email:x", "phone:1"),
        record("contact:2", "card:2", "phone:1"),
        record("email:x", "email:x", "card:3"),
    ]
    people = People(rules(card=(2, 0)))
    assert people.resolve(records, edges_of(records)) == [{"contact:1", "contact:2"}, {"email:x"}]


def test_device_belongs_to_its_customer_through_a_bare_address() -> None:
    """The address in events and the customer are one person, so the device has one holder."""
    records = [record("customer:1", "email:x", "device:d"), record("email:x", "email:x", "device:d")]
    records += [record("device:d", "device:d")]
    people = People(rules(email=(0, 1), device=(0, 1)))
    assert people.resolve(records, edges_of(records)) == [{"customer:1", "email:x", "device:d"}]


def test_device_of_two_persons_belongs_to_none() -> None:
    records = [
        record("customer:1", "device:d"),
        record("email:x", "device:d", "email:x"),
        record("device:d", "device:d"),
    ]
    edges = [edge("customer:1", "device:d", "device:d"), edge("email:x", "device:d", "device:d")]
    people = People(rules(device=(0, 1)))
    assert len(people.resolve(records, edges)) == 3
    assert people.column("reason")["device:d"] == "shared_value"


def test_spellings_of_an_address_are_no_holders() -> None:
    records = [record("customer:1", "email:ab"), record("email:a.b", "email:ab"), record("email:ab", "email:ab")]
    people = People(rules(email=(0, 1)))
    assert len(people.resolve(records, edges_of(records))) == 1


# Decisions


def test_never_splits_and_its_withdrawal_joins() -> None:
    records = [record("customer:1", "email:x"), record("customer:2", "email:x"), record("contact:1", "email:x")]
    edges = edges_of(records)
    people = People(rules())
    assert len(people.resolve(records, edges)) == 1
    persons = people.resolve(records, edges, decision("customer:1", "customer:2", "never"))
    assert persons == [{"customer:1", "contact:1"}, {"customer:2"}]
    assert people.cuts[("customer:1", "customer:2")] == "never"
    assert people.column("reason")["customer:2"] == "never"
    assert len(people.resolve(records, edges, decision("customer:1", "customer:2", "automatic"))) == 1
    assert set(people.person_of.values()) == {1}


def test_withdrawal_undoes_a_wrong_merge() -> None:
    records = [record(f"customer:{n}", f"email:{n}") for n in (1, 2)] + [
        record(f"contact:{n}", f"email:{n}") for n in (1, 2)
    ]
    edges = edges_of(records)
    people = People(rules())
    people.resolve(records, edges)
    before = people.records_of
    assert len(people.resolve(records, edges, decision("customer:1", "customer:2", "always"))) == 1
    people.resolve(records, edges, decision("customer:1", "customer:2", "automatic"))
    assert people.person_of == {"customer:1": 1, "contact:1": 1, "customer:2": 3, "contact:2": 3}
    assert sorted(map(sorted, people.records_of.values())) == sorted(map(sorted, before.values()))
    assert people.history == [(1, "split", 3, 2), (3, "created", 1, 2)]


def test_never_between_other_records_beats_always() -> None:
    records = [record("customer:1", "email:x"), record("contact:1", "email:x"), record("customer:2")]
    decisions = [decision("customer:1", "customer:2", "never"), decision("contact:1", "customer:2", "always")]
    people = People(rules())
    persons = people.resolve(records, edges_of(records), *decisions)
    assert {"contact:1", "customer:2"} in persons
    assert people.cuts == {("contact:1", "customer:1"): "never"}
    decisions += [decision("customer:1", "contact:1", "always")]
    persons = people.resolve(records, edges_of(records), *decisions)
    assert {"contact:1", "customer:1"} in persons
    assert people.cuts == {("contact:1", "customer:2"): "never"}


def test_always_obeys_limits() -> None:
    records = [record("customer:1", "card:1"), record("customer:2", "card:2")]
    people = People(rules(card=(1, 0)))
    assert len(people.resolve(records, [], decision("customer:1", "customer:2", "always"))) == 2
    assert people.cuts == {("customer:1", "customer:2"): "limit values_per_person:card"}


def test_always_connects_components() -> None:
    records = [record("customer:1"), record("customer:2")]
    people = People(rules())
    people.resolve(records, [], decision("customer:1", "customer:2", "always"))
    assert set(people.column("component").values()) == {"customer:1"}


# Numbers of persons


def test_new_numbers_follow_customers_and_record_keys() -> None:
    people = People(rules())
    people.resolve([record("customer:10"), record("customer:9"), record("contact:1"), record("email:a")], [])
    assert people.person_of == {"customer:9": 1, "customer:10": 2, "contact:1": 3, "email:a": 4}


def test_merge_keeps_the_number_of_the_larger_overlap() -> None:
    records = [record("customer:1"), record("customer:2", "email:x"), record("customer:3", "email:x")]
    people = People(rules())
    people.resolve(records, edges_of(records))
    assert people.person_of == {"customer:1": 1, "customer:2": 2, "customer:3": 2}
    people.resolve(records, edges_of(records), decision("customer:1", "customer:2", "always"))
    assert set(people.person_of.values()) == {2}
    assert people.history == [(1, "absorbed", 2, 1), (2, "merged", 1, 1)]


def test_merge_of_equal_overlaps_keeps_the_oldest_number() -> None:
    records = [record("customer:1"), record("customer:2")]
    people = People(rules())
    people.resolve(records, [])
    people.resolve(records, [], decision("customer:1", "customer:2", "always"))
    assert set(people.person_of.values()) == {1}


def test_devices_do_not_outweigh_a_customer() -> None:
    devices = [record(f"device:{n}", f"device:{n}") for n in range(5)]
    records = [record("customer:1", "email:x"), record("contact:1", "email:x", *(f"device:{n}" for n in range(5)))]
    people = People(rules())
    people.resolve([*records, *devices], edges_of([*records, *devices]))
    assert set(people.person_of.values()) == {1}
    people.resolve([*records, *devices], edges_of([*records, *devices]), decision("customer:1", "contact:1", "never"))
    assert (people.person_of["customer:1"], people.person_of["contact:1"]) == (1, 2)
    assert {people.person_of[f"device:{n}"] for n in range(5)} == {2}


def test_number_ends_with_its_customers_and_does_not_stay_with_a_device() -> None:
    records = [record(f"customer:{n}") for n in (1, 2, 3)] + [record("device:d")]
    people = People(rules())
    people.resolve(
        records, [], decision("customer:2", "customer:3", "always"), decision("customer:1", "device:d", "always")
    )
    assert people.person_of == {"customer:1": 1, "device:d": 1, "customer:2": 2, "customer:3": 2}
    people.resolve(records, [], *(decision("customer:2", f"customer:{n}", "always") for n in (1, 3)))
    assert people.person_of == {"customer:1": 2, "customer:2": 2, "customer:3": 2, "device:d": 3}
    assert people.history == [(1, "absorbed", 2, 1), (1, "split", 3, 1), (2, "merged", 1, 1), (3, "created", 1, 1)]


def test_split_leaves_the_number_with_the_larger_part() -> None:
    records = [record("customer:1", "email:x"), record("customer:2", "email:x"), record("contact:1", "email:x")]
    people = People(rules())
    people.resolve(records, edges_of(records))
    people.resolve(records, [edge("contact:1", "customer:2", "email:x")])
    assert people.person_of == {"customer:1": 2, "customer:2": 1, "contact:1": 1}
    assert people.history == [(1, "split", 2, 1), (2, "created", 1, 1)]


def test_deleted_record_renames_nobody() -> None:
    records = [record("customer:1", "email:x"), record("contact:1", "email:x"), record("contact:2", "email:x")]
    people = People(rules())
    people.resolve(records, edges_of(records))
    since = people.column("linked_at")
    people.resolve(records[1:], edges_of(records[1:]))
    assert people.person_of == {"contact:1": 1, "contact:2": 1}
    assert people.column("linked_at") == {key: since[key] for key in ("contact:1", "contact:2")}
    assert people.history == []
    people.resolve([], [])
    assert people.history == [(1, "retired", 0, 2)]
    people.resolve(records, edges_of(records))
    assert set(people.person_of.values()) == {2}


def test_link_starts_when_the_person_of_the_record_changes() -> None:
    records = [record("customer:1"), record("customer:2")]
    people = People(rules())
    people.resolve(records, [])
    first = people.column("linked_at")
    people.resolve(records, [], decision("customer:1", "customer:2", "always"))
    second = people.column("linked_at")
    assert second["customer:1"] == first["customer:1"]
    assert second["customer:2"] > first["customer:2"]
