"""Tests of the lineage of serving views: they have no personal data and read only columns of contracts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlglot import exp, parse, parse_one
from sqlglot.errors import OptimizeError
from sqlglot.lineage import lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope

from cdp_lib.contracts import TABLES
from cdp_lib.serving import customer_views, serving_views

PROJECT = Path(__file__).resolve().parents[3]
SCHEMA = {contract.name: {column.name: column.type for column in contract.columns} for contract in TABLES.values()}
PERSONAL = {
    f"{contract.name}.{column.name}" for contract in TABLES.values() for column in contract.columns if column.pii
}
# A row as received may contain personal data of any kind.
AS_RECEIVED = {
    f"{name}.{column}" for name in SCHEMA for column in ("record", "_rescued_data") if column in SCHEMA[name]
}


def query_of(text: str) -> exp.Query:
    """Parse a query in Databricks SQL."""
    query = parse_one(text, read="databricks")
    assert isinstance(query, exp.Query)
    return query


def qualified(query: exp.Query) -> exp.Query:
    """Return the query with a table name in front of every column.

    Raises:
        OptimizeError: The query has a table or a column that no contract has.
    """
    for scope in traverse_scope(query):
        if unknown := {table.name for table in scope.sources.values() if isinstance(table, exp.Table)} - set(SCHEMA):
            raise OptimizeError(f"no contract of {', '.join(sorted(unknown))}")
    result = qualify(query.copy(), schema=SCHEMA, dialect="databricks", validate_qualify_columns=True)
    assert isinstance(result, exp.Query)
    return result


def origins_of(query: exp.Query) -> dict[str, set[str]]:
    """Return, for each column of a view, the table columns that it is derived from, as `table.column`."""
    qualified_query = qualified(query)
    return {name: set(_origins(name, qualified_query)) for name in qualified_query.named_selects}


def _origins(column: str, query: exp.Query) -> Iterator[str]:
    for node in lineage(column, query, schema=SCHEMA, dialect="databricks").walk():
        if isinstance(node.expression, exp.Table) and not node.downstream:
            column_name = node.name.rpartition(".")[2].strip('"')
            yield f"{node.expression.name}.{column_name}"


VIEWS = {name: query_of(text) for name, text in (serving_views() | customer_views()).items()}


def test_every_view_of_the_sql_files_is_tested() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted((PROJECT / "src/cdp_lib/serving").glob("*.sql"))]
    created = [statement.this.name for text in texts for statement in parse(text, read="databricks") if statement]
    assert sorted(created) == sorted(VIEWS)
    assert len(created) > 15


@pytest.mark.parametrize("name", VIEWS)
def test_no_column_of_a_view_is_derived_from_personal_data(name: str) -> None:
    for column, origins in origins_of(VIEWS[name]).items():
        assert origins & (PERSONAL | AS_RECEIVED) == set(), f"{name}.{column}"


@pytest.mark.parametrize("name", VIEWS)
def test_every_column_of_a_view_is_in_a_contract(name: str) -> None:
    origins = set().union(*origins_of(VIEWS[name]).values())
    assert origins
    assert origins <= {f"{table}.{column}" for table, columns in SCHEMA.items() for column in columns}


def test_origins_are_found_through_joins_unions_and_nested_queries() -> None:
    customers = origins_of(VIEWS["customers"])
    assert customers["sales"] == {"customer_value_gold.transaction_count"}
    assert customers["country"] == {"persons_silver.country"}
    assert origins_of(VIEWS["store_sales"])["revenue"] == {"store_product_performance_gold.revenue_generated"}
    assert "retails_silver_quarantine.broken_rules" in origins_of(VIEWS["quarantined_rows"])["rule"]


@pytest.mark.parametrize(
    ("query", "column", "origin"),
    [
        ("SELECT customer_id, email FROM customers_silver", "email", "customers_silver.email"),
        ("SELECT upper(c.full_name) AS label FROM customers_silver c", "label", "customers_silver.full_name"),
        ("SELECT * FROM customer_demographics_gold", "age_band", "customer_demographics_gold.age_band"),
        (
            "SELECT n.who AS id FROM (SELECT sha2(email, 256) AS who FROM crm_contacts_silver) n",
            "id",
            "crm_contacts_silver.email",
        ),
        (
            "WITH young AS (SELECT person_id, age_band FROM customer_demographics_gold)"
            " SELECT segment, max(CASE WHEN age_band = '18-24' THEN 1 END) AS has_young"
            " FROM customer_value_gold v JOIN young y ON v.person_id = y.person_id GROUP BY segment",
            "has_young",
            "customer_demographics_gold.age_band",
        ),
        (
            "SELECT category AS word FROM product_performance_gold UNION ALL SELECT full_name FROM customers_silver",
            "word",
            "customers_silver.full_name",
        ),
        (
            "SELECT v.segment, (SELECT max(c.email) FROM customers_silver c WHERE c.customer_id = v.person_id) AS x"
            " FROM customer_value_gold v",
            "x",
            "customers_silver.email",
        ),
        (
            "SELECT element FROM (SELECT explode(array(full_name)) AS element FROM customers_silver)",
            "element",
            "customers_silver.full_name",
        ),
        (
            "SELECT first_value(email) OVER (PARTITION BY country ORDER BY customer_id) AS first FROM customers_silver",
            "first",
            "customers_silver.email",
        ),
        (
            "SELECT named_struct('city', d.city) AS place FROM customer_demographics_gold d",
            "place",
            "customer_demographics_gold.city",
        ),
        ("SELECT record AS row FROM customers_silver_quarantine", "row", "customers_silver_quarantine.record"),
    ],
)
def test_view_with_personal_data_is_detected(query: str, column: str, origin: str) -> None:
    bad = query_of(query)
    assert origin in origins_of(bad)[column] & (PERSONAL | AS_RECEIVED)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT person_id, seg FROM customer_value_gold",
        "SELECT v.person_id, v.seg FROM customer_value_gold v",
        "SELECT count(*) AS customers FROM customer_value_gold WHERE seg = 'Lost'",
        "SELECT count(*) AS customers FROM customer_value_gold GROUP BY seg",
        "SELECT v.segment FROM customer_value_gold v JOIN customer_segments_gold s ON v.person_id = s.customer",
        "SELECT person_id FROM customer_values_gold",
        "SELECT (SELECT max(x) FROM customer_values_gold) AS x FROM customer_value_gold",
    ],
)
def test_view_with_an_unknown_table_or_column_is_detected(query: str) -> None:
    bad = query_of(query)
    with pytest.raises(OptimizeError):
        origins_of(bad)
