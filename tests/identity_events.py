"""Events of the invented shop: identities by customer number, e-mail address and device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class EventRates:
    """Shares of records, persons or households with events.

    Attributes:
        logged_in: Customers who log in on a device of their own.
        second_device: Of those, customers who use a second device.
        anonymous: Devices that are also used without login.
        mailed: Records with e-mail address that receive a message.
        terminal: Customers who log in at a terminal of a shop.
        customers_per_terminal: Number of customers at each terminal.
        tablet: Households with a tablet that every customer of the household uses.
        strangers: Devices that nobody logs in with, as share of customers.
        refused: Events whose visitor refused tracking.
    """

    logged_in: float = 0.5
    second_device: float = 0.2
    anonymous: float = 0.6
    mailed: float = 0.25
    terminal: float = 0.03
    customers_per_terminal: int = 200
    tablet: float = 0.1
    strangers: float = 0.05
    refused: float = 0.04


def draw_events(people: pd.DataFrame, rows: pd.DataFrame, seed: int, rates: EventRates) -> pd.DataFrame:
    """Return the events as rows of events_silver, with the person (-1 for nobody)."""
    rng = np.random.default_rng([seed, 4])
    customers = rows.loc[rows["is_customer"], ["customer_id", "person", "household", "size"]].reset_index(drop=True)

    def share(of: pd.DataFrame, rate: float) -> pd.DataFrame:
        return of[rng.random(len(of)) < rate]

    own = share(customers, rates.logged_in).assign(device=lambda f: "d" + f["person"].astype(str))
    second = share(own, rates.second_device).assign(device=lambda f: "e" + f["person"].astype(str))
    terminals = max(1, int(len(customers) * rates.terminal) // rates.customers_per_terminal)
    shop = share(customers, rates.terminal)
    shop = shop.assign(device=["terminal" + str(n) for n in rng.integers(0, terminals, len(shop))])
    tablets = customers[(customers["size"] > 1) & (rng.random(len(people)) < rates.tablet)[customers["household"]]]
    tablets = tablets.assign(device="tablet" + tablets["household"].astype(str))
    logins = pd.concat([own, second, shop, tablets])
    devices = share(logins.drop_duplicates("device"), rates.anonymous)
    strangers = [f"s{n}" for n in range(int(len(customers) * rates.strangers))]
    mailed = share(rows[rows["email"].notna()], rates.mailed)
    events = pd.concat(
        [
            logins.rename(columns={"device": "anonymous_id"})[["customer_id", "anonymous_id"]],
            pd.DataFrame({"anonymous_id": [*devices["device"], *strangers]}),
            pd.DataFrame({"email": mailed["email"].to_numpy()}),
        ],
        ignore_index=True,
    )
    return _as_events(events, rng, rates)


def _as_events(events: pd.DataFrame, rng: np.random.Generator, rates: EventRates) -> pd.DataFrame:
    """Add the other columns of events_silver."""
    events = events.astype({"anonymous_id": object, "email": object}).where(events.notna(), None)
    events["customer_id"] = events["customer_id"].astype("Int64")
    events["event_id"] = [f"e{n}" for n in range(len(events))]
    is_mail = events["email"].notna()
    events["event_type"] = np.where(is_mail, "email_open", "page_view")
    events["channel"] = np.where(is_mail, "email", "web")
    minutes = rng.integers(0, 1_000_000, len(events)).astype("timedelta64[m]")
    events["occurred_at"] = np.datetime64("2024-01-01T00:00:00", "us") + minutes
    refused = rng.random(len(events)) < rates.refused
    events["is_tracking_allowed"] = np.where(refused, False, None)
    identity = np.where(
        events["customer_id"].notna(),
        "customer:" + events["customer_id"].astype(str).astype(object),
        np.where(is_mail, "email:" + events["email"].fillna(""), "device:" + events["anonymous_id"].fillna("")),
    )
    events["identity"] = np.where(refused, None, identity)
    return events


def truth_of_identities(events: pd.DataFrame, rows: pd.DataFrame, persons: int) -> pd.Series:
    """Return the person of each e-mail address and device that events name.

    An identity that no or several persons use gets a number of its own, from `persons` upwards.
    """
    identities = events.loc[events["customer_id"].isna() & events["identity"].notna(), "identity"].drop_duplicates()
    of_email = rows.loc[rows["email"].notna(), ["email", "person"]].drop_duplicates()
    logins = events[events["customer_id"].notna() & events["anonymous_id"].notna() & events["identity"].notna()]
    person_of = rows.loc[rows["is_customer"]].set_index("customer_id")["person"]
    of_device = pd.DataFrame(
        {"device": logins["anonymous_id"], "person": logins["customer_id"].map(person_of)}
    ).drop_duplicates()
    users = pd.concat(
        [
            pd.Series(of_email["person"].to_numpy(), "email:" + of_email["email"]),
            pd.Series(of_device["person"].to_numpy(), "device:" + of_device["device"]),
        ]
    )
    owned = users[~users.index.duplicated(keep=False)]
    found = identities.map(owned)
    alone = pd.Series(np.arange(persons, persons + len(identities)), identities.index)
    return pd.Series(found.fillna(alone).astype("int64").to_numpy(), identities.to_numpy())
