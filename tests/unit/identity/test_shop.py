"""Tests of the invented shop and of the measures of identity resolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cdp_local.demo.names import SHOP_EMAILS
from cdp_local.demo.people import PeopleRates
from cdp_local.demo.records import SHARED, RecordRates
from cdp_local.demo.typed import SHOP_PHONE
from identity_metrics import measure, torn_persons, worst_persons
from identity_shop import IdentityShop, ShopRates, make_shop

PERSONS = 4_000


@pytest.fixture(scope="module")
def shop() -> IdentityShop:
    return make_shop(PERSONS, seed=7)


def test_same_seed_gives_the_same_shop(shop: IdentityShop) -> None:
    again, other = make_shop(PERSONS, seed=7), make_shop(PERSONS, seed=8)
    for table in ("customers", "contacts", "events", "records"):
        assert getattr(shop, table).equals(getattr(again, table))
        assert not getattr(shop, table).equals(getattr(other, table))
    pd.testing.assert_series_equal(shop.truth, again.truth)


def test_truth_has_exactly_the_records(shop: IdentityShop) -> None:
    keys = shop.records["record_key"].to_pylist()
    assert len(keys) == len(set(keys))
    assert set(keys) == set(shop.truth.index)
    customers = {f"customer:{number}" for number in shop.customers["customer_id"].to_pylist()}
    contacts = {f"contact:{guid}" for guid in shop.contacts["contact_id"].to_pylist()}
    identities = set(shop.events["identity"].to_pylist()) - {None}
    assert {key for key in keys if key.startswith("customer:")} == customers
    assert {key for key in keys if key.startswith("contact:")} == contacts
    assert {key for key in keys if key.startswith(("email:", "device:"))} == identities - customers
    assert {key for key in identities if key.startswith("customer:")} <= customers


def test_persons_have_one_to_four_records(shop: IdentityShop) -> None:
    counts = shop.rows.groupby("person").size().value_counts(normalize=True)
    assert counts.index.max() == 4
    for number, share in enumerate(RecordRates().records, 1):
        assert counts[number] == pytest.approx(share, abs=0.03)


def test_rates_hold(shop: IdentityShop) -> None:
    rates, rows = RecordRates(), shop.rows
    contacts = rows[~rows["is_customer"]]
    assert rows["card"].notna().mean() == pytest.approx(rates.card, abs=0.02)
    assert contacts["birth_date"].isna().mean() == pytest.approx(rates.missing_birth, abs=0.03)
    assert contacts["phone"].isna().mean() == pytest.approx(rates.missing_phone, abs=0.03)
    assert contacts["postal_code"].isna().mean() == pytest.approx(rates.missing_address, abs=0.03)
    assert (rows.loc[rows["size"] > 1, "email_code"] == SHARED).mean() == pytest.approx(rates.shared_email, abs=0.02)
    assert rows["email"].isin(SHOP_EMAILS).sum() >= 24
    assert contacts["phone_e164"].eq(f"+44{SHOP_PHONE}").sum() >= 20
    moved = shop.people["is_moved"].mean()
    assert moved == pytest.approx(PeopleRates().moved, abs=0.02)
    assert shop.people["is_married"].sum() > 50
    logins = shop.events.to_pandas().groupby("anonymous_id")["customer_id"].nunique()
    assert logins[logins.index.str.startswith("terminal")].max() > 40
    assert logins[logins.index.str.startswith("tablet")].between(2, 10).any()


def test_families_have_namesakes_and_twins(shop: IdentityShop) -> None:
    people = shop.people
    names = ["household", "gender", "first"]
    same = people.duplicated(names, keep=False)
    assert same.sum() > 10
    assert set(people.index[same]) == set(people.index[people["is_namesake"] | people["has_namesake"]])
    twins = people[people["is_twin"]]
    siblings = people.loc[twins.index - 1]
    assert len(twins) >= 5
    assert (twins["birth_date"].to_numpy() == siblings["birth_date"].to_numpy()).all()
    assert (twins[["gender", "first"]].to_numpy() != siblings[["gender", "first"]].to_numpy()).any(axis=1).all()


def test_strangers_share_name_and_birth_date(shop: IdentityShop) -> None:
    people = shop.people
    pairs = people[people["stranger"] >= 0]
    ones = people.loc[pairs["stranger"]]
    assert len(pairs) == pytest.approx(PERSONS * PeopleRates().collisions, abs=2)
    assert (
        pairs[["first", "last_name0", "gender"]].to_numpy() == ones[["first", "last_name0", "gender"]].to_numpy()
    ).all()
    assert 0 < (pairs["birth_date"].to_numpy() == ones["birth_date"].to_numpy()).sum() < len(pairs)


def test_a_value_of_one_person_belongs_to_no_other(shop: IdentityShop) -> None:
    rows = shop.rows
    for code, column in ((0, "email0"), (1, "email1"), (SHARED, "household_email")):
        used = rows[rows["email_code"] == code]
        if code == SHARED:
            assert used.groupby(column)["household"].nunique().max() == 1
            assert used.groupby(column)["person"].nunique().max() > 1
            continue
        assert used.groupby(column)["person"].nunique().max() == 1
    assert not shop.people["mobile0"].duplicated().any()
    assert not set(shop.people["mobile0"]) & set(shop.people["landline"])
    assert not shop.people["card"].duplicated().any()


def test_identities_of_several_persons_belong_to_nobody(shop: IdentityShop) -> None:
    nobody = shop.truth[shop.truth >= PERSONS]
    assert nobody.is_unique
    assert nobody.index.str.startswith(("email:", "device:")).all()
    users = shop.rows.groupby("email")["person"].nunique()
    emails = [key.removeprefix("email:") for key in nobody.index if key.startswith("email:")]
    assert emails and (users[emails] > 1).all()


def test_hopeless_records_are_less_than_one_percent(shop: IdentityShop) -> None:
    assert 0 < len(shop.hopeless) < 0.01 * len(shop.rows)


def test_rates_are_parameters() -> None:
    clean = RecordRates(card=1.0, wrong_card=0.0, name_typo=0.0, nickname=0.0, initial=0.0, missing_name=0.0)
    shop = make_shop(500, seed=3, rates=replace(ShopRates(), records=clean))
    assert shop.rows.groupby("person")["card"].nunique().eq(1).all()
    assert not shop.hopeless


def test_no_value_is_of_a_real_person(shop: IdentityShop) -> None:
    hosts = {email.split("@")[1] for email in shop.rows["email"].dropna()}
    assert all(host.endswith(("example.com", "example.org", "example.net")) for host in hosts)
    reserved = r"(\+441632\d{6}|\+35320\d{7}|\+1\d9\d555\d{4})"
    assert shop.rows["phone_e164"].dropna().str.fullmatch(reserved).all()


def test_blob_is_seen_in_the_largest_person_but_not_in_b3(shop: IdentityShop) -> None:
    blob = shop.truth.where(shop.truth >= 40, 0)
    measured = measure(blob, shop.truth)
    assert measured.b3_f1 > 0.99
    assert measured.largest_ratio > 5
    assert worst_persons(blob, shop.truth).index[0] == 0
    assert torn_persons(blob, shop.truth).empty


def test_perfect_assignment_measures_one(shop: IdentityShop) -> None:
    renamed = shop.truth.map(lambda person: f"p{person}")
    measured = measure(renamed.sample(frac=1, random_state=1), shop.truth)
    assert (measured.precision, measured.recall, measured.f1, measured.largest_ratio) == (1, 1, 1, 1)
    assert measured.b3_f1 == pytest.approx(1)


def test_pairs_equal_a_count_of_listed_pairs() -> None:
    rng = np.random.default_rng(5)
    found, truth = (pd.Series(rng.integers(0, 12, 60), [f"r{n}" for n in range(60)]) for _ in range(2))
    pairs = [(a, b) for a in truth.index for b in truth.index if a < b]
    is_found, is_true = (np.array([side[a] == side[b] for a, b in pairs]) for side in (found, truth))
    measured = measure(found, truth)
    assert measured.precision == pytest.approx((is_found & is_true).sum() / is_found.sum())
    assert measured.recall == pytest.approx((is_found & is_true).sum() / is_true.sum())


def test_measures_refuse_other_records() -> None:
    with pytest.raises(ValueError, match="not found"):
        measure(pd.Series({"a": 1}), pd.Series({"a": 1, "b": 2}))
