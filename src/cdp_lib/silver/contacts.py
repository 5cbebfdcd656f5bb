"""crm_contacts_silver: the contacts of the CRM, typed and renamed."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_email, clean_text, to_date, to_flag, to_instant, to_integer
from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE
from cdp_lib.contracts.silver import BIRTH_DAYS, CRM_CONTACTS_SILVER, ID_KEYS_SILVER
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.silver.received import typed_rows
from cdp_lib.silver.reserved import to_channel


def build_crm_contacts_silver(crm_contacts_bronze: DataFrame) -> DataFrame:
    """Return one row per version or tombstone of a contact, typed.

    Several contacts may belong to one person. This table keeps every contact; `person_links_silver` has the links.

    Args:
        crm_contacts_bronze: Rows of one or more batches.

    Returns:
        Columns of `crm_contacts_silver` and the columns that are needed to check its rules (see `typed_rows`).
    """
    return typed_rows(
        crm_contacts_bronze,
        CRM_CONTACTS_BRONZE,
        {
            "contact_id": _to_guid,
            "customer_id": to_integer,
            "full_name": clean_text,
            "email": clean_email,
            "phone": clean_text,
            "birth_date": to_date,
            "gender": _to_gender,
            "city": clean_text,
            "postal_code": clean_text,
            "country": clean_text,
            "acquisition_channel": to_channel,
            "acquisition_date": to_date,
            "loyalty_tier": clean_text,
            "household_id": clean_text,
            "is_email_allowed": to_flag,
            "email_consent_at": to_instant,
            "is_sms_allowed": to_flag,
            "sms_consent_at": to_instant,
            "is_phone_allowed": to_flag,
            "phone_consent_at": to_instant,
            "created_at": to_instant,
            "modified_at": to_instant,
        },
        received_as={
            "contact_id": "contactid",
            "customer_id": "cdp_customerid",
            "full_name": "fullname",
            "email": "emailaddress1",
            "phone": "mobilephone",
            "birth_date": "birthdate",
            "gender": "gendercode",
            "city": "address1_city",
            "postal_code": "address1_postalcode",
            "country": "address1_country",
            "acquisition_channel": "cdp_acquisitionchannel",
            "acquisition_date": "cdp_acquisitiondate",
            "loyalty_tier": "cdp_loyaltytier",
            "household_id": "cdp_householdid",
            "is_email_allowed": "cdp_emailconsent",
            "email_consent_at": "cdp_emailconsenton",
            "is_sms_allowed": "cdp_smsconsent",
            "sms_consent_at": "cdp_smsconsenton",
            "is_phone_allowed": "cdp_phoneconsent",
            "phone_consent_at": "cdp_phoneconsenton",
            "created_at": "createdon",
            "modified_at": "modifiedon",
        },
        plausible={"birth_date": BIRTH_DAYS},
    )


CRM_CONTACTS = Table(
    CRM_CONTACTS_SILVER,
    build_crm_contacts_silver,
    reads=(CRM_CONTACTS_BRONZE,),
    follows=(ID_KEYS_SILVER,),
    materialization=MergeByKey(),
)


def _to_guid(received: Column) -> Column:
    return sf.lower(clean_text(received))


def _to_gender(received: Column) -> Column:
    """Return `male` for 1 and `female` for 2, the default codes of Dataverse. Return any other code unchanged."""
    code = clean_text(received)
    return sf.when(code == "1", "male").when(code == "2", "female").otherwise(code)
