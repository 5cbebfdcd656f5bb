import re

import pytest

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.analytics import ANALYTICS_TABLES
from cdp_lib.contracts.bronze import BRONZE_TABLES, LINEAGE_COLUMNS, tables_of
from cdp_lib.contracts.consent import CONSENT_TABLES
from cdp_lib.contracts.gold import GOLD_TABLES
from cdp_lib.contracts.identity import IDENTITY_TABLES, PERSON_GROUPS
from cdp_lib.contracts.ops import ERASURE_REQUESTS_OPS, OPS_TABLES, PIPELINE_RUNS_OPS
from cdp_lib.contracts.profile import PROFILE_TABLES
from cdp_lib.contracts.silver import BUSINESS_DATE_SILVER, RETAILS_SILVER, SILVER_TABLES
from cdp_lib.contracts.table import (
    BATCH_ID,
    KEY_IS_UNIQUE,
    QUARANTINE_COLUMNS,
    VALUES_FIT,
    WARNINGS,
    BronzeContract,
    Column,
    Rule,
    TableContract,
)
from cdp_lib.mapping import ATTRIBUTES
from cdp_lib.pipeline.graph import platform_graph
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.published import PUBLISHED_TABLES

BRONZE_OF = {
    table.contract: table.reads[0]
    for table in platform_graph().tables.values()
    if isinstance(table.materialization, MergeByKey)
}
"""For each silver table that received rows are merged into: its bronze table."""

every_table = pytest.mark.parametrize("contract", TABLES.values(), ids=TABLES)

PROMISED = {
    "sales_by_country_gold": "country total_sales",
    "customer_product_affinity_gold": (
        "customer_id full_name product_id product_name category total_quantity_purchased purchase_frequency"
    ),
    "store_product_performance_gold": "store_id store_name product_id product_name quantity_sold revenue_generated",
    "price_segment_analysis_gold": "price_segment category transaction_count total_quantity total_revenue",
    "seasonal_analysis_gold": "season category seasonal_revenue seasonal_quantity",
    "category_country_performance_gold": "country category revenue quantity_sold unique_products",
    "country_detailed_analysis_gold": (
        "country unique_customers unique_stores total_transactions total_quantity_sold total_revenue"
        " avg_transaction_value unique_products"
    ),
    "store_customer_analysis_gold": (
        "store_id store_name location unique_customers total_transactions avg_transactions_per_customer"
    ),
    "monthly_sales_gold": (
        "transaction_year transaction_quarter transaction_month monthly_revenue monthly_quantity"
        " monthly_transactions monthly_customers"
    ),
    "product_performance_gold": (
        "product_id product_name category total_quantity_sold total_revenue unique_transactions unique_customers"
    ),
    "customer_registration_trends_gold": "reg_year reg_month country new_customers",
    "customers_silver": "customer_id full_name email country registration_date",
    "retails_silver": (
        "transaction_id customer_id product_id store_id quantity transaction_date full_name email country"
        " registration_date product_name category price store_name location"
    ),
}


@pytest.mark.parametrize("name", PROMISED)
def test_table_begins_with_the_columns_promised_to_readers(name: str) -> None:
    promised = tuple(PROMISED[name].split())
    assert TABLES[name].column_names[: len(promised)] == promised


def test_catalogue_has_every_table_and_quarantine_and_changes_of_tables_with_rules() -> None:
    tables = (*BRONZE_TABLES, *SILVER_TABLES, *IDENTITY_TABLES, *GOLD_TABLES, *ANALYTICS_TABLES, *PROFILE_TABLES)
    tables = (*tables, *CONSENT_TABLES, *OPS_TABLES)
    derived = {f"{table.name}_{kind}" for table in tables if table.rules for kind in ("quarantine", "changes")}
    followed = (
        "activities",
        "consent_current",
        "consent_events",
        "identity_edges",
        "identity_records",
        "person_links",
        "persons",
        "product_prices",
    )
    derived |= {f"{name}_silver_changes" for name in followed}
    assert {name: table.name for name, table in TABLES.items()} == {name: name for name in TABLES}
    assert set(TABLES) == {table.name for table in tables} | derived
    assert len(TABLES) == len(tables) + len(derived)


def test_catalogue_has_the_tables_of_the_graph_and_the_ops_tables() -> None:
    built = {contract.name for table in platform_graph().tables.values() for contract in table.contract.with_quarantine}
    changes = {
        table.contract.changes.name
        for table in platform_graph().tables.values()
        if table.contract.rules or getattr(table.materialization, "is_followed", False)
    }
    assert set(TABLES) == built | changes | {table.name for table in OPS_TABLES}


@every_table
def test_comment_begins_with_the_grain(contract: TableContract) -> None:
    assert contract.comment.startswith("One row: " if contract == BUSINESS_DATE_SILVER else "One row per ")
    assert contract.comment.endswith(".")


@every_table
def test_every_column_has_a_comment(contract: TableContract) -> None:
    assert [column.name for column in contract.columns if len(column.comment) < 5] == []


@every_table
def test_names_are_in_snake_case_and_contain_the_layer(contract: TableContract) -> None:
    assert contract.layer in contract.name
    assert [name for name in contract.column_names if name != name.lower() or " " in name] == []


NULLABLE_KEYS = {("product_prices_silver", "valid_from")}
"""Key columns in which null is a value: the first known price of a product has no start."""


@every_table
def test_key_columns_are_never_null(contract: TableContract) -> None:
    keys = {(contract.name, c.name) for c in contract.columns if c.name in contract.key and not c.required}
    assert keys <= NULLABLE_KEYS


@pytest.mark.parametrize(
    "contract",
    [
        table
        for table in (*SILVER_TABLES, *GOLD_TABLES, *ANALYTICS_TABLES, *OPS_TABLES)
        if table not in (PIPELINE_RUNS_OPS, BUSINESS_DATE_SILVER)
    ],
    ids=lambda contract: contract.name,
)
def test_tables_above_bronze_have_a_key(contract: TableContract) -> None:
    assert contract.key


@every_table
def test_money_is_decimal(contract: TableContract) -> None:
    words = {"price", "amount", "rate", "revenue"}
    # A price segment is a word, although its name looks like a price. Bronze keeps text as received.
    money = [c for c in contract.columns if words & set(c.name.split("_")) and c.name != "price_segment"]
    exact = "DECIMAL" if contract.layer != "bronze" else ("DECIMAL", "STRING")
    assert [column.name for column in money if not column.type.startswith(exact)] == []


PERSONAL = {
    "full_name": "name",
    "fullname": "name",
    "email": "email",
    "emailaddress1": "email",
    "identity": "email",
    "identifiers": "email",
    "identifier": "email",
    "record_a": "email",
    "record_b": "email",
    "author": "name",
    "first_name": "name",
    "last_name": "name",
    "blocks": "name",
    "street": "address",
    "linked_to": "email",
    "component": "email",
    **{f"{group}_record": "email" for group in PERSON_GROUPS},
    "phone": "phone",
    "mobilephone": "phone",
    "birth_date": "birth_date",
    "birthdate": "birth_date",
    "age_band": "birth_date",
    "generation": "birth_date",
    "gender": "gender",
    "gendercode": "gender",
    "city": "address",
    "address1_city": "address",
    "postal_code": "address",
    "address1_postalcode": "address",
    "anonymous_id": "device",
    "attributes": "attributes",
    "record": "record",
    "_rescued_data": "record",
}

IDENTITY = {
    table.name
    for each in (*IDENTITY_TABLES, *CONSENT_TABLES)
    if "record_key" in each.types
    for table in (each, each.changes)
}
"""Tables in which the key of a record may be an e-mail address. The key of a quarantine is a number."""


@every_table
def test_personal_data_is_marked(contract: TableContract) -> None:
    personal = PERSONAL | ({"record_key": "email"} if contract.name in IDENTITY else {})
    personal |= {"name": "record", "found": "record"} if contract == ERASURE_REQUESTS_OPS else {}
    classes = {column.name: column.pii for column in contract.columns if column.name in personal or column.pii}
    missing = object()
    assert {name: personal.get(name, missing) for name in classes} == classes


@pytest.mark.parametrize("silver", BRONZE_OF, ids=lambda contract: contract.name)
def test_silver_has_the_classes_of_personal_data_of_bronze(silver: TableContract) -> None:
    classes = {column.pii for column in BRONZE_OF[silver].columns} - {"record"}
    assert {column.pii for column in silver.columns} - {"attributes"} == classes


@pytest.mark.parametrize("contract", BRONZE_TABLES, ids=lambda contract: contract.name)
def test_bronze_tables_have_lineage_columns_and_are_clustered_by_version(contract: BronzeContract) -> None:
    assert contract.columns == (*contract.received_columns, *LINEAGE_COLUMNS)
    assert (contract.partitioned_by, contract.clustered_by) == ((), ("_version",))


def test_growing_tables_are_clustered_by_the_columns_of_filters() -> None:
    assert {
        name: contract.clustered_by
        for name, contract in TABLES.items()
        if contract.clustered_by and contract.layer != "bronze"
    } == {
        "transactions_silver": ("transaction_date", "customer_id"),
        "retails_silver": ("transaction_date", "customer_id", "product_id"),
        "events_silver": ("occurred_at", "customer_id"),
        "id_keys_silver": ("entity", "source_id"),
        "activities_silver": ("activity_date",),
        "person_links_silver": ("person_id",),
        "persons_silver": ("person_id",),
        "consent_current_silver": ("person_id",),
        "customer_profile_gold": ("person_id",),
        "purchases_silver": ("purchase_date", "person_id"),
        "customer_product_affinity_gold": ("customer_id", "product_id"),
        "pipeline_runs_ops": ("table_name",),
    }


@every_table
def test_clustering_columns_have_statistics(contract: TableContract) -> None:
    # Delta collects statistics of the first 32 columns, except arrays.
    types = {column.name: column.type for column in contract.columns[:32]}
    assert all(not types[name].startswith("ARRAY") for name in contract.clustered_by)


def test_only_merged_tables_have_deletion_vectors_and_no_published_table_has() -> None:
    with_vectors = {contract for contract in TABLES.values() if contract.has_deletion_vectors}
    assert with_vectors == {*BRONZE_OF, RETAILS_SILVER}
    assert not with_vectors & {*PUBLISHED_TABLES}


def test_tables_of_returns_the_bronze_tables_of_a_source() -> None:
    assert [table.entity for table in tables_of("database")] == ["products", "stores", "transactions"]
    assert [table.name for table in tables_of("crm")] == ["crm_contacts_bronze"]
    assert tables_of("telegraph") == ()


@pytest.mark.parametrize("table", BRONZE_TABLES, ids=lambda table: table.name)
def test_record_key_consists_of_received_columns(table: BronzeContract) -> None:
    assert table.record_key
    assert {*table.record_key} <= {column.name for column in table.received_columns}


def test_select_list_casts_every_column_in_order() -> None:
    contract = TableContract(
        "t_silver", "silver", "", (Column("b", "INT", ""), Column("a", "DECIMAL(18,2)", "")), ("b",)
    )
    assert contract.select_list == ("cast(`b` as INT) as `b`", "cast(`a` as DECIMAL(18,2)) as `a`")


def test_quarantine_has_the_record_the_broken_rules_and_the_batch() -> None:
    quarantine = RETAILS_SILVER.quarantine
    assert (quarantine.name, quarantine.layer) == ("retails_silver_quarantine", "silver")
    assert quarantine.columns == QUARANTINE_COLUMNS
    assert [column.name for column in QUARANTINE_COLUMNS if column.required] == ["record", "broken_rules", "_batch_id"]
    assert not quarantine.rules


def test_with_quarantine_adds_the_quarantine_of_a_table_with_rules() -> None:
    assert RETAILS_SILVER.with_quarantine == (RETAILS_SILVER, RETAILS_SILVER.quarantine)
    assert RETAILS_SILVER.quarantine.with_quarantine == (RETAILS_SILVER.quarantine,)


def test_changes_table_has_the_columns_of_table_and_quarantine_and_a_header() -> None:
    changes = RETAILS_SILVER.changes
    assert (changes.name, changes.layer) == ("retails_silver_changes", "silver")
    assert changes.partitioned_by == ("_change_set",)
    types = changes.types
    for contract in RETAILS_SILVER.with_quarantine:
        assert {name: types[name] for name in contract.column_names} == contract.types
    # A header row has no values of the table's columns, and a row for a touched key has only some.
    assert [column.name for column in changes.columns if column.required] == ["_change_set", "_change_type"]
    assert set(changes.column_names) == {
        *("_change_set", "_change_type", "_header"),
        *RETAILS_SILVER.column_names,
        *RETAILS_SILVER.quarantine.column_names,
    }
    assert not changes.rules


@pytest.mark.parametrize("contract", SILVER_TABLES, ids=lambda contract: contract.name)
def test_rules_of_a_table_have_unique_names_and_a_meaning(contract: TableContract) -> None:
    names = [rule.name for rule in contract.rules]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+(_[a-z]+)+", name)] == []
    assert [rule.name for rule in contract.rules if not re.fullmatch(r"[A-Z].{10,}\.", rule.meaning)] == []


@pytest.mark.parametrize("contract", SILVER_TABLES, ids=lambda contract: contract.name)
def test_table_with_rules_ends_with_warnings_and_batch(contract: TableContract) -> None:
    assert (contract.columns[-2:] == (WARNINGS, BATCH_ID)) == bool(contract.rules)


@pytest.mark.parametrize("contract", SILVER_TABLES, ids=lambda contract: contract.name)
def test_required_column_has_a_rejecting_rule(contract: TableContract) -> None:
    conditions = " ".join(rule.holds for rule in contract.rules if rule.severity == "reject")
    never_null = {BATCH_ID.name, *contract.partitioned_by}  # the month is derived from a required day
    required = [column.name for column in contract.columns if column.required and column.name not in never_null]
    unchecked = [name for name in required if not re.search(rf"\b{name}\b", conditions)]
    assert contract not in BRONZE_OF or unchecked == []


@pytest.mark.parametrize("silver", BRONZE_OF, ids=lambda contract: contract.name)
def test_merged_table_checks_values_and_keys(silver: TableContract) -> None:
    assert silver.rules[:2] == (VALUES_FIT, KEY_IS_UNIQUE)
    assert len(silver.key) == len(BRONZE_OF[silver].record_key)


def test_every_bronze_table_feeds_one_silver_table() -> None:
    assert sorted(bronze.name for bronze in BRONZE_OF.values()) == sorted(bronze.name for bronze in BRONZE_TABLES)
    assert set(BRONZE_OF) <= set(SILVER_TABLES)


@pytest.mark.parametrize("silver", BRONZE_OF, ids=lambda contract: contract.name)
def test_optional_column_is_text_and_warns_if_its_value_does_not_fit(silver: TableContract) -> None:
    """Only an amount or a time of a sale is refused if it does not fit: a sum without the sale would be wrong."""
    bronze = BRONZE_OF[silver]
    severe = dict.fromkeys(("sold_at", "unit_price", "line_amount", "discount_amount", "tax_amount"), "reject")
    flags = {rule.holds: rule.severity for rule in silver.rules if rule.holds.endswith("_fits")}
    # Both tables have the received columns in the same order. The other columns of the silver table are derived.
    derived = {ATTRIBUTES, *silver.partitioned_by}
    silver_columns = [column for column in silver.columns if column.name not in derived]
    pairs = [
        (one, other)
        for one, other in zip(bronze.received_columns, silver_columns, strict=False)
        if one.optional and not one.default_from
    ]
    typed_names = [typed.name for _, typed in pairs if typed.type != "STRING"]
    assert flags == {f"_{name}_fits": severe.get(name, "warn") for name in typed_names}
    for received, typed in pairs:
        assert (received.type, typed.required) == ("STRING", False), typed.name
        assert received.name not in bronze.record_key


NEEDED = {
    "customers_bronze": {"customer_id"},
    "products_bronze": {"product_id", "price"},
    "store_bronze": {"store_id"},
    "transactions_bronze": {
        *("transaction_id", "customer_id", "product_id", "store_id", "quantity"),
    },
    "crm_contacts_bronze": {"contactid", "modifiedon"},
    "events_bronze": {"event_id", "event_type", "occurred_at"},
    "marketing_spend_bronze": {"month", "channel", "campaign", "amount", "currency"},
    "exchange_rates_bronze": {"month", "currency", "rate"},
    "consents_bronze": {"record_id", "purpose", "channel", "state", "decided_at"},
}


def test_columns_that_identify_or_price_a_record_are_not_optional() -> None:
    needed = {
        contract.name: {column.name for column in contract.received_columns if not column.optional}
        for contract in BRONZE_TABLES
    }
    assert needed == NEEDED


@pytest.mark.parametrize("silver", BRONZE_OF, ids=lambda contract: contract.name)
def test_version_of_a_table_may_be_missing(silver: TableContract) -> None:
    if silver.version:
        [version] = [column for column in silver.columns if column.name == silver.version]
        assert (version.type, version.required) == ("TIMESTAMP", False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"columns": (Column("a", "INT", ""), Column("a", "STRING", ""))}, "a column is named twice"),
        ({"key": ("b",)}, "the contract has no column b"),
        ({"partitioned_by": ("c",)}, "the contract has no column c"),
        ({"version": "d"}, "the contract has no column d"),
        ({"clustered_by": ("a", "e")}, "the contract has no column e"),
        ({"counts_people": "f"}, "the contract has no column f"),
        ({"clustered_by": ("a", "a", "a", "a", "a")}, "a table can be clustered by at most 4 columns"),
        ({"key": ("b",), "partitioned_by": ("a", "c"), "version": "d"}, "the contract has no column b, c, d"),
    ],
)
def test_invalid_contract_is_rejected(wrong: dict[str, object], message: str) -> None:
    fields = {"name": "t", "layer": "silver", "comment": "", "columns": (Column("a", "INT", ""),)}
    with pytest.raises(ValueError, match=f"t: {message}"):
        TableContract(**(fields | wrong))


def test_equal_contracts_have_the_same_hash() -> None:
    contracts = [
        TableContract("t", "gold", "", (Column("a", "INT", ""),), rules=(Rule("r", "true", ""),)) for _ in "12"
    ]
    assert len(dict.fromkeys(contracts)) == 1
