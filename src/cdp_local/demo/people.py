"""People and households of the demo shop: the truth that its records describe.

Every attribute has two versions: before and after the person moved, married or changed the e-mail address. A person
without a change has the same value in both versions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdp_local.demo.names import (
    CITIES,
    COUNTRIES,
    EMAIL_HOSTS,
    FIRST_NAMES,
    STREETS,
    last_names,
    zipf,
)
from cdp_local.demo.noise import Objects, without_accents

Ints = NDArray[np.int64]
COMMON_LAST_NAMES = 60
"""Number of last names that a careful person calls common: name and birth date alone are no proof."""


@dataclass(frozen=True)
class PeopleRates:
    """Shares of persons, or of the households or persons that an attribute names.

    Attributes:
        households: Shares of households with 1, 2, 3, 4 and 5 persons.
        namesakes: Families in which the first child has the name of the father.
        twins: Families with two or more children in which the second is the twin of the first.
        own_last_names: Second adults with another last name than the household.
        moved: Persons who moved. They have a new address.
        new_phone_after_move: Persons with a new mobile number, of those who moved.
        married: Persons with a new last name.
        new_email_after_marriage: Persons with a new e-mail address, of those who married.
        new_email: Persons with a new e-mail address for another reason.
        family_address: Households that share an e-mail address made for the family. The others share the address of one
            member.
        collisions: Persons who have the first and last name of a stranger.
        same_birth_date: Of those, persons who were also born on the same day.
    """

    households: tuple[float, ...] = (0.55, 0.22, 0.10, 0.09, 0.04)
    namesakes: float = 0.04
    twins: float = 0.06
    own_last_names: float = 0.25
    moved: float = 0.08
    new_phone_after_move: float = 0.5
    married: float = 0.03
    new_email_after_marriage: float = 0.6
    new_email: float = 0.05
    collisions: float = 0.006
    family_address: float = 0.5
    same_birth_date: float = 0.25


def make_people(count: int, seed: int, rates: PeopleRates) -> pd.DataFrame:
    """Return one row per person. Columns that end in 0 and 1 hold the versions of an attribute."""
    rng = np.random.default_rng([seed, 1])
    sizes = rng.choice(np.arange(1, 6), count, p=rates.households)
    household = np.repeat(np.arange(count), sizes)[:count]
    role = (
        np.arange(count) - np.maximum.accumulate(np.where(np.diff(household, prepend=-1) > 0, np.arange(count), 0))
    ).astype(np.int64)
    people = pd.DataFrame(
        {"household": household, "role": role, "size": np.bincount(household, minlength=count)[household]}
    )
    _add_births(people, rng, rates)
    _add_names(people, rng, rates, seed)
    _add_collisions(people, rng, rates, seed)
    _add_addresses(people, rng, rates)
    _add_contacts(people, rng, rates)
    return people


def _add_births(people: pd.DataFrame, rng: np.random.Generator, rates: PeopleRates) -> None:
    """Add the day of birth and the gender (0 male, 1 female)."""
    count = len(people)
    head = np.flatnonzero(people["role"] == 0)[people["household"].rank(method="dense").astype(int) - 1]
    born = rng.integers(-25 * 365, 26 * 365, count)
    born = np.where(people["role"] == 1, born[head] + rng.integers(-2500, 2500, count), born)
    born = np.where(people["role"] > 1, born[head] + rng.integers(20 * 365, 38 * 365, count), born)
    latest = 40 * 365
    born = np.where(born > latest, latest - rng.integers(0, 2000, count), born)
    is_twin = (people["role"] == 3).to_numpy() & (rng.random(count) < rates.twins)
    born = np.where(is_twin, np.roll(born, 1), born)
    people["birth_date"] = np.datetime64("1970-01-01") + born.astype("timedelta64[D]")
    gender = rng.integers(0, 2, count)
    gender = np.where((people["role"] == 1).to_numpy() & (rng.random(count) < 0.95), 1 - gender[head], gender)
    is_namesake = (people["role"] == 2).to_numpy() & (gender[head] == 0) & (rng.random(count) < rates.namesakes)
    people["gender"], people["is_twin"], people["is_namesake"], people["head"] = (
        np.where(is_namesake, 0, gender), is_twin, is_namesake, head,
    )  # fmt: skip
    people["has_namesake"] = people["household"].isin(people.loc[is_namesake, "household"]) & (people["role"] == 0)


def _add_names(people: pd.DataFrame, rng: np.random.Generator, rates: PeopleRates, seed: int) -> None:
    """Add the numbers of first and last names. Members of a household differ in first name, apart from namesakes."""
    count, pool = len(people), FIRST_NAMES.shape[1]
    people["first"] = zipf(rng, pool, count)
    for _ in range(20):
        same = people.duplicated(["household", "gender", "first"])
        if not same.any():
            break
        people.loc[same, "first"] = (people.loc[same, "first"] + people.loc[same, "role"] + 1) % pool
    people["first"] = np.where(people["is_namesake"], people["first"].to_numpy()[people["head"]], people["first"])
    pool = len(last_names(seed))
    of_household = zipf(rng, pool, count)[people["household"]]
    has_own = (people["role"] == 1).to_numpy() & (rng.random(count) < rates.own_last_names)
    people["last0"] = np.where(has_own, zipf(rng, pool, count), of_household)
    is_married = (people["role"] < 2).to_numpy() & (rng.random(count) < rates.married)
    people["last1"] = np.where(is_married, zipf(rng, pool, count), people["last0"])
    people["is_married"] = is_married
    names = last_names(seed)
    people["last_name0"], people["last_name1"] = names[people["last0"]], names[people["last1"]]


def _add_collisions(people: pd.DataFrame, rng: np.random.Generator, rates: PeopleRates, seed: int) -> None:
    """Give persons who live alone the common name of a stranger who lives alone, and some of them the birth date."""
    alone = np.flatnonzero((people["size"] == 1) & ~people["is_married"])
    chosen = rng.permutation(alone)[: 2 * int(rates.collisions * len(people))]
    ones, others = np.split(chosen, 2) if len(chosen) % 2 == 0 else np.split(chosen[1:], 2)
    names = last_names(seed)
    common = rng.integers(0, COMMON_LAST_NAMES, len(ones))
    for version in "01":
        for side in (ones, others):
            people.loc[side, f"last{version}"] = common
            people.loc[side, f"last_name{version}"] = names[common]
    for column in ("first", "gender"):
        people.loc[others, column] = people.loc[ones, column].to_numpy()
    same = rng.random(len(ones)) < rates.same_birth_date
    people.loc[others[same], "birth_date"] = people.loc[ones[same], "birth_date"].to_numpy()
    people["stranger"] = -1
    people.loc[others, "stranger"] = ones


def _add_addresses(people: pd.DataFrame, rng: np.random.Generator, rates: PeopleRates) -> None:
    """Add street, city, postal code and country. A household lives at one address until a person moves."""
    count = len(people)
    is_moved = rng.random(count) < rates.moved
    people["is_moved"] = is_moved
    for version in "01":
        if version == "0":
            city, street, number = (
                rng.integers(0, size, count)[people["household"]] for size in (len(CITIES), len(STREETS), 120)
            )
        else:
            fresh = [rng.integers(0, size, count) for size in (len(CITIES), len(STREETS), 120)]
            city, street, number = (
                np.where(is_moved, new, old) for new, old in zip(fresh, (city, street, number), strict=True)
            )
        country = np.array([0, 0, 1, 2])[city % 4]
        people[f"city{version}"], people[f"country{version}"] = CITIES[city], COUNTRIES[country]
        people[f"street{version}"] = number.astype(str).astype(object) + " " + STREETS[street]
        area = np.array([f"{name[0]}{name[2]}".upper() for name in CITIES], dtype=object)
        low = (number // 10).astype(str).astype(object)
        code = (
            area[city]
            + (city % 30 + 1).astype(str).astype(object)
            + " "
            + low
            + np.array(list("ABDEFGHJL"), dtype=object)[street]
            + "X"
        )
        zip_code = (29_000 + city * 500 + street * 13 + number // 10).astype(str).astype(object)
        people[f"postal_code{version}"] = np.where(country == 2, zip_code, code)


def _numbers(rng: np.random.Generator, country: Objects, part: int) -> Objects:
    """Return a distinct national phone number for each person. Parts 0, 1 and 2 have no number in common.

    No operator assigns these numbers. GB: area code 01632, kept for fiction. IE: 020 91, kept for fiction, and invented
    numbers of 020 in very large shops. US: 555 in area codes N9X, which are kept for a longer numbering plan.
    """
    numbers = np.full(len(country), "", dtype=object)
    for code, capacity in (("GB", 1_000_000), ("IE", 2_000_000), ("US", 800_000)):
        places = np.flatnonzero(country == code)
        if 3 * len(places) > capacity:
            raise ValueError(f"{len(places)} persons of {code} need more phone numbers than there are.")
        # The numbers are spread: otherwise, a wrong digit would often give the number of another person.
        spread = 100_000 if code == "IE" and 3 * len(places) <= 100_000 else capacity
        order = (rng.permutation(len(places)) + part * len(places)) * 611_953 % spread
        if code == "GB":
            text = "1632" + _padded(order, 6)
        elif code == "IE":
            text = np.where(order < 100_000, "2091" + _padded(order, 5), "20" + _padded(order, 7))
        else:
            areas = np.array([f"{n}9{x}" for n in range(2, 10) for x in range(10)], dtype=object)
            text = areas[order % 80] + "555" + _padded(order // 80, 4)
        numbers[places] = text
    return numbers


def _padded(numbers: Ints, width: int) -> Objects:
    return np.char.zfill(numbers.astype(str), width).astype(object)


def _add_contacts(people: pd.DataFrame, rng: np.random.Generator, rates: PeopleRates) -> None:
    """Add mobile numbers, the landline and e-mail addresses of the person and of the household, and the card."""
    count = len(people)
    country = people["country0"].to_numpy()
    people["phone_country"] = country
    people["mobile0"] = _numbers(rng, country, 0)
    fresh = (people["is_moved"] & (rng.random(count) < rates.new_phone_after_move)).to_numpy()
    people["mobile1"] = np.where(fresh, _numbers(rng, country, 1), people["mobile0"])
    head = people["head"].to_numpy()
    people["landline"] = _numbers(rng, country, 2)[head]
    gender, first = people["gender"].to_numpy(), people["first"].to_numpy()
    plain_first = np.array([[without_accents(n).lower() for n in row] for row in FIRST_NAMES], dtype=object)[
        gender, first
    ]
    plain = {name: without_accents(name).lower() for name in pd.unique(people["last_name0"])}
    plain |= {name: without_accents(name).lower() for name in pd.unique(people["last_name1"])}
    number = np.arange(count).astype(str).astype(object)
    separator = np.array([".", "", "_"], dtype=object)[zipf(rng, 3, count)]
    year = pd.DatetimeIndex(people["birth_date"]).year.to_numpy() % 100
    host = EMAIL_HOSTS[rng.integers(0, len(EMAIL_HOSTS), count)]
    email = plain_first + separator + people["last_name0"].map(plain).to_numpy() + _padded(year, 2)
    # Two persons have clearly different addresses: otherwise, the address of one looks like the other's with an error.
    spoken = plain_first + people["last_name0"].map(plain).to_numpy()
    taken = pd.Series(spoken).duplicated(keep=False).to_numpy()
    place = "." + people["city0"].map({city: without_accents(city).lower() for city in CITIES}).to_numpy() + number
    people["email0"] = email + np.where(taken, place, "") + "@" + host
    new = (people["is_married"] & (rng.random(count) < rates.new_email_after_marriage)).to_numpy()
    new |= rng.random(count) < rates.new_email
    other = plain_first + "." + people["last_name1"].map(plain).to_numpy() + "x" + number + "@" + host[::-1]
    people["email1"] = np.where(new, other, people["email0"])
    of_family = "family." + people["last_name0"].map(plain).to_numpy() + number + "@example.org"
    of_family = np.where(rng.random(count) < rates.family_address, of_family, people["email0"])
    people["household_email"] = of_family[head]
    people["card"] = "LC" + _padded(rng.permutation(count) * 97 + 100_000_000, 10)
