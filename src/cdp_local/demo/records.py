"""What each record of the demo shop shows of its person: versions of attributes, missing values and errors.

The facts of all records are arrays of shape (persons, 4): a person has up to four records. Codes say which value a
record shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdp_local.demo.people import COMMON_LAST_NAMES

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
MISSING = -1
SHARED, SHOP = 2, 3
"""Codes of e-mail addresses and phone numbers: of the household (family address, landline), and of the shop."""

_ERRORS = (
    "wrong_card",
    "no_accents",
    "name_typo",
    "email_spelling",
    "email_typo",
    "phone_typo",
    "birth_typo",
    "missing_country",
)


@dataclass(frozen=True)
class RecordRates:
    """Shares of records, or of the records that an attribute names.

    Attributes:
        records: Shares of persons with 1, 2, 3 and 4 records.
        first_is_customer: First records of a person that are customers. The others are contacts.
        later_is_customer: Later records that are customers.
        names_customer: Contacts with the number of a customer, of persons who have one.
        missing_email, missing_phone, missing_birth, missing_address, missing_name: Records without a value. Customers
            have no phone, birth date and address.
        shared_email, shared_phone: Records with the e-mail address or landline of the household, in households of
            several persons.
        shop_email, shop_phone: Records with an e-mail address or number of the shop.
        card: Records with the loyalty card.
        wrong_card: Cards with a wrong digit.
        nickname, initial, no_accents, name_typo: Names written so.
        email_spelling, email_typo: E-mail addresses with a plus tag or without dots, and with an error.
        phone_typo: Phone numbers with a wrong digit.
        birth_typo: Birth dates with day and month swapped, or with a wrong digit.
        missing_country: Contacts with an address without country.
        hopeless: Records whose link to the other records of the person is lost, of those without evidence.
    """

    records: tuple[float, ...] = (0.52, 0.30, 0.13, 0.05)
    first_is_customer: float = 0.7
    later_is_customer: float = 0.35
    names_customer: float = 0.5
    missing_email: float = 0.06
    missing_phone: float = 0.25
    missing_birth: float = 0.25
    missing_address: float = 0.15
    missing_name: float = 0.02
    shared_email: float = 0.06
    shared_phone: float = 0.15
    shop_email: float = 0.01
    shop_phone: float = 0.01
    card: float = 0.25
    wrong_card: float = 0.01
    nickname: float = 0.06
    initial: float = 0.03
    no_accents: float = 0.4
    name_typo: float = 0.03
    email_spelling: float = 0.02
    email_typo: float = 0.01
    phone_typo: float = 0.01
    birth_typo: float = 0.015
    missing_country: float = 0.05
    hopeless: float = 0.03


@dataclass
class Facts:
    """Facts of records, as arrays of shape (persons, 4). Places without a record hold no meaning."""

    exists: Mask
    is_customer: Mask
    customer: Ints
    """Record of the same person whose customer number a contact has. MISSING without one."""
    email: Ints
    """0 and 1: the person's address, by version. MISSING, SHARED or SHOP otherwise."""
    phone: Ints
    birth: Mask
    address: Ints
    version: Ints
    """Version of the last name."""
    card: Mask
    name: Ints
    """0: as it is; 1: nickname; 2: initial. MISSING: no name."""
    errors: dict[str, Mask]
    hopeless: Mask
    """Records that even a careful person can't assign to the right person."""


def draw_facts(people: pd.DataFrame, seed: int, rates: RecordRates) -> Facts:
    """Draw what each record of the people shows."""
    rng = np.random.default_rng([seed, 2])
    shape = (len(people), 4)

    def happens(rate: float) -> Mask:
        return rng.random(shape) < rate

    exists = np.arange(4) < rng.choice(np.arange(1, 5), len(people), p=rates.records)[:, None]
    is_customer = (
        np.where(np.arange(4) == 0, happens(rates.first_is_customer), happens(rates.later_is_customer)) & exists
    )
    has_company = (people["size"].to_numpy() > 1)[:, None]
    later = (np.arange(4) > 0) & happens(0.6)
    version = np.where(later, 1, 0)
    first_customer = np.where(is_customer.any(axis=1), is_customer.argmax(axis=1), MISSING)[:, None]
    email = np.where(happens(rates.shared_email) & has_company, SHARED, version)
    email = np.where(happens(rates.shop_email), SHOP, np.where(happens(rates.missing_email), MISSING, email))
    phone = np.where(happens(rates.shared_phone) & has_company, SHARED, version)
    phone = np.where(happens(rates.shop_phone), SHOP, np.where(happens(rates.missing_phone), MISSING, phone))
    phone = np.where(is_customer, MISSING, phone)
    name = np.where(happens(rates.nickname), 1, np.where(happens(rates.initial), 2, 0))
    facts = Facts(
        exists,
        is_customer,
        np.where(exists & ~is_customer & happens(rates.names_customer), first_customer, MISSING),
        email,
        phone,
        ~is_customer & ~happens(rates.missing_birth),
        np.where(is_customer | happens(rates.missing_address), MISSING, version),
        version,
        happens(rates.card),
        np.where(~is_customer & happens(rates.missing_name), MISSING, name),
        {error: happens(getattr(rates, error)) for error in _ERRORS},
        np.zeros(shape, dtype=bool),
    )
    _connect(facts, people, rates, rng)
    return facts


def _known(people: pd.DataFrame) -> dict[str, Mask]:
    """Return facts of persons that `_agree` needs: changed attributes, names shared in a family, rare last names."""
    columns = ("email", "mobile", "last", "street")
    known = {column: (people[f"{column}0"] != people[f"{column}1"]).to_numpy() for column in columns}
    known["namesake"] = (people["is_namesake"] | people["has_namesake"]).to_numpy()
    return known | {"rare": (people["last0"] >= COMMON_LAST_NAMES).to_numpy()}


def _agree(facts: Facts, known: dict[str, Mask], a: int, b: int) -> Mask:
    """Return for each person whether a careful person sees that records `a` and `b` are of one person."""
    named = (facts.name[:, a] >= 0) & (facts.name[:, b] >= 0)
    full = named & (facts.name[:, a] != 2) & (facts.name[:, b] != 2)

    def same(codes: Ints, column: str) -> Mask:
        x, y = codes[:, a], codes[:, b]
        own = (x >= 0) & (y >= 0) & (x < SHARED) & (y < SHARED)
        shown: Mask = own & ((x == y) | ~known[column])
        return shown

    e_mail = same(facts.email, "email") & ~(facts.errors["email_typo"][:, [a, b]].any(axis=1) & ~named)
    phone = same(facts.phone, "mobile") & ~facts.errors["phone_typo"][:, [a, b]].any(axis=1)
    family = ((facts.email[:, a] == SHARED) & (facts.email[:, b] == SHARED)) | (
        (facts.phone[:, a] == SHARED) & (facts.phone[:, b] == SHARED)
    )
    family &= full & ~known["namesake"]
    card = facts.card[:, [a, b]].all(axis=1) & ~facts.errors["wrong_card"][:, [a, b]].any(axis=1)
    last_name = (facts.version[:, a] == facts.version[:, b]) | ~known["last"]
    births = facts.birth[:, [a, b]].all(axis=1) & ~facts.errors["birth_typo"][:, [a, b]].any(axis=1)
    home = same(facts.address, "street") & full & last_name & ~known["namesake"]
    born = births & full & ((last_name & known["rare"]) | same(facts.address, "street"))
    number = (facts.customer[:, a] == b) | (facts.customer[:, b] == a)
    number |= (facts.customer[:, a] >= 0) & (facts.customer[:, a] == facts.customer[:, b])
    agree: Mask = facts.exists[:, a] & facts.exists[:, b] & (e_mail | phone | family | card | home | born | number)
    return agree


def _groups(facts: Facts, known: dict[str, Mask]) -> Ints:
    """Return for each record the smallest record of the person that evidence connects it with."""
    group = np.tile(np.arange(4), (len(facts.exists), 1))
    pairs = [(a, b, _agree(facts, known, a, b)) for a in range(4) for b in range(a + 1, 4)]
    for _ in range(3):
        for a, b, agree in pairs:
            low = np.minimum(group[:, a], group[:, b])
            group[:, a], group[:, b] = np.where(agree, low, group[:, a]), np.where(agree, low, group[:, b])
    return group


def _connect(facts: Facts, people: pd.DataFrame, rates: RecordRates, rng: np.random.Generator) -> None:
    """Give most records without evidence the e-mail address of the person's first record. Mark the rest as hopeless."""
    known = _known(people)
    for later in range(1, 4):
        lost = (
            facts.exists[:, later]
            & (_groups(facts, known)[:, later] != 0)
            & (rng.random(len(people)) >= rates.hopeless)
        )
        own = np.where((facts.email[:, 0] == 0) | (facts.email[:, 0] == 1), facts.email[:, 0], 0)
        for record in (0, later):
            facts.email[:, record] = np.where(lost, own, facts.email[:, record])
            facts.errors["email_typo"][:, record] &= ~lost
    groups = _groups(facts, known)
    facts.hopeless |= facts.exists & (groups != 0)
    only_family = (facts.email == SHARED) & (facts.customer == MISSING) & ~facts.birth & ~facts.card
    facts.hopeless |= facts.exists & known["namesake"][:, None] & only_family
