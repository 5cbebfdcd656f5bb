"""Events of the demo shop: sessions on the web and in the app, and e-mails."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from cdp_local.demo.assortment import DAYS, FIRST_DAY, MONTHS, PROMOTIONS
from cdp_local.demo.typed import NOTHING

SESSIONS_PER_ONLINE_VISIT = 0.8
"""Sessions without a purchase per session with one."""

_STEPS = ("page_view", "product_view", "product_view", "add_to_cart", "checkout")
OPENED, CLICKED, UNSUBSCRIBED = 0.36, 0.22, 0.004
"""Shares of e-mails that are opened, of opened e-mails with a click, and of e-mails that end the subscription."""


def draw_sessions(
    visits: pd.DataFrame, accounts: pd.DataFrame, skus: pd.Series, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the events of sessions. A purchase online ends a session with a checkout.

    Args:
        visits: Visits to the shop, as `draw_visits` returns them.
        accounts: One row per person with an account: `code` of the customer and `household`, by person.
        skus: Number of each product.
        rng: Random numbers.
    """
    bought = visits[(visits["channel"] != "store") & visits["person"].isin(accounts.index)]
    looked = bought.sample(frac=SESSIONS_PER_ONLINE_VISIT, random_state=int(rng.integers(1_000_000)))
    looked = looked.assign(day=rng.integers(0, DAYS, len(looked)))
    looked = looked.assign(
        day=np.maximum(looked["day"], visits.groupby("taste")["day"].min()[looked["taste"]].to_numpy())
    )
    sessions = pd.concat([bought, looked], ignore_index=True)
    length = np.where(np.arange(len(sessions)) < len(bought), len(_STEPS), rng.integers(1, len(_STEPS), len(sessions)))
    person = sessions["person"].to_numpy()
    account = accounts.loc[person]
    has_tablet = rng.random(accounts["household"].max() + 1) < 0.1
    tablet = (account["size"] > 1).to_numpy() & (has_tablet[account["household"]])
    device = np.where(
        tablet,
        "tablet-" + account["household"].astype(str).to_numpy(),
        np.where(sessions["channel"] == "app", "phone-", "browser-") + person.astype(str).astype(object),
    )
    is_logged_in = (np.arange(len(sessions)) < len(bought)) | (rng.random(len(sessions)) < 0.4)
    sessions["code"] = np.where(is_logged_in, account["code"].to_numpy(), NOTHING)
    sessions["anonymous_id"] = device
    sessions["session_id"] = [f"s-{number:06}" for number in range(len(sessions))]
    sessions["consent"] = rng.random(len(sessions)) < 0.95
    events = sessions.loc[sessions.index.repeat(length)].reset_index(drop=True)
    step = events.groupby("session_id").cumcount().to_numpy()
    is_app_open = (step == 0) & (events["channel"] == "app")
    events["event_type"] = np.where(is_app_open, "app_open", np.array(_STEPS)[step])
    events["second"] = events["second"] - 40 * (len(_STEPS) - step)
    about_product = np.isin(events["event_type"], ("product_view", "add_to_cart"))
    events["product_id"] = np.where(about_product, skus.sample(len(events), replace=True, random_state=7), NOTHING)
    return events


def draw_mail(readers: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the events of e-mails: a newsletter a month, and a mail at the start of each promotion.

    Args:
        readers: One row per contact who gets e-mails: `email`, the day on which the contact was created, and
            `openness`, a factor on the share of mails that the contact opens.
        rng: Random numbers.
    """
    mails = [((date.fromisoformat(f"{month}-05") - FIRST_DAY).days, f"newsletter_{month}") for month in MONTHS]
    mails += [((each.first_day - FIRST_DAY).days, each.code.lower()) for each in PROMOTIONS]
    sent = pd.concat(
        [
            readers[readers["first_day"] < day].sample(frac=0.5, random_state=day).assign(day=day, campaign=campaign)
            for day, campaign in mails
        ],
        ignore_index=True,
    ).assign(event_type="email_sent", second=6 * 3600, channel="email")
    opened = sent[rng.random(len(sent)) < OPENED * sent["openness"]].assign(event_type="email_open")
    opened["second"] += rng.integers(60, 15 * 3600, len(opened))
    clicked = opened[rng.random(len(opened)) < CLICKED].assign(event_type="email_click")
    clicked["second"] += 30
    left = opened[rng.random(len(opened)) < UNSUBSCRIBED].assign(event_type="unsubscribe")
    left["second"] += 60
    return pd.concat([sent, opened, clicked, left], ignore_index=True)
