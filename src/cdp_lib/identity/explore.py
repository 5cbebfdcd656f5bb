"""Notebooks that people open: one person's story, the explanation of a pair, and the dry run of other rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from cdp_lib.identity.explain import Explanation, IdentityTables, explain
from cdp_lib.identity.model_file import load_model
from cdp_lib.identity.plan import plan_rules
from cdp_lib.identity.rules_file import read_identity_rules
from cdp_lib.identity.story import find_persons, tables_of_person
from cdp_lib.storage import DeltaStore, open_store

_KINDS = ("email", "phone", "customer_id")
_WIDGETS = ("catalog", "schema", *_KINDS, "country", "person", "identity_rules", "a", "b", "tried_rules")


class Explorer:
    """Notebook that a person has opened. It reads the tables, and writes nothing."""

    def __init__(self, dbutils: Any, spark: SparkSession) -> None:
        """Read the notebook's widgets, and create the missing ones.

        Args:
            dbutils: The notebook's `dbutils`.
            spark: Spark session.
        """
        for name in _WIDGETS:
            dbutils.widgets.text(name, "")
        self._values = {name: dbutils.widgets.get(name).strip() for name in _WIDGETS}
        self._store = open_store(spark, self._values["catalog"], self._values["schema"])

    def find_persons(self, write: Callable[[str], object]) -> list[int]:
        """Return the persons that a widget names: `person`, `email`, `phone` (with `country`) or `customer_id`.

        Args:
            write: Function that prints a line.
        """
        values = self._values
        kind = next((kind for kind in _KINDS if values[kind]), "")
        persons = [int(values["person"])] if values["person"] else []
        if kind and not persons:
            persons = find_persons(self._store, kind, values[kind], values["country"])
        write(f"Persons: {', '.join(map(str, persons)) or 'none'}")
        return persons

    def show_person(
        self, persons: Sequence[int], write: Callable[[str], object], show: Callable[[DataFrame], object]
    ) -> None:
        """Show the story of the first person.

        Args:
            persons: Numbers of persons.
            write: Function that prints a line.
            show: Function that shows rows.
        """
        for person in persons[:1]:
            for title, rows in tables_of_person(self._store, person).items():
                write(title)
                show(rows)

    def explain(self, write: Callable[[str], object]) -> None:
        """Explain the pair in the widgets `a` and `b`, under the rules in the file of the widget `identity_rules`.

        Args:
            write: Function that prints a line.

        Raises:
            CdpError: A table, record or person does not exist, or the file of rules is not valid.
        """
        values = self._values
        if not values["a"]:
            return
        rules = read_identity_rules(values["identity_rules"])
        model = load_model(rules.model) if rules.model else None
        for line in _explained(explain(IdentityTables.read(self._store), values["a"], values["b"], rules, model)):
            write(line)

    def plan(self, write: Callable[[str], object]) -> None:
        """Try the rules in the file of the widget `tried_rules`.

        Args:
            write: Function that prints a line.

        Raises:
            CdpError: A table does not exist, or the file of rules is not valid.
        """
        if self._values["tried_rules"]:
            for line in _planned(self._store, self._values["tried_rules"]):
                write(line)


def _explained(found: Explanation) -> Iterator[str]:
    """Yield an explanation as lines."""
    yield found.why
    yield f"Evidence: {found.weight:.1f} bits; {found.link_weight:.1f} bits are needed."
    for kind, bits in sorted(found.bits.items(), key=lambda item: -item[1]):
        yield f"  {kind:<20} {bits:+7.1f}"
    for attribute, (first, second) in found.values.items():
        yield f"  {attribute:<20} {first} | {second}"
    for step in found.steps:
        yield f"  {step.record_a} – {step.record_b}: {step.evidence} {step.cut}"


def _planned(store: DeltaStore, path: str) -> Iterator[str]:
    """Yield the effect of other rules as lines."""
    planned, revenue = plan_rules(store, read_identity_rules(path))
    yield f"Persons: {planned.persons_before:,} now, {planned.persons_after:,} under the tried rules"
    yield f"Merges: {planned.merges:,}. Splits: {planned.splits:,}. Persons affected: {planned.persons_affected:,}"
    yield f"Customers who move: {len(planned.moved_customers):,}, with a revenue of {revenue:,.2f}"
    for example in planned.examples:
        yield f"  {example.event}: persons {example.persons}, {example.records} records: {', '.join(example.keys)}"
