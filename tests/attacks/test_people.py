"""Attacks on personal data: small groups, single customers, names of totals, and SQL in the names of groups."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as sf
from sqlglot import exp, parse_one
from tests.unit.storage.workspace import statements_of, store_of_databricks, strings_in
from tests.unit.warehouse import PARAMETERS

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.analytics import (
    COHORT_RETENTION_GOLD,
    CUSTOMER_VALUE_GOLD,
    KPI_MONTHLY_GOLD,
    MODEL_QUALITY_GOLD,
    SEGMENT_MOVEMENTS_GOLD,
    SEGMENT_QUALITY_GOLD,
)
from cdp_lib.contracts.gold import CUSTOMER_REGISTRATION_TRENDS_GOLD, PRODUCT_PERFORMANCE_GOLD
from cdp_lib.contracts.identity import PERSONS_SILVER
from cdp_lib.contracts.kpis import KPIS, MEASURES
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.state import States, TableState, read_states, write_states
from cdp_lib.protection import protect
from cdp_lib.published import PUBLISHED_TABLES, Copies
from cdp_lib.serving import Serving, customer_views, publish_views, serving_views
from cdp_lib.settings import Settings
from cdp_lib.silver.received import text_or_unknown
from cdp_lib.silver.reserved import NAMES_OF_TOTALS, unless_total
from cdp_lib.storage import DeltaStore
from cdp_local.semantic_model import MODEL_TABLES
from cdp_local.synapse_views import customer_views_script, views_script

PROJECT = Path(__file__).resolve().parents[2]
DASHBOARD = PROJECT / "resources" / "dashboards" / "cdp.lvdash.json"
MINIMUM = 5
COUNTING_TABLES = tuple(contract for contract in TABLES.values() if contract.counts_people)
PER_CUSTOMER = {contract.name for contract in TABLES.values() if contract.is_per_customer}

DEFAULTS: dict[str, object] = {
    "BIGINT": 0,
    "INT": 0,
    "STRING": "x",
    "DATE": date(2026, 1, 31),
    "DOUBLE": 0.5,
    "BOOLEAN": True,
    "DECIMAL(38,4)": Decimal(1),
    "DECIMAL(38,3)": Decimal(1),
}


def row_of(contract: TableContract, **values: object) -> dict[str, object]:
    """Return a row with the given values, and with some value in each other required column."""
    required = {column.name: DEFAULTS.get(column.type) for column in contract.columns if column.required}
    return required | values


# Small groups: serving views


@pytest.fixture
def small_shop(store: DeltaStore) -> DeltaStore:
    """Tables of a shop: four customers in Egypt (segment Loyal), six in Kuwait (Lost), one of them a buyer."""
    people = [(number, "Egypt" if number < 5 else "Kuwait") for number in range(1, 11)]
    values = [
        row_of(
            CUSTOMER_VALUE_GOLD,
            person_id=number,
            segment="Loyal" if country == "Egypt" else "Lost",
            transaction_count=int(number < 6),
            total_revenue=Decimal(1000 * (number < 6)),
            historic_clv=Decimal(1000 * (number < 6)),
            recency_days=number if number < 6 else None,
            churn_probability=0.9 if number < 6 else None,
            predictive_clv=7.0 if number < 6 else None,
        )
        for number, country in people
    ]
    rows = {
        PERSONS_SILVER: [row_of(PERSONS_SILVER, person_id=n, country=c) for n, c in people],
        CUSTOMER_VALUE_GOLD: values,
        SEGMENT_MOVEMENTS_GOLD: [
            row_of(SEGMENT_MOVEMENTS_GOLD, from_segment="Loyal", to_segment="Lost", customer_count=4),
            row_of(SEGMENT_MOVEMENTS_GOLD, from_segment="Lost", to_segment="Lost", customer_count=6),
        ],
        COHORT_RETENTION_GOLD: [
            row_of(COHORT_RETENTION_GOLD, window_start=size, cohort_size=size, retention=0.5) for size in (4, 6)
        ],
        CUSTOMER_REGISTRATION_TRENDS_GOLD: [
            row_of(CUSTOMER_REGISTRATION_TRENDS_GOLD, reg_month=size, new_customers=size) for size in (4, 6)
        ],
        MODEL_QUALITY_GOLD: [row_of(MODEL_QUALITY_GOLD, decile=size, customer_count=size) for size in (4, 6)],
        KPI_MONTHLY_GOLD: [
            row_of(
                KPI_MONTHLY_GOLD,
                dimension=dimension,
                dimension_value=f"{people} people",
                kpi=kpi,
                value=float(people),
                numerator=float(people),
                denominator=1.0,
                people=people,
            )
            for people in (4, 6)
            for dimension in ("all", "country", "channel", "segment")
            for kpi in ("active_customers", "new_customers", "clv_historic")
        ],
        PRODUCT_PERFORMANCE_GOLD: [row_of(PRODUCT_PERFORMANCE_GOLD, product_id=1, unique_customers=1)],
    }
    for contract, each in rows.items():
        store.replace(contract, store.frame(contract, each))
    return store


def shown(store: DeltaStore, minimum_cell_size: int) -> dict[str, list[dict[str, Any]]]:
    """Publish the serving views, and return their rows by name of the view."""
    written = publish_views(Serving(store, store, None, "USD", minimum_cell_size))
    return {
        name: [row.asDict() for row in store.session.table(store.name_of(name)).collect()]
        for name in written
        if name in serving_views()
    }


def test_views_show_no_figures_of_fewer_people_than_the_minimum(small_shop: DeltaStore) -> None:
    views = shown(small_shop, MINIMUM)
    for name in ("customer_segments", "customer_totals", "clv_bands", "churn_bands", "segment_movements"):
        assert views[name], name
        assert all(row["customers"] >= MINIMUM for row in views[name]), name
        assert not any("Egypt" in row.values() or row.get("segment") == "Loyal" for row in views[name]), name
    assert [row["cohort_size"] for row in views["cohort_retention"]] == [6]
    assert [row["customers"] for row in views["monthly_registrations"]] == [6]
    assert [row["customers"] for row in views["model_quality"]] == [6]
    assert {row["dimension_value"] for row in views["kpis"]} == {"6 people"}
    assert {row["channel"] for row in views["channel_kpis"]} == {"6 people"}
    assert all(row["active_customers"] in (6, None) for row in (*views["country_kpis"], *views["monthly_kpis"]))
    # Sales of a product describe the product, also if only one customer bought it.
    assert [row["customers"] for row in views["product_sales"]] == [1]


@pytest.mark.first_engine
def test_quality_views_show_the_latest_check_up_to_the_day_of_the_kpis(small_shop: DeltaStore) -> None:
    """The ledgers also have the check of a run for a later day. A view shows the day of the other figures."""
    earlier, day, later = date(2026, 1, 10), date(2026, 1, 20), date(2026, 1, 30)
    for contract in (MODEL_QUALITY_GOLD, SEGMENT_QUALITY_GOLD):
        checks = [row_of(contract, as_of=each, customer_count=6) for each in (earlier, day, later)]
        small_shop.replace(contract, small_shop.frame(contract, checks))
    kpis = [row_of(KPI_MONTHLY_GOLD, as_of=date(2026, 1, 25), people=6, is_complete=False)]
    small_shop.replace(KPI_MONTHLY_GOLD, small_shop.frame(KPI_MONTHLY_GOLD, kpis))
    views = shown(small_shop, MINIMUM)
    assert [row["as_of"] for row in views["model_quality"]] == [day]
    assert [row["as_of"] for row in views["segment_quality"]] == [day]


def test_figures_of_one_buyer_among_many_customers_are_withheld(small_shop: DeltaStore) -> None:
    """The six customers in Kuwait are enough. Only one of them has bought, so their revenue is that customer's."""
    [kuwait] = [
        row
        for row in shown(small_shop, MINIMUM)["customer_totals"]
        if (row["country"], row["segment"]) == ("Kuwait", "All segments")
    ]
    assert kuwait.pop("customers") == 6
    flags = ("is_all_countries", "is_all_segments")
    assert {value for name, value in kuwait.items() if name not in ("country", "segment", *flags)} == {None}


@pytest.mark.torture
def test_revenue_of_one_return_among_customers_without_a_sale_is_withheld(small_shop: DeltaStore) -> None:
    small_shop.replace(
        CUSTOMER_VALUE_GOLD,
        small_shop.frame(
            CUSTOMER_VALUE_GOLD,
            [
                row_of(CUSTOMER_VALUE_GOLD, person_id=n, segment="Lost", total_revenue=Decimal(-9 * (n == 6)))
                for n in range(5, 11)
            ],
        ),
    )
    views = shown(small_shop, MINIMUM)
    assert [(row["customers"], row["revenue"]) for row in views["customer_segments"]] == [(6, None)]
    assert {(row["customers"], row["buyers"], row["revenue"]) for row in views["customer_totals"]} == {(6, 0, None)}


@pytest.mark.torture
def test_a_minimum_of_one_withholds_nothing(small_shop: DeltaStore) -> None:
    views = shown(small_shop, 1)
    assert {row["segment"] for row in views["customer_segments"]} == {"Loyal", "Lost"}
    assert len(views["segment_movements"]) == len(views["cohort_retention"]) == 2
    assert {row["dimension_value"] for row in views["kpis"]} == {"4 people", "6 people"}


@pytest.mark.first_engine
@pytest.mark.parametrize("name", serving_views())
def test_view_for_readers_outside_the_team_has_no_row_per_customer(name: str) -> None:
    query = parse_one(serving_views()[name], read="databricks")
    tables = {table.name for table in query.find_all(exp.Table)}
    assert not {"customer_id", "person_id"} & {*query.named_selects}
    assert not tables & PER_CUSTOMER or "minimum_cell_size()" in serving_views()[name]


@pytest.mark.first_engine
def test_dashboard_reads_no_view_with_a_row_per_customer() -> None:
    assert customer_views()
    for dataset in json.loads(DASHBOARD.read_text(encoding="utf-8"))["datasets"]:
        query = parse_one("".join(dataset["queryLines"]), read="databricks")
        assert not {table.name for table in query.find_all(exp.Table)} & {*customer_views()}, dataset["name"]


@pytest.mark.first_engine
@pytest.mark.parametrize("contract", PUBLISHED_TABLES, ids=lambda contract: contract.name)
def test_every_count_of_customers_is_declared_or_belongs_to_sales(contract: TableContract) -> None:
    counts = [
        column.name
        for column in contract.columns
        if column.type == "BIGINT" and re.search(r"customer|cohort_size", column.name) and "_id" not in column.name
    ]
    # Figures of products, stores, countries and months are sales. A fit describes all customers.
    of_sales = ("unique_customers", "monthly_customers", "customers", "repeat_customer_count")
    is_fit = contract.name == "model_fits_gold"
    assert set(counts) - {contract.counts_people, *of_sales} <= ({"customer_count"} if is_fit else set())


@pytest.mark.first_engine
@pytest.mark.parametrize("kpi", KPIS, ids=lambda kpi: kpi.name)
def test_kpi_of_customers_counts_the_people_that_it_describes(kpi: Any) -> None:
    about_people = re.search(r"customer|buyer|user|people|person|active_before", f"{kpi.numerator} {kpi.denominator}")
    for dimension in kpi.dimensions:
        counts = kpi.counts_of_people(dimension)
        assert {name for count in counts for name in re.findall(r"[a-z_]+", count)} <= {*MEASURES}
        if about_people or (dimension in ("segment", "channel") and kpi.name != "marketing_spend"):
            assert counts, (kpi.name, dimension)


# Small groups: copies, Synapse, Power BI


@pytest.mark.torture
@pytest.mark.parametrize("contract", COUNTING_TABLES, ids=lambda contract: contract.name)
def test_copy_has_no_row_of_few_people(store: DeltaStore, contract: TableContract, tmp_path: Path) -> None:
    key = next(name for name in contract.key if contract.types[name] == "STRING")
    sizes = (0, 1, 4, 5, 6)
    rows = [row_of(contract, **{key: str(size), contract.counts_people: size}) for size in sizes]
    store.replace(contract, store.frame(contract, rows))
    store.publish(contract, Copies("", MINIMUM, True).rows_of(store, contract), str(tmp_path / "copies"))
    copied = DeltaTable(tmp_path / "copies" / contract.name).to_pyarrow_table(columns=[contract.counts_people])
    assert sorted(copied[contract.counts_people].to_pylist()) == [0, 5, 6]


@pytest.mark.first_engine
def test_tables_with_a_row_per_customer_are_not_copied_unless_asked_for() -> None:
    assert not {contract.name for contract in Copies("gold", MINIMUM, has_customers=False).tables()} & PER_CUSTOMER
    assert {contract.name for contract in Copies("gold", MINIMUM, has_customers=True).tables()} & PER_CUSTOMER
    assert Settings.from_parameters(PARAMETERS).synapse_customers is False


@pytest.mark.first_engine
def test_readers_of_synapse_have_no_view_with_a_row_per_customer() -> None:
    for name in PER_CUSTOMER & {contract.name for contract in PUBLISHED_TABLES}:
        assert f"BULK '{name}'" not in views_script()
        assert f"DROP VIEW IF EXISTS [sales].[{name.removesuffix('_gold')}]" in views_script()
    assert "[cdp_readers]" not in customer_views_script()


@pytest.mark.first_engine
@pytest.mark.parametrize("table", MODEL_TABLES, ids=lambda table: table.name)
def test_power_bi_withholds_few_people(table: Any) -> None:
    path = PROJECT / "powerbi/retail-cdp.SemanticModel/definition/tables" / f"{table.name}.tmdl"
    text = path.read_text(encoding="utf-8")
    if people := table.contract.counts_people:
        assert f"each [{people}] = null or [{people}] = 0 or [{people}] >= {MINIMUM})" in text
        assert "Table.SelectColumns(Shown, " in text
    if table.contract.is_per_customer:
        assert all(re.match(rf"IF\(COUNT.* >= {MINIMUM}, ", measure.dax) for measure in table.measures)
        assert re.search(r"column person_id\n\t\tdataType: int64\n\t\tisHidden", text)


# Single customers: no default group sees them


@pytest.mark.first_engine
def test_default_groups_get_no_view_with_a_row_per_customer() -> None:
    bundle = yaml.safe_load((PROJECT / "databricks.yml").read_text(encoding="utf-8"))
    # By default, only the identities that deploy and run the jobs read the views.
    jobs = {"${var.service_principal}", "${var.deployer}"}
    assert bundle["variables"]["customers_group"]["default"] in jobs
    deployed = [target["resources"]["schemas"] for target in bundle["targets"].values() if "run_as" in target]
    assert len(deployed) >= 2
    for schemas in deployed:
        readers = {name: {grant["principal"] for grant in schema.get("grants", [])} for name, schema in schemas.items()}
        assert readers["sales"] <= jobs
        assert readers["customers"] - jobs == {"${var.customers_group}"}
        assert readers["serving"] - jobs == {"${var.analysts_group}"}


@pytest.mark.first_engine
@pytest.mark.parametrize("name", ["sales_serving", "SALES_SERVING", "sales", "Sales"])
def test_views_of_customers_need_a_schema_of_their_own(name: str) -> None:
    with pytest.raises(CdpError, match=r"^Parameter 'customers_schema' is .*choose a schema of its own"):
        Settings.from_parameters(PARAMETERS | {"serving_schema": "sales_serving", "customers_schema": name})


def test_view_of_customers_leaves_the_schema_that_everybody_reads(store: DeltaStore) -> None:
    """An earlier version had written the view `customers` next to the other views."""
    store.create_view("customers", "SELECT 1 AS customer_id")
    write_states(store, {"view customers": TableState(fingerprint="x")})
    publish_views(Serving(store, store, None, "USD", MINIMUM))
    assert "view customers" not in read_states(store)
    assert not new_store_of(store).has_view("customers")


def new_store_of(store: DeltaStore) -> DeltaStore:
    """Return a new store of the same schema, which knows no view yet."""
    _, catalog, _, schema, *_ = store.name_of("").split("`")
    return type(store)(store.session, catalog, schema)


# Names of totals


@pytest.mark.parametrize(
    "name",
    ["All countries", "ALL COUNTRIES", "  all   countries ", "All\u00a0countries\t", "aLL cHANNELS", "All segments"],
)
def test_value_can_not_have_the_name_of_a_total(spark: SparkSession, name: str) -> None:
    [(value,)] = spark.range(1).select(unless_total(text_or_unknown(sf.lit(name)))).collect()
    assert value.endswith(" (value)")
    assert value.lower() not in {total.lower() for total in NAMES_OF_TOTALS}


@pytest.mark.torture
@pytest.mark.parametrize("name", ["Egypt", "All countries of the Gulf", "All countries (value)"])
def test_other_names_stay_as_they_are(spark: SparkSession, name: str) -> None:
    assert spark.range(1).select(unless_total(text_or_unknown(sf.lit(name)))).collect() == [(name,)]


@pytest.mark.first_engine
def test_every_name_of_a_total_is_reserved() -> None:
    texts = [*serving_views().values(), DASHBOARD.read_text(encoding="utf-8")]
    totals = {name for text in texts for name in re.findall(r"'(All [a-z]+)'", text)}
    assert totals and totals <= {*NAMES_OF_TOTALS}


@pytest.mark.first_engine
def test_views_tell_totals_from_countries_and_segments_of_the_same_name(store: DeltaStore) -> None:
    """The rows of the country are the same as those of a country with another name."""

    def rows_with(name: str) -> dict[str, list[tuple[Any, ...]]]:
        people = [(number, name if number < 3 else "Kuwait") for number in range(1, 7)]
        value = {"segment": "Lost", "transaction_count": 1, "churn_probability": 0.5, "predictive_clv": 7.0}
        kpis = [("all", "all", 6.0), ("country", name, 2.0), ("country", "Kuwait", 4.0)]
        tables = {
            PERSONS_SILVER: [row_of(PERSONS_SILVER, person_id=n, country=c) for n, c in people],
            CUSTOMER_VALUE_GOLD: [row_of(CUSTOMER_VALUE_GOLD, person_id=n, **value) for n, _ in people],
            KPI_MONTHLY_GOLD: [
                row_of(KPI_MONTHLY_GOLD, dimension=dimension, dimension_value=place, kpi="customers", value=count)
                for dimension, place, count in kpis
            ],
        }
        for contract, rows in tables.items():
            store.replace(contract, store.frame(contract, rows))
        publish_views(Serving(store, store, None, "USD", 1))
        found = {}
        for view in ("country_kpis", "customer_totals", "clv_bands", "churn_bands"):
            shown = store.session.table(store.name_of(view))
            place = (
                sf.when(shown.is_all_countries, "total").when(shown.country == name, "named").otherwise(shown.country)
            )
            found[view] = sorted(map(tuple, shown.withColumn("country", place).collect()), key=repr)
            assert len({row for row in found[view] if "total" in row}) > 0
        return found

    assert rows_with("All countries") == rows_with("all") == rows_with("Egypt")


# Masks


@pytest.mark.first_engine
@pytest.mark.parametrize(
    "group",
    ["O'Brien", "a') OR true --", "a\\", "a\\') THEN value ELSE value END --", "`x`", "$$", "a\nb", 'a"b', "ü group"],
    ids=[
        "quote",
        "injection",
        "backslash",
        "escaped quote",
        "backtick",
        "dollars",
        "newline",
        "double quote",
        "umlaut",
    ],
)
def test_name_of_a_group_is_only_a_string_in_the_mask(group: str) -> None:
    def tokens(name: str) -> list[str]:
        store = store_of_databricks(unmasked_group=name)
        store.create(CUSTOMERS_SILVER)
        function = next(each for each in statements_of(store) if each.startswith("CREATE OR REPLACE FUNCTION"))
        return strings_in(function)

    assert group in tokens(group)
    assert [text for text in tokens(group) if text != group] == [text for text in tokens("plain") if text != "plain"]


@pytest.mark.first_engine
@pytest.mark.parametrize("name", ["a` SET TAGS ('x' = 'y') --", "`; DROP TABLE customers_silver", "a'b"])
def test_name_of_a_received_column_is_only_an_identifier(name: str) -> None:
    store = store_of_databricks(CUSTOMERS_SILVER, unmasked_group="stewards")
    rows: Any = type("Rows", (), {"dtypes": [(name, "string")]})
    store._protect_columns(CUSTOMERS_SILVER, rows, [name])
    escaped = name.replace("`", "``")
    changes = [each for each in statements_of(store) if "ALTER COLUMN" in each]
    assert changes and all(f" ALTER COLUMN `{escaped}` SET " in each for each in changes)


@pytest.mark.first_engine
def test_run_that_would_read_masks_changes_nothing() -> None:
    store = store_of_databricks(CUSTOMERS_SILVER, unmasked_group="stewards")
    store.session.groups = set()  # type: ignore[attr-defined]
    states: States = {CUSTOMERS_SILVER.name: TableState(1, "x")}
    with pytest.raises(CdpError, match="is not in the account group 'stewards'") as refused:
        protect(store, states)
    assert statements_of(store) == [] and states.keys() == {CUSTOMERS_SILVER.name}
    assert "\n" not in str(refused.value)


@pytest.mark.first_engine
@pytest.mark.parametrize("contract", [c for c in TABLES.values() if c.personal_columns], ids=lambda c: c.name)
def test_no_column_with_personal_data_is_created_without_its_mask(contract: TableContract) -> None:
    store = store_of_databricks(unmasked_group="stewards")
    store.create(contract)
    created = next(each for each in statements_of(store) if each.startswith("CREATE TABLE"))
    assert created.count(" MASK `cat1`.`sales`.`mask_") == len(contract.personal_columns)
