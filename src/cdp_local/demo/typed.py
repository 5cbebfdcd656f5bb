"""Records of the people as staff and customers type them: names, e-mail addresses, phone numbers and addresses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cdp_local.demo.names import COUNTRY_NAMES, FIRST_NAMES, NICKNAMES, SHOP_EMAILS
from cdp_local.demo.noise import (
    changed,
    mistyped_date,
    spelled_email,
    spelled_phone,
    with_digit_typo,
    with_typo,
    without_accents,
)
from cdp_local.demo.records import MISSING, SHARED, SHOP, Facts, Ints, Mask

SHOP_PHONE = "1632960961"
FIRST_CUSTOMER_ID = 100_001
NOTHING: Any = None
"""A missing value, where the types of numpy allow no None."""


def typed_records(people: pd.DataFrame, facts: Facts, seed: int) -> pd.DataFrame:
    """Return one row per record, as typed. The same arguments give the same records."""
    rng = np.random.default_rng([seed, 3])
    person, place = np.nonzero(facts.exists)
    rows = people.iloc[person].reset_index(drop=True)
    is_customer = facts.is_customer[person, place]
    errors = {name: mask[person, place] for name, mask in facts.errors.items()}
    rows["person"], rows["place"], rows["is_customer"] = person, place, is_customer
    rows["is_hopeless"] = facts.hopeless[person, place]
    _add_keys(rows, facts, person, place, rng)
    _add_names(rows, facts, person, place, errors, rng)
    _add_emails(rows, facts.email[person, place], errors, rng)
    _add_addresses(rows, facts.address[person, place], errors, rng)
    _add_phones(rows, facts.phone[person, place], errors, rng)
    born = pd.Series(rows["birth_date"].dt.date.to_numpy(), dtype=object).to_numpy()
    born = np.where(facts.birth[person, place], born, NOTHING)
    rows["birth_date"] = changed(born, errors["birth_typo"], lambda day, _: mistyped_date(day, rng))
    genders = np.array(["male", "female"], dtype=object)[rows["gender"]]
    rows["gender"] = np.where(is_customer | (rng.random(len(rows)) < 0.2), NOTHING, genders)
    card = np.where(facts.card[person, place], rows["card"], NOTHING)
    rows["card"] = changed(card, errors["wrong_card"], lambda text, _: with_digit_typo(text, rng))
    known = (rows["size"] > 1) & (rng.random(len(rows)) < 0.3)
    rows["household_id"] = np.where(known, "H" + rows["household"].astype(str), NOTHING)
    later = facts.version[person, place]
    minutes = rng.integers(0, 500_000, len(rows)) + later * 500_000
    rows["updated_at"] = np.datetime64("2024-01-01T00:00:00", "us") + minutes.astype("timedelta64[m]")
    rows["created_at"], rows["modified_at"] = np.datetime64("2024-01-01T00:00:00", "us"), rows["updated_at"]
    return rows


def _add_keys(rows: pd.DataFrame, facts: Facts, person: Ints, place: Ints, rng: np.random.Generator) -> None:
    """Add customer numbers and GUIDs, in an order that says nothing about persons."""
    numbers = np.full(facts.exists.shape, MISSING, dtype=np.int64)
    numbers[facts.is_customer] = FIRST_CUSTOMER_ID + rng.permutation(int(facts.is_customer.sum()))
    rows["customer_id"] = pd.array(np.where(rows["is_customer"], numbers[person, place], 0), dtype="Int64")
    rows.loc[~rows["is_customer"], "customer_id"] = pd.NA
    named = facts.customer[person, place]
    rows["names_customer"] = pd.array(numbers[person, np.maximum(named, 0)], dtype="Int64")
    rows.loc[named == MISSING, "names_customer"] = pd.NA
    guids = [f"{n:08x}-0000-4000-8000-{n * 2654435761 % 2**48:012x}" for n in rng.permutation(len(rows)).tolist()]
    rows["contact_id"] = np.where(rows["is_customer"], NOTHING, np.array(guids, dtype=object))
    key = np.where(
        rows["is_customer"],
        "customer:" + numbers[person, place].astype(str).astype(object),
        "contact:" + np.array(guids, dtype=object),
    )
    rows["record_key"] = key


def _add_names(
    rows: pd.DataFrame, facts: Facts, person: Ints, place: Ints, errors: dict[str, Mask], rng: np.random.Generator
) -> None:
    form = facts.name[person, place]
    gender, first = rows["gender"].to_numpy(), rows["first"].to_numpy()
    given, nickname = FIRST_NAMES[gender, first], NICKNAMES[gender, first]
    initial = np.array([[name[0] + "." for name in pool] for pool in FIRST_NAMES], dtype=object)[gender, first]
    given = np.where(form == 1, nickname, np.where(form == 2, initial, given))
    last = np.where(facts.version[person, place] == 1, rows["last_name1"], rows["last_name0"])
    side = rng.random(len(rows)) < 0.5
    given = changed(given, errors["name_typo"] & side & (form != 2), lambda text, _: with_typo(text, rng))
    last = changed(last, errors["name_typo"] & ~side, lambda text, _: with_typo(text, rng))
    plain = {text: without_accents(text) for text in {*pd.unique(given), *pd.unique(last)}}
    given = np.where(errors["no_accents"], pd.Series(given).map(plain), given)
    last = np.where(errors["no_accents"], pd.Series(last).map(plain), last)
    rows["first_name"], rows["last_name"] = (
        np.where(form == MISSING, NOTHING, given),
        np.where(form == MISSING, NOTHING, last),
    )
    full = given + " " + last
    rows["full_name"] = np.where(
        form == MISSING, NOTHING, np.where(rng.random(len(rows)) < 0.03, last + ", " + given, full)
    )


def _add_emails(rows: pd.DataFrame, code: Ints, errors: dict[str, Mask], rng: np.random.Generator) -> None:
    shop = SHOP_EMAILS[rng.choice(len(SHOP_EMAILS), len(rows), p=(0.6, 0.3, 0.1))]
    email = np.select(
        [code == MISSING, code == SHARED, code == SHOP, code == 1],
        [np.full(len(rows), None), rows["household_email"], shop, rows["email1"]],
        rows["email0"],
    )
    is_own = (code == 0) | (code == 1)
    kinds = rng.integers(0, 2, len(rows)).tolist()
    email = changed(email, errors["email_spelling"] & is_own, lambda text, at: spelled_email(text, kinds[at]))
    typo = errors["email_typo"] & is_own
    rows["email_code"] = code
    rows["email"] = changed(
        email, typo, lambda text, _: "@".join((with_typo(text.split("@")[0], rng), text.split("@")[1]))
    )


def _add_addresses(rows: pd.DataFrame, code: Ints, errors: dict[str, Mask], rng: np.random.Generator) -> None:
    """Add the address. A customer only has a country."""
    for column in ("street", "city", "postal_code", "country"):
        rows[column] = np.where(code == 1, rows[f"{column}1"], np.where(code == 0, rows[f"{column}0"], NOTHING))
    code_of_country = np.where(rows["is_customer"], rows["country0"], rows["country"])
    rows["country_code"] = np.where(~rows["is_customer"] & errors["missing_country"], NOTHING, code_of_country)
    spelling = np.where(rng.random(len(rows)) < 0.1, 1, 0)
    names = {(code, kind): COUNTRY_NAMES[code][kind] for code in COUNTRY_NAMES for kind in (0, 1)}
    rows["country"] = [names.get(pair) for pair in zip(rows["country_code"], spelling.tolist(), strict=True)]


def _add_phones(rows: pd.DataFrame, code: Ints, errors: dict[str, Mask], rng: np.random.Generator) -> None:
    """Add the phone number as typed, and in E.164 as the platform should read it."""
    shop = np.full(len(rows), SHOP_PHONE, dtype=object)
    number = np.select(
        [code == MISSING, code == SHARED, code == SHOP, code == 1],
        [np.full(len(rows), None), rows["landline"], shop, rows["mobile1"]],
        rows["mobile0"],
    )
    number = changed(number, errors["phone_typo"] & (code < SHARED), lambda text, _: with_digit_typo(text, rng))
    country = np.where(code == SHOP, "GB", rows["phone_country"])
    kinds = rng.integers(0, 6, len(rows)).tolist()
    # A number without country code is only typed by people who live in the country.
    is_abroad = (country != rows["country_code"].to_numpy()) & ~errors["missing_country"]
    typed = [
        None if n is None else spelled_phone(n, c, 1 if abroad else kind)
        for n, c, kind, abroad in zip(number, country, kinds, is_abroad, strict=True)
    ]
    codes = np.array(["+44", "+353", "+1"], dtype=object)[pd.Categorical(country, ["GB", "IE", "US"]).codes]
    rows["phone"], rows["phone_e164"] = (
        typed,
        [None if n is None else c + n for n, c in zip(number, codes, strict=True)],
    )
