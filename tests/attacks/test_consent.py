"""Attacks on consent: datasets with rows of single persons that leave the team without a purpose."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp, parse_one

from cdp_lib import serving
from cdp_lib.consent import permitted_rows, rule_of
from cdp_lib.contracts import TABLES
from cdp_lib.contracts.consent import ALL, CONSENT_CURRENT_SILVER, PURPOSES
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER, PERSONS_SILVER
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.metric_views import metric_views
from cdp_lib.pipeline.graph import platform_graph
from cdp_lib.published import PUBLISHED_TABLES
from cdp_lib.serving import PURPOSES_OF_CUSTOMER_VIEWS, Serving, customer_views, publish_views, serving_views
from cdp_lib.storage import DeltaStore
from cdp_local import export_command
from cdp_local.power_bi import model_files
from cdp_local.semantic_model import MODEL_TABLES
from cdp_local.synapse_views import customer_views_script, view_name, views_script
from cdp_local.workspace import PROJECT

NAMES_OF_PERSONS = {"person_id", "customer_id", "customer_ids", "contact_id", "record_key", "identity", "anonymous_id"}
PERSON, OTHERS = 1, (2, 3, 4)
DECISIONS: tuple[tuple[int, bool], ...] = ((2, True), (3, False))


def names_persons(contract: TableContract) -> bool:
    """Return whether a row of a table names a single person, in a key or in any other column."""
    has_name = not NAMES_OF_PERSONS.isdisjoint(contract.column_names)
    # Attributes and records are of products, too.
    has_personal_data = any(column.pii not in ("attributes", "record") for column in contract.personal_columns)
    return contract.is_per_customer or has_name or has_personal_data


def names_in(query: str) -> set[str]:
    """Return the tables and views that a query reads. Its common table expressions are left out."""
    parsed = parse_one(query, read="databricks")
    return {each.name for each in parsed.find_all(exp.Table)} - {each.alias for each in parsed.find_all(exp.CTE)}


def sums_sales(query: str) -> bool:
    """Return whether a query only groups sales, and reads no column that describes or names a person."""
    parsed, personal = parse_one(query, read="databricks"), {each.name for each in RETAILS_SILVER.personal_columns}
    of_sales = [
        each
        for each in parsed.find_all(exp.Select)
        if RETAILS_SILVER.name in {table.name for table in each.find_all(exp.Table) if table.parent_select is each}
    ]
    are_grouped = all(
        each.args.get("group") or each.args.get("distinct") or all(out.find(exp.AggFunc) for out in each.expressions)
        for each in of_sales
    )
    has_star = any(isinstance(star.parent, exp.Select) for star in parsed.find_all(exp.Star))
    columns = {column.name for column in parsed.find_all(exp.Column)}
    return are_grouped and not has_star and columns.isdisjoint(personal | NAMES_OF_PERSONS)


def methods_called(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the module and name of each call of a method."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield str(path.relative_to(folder)), node.func.attr


def tables_of(query: str) -> set[str]:
    return {table.name for table in parse_one(query, read="databricks").find_all(exp.Table)} & {*TABLES}


def store_decisions(store: DeltaStore, purpose: str, channel: str) -> None:
    """Store the decisions in `DECISIONS`. Person 1 and person 4 have none."""
    given = {"purpose": purpose, "channel": channel, "decided_at": datetime(2026, 5, 3, tzinfo=UTC)}
    more = {"state": "x", "record_key": "x", "source": "x", "reason": "x", "record_count": 1}
    rows: list[dict[str, Any]] = [{**given, **more, "person_id": n, "is_allowed": answer} for n, answer in DECISIONS]
    store.replace(CONSENT_CURRENT_SILVER, store.frame(CONSENT_CURRENT_SILVER, rows))


def test_every_dataset_with_rows_of_persons_that_leaves_the_team_names_a_purpose() -> None:
    """Each way out is found in the code: copies, views, the Power BI model, Synapse and exports."""
    copied = {each.name: each for each in PUBLISHED_TABLES if names_persons(each)}
    modelled = {each.contract.name: each.contract for each in MODEL_TABLES if names_persons(each.contract)}
    assert len(copied) == 4 and len(modelled) == 3
    for contract in (copied | modelled).values():
        assert contract.is_per_customer, f"{contract.name} names persons outside of its key: no rule would apply to it"
        assert contract.purpose in PURPOSES, f"{contract.name} leaves the team without a purpose"
    assert {*customer_views()} == {*PURPOSES_OF_CUSTOMER_VIEWS}
    for purpose in (*PURPOSES_OF_CUSTOMER_VIEWS.values(), export_command.PURPOSE):
        assert purpose in PURPOSES


def test_only_known_modules_write_views_copies_and_exports() -> None:
    """A new way out has to be added here, and to the tests of what it may have."""
    ways = {"publish", "create_view", "create_metric_view"}
    found = {each for each in methods_called(PROJECT / "src") if each[1] in ways}
    assert found == {
        ("cdp_lib/published.py", "publish"),
        ("cdp_lib/serving/__init__.py", "create_view"),
        ("cdp_lib/serving/__init__.py", "create_metric_view"),
        ("cdp_lib/stage.py", "publish"),  # the stage itself
    }
    assert [each.name for each in export_command.export.registered_commands] == ["segment"]


def test_dashboard_alerts_and_metric_views_read_no_table_with_rows_of_persons() -> None:
    """They read views for readers outside the team, and tables of the platform's own runs."""
    views = {**serving_views()}
    path = PROJECT / "resources" / "dashboards" / "cdp.lvdash.json"
    for dataset in json.loads(path.read_text(encoding="utf-8"))["datasets"]:
        assert names_in("".join(dataset["queryLines"])) <= views.keys(), dataset["name"]
    alerts = (PROJECT / "resources" / "alerts.yml").read_text(encoding="utf-8")
    read = set(re.findall(r"resources\.schemas\.\w+\.name\}\.(\w+)", alerts))
    assert read and not [each for each in read - views.keys() if names_persons(TABLES[each])]
    for view, period in (("kpis", "month"), ("kpis_by_week", "week")):
        definitions = metric_views(view, "EUR", period)  # type: ignore[arg-type]
        assert {json.loads(each)["source"] for each in definitions.values()} == {view}
        assert not [each for each in tables_of(views[view]) if names_persons(TABLES[each])]


def test_personal_tables_without_a_purpose_reach_no_reader() -> None:
    """Each table of the graph that names persons is copied, shown and modelled only with a purpose."""
    private = {
        name
        for table in platform_graph().tables.values()
        for name, each in ((each.name, each) for each in table.contract.with_quarantine)
        if names_persons(each) and not each.purpose
    }
    assert {"customer_profile_gold", "person_lookup_gold", "consent_events_silver", "events_silver"} <= private
    assert not private & {each.name for each in PUBLISHED_TABLES}
    assert not private & {each.contract.name for each in MODEL_TABLES}
    shown = {view_name(TABLES[name]) for name in private}
    for script, is_per_customer in ((views_script(), False), (customer_views_script(), True)):
        assert not [name for name in shown if f"[{name}] AS" in script]
        copies = {TABLES[name] for name in re.findall(r"BULK '(\w+)'", script)}
        assert copies == {each for each in PUBLISHED_TABLES if each.is_per_customer == is_per_customer}
    for name, query in serving_views().items():
        assert NAMES_OF_PERSONS.isdisjoint(parse_one(query, read="databricks").named_selects), name
    for name, query in (serving_views() | customer_views()).items():
        # Quarantines are counted, and sums of sales read no column of a person.
        read = {each for each in tables_of(query) & private if not each.endswith("_quarantine")}
        assert not read or (read == {RETAILS_SILVER.name} and sums_sales(query)), name


def test_power_bi_reads_rows_of_persons_through_the_rule_of_their_purpose() -> None:
    texts = {path.stem: write() for path, write in model_files(PROJECT / "powerbi").items()}
    restricted = {each.name: {each.contract.name, CONSENT_CURRENT_SILVER.name} for each in MODEL_TABLES}
    for name, text in texts.items():
        read = {each for each in re.findall(r'\[Name = "(\w+)"', text) if names_persons(TABLES[each])}
        assert read <= restricted.get(name, set()), f"{name} reads rows of persons of another table"
    for table in MODEL_TABLES:
        text = texts[table.name]
        is_restricted = '[purpose] = "analytics" and [channel] = "all" and not [is_allowed]' in text
        assert is_restricted == ("JoinKind.LeftAnti" in text) == names_persons(table.contract), table.name


@pytest.mark.parametrize(
    ("purpose", "channel", "needs_consent", "expected"),
    [
        ("marketing", "email", False, {2}),
        ("advertising", "online", False, {2}),
        ("analytics", ALL, False, {1, 2, 4}),
        ("analytics", ALL, True, {2}),
        ("service", "email", False, {1, 2, 3, 4}),
    ],
)
def test_person_without_a_record_is_left_out_of_what_needs_consent(
    store: DeltaStore, purpose: str, channel: str, needs_consent: bool, expected: set[int]
) -> None:
    store_decisions(store, purpose, channel)
    persons = store.session.createDataFrame([(n,) for n in (PERSON, *OTHERS)], "person_id bigint")
    rule = rule_of(purpose, channel, analytics_needs_consent=needs_consent)
    assert {row[0] for row in permitted_rows(store, persons, rule).collect()} == expected
    links = [{"record_key": str(n), "source": "x", "customer_id": 100 + n, "person_id": n} for n in (PERSON, *OTHERS)]
    more = {"reason": "x", "component": "x"}
    store.replace(PERSON_LINKS_SILVER, store.frame(PERSON_LINKS_SILVER, [each | more for each in links]))
    customers = store.session.createDataFrame([(100 + n,) for n in (PERSON, *OTHERS)], "customer_id bigint")
    assert {row[0] - 100 for row in permitted_rows(store, customers, rule).collect()} == expected


def test_view_of_customers_leaves_out_who_objects(store: DeltaStore, monkeypatch: pytest.MonkeyPatch) -> None:
    query = f"SELECT person_id, record_count FROM {PERSONS_SILVER.name}"
    monkeypatch.setattr(serving, "customer_views", lambda: {"customers": query})
    monkeypatch.setattr(serving, "serving_views", dict)
    persons = [{"person_id": n, "record_count": 1, "country": "Egypt"} for n in (PERSON, *OTHERS)]
    store.replace(PERSONS_SILVER, store.frame(PERSONS_SILVER, persons))
    store_decisions(store, "analytics", ALL)
    for needs_consent, expected in ((False, {1, 2, 4}), (True, {2})):
        assert publish_views(Serving(store, store, store, "USD", 5, needs_consent)) == ["customers"]
        rows = store.session.table(store.name_of("customers"))
        assert rows.columns == ["person_id", "record_count"]
        assert {row.person_id for row in rows.collect()} == expected


@pytest.mark.parametrize(
    "query",
    [
        "SELECT product_id, revenue FROM retails_silver",
        "SELECT customer_id, sum(revenue) AS revenue FROM retails_silver GROUP BY customer_id",
        "SELECT day, count(*) AS n FROM (SELECT transaction_date AS day, revenue FROM retails_silver) GROUP BY day",
        "SELECT max(email) AS email FROM retails_silver GROUP BY product_id",
        "WITH lines AS (SELECT DISTINCT * FROM retails_silver) SELECT count(*) AS n FROM lines",
    ],
)
def test_query_with_single_sales_or_a_column_of_a_person_is_found(query: str) -> None:
    assert sums_sales("SELECT product_id, sum(revenue) AS r FROM retails_silver GROUP BY product_id")
    assert not sums_sales(query)


@pytest.mark.parametrize(
    ("purpose", "channel"), [("", ALL), ("research", ALL), ("marketing", ALL), ("analytics", "sms")]
)
def test_unknown_purpose_or_channel_is_refused(purpose: str, channel: str) -> None:
    with pytest.raises(CdpError, match=r"^Unknown (purpose|channel) "):
        rule_of(purpose, channel)
