import json
from datetime import date

import pytest

from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE
from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER
from cdp_lib.contracts.table import VALUES_FIT
from cdp_lib.silver.contacts import build_crm_contacts_silver

ALBA = {
    "contactid": "6F9619FF-8B86-4D01-B42D-00CF4FC964FF",
    "fullname": " Alba  Ackerfeld",
    "emailaddress1": "Alba@Example.com ",
    "mobilephone": "+20 100 555 0101",
    "birthdate": "1990-02-28",
    "gendercode": "2",
    "address1_city": "Cairo",
    "address1_postalcode": "01234",
    "address1_country": "Egypt",
    "cdp_customerid": "101",
    "cdp_acquisitionchannel": "referral",
    "cdp_acquisitiondate": "2025-03-01",
    "cdp_loyaltytier": "gold",
    "cdp_householdid": "h-1",
    "cdp_emailconsent": "true",
    "cdp_emailconsenton": "2025-03-01T10:00:00Z",
    "cdp_smsconsent": "false",
    "cdp_smsconsenton": "2025-03-02T10:00:00Z",
    "cdp_phoneconsent": None,
    "cdp_phoneconsenton": None,
    "createdon": "2025-03-03T10:00:00Z",
    "modifiedon": "2025-03-04T10:00:00Z",
}


def built(bronze_rows, **changes: object) -> dict[str, object]:
    """Build the silver row of the contact Alba with some changed fields. Timestamps are returned as strings."""
    rows = build_crm_contacts_silver(bronze_rows(CRM_CONTACTS_BRONZE, ALBA | changes))
    times = [column.name for column in CRM_CONTACTS_SILVER.columns if column.type == "TIMESTAMP"]
    [row] = rows.withColumns({name: rows[name].cast("string") for name in times}).collect()
    return row.asDict()


def test_build_crm_contacts_silver_gives_every_field_its_name_and_type(bronze_rows) -> None:
    row = built(bronze_rows)
    names = [name for name in CRM_CONTACTS_SILVER.column_names if not name.startswith("_")]
    assert {name: row[name] for name in names} == {
        "contact_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
        "customer_id": 101,
        "full_name": "Alba Ackerfeld",
        "email": "alba@example.com",
        "phone": "+20 100 555 0101",
        "birth_date": date(1990, 2, 28),
        "gender": "female",
        "city": "Cairo",
        "postal_code": "01234",
        "country": "Egypt",
        "acquisition_channel": "referral",
        "acquisition_date": date(2025, 3, 1),
        "loyalty_tier": "gold",
        "household_id": "h-1",
        "is_email_allowed": True,
        "email_consent_at": "2025-03-01 10:00:00",
        "is_sms_allowed": False,
        "sms_consent_at": "2025-03-02 10:00:00",
        "is_phone_allowed": None,
        "phone_consent_at": None,
        "attributes": None,
        "created_at": "2025-03-03 10:00:00",
        "modified_at": "2025-03-04 10:00:00",
    }
    assert row["_rescued_data"] is None


def test_every_received_field_changes_a_silver_column(bronze_rows) -> None:
    silver = set(built(bronze_rows)) - {"record", "_rescued_data"}
    before = built(bronze_rows)
    other = {"birthdate": "1991-01-01", "cdp_acquisitiondate": "2024-01-01", "cdp_customerid": "7", "gendercode": "1"}
    times = {name: "2024-01-01T00:00:00Z" for name in ALBA if name.endswith("on")}
    consents = {"cdp_emailconsent": "false", "cdp_smsconsent": "true", "cdp_phoneconsent": "true"}
    read = set()
    for name in ALBA:
        after = built(bronze_rows, **{name: (other | times | consents).get(name, "something else")})
        read |= {column for column in silver if after[column] != before[column] and not column.startswith("_")}
    # Only a mapping fills `attributes`.
    assert read == {name for name in CRM_CONTACTS_SILVER.column_names if not name.startswith("_")} - {"attributes"}


@pytest.mark.parametrize(("code", "gender"), [("1", "male"), (" 2 ", "female"), ("3", "3"), ("", None), (None, None)])
def test_gender_is_a_word_for_the_default_codes_of_dataverse(bronze_rows, code: str | None, gender: str | None) -> None:
    row = built(bronze_rows, gendercode=code)
    assert (row["gender"], row["_rescued_data"]) == (gender, None)


@pytest.mark.parametrize(
    ("name", "text", "column", "warning"),
    [
        ("cdp_customerid", "C-101", "customer_id", "customer_id_is_readable"),
        ("birthdate", "28.02.1990", "birth_date", "birth_date_is_plausible"),
        ("birthdate", "1899-12-31", "birth_date", "birth_date_is_plausible"),
        ("cdp_emailconsent", "maybe", "is_email_allowed", "is_email_allowed_is_readable"),
        ("cdp_smsconsenton", "soon", "sms_consent_at", "sms_consent_at_is_readable"),
    ],
)
def test_contact_with_an_optional_value_that_does_not_fit_is_kept_with_a_warning(
    bronze_rows, verdicts, name: str, text: str, column: str, warning: str
) -> None:
    rows = build_crm_contacts_silver(bronze_rows(CRM_CONTACTS_BRONZE, ALBA | {name: text}))
    [kept] = verdicts(rows, CRM_CONTACTS_SILVER)
    assert (kept.broken_rules, kept["_warnings"], kept[column]) == ([], [warning], None)
    assert json.loads(kept.record)[name] == text


def test_contact_with_an_unreadable_time_of_change_is_rejected(bronze_rows, verdicts) -> None:
    """Without this time, the contact would count as the oldest version, and a correction would be lost."""
    rows = build_crm_contacts_silver(bronze_rows(CRM_CONTACTS_BRONZE, ALBA | {"modifiedon": "now"}))
    [rejected] = verdicts(rows, CRM_CONTACTS_SILVER)
    assert rejected.broken_rules == [VALUES_FIT.name]
    assert json.loads(rejected["record"])["modifiedon"] == "now"


def test_guids_that_differ_only_in_case_are_one_contact(bronze_rows) -> None:
    rows = [ALBA, ALBA | {"contactid": str(ALBA["contactid"]).lower()}]
    built_rows = build_crm_contacts_silver(bronze_rows(CRM_CONTACTS_BRONZE, *rows))
    assert built_rows.select("contact_id").distinct().count() == 1


def test_tombstone_of_a_contact_has_only_its_guid(bronze_rows) -> None:
    tombstone = {"contactid": ALBA["contactid"], "_is_deleted": True}
    [row] = build_crm_contacts_silver(bronze_rows(CRM_CONTACTS_BRONZE, tombstone)).collect()
    assert (row.contact_id, row.full_name, row["_is_deleted"]) == (str(ALBA["contactid"]).lower(), None, True)


def test_channel_with_the_name_of_a_total_is_marked_as_a_value(bronze_rows) -> None:
    assert built(bronze_rows, cdp_acquisitionchannel="All channels")["acquisition_channel"] == "All channels (value)"
