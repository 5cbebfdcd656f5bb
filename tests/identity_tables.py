"""Rows of the invented shop as Arrow tables of the platform's contracts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from cdp_lib.contracts.identity import IDENTITY_RECORDS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_local.demo.names import SHOP_EMAILS
from cdp_local.demo.noise import without_accents

_TYPES = {
    "STRING": pa.string(),
    "BIGINT": pa.int64(),
    "DATE": pa.date32(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "ARRAY<STRING>": pa.list_(pa.string()),
    "MAP<STRING,STRING>": pa.map_(pa.string(), pa.string()),
}


def table_of(contract: TableContract, rows: pd.DataFrame) -> pa.Table:
    """Return rows as a table of a contract. Columns that the rows lack are null. `attributes` has card and street."""
    columns = []
    rows = rows.assign(_batch_id="20260101T000000Z-1")
    for column in contract.columns:
        type_ = _TYPES[column.type]
        if column.name == "attributes":
            columns.append(_attributes(rows))
        elif column.name in rows:
            values = rows[column.name]
            columns.append(
                pa.array(values, pa.timestamp("us"), from_pandas=True).cast(type_)
                if pa.types.is_timestamp(type_)
                else pa.array(values, type_, from_pandas=True)
            )
        else:
            columns.append(pa.nulls(len(rows), type_))
    fields = [pa.field(c.name, _TYPES[c.type], not c.required) for c in contract.columns]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _attributes(rows: pd.DataFrame) -> pa.Array:
    """Return the retailer's own attributes: the loyalty card and, for contacts, the street."""
    values = [
        [pair for pair in (("loyalty_card", card), ("street", street)) if pair[1] is not None] or None
        for card, street in zip(rows["card"], rows["street"], strict=True)
    ]
    return pa.array(values, _TYPES["MAP<STRING,STRING>"])


def identity_records(rows: pd.DataFrame, events: pd.DataFrame) -> pa.Table:
    """Return the rows of identity_records_silver, normalised without the platform's code."""
    people = pd.DataFrame({"record_key": rows["record_key"]})
    people["source"] = np.where(rows["is_customer"], "customers", "crm_contacts")
    people["customer_id"] = rows["customer_id"]
    for column in ("first_name", "last_name", "street", "city"):
        plain = {text: without_accents(text).lower().replace(".", "") for text in rows[column].dropna().unique()}
        people[column] = rows[column].map(plain)
    people["postal_code"] = rows["postal_code"].str.replace(" ", "")
    for column in ("birth_date", "gender", "country_code", "email", "household_id"):
        people[column] = rows[column]
    people["phone"], people["changed_at"] = rows["phone_e164"], rows["updated_at"]
    number = rows["customer_id"].fillna(rows["names_customer"])
    logins = events[events["customer_id"].notna() & events["anonymous_id"].notna() & events["identity"].notna()]
    devices: dict[int, str] = {}
    for customer, device in sorted(
        {*zip(logins["customer_id"].tolist(), logins["anonymous_id"].tolist(), strict=True)}
    ):
        devices[customer] = f"{devices[customer]}\tdevice:{device}" if customer in devices else f"device:{device}"
    email = rows["email"].where(~rows["email"].isin(SHOP_EMAILS))
    parts = {
        "customer_id:": number.astype("string"),
        "": rows["customer_id"].map(devices),
        "email:": email,
        "loyalty_card:": rows["card"],
        "phone:": rows["phone_e164"],
    }
    texts = pd.Series("", rows.index)
    for prefix, values in parts.items():
        texts = texts + np.where(values.notna(), prefix + values.astype("string").fillna("") + "\t", "")
    people["identifiers"] = [text.split("\t")[:-1] for text in texts]
    return table_of(IDENTITY_RECORDS_SILVER, pd.concat([people, _bare(events)], ignore_index=True).assign(blocks=None))


def _bare(events: pd.DataFrame) -> pd.DataFrame:
    """Return the records of e-mail addresses and devices in events."""
    bare = events[events["customer_id"].isna() & events["identity"].notna()].drop_duplicates("identity")
    is_shop = bare["email"].isin(SHOP_EMAILS)
    return pd.DataFrame(
        {
            "record_key": bare["identity"],
            "source": "events",
            "email": bare["email"],
            "identifiers": [[] if blocked else [text] for text, blocked in zip(bare["identity"], is_shop, strict=True)],
            "changed_at": bare["occurred_at"],
        }
    )
