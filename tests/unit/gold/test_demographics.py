from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row

from cdp_lib.contracts.analytics import CUSTOMER_DEMOGRAPHICS_GOLD
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import (
    CRM_CONTACTS_SILVER,
    CUSTOMER_ACQUISITIONS_SILVER,
    CUSTOMERS_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.frames import read_csv
from cdp_lib.gold.demographics import build_customer_demographics_gold
from cdp_lib.identity.rules import OFF
from cdp_lib.silver.persons import build_persons_silver

# On Spark, `make test` compares the whole table with the embedded engine instead (tests/end_to_end/test_refresh.py).
pytestmark = pytest.mark.torture

AS_OF = date(2026, 6, 30)

Demographics = Callable[..., dict[int, Row]]


@pytest.fixture
def demographics(spark, frame_of: Callable[..., DataFrame]) -> Demographics:
    """Return a function that builds rows of customer_demographics_gold, by customer id.

    Defaults of a customer: country Egypt, acquired a year before AS_OF. The contacts get the ids c1, c2 and so on. By
    default, a contact is linked to customer 1, with the reason `customer_id`. A sale is (customer, location, day) or
    (customer, location).
    """

    def build(
        customers: dict[int, dict[str, Any]],
        contacts: list[dict[str, Any]] = (),
        sales: list[tuple[Any, ...]] = (),
        links: list[dict[str, Any]] | None = None,
        as_of: date = AS_OF,
    ) -> dict[int, Row]:
        with_defaults = [{"acquired": AS_OF - timedelta(365), "country": "Egypt"} | row for row in customers.values()]
        named = [
            {"contact_id": f"c{number}", "of": 1, "reason": "customer_id"} | c for number, c in enumerate(contacts, 1)
        ]
        if links is None:
            links = [
                {"record_key": f"contact:{c['contact_id']}", "person_id": c["of"], "reason": c["reason"]} for c in named
            ]
        countries = read_csv(spark, files("cdp_lib.reference") / "countries.csv")
        person_links = frame_of(
            PERSON_LINKS_SILVER.columns,
            *({"source": "crm_contacts"} | link for link in links),
            *(
                {
                    "record_key": f"customer:{n}",
                    "source": "customers",
                    "customer_id": n,
                    "person_id": n,
                    "reason": "customer_id",
                }
                for n in customers
            ),
        )
        persons = build_persons_silver(
            person_links,
            frame_of(
                CUSTOMERS_SILVER.columns,
                *(
                    {"customer_id": n, "country": row["country"], "registration_date": row["acquired"]}
                    for n, row in zip(customers, with_defaults, strict=True)
                ),
            ),
            frame_of(
                CRM_CONTACTS_SILVER.columns,
                *({name: value for name, value in c.items() if name not in ("of", "reason")} for c in named),
            ),
            countries,
            OFF,
        )
        frame = build_customer_demographics_gold(
            persons,
            frame_of(
                CUSTOMER_ACQUISITIONS_SILVER.columns,
                *(
                    {"person_id": n, "acquisition_date": row["acquired"]}
                    for n, row in zip(customers, with_defaults, strict=True)
                ),
            ),
            person_links,
            frame_of(
                RETAILS_SILVER.columns,
                *(
                    {
                        "customer_id": n,
                        "quantity": 1,
                        "location": location,
                        "transaction_date": day[0] if day else AS_OF,
                    }
                    for n, location, *day in sales
                ),
            ),
            countries,
            as_of,
            OFF,
        )
        assert frame.dtypes == [(column.name, column.type.lower()) for column in CUSTOMER_DEMOGRAPHICS_GOLD.columns]
        rows = frame.collect()
        found = {row.person_id: row for row in rows}
        assert len(found) == len(rows)
        required = [column.name for column in CUSTOMER_DEMOGRAPHICS_GOLD.columns if column.required]
        assert [row for row in rows if None in [row[name] for name in required]] == []
        return found

    return build


def modified(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


def sourced(row: Row, attribute: str, *columns: str) -> tuple[Any, ...]:
    """Return the value, the source and the confidence of an attribute.

    If `columns` are given, return their values instead of the value of the attribute.
    """
    return (*(row[name] for name in columns or [attribute]), row[f"{attribute}_source"], row[f"{attribute}_confidence"])


UNKNOWN = (None, None, None)


def test_customer_without_contact_has_a_row(demographics) -> None:
    [row] = demographics({1: {}}).values()
    assert row.asDict() == {
        "person_id": 1,
        "as_of": AS_OF,
        "age_band": None,
        "generation": None,
        "birth_date_source": None,
        "birth_date_confidence": None,
        "gender": None,
        "gender_source": None,
        "gender_confidence": None,
        "city": None,
        "city_source": None,
        "city_confidence": None,
        "country_code": "EG",
        "country": "Egypt",
        "country_source": "customers_api",
        "country_confidence": "high",
        "region": "Northern Africa",
        "tenure_band": "1-2 years",
        "shopper_type": None,
        "market_population": 114_540_000,
        "market_income_group": "Lower middle income",
        "market_currency": "EGP",
        "household_id": None,
        "attributes": None,
    }


def test_no_customers_give_no_rows(demographics) -> None:
    assert demographics({}, [{"city": "Cairo"}], [(1, "Egypt")]) == {}


# --- links of contacts


def test_link_by_number_has_high_and_link_by_email_medium_confidence(demographics) -> None:
    by_customer = demographics(
        {1: {}, 2: {}},
        [
            {"of": 1, "city": "Cairo", "gender": "female", "birth_date": date(2000, 1, 1)},
            {"of": 2, "city": "Giza", "gender": "male", "birth_date": date(1950, 1, 1), "reason": "email"},
        ],
    )
    assert sourced(by_customer[1], "city") == ("Cairo", "crm_by_id", "high")
    assert sourced(by_customer[1], "gender") == ("female", "crm_by_id", "high")
    assert sourced(by_customer[1], "birth_date", "age_band", "generation") == (
        "25-34",
        "Z",
        "crm_by_id",
        "high",
    )
    assert sourced(by_customer[2], "city") == ("Giza", "crm_by_link", "medium")
    assert sourced(by_customer[2], "gender") == ("male", "crm_by_link", "medium")
    assert sourced(by_customer[2], "birth_date", "age_band", "generation") == (
        "65+",
        "Boomer",
        "crm_by_link",
        "medium",
    )


def test_contact_belongs_only_to_linked_customer(demographics) -> None:
    contacts = [{"contact_id": "c1", "customer_id": 1, "city": "Cairo"}]
    assert sourced(demographics({1: {}, 2: {}}, contacts, links=[])[1], "city") == UNKNOWN
    other_customer = [{"record_key": "contact:c1", "person_id": 2, "reason": "customer_id"}]
    by_customer = demographics({1: {}, 2: {}}, contacts, links=other_customer)
    assert sourced(by_customer[1], "city") == UNKNOWN
    assert sourced(by_customer[2], "city") == ("Cairo", "crm_by_id", "high")


def test_identity_of_events_is_not_a_contact(demographics) -> None:
    contacts = [{"contact_id": "1", "city": "Cairo"}]
    links = [{"record_key": "device:1", "source": "events", "person_id": 1, "reason": "device"}]
    assert sourced(demographics({1: {}}, contacts, links=links)[1], "city") == UNKNOWN


# --- choice between contacts


def test_contact_modified_last_wins_over_contact_linked_by_number(demographics) -> None:
    by_email = {"city": "Giza", "modified_at": modified(9), "reason": "email"}
    [row] = demographics({1: {}}, [{"city": "Cairo", "modified_at": modified(1)}, by_email]).values()
    assert sourced(row, "city") == ("Giza", "crm_by_link", "low")


@pytest.mark.parametrize(
    ("first", "second"), [(modified(1), modified(2)), (None, modified(1))], ids=["earlier", "without a time"]
)
def test_contact_modified_last_wins(demographics, first: datetime | None, second: datetime) -> None:
    contacts = [{"city": "Giza", "modified_at": second}, {"city": "Cairo", "modified_at": first}]
    assert demographics({1: {}}, contacts)[1].city == "Giza"
    assert demographics({1: {}}, contacts[::-1])[1].city == "Giza"


def test_lower_contact_id_wins_a_tie(demographics) -> None:
    contacts = [{"contact_id": "b", "city": "Giza"}, {"contact_id": "a", "city": "Cairo"}]
    assert demographics({1: {}}, contacts)[1].city == "Cairo"
    assert demographics({1: {}}, contacts[::-1])[1].city == "Cairo"


def test_each_group_comes_from_best_contact_with_a_value(demographics) -> None:
    contacts = [
        {"city": "Cairo", "modified_at": modified(1)},
        {"gender": "male", "birth_date": date(1970, 1, 1), "modified_at": modified(2)},
        {"postal_code": None, "household_id": "h", "modified_at": modified(3), "reason": "email"},
    ]
    [row] = demographics({1: {}}, contacts).values()
    assert sourced(row, "city") == ("Cairo", "crm_by_id", "high")
    assert sourced(row, "gender") == ("male", "crm_by_id", "high")
    assert sourced(row, "birth_date", "generation") == ("X", "crm_by_id", "high")
    assert row.household_id == "h"


def test_day_of_birth_and_gender_come_from_one_contact(demographics) -> None:
    contacts = [
        {"gender": "male", "birth_date": date(1970, 1, 1), "modified_at": modified(1)},
        {"gender": "male", "modified_at": modified(2)},
    ]
    [row] = demographics({1: {}}, contacts).values()
    assert sourced(row, "gender") == ("male", "crm_by_id", "high")
    assert sourced(row, "birth_date", "generation") == UNKNOWN


@pytest.mark.parametrize(
    ("attribute", "one", "other"),
    [
        ("gender", "male", "female"),
        ("city", "Cairo", "Giza"),
        ("birth_date", date(1990, 1, 1), date(1990, 1, 2)),
    ],
)
def test_disagreeing_contacts_have_low_confidence(demographics, attribute, one, other) -> None:
    contacts = [{attribute: one, "reason": "email"}, {attribute: other, "reason": "email"}]
    [row] = demographics({1: {}}, contacts).values()
    assert row[f"{attribute}_confidence"] == "low"
    [row] = demographics({1: {}}, [contacts[0], contacts[0], {}]).values()
    assert row[f"{attribute}_confidence"] == "medium"


def test_cities_are_compared_regardless_of_case(demographics) -> None:
    contacts = [{"city": "CAIRO", "modified_at": modified(1)}, {"city": "Cairo", "modified_at": modified(2)}]
    assert sourced(demographics({1: {}}, contacts)[1], "city") == ("Cairo", "crm_by_id", "high")


def test_contacts_of_different_customers_do_not_disagree(demographics) -> None:
    by_customer = demographics({1: {}, 2: {}}, [{"of": 1, "city": "Cairo"}, {"of": 2, "city": "Giza"}])
    assert [sourced(by_customer[n], "city") for n in (1, 2)] == [
        ("Cairo", "crm_by_id", "high"),
        ("Giza", "crm_by_id", "high"),
    ]


# --- gender, age and generation


def test_custom_gender_code_is_unknown(demographics) -> None:
    assert sourced(demographics({1: {}}, [{"gender": "803750000"}])[1], "gender") == UNKNOWN
    contacts = [{"gender": "803750000", "modified_at": modified(2)}, {"gender": "male", "modified_at": modified(1)}]
    assert sourced(demographics({1: {}}, contacts)[1], "gender") == ("male", "crm_by_id", "high")


def test_age_band_counts_completed_years(demographics) -> None:
    bands = {
        date(2026, 6, 30): "under 18",
        date(2008, 7, 1): "under 18",
        date(2008, 6, 30): "18-24",
        date(2001, 7, 1): "18-24",
        date(2001, 6, 30): "25-34",
        date(1991, 7, 1): "25-34",
        date(1991, 6, 30): "35-44",
        date(1981, 7, 1): "35-44",
        date(1981, 6, 30): "45-54",
        date(1971, 7, 1): "45-54",
        date(1971, 6, 30): "55-64",
        date(1961, 7, 1): "55-64",
        date(1961, 6, 30): "65+",
        date(1905, 7, 1): "65+",
    }
    contacts = [{"of": n, "birth_date": birth_date} for n, birth_date in enumerate(bands)]
    by_customer = demographics({n: {} for n in range(len(bands))}, contacts)
    assert {birth_date: by_customer[n].age_band for n, birth_date in enumerate(bands)} == bands


@pytest.mark.parametrize(("as_of", "age_band"), [(date(2026, 2, 28), "under 18"), (date(2026, 3, 1), "18-24")])
def test_birthday_of_29_february_is_1_march_in_other_years(demographics, as_of: date, age_band: str) -> None:
    [row] = demographics({1: {}}, [{"birth_date": date(2008, 2, 29)}], as_of=as_of).values()
    assert row.age_band == age_band


def test_implausible_day_of_birth_is_unknown(demographics) -> None:
    impossible = [date(2026, 7, 1), date(1905, 6, 30), date(1, 1, 1)]
    contacts = [{"of": n, "birth_date": birth_date} for n, birth_date in enumerate(impossible)]
    by_customer = demographics({n: {} for n in range(3)}, contacts)
    for n in range(3):
        assert sourced(by_customer[n], "birth_date", "age_band", "generation") == (None, None, None, None)


def test_generation_depends_on_year_of_birth(demographics) -> None:
    generations = {
        1927: "Greatest",
        1928: "Silent",
        1945: "Silent",
        1946: "Boomer",
        1964: "Boomer",
        1965: "X",
        1980: "X",
        1981: "Millennial",
        1996: "Millennial",
        1997: "Z",
        2012: "Z",
        2013: "Alpha",
    }
    for month, day in ((1, 1), (12, 31)):
        contacts = [{"of": year, "birth_date": date(year, month, day)} for year in generations]
        by_customer = demographics({year: {} for year in generations}, contacts)
        assert {year: row.generation for year, row in by_customer.items()} == generations


# --- country


def country(row: Row) -> tuple[Any, ...]:
    return sourced(row, "country", "country_code", "country")


def test_country_of_api_is_country_of_record(demographics) -> None:
    [row] = demographics({1: {"country": "UAE"}}, [{"country": "United Arab Emirates"}]).values()
    assert country(row) == ("AE", "United Arab Emirates", "customers_api", "high")
    assert (row.region, row.market_population) == ("Western Asia", 10_480_000)
    assert (row.market_income_group, row.market_currency) == ("High income", "AED")


@pytest.mark.parametrize("named", ["Saudi Arabia", "Algeria"], ids=["greater code", "smaller code"])
@pytest.mark.parametrize("reason", ["customer_id", "email"])
def test_contact_with_another_country_lowers_confidence(demographics, named: str, reason: str) -> None:
    contacts = [{"country": "Egypt", "modified_at": modified(2)}, {"country": named, "reason": reason}]
    assert country(demographics({1: {}}, contacts)[1]) == ("EG", "Egypt", "customers_api", "low")
    assert country(demographics({1: {}}, contacts[1:])[1]) == ("EG", "Egypt", "customers_api", "low")


def test_unknown_country_name_of_contact_is_ignored(demographics) -> None:
    contacts = [{"country": "Atlantis"}, {"country": None}]
    assert country(demographics({1: {}}, contacts)[1]) == ("EG", "Egypt", "customers_api", "high")


def test_crm_country_replaces_unknown_country_of_api(demographics) -> None:
    unknown = {1: {"country": "Atlantis"}}
    by_id, by_email = {"country": "ksa"}, {"country": "UAE", "reason": "email", "modified_at": modified(9)}
    assert country(demographics(unknown, [by_id])[1]) == ("SA", "Saudi Arabia", "crm_by_id", "high")
    assert country(demographics(unknown, [by_email])[1]) == ("AE", "United Arab Emirates", "crm_by_link", "medium")
    [row] = demographics(unknown, [by_id | {"modified_at": modified(10)}, by_email], [(1, "Saudi Arabia")]).values()
    assert country(row) == ("SA", "Saudi Arabia", "crm_by_id", "low")
    assert (row.market_currency, row.shopper_type) == ("SAR", "home")


def test_missing_country_of_api_is_unknown_unless_the_crm_has_one(demographics) -> None:
    missing = {1: {"country": "unknown"}}
    assert country(demographics(missing, sales=[(1, "Egypt")])[1]) == (None, None, None, None)
    by_crm = demographics(missing, [{"country": "ksa"}])[1]
    assert country(by_crm) == ("SA", "Saudi Arabia", "crm_by_id", "high")


def test_unknown_country_keeps_its_name_and_has_no_market_data(demographics) -> None:
    [row] = demographics({1: {"country": "Atlantis"}}, [{"country": "Utopia"}], [(1, "Atlantis")]).values()
    assert country(row) == (None, "Atlantis", "customers_api", "high")
    assert (row.region, row.market_population, row.market_income_group, row.market_currency) == (None,) * 4
    assert row.shopper_type is None
    assert demographics({1: {"country": "Atlantis"}}, sales=[(1, "Egypt")])[1].shopper_type is None


# --- tenure


def test_tenure_band_counts_days_since_acquisition(demographics) -> None:
    bands = {
        0: "under 30 days",
        29: "under 30 days",
        30: "30-89 days",
        89: "30-89 days",
        90: "90-364 days",
        364: "90-364 days",
        365: "1-2 years",
        730: "1-2 years",
        731: "over 2 years",
    }
    by_customer = demographics({days: {"acquired": AS_OF - timedelta(days)} for days in bands})
    assert {days: row.tenure_band for days, row in by_customer.items()} == bands


def test_customer_without_registration_and_purchase_has_no_tenure(demographics) -> None:
    assert {n: row.tenure_band for n, row in demographics({1: {"acquired": None}}).items()} == {1: None}


def test_customers_acquired_after_as_of_are_excluded(demographics) -> None:
    assert set(demographics({1: {"acquired": AS_OF}, 2: {"acquired": AS_OF + timedelta(1)}})) == {1}


def test_tenure_starts_at_registration_without_acquisition_row(demographics) -> None:
    new = {"acquired": AS_OF - timedelta(40), "is_in_acquisitions": False}
    late = {"acquired": AS_OF + timedelta(1), "is_in_acquisitions": False}
    assert {n: row.tenure_band for n, row in demographics({1: new, 2: late}).items()} == {1: "30-89 days"}


# --- shopping


def test_shopper_type_depends_on_countries_of_stores(demographics) -> None:
    types = {
        (): None,
        ("UAE",): "home",
        ("United Arab Emirates", "U.A.E."): "home",
        ("Egypt",): "foreign",
        ("Egypt", "Kuwait"): "foreign",
        ("UAE", "Kuwait"): "both",
        ("Cairo Festival City",): None,
        ("UAE", "Atlantis"): None,
        ("Egypt", "Atlantis"): None,
        ("UAE", "Egypt", "Atlantis"): "both",
    }
    sales = [(n, location) for n, locations in enumerate(types) for location in locations]
    by_customer = demographics({n: {"country": "UAE"} for n in range(len(types))}, sales=sales)
    assert {locations: by_customer[n].shopper_type for n, locations in enumerate(types)} == types


def test_sales_after_as_of_do_not_count(demographics) -> None:
    sales = [(1, "Egypt", AS_OF), (1, "Kuwait", AS_OF + timedelta(1)), (2, "Egypt", AS_OF + timedelta(1))]
    by_customer = demographics({1: {}, 2: {}}, sales=sales)
    assert {n: row.shopper_type for n, row in by_customer.items()} == {1: "home", 2: None}


def test_many_contacts_sales_and_links_give_one_row(demographics) -> None:
    contacts = [{"city": city, "country": "UAE", "gender": "male"} for city in ("Cairo", "Giza") for _ in range(3)]
    sales = [(1, location) for location in ("Egypt", "UAE", "KSA") for _ in range(3)]
    assert [row.shopper_type for row in demographics({1: {}}, contacts, sales).values()] == ["both"]
