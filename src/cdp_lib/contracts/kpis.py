"""The KPIs: what each figure of `kpi_monthly_gold` is.

Code, documentation and dashboards are made from these definitions, or tested against them; there are no others.
"""

import re
from dataclasses import dataclass
from typing import Literal

Unit = Literal["money", "count", "share", "months", "ratio", "points"]
_NAME = re.compile(r"[a-z_]+")
Dimension = Literal["all", "country", "channel", "segment", "category", "consent_channel"]

DIMENSIONS: dict[Dimension, str] = {
    "all": "everything; its one value is `all`",
    "country": "country the customer lives in, as in `customers_silver`",
    "channel": "marketing channel that brought the customer, as the CRM has it; `unknown` without a linked contact",
    "segment": "RFM segment of the customer at `as_of`, in every month",
    "category": "category of the product sold",
    "consent_channel": "way of marketing: email, sms or phone",
}

_ALL: tuple[Dimension, ...] = ("all",)
_BY_CHANNEL: tuple[Dimension, ...] = ("all", "channel")
BY_CUSTOMER: tuple[Dimension, ...] = ("all", "country", "channel", "segment")
"""Dimensions of which every customer has one value: what is counted by customer adds up over each of them."""
_BY_SALE: tuple[Dimension, ...] = (*BY_CUSTOMER, "category")

MEASURES: dict[str, str] = {
    "revenue": "Σ quantity × price of the month's sales, at the prices of their days",
    "transactions": "sales of the month",
    "active_customers": "customers with a sale in the month",
    "first_time_buyers": "of those, customers whose first sale is in the month",
    "returning_customers": "of those, customers with a sale in the month before, too",
    "reactivated_customers": "of those, customers with an earlier sale, but none in the month before",
    "active_before": "customers with a sale in the month before",
    "revenue_before": "their revenue in the month before",
    "revenue_lost": "Σ max(0, revenue in the month before − revenue in the month), customer by customer",
    "active_users": "customers with a sale in the month, or with an activity in an event linked to them",
    "new_customers": "customers whose acquisition date is in the month",
    "repeat_buyers": "customers whose second day with a sale is in the month",
    "customers_to_date": "customers acquired up to the end of the month",
    "buyers_to_date": "customers with a sale up to the end of the month",
    "repeat_buyers_to_date": "customers with sales on two days up to the end of the month",
    "revenue_to_date": "revenue up to the end of the month",
    "gross_margin": "share of revenue left after the cost of what was sold, a job parameter",
    "predicted_customers": "customers with a prediction in `customer_value_gold`",
    "predicted_clv": "Σ of their `predictive_clv`; null where there are none",
    "spend": "Σ amount × exchange rate of the month's marketing spend; 0 for a channel that had none, null for an"
    " unknown channel, in a month without any spend, or with a currency that has no rate in it nor before",
    "spend_to_date": "spend of all months up to this one",
    "new_customers_with_spend": "customers acquired up to the end of the month, in months with spend",
    "paid_spend": "of `spend`, that on channels whose name begins with `paid_`",
    "paid_new_customers": "of `new_customers`, those whom such a channel brought",
    "person_days": "different people and days with an activity in the 30 days up to the end of the month, or `as_of`",
    "week_people": "different people with an activity within the 7 days up to then",
    "month_people": "different people with an activity within the 30 days up to then",
    "sessions": "different sessions in the month",
    "session_people": "different people with a session in the month",
    "people": "different people with an activity in the month",
    "points": "Σ points of their activities",
    "mailings_sent": "different addresses and campaigns with an e-mail sent in the month",
    "mailings_opened": "of those, with an e-mail opened in the month",
    "mailings_clicked": "of those, with a link clicked in the month",
    "contacts": "contacts of the CRM",
    "contacts_agreeing": "of those, contacts who agree to marketing by this way",
}
"""What is counted or summed up, by month and dimension. A person is a customer, or an address or device not linked to
one."""

ADDS_OVER_MONTHS = (
    "revenue",
    "transactions",
    "first_time_buyers",
    "new_customers",
    "repeat_buyers",
    "spend",
    "paid_spend",
    "paid_new_customers",
    "mailings_sent",
    "mailings_opened",
    "mailings_clicked",
)
"""Measures of which the sum of several months is that of the period: nobody and nothing is counted in two of them."""

COUNTED_BY_SALE = ("revenue", "transactions")
"""Measures that add up over categories: a sale is of one, a customer buys of several."""


@dataclass(frozen=True)
class Kpi:
    """One figure that people steer by: numerator / denominator.

    Attributes:
        name: Name in `kpi_monthly_gold`.
        title: Name for people.
        definition: What it says, in a sentence or two.
        numerator: SQL expression over `MEASURES`.
        denominator: SQL expression over `MEASURES`; `1` for a plain figure. Divided by 0, the figure is null.
        unit: money (reporting currency), count, share (0 to 1), months, ratio, or points.
        dimensions: Dimensions it is given by.
        source: Tables it is made from, and where the definition comes from if it is not plain.
        owner: Who answers for the definition.
        example: Worked out by hand.
        is_of_latest_month: Whether it is a state at `as_of`, given for the latest month alone.
        needs_whole_month: Whether it is null for a month that is not over at `as_of`.
    """

    name: str
    title: str
    definition: str
    numerator: str
    denominator: str
    unit: Unit
    dimensions: tuple[Dimension, ...]
    source: str
    owner: str
    example: str
    is_of_latest_month: bool = False
    needs_whole_month: bool = False

    @property
    def is_additive(self) -> bool:
        """Whether its values by country, by channel and by segment each add up to that of all."""
        return self.denominator == "1" and set(BY_CUSTOMER) <= set(self.dimensions)

    @property
    def adds_over_months(self) -> bool:
        """Whether what several months count, summed up, is what their period counts: Σ numerator / Σ denominator.

        Of a plain figure it is Σ numerator. Of any other KPI a period has the figure of its latest month: the same
        people may be in several.
        """
        return self._measures <= set(ADDS_OVER_MONTHS)

    def adds_over(self, dimension: Dimension) -> bool:
        """Whether what several values of a dimension count, summed up, is what they count together.

        It is not where a part of the KPI is a quotient by itself, or where one and the same is counted by several.
        """
        if dimension == "all":
            return True
        if "/" in self.numerator + self.denominator:
            return False
        return dimension in BY_CUSTOMER or (dimension == "category" and self._measures <= set(COUNTED_BY_SALE))

    @property
    def _measures(self) -> set[str]:
        return set(_NAME.findall(f"{self.numerator} {self.denominator}")) & set(MEASURES)


_SALES = "`retails_silver`"
_CUSTOMERS = "`customer_acquisitions_silver`"
_ACTIVITIES = "`events_silver`, `customer_links_silver`"
_SPEND = "`marketing_spend_silver`, `exchange_rates_silver`"

_OF_SALES = (
    Kpi(
        "revenue",
        "Revenue",
        "Money that the sales of the month brought in, at the prices of their days.",
        "revenue",
        "1",
        "money",
        _BY_SALE,
        _SALES,
        "Sales",
        "2 yoga mats at 499.00 and 1 pair of headphones at 1,500.00: 2,498.00.",
    ),
    Kpi(
        "transactions",
        "Transactions",
        "Sales of the month. The source has no basket number: two products bought together are two.",
        "transactions",
        "1",
        "count",
        _BY_SALE,
        _SALES,
        "Sales",
        "Yoga mats and headphones, bought together: 2.",
    ),
    Kpi(
        "average_transaction_value",
        "Average transaction value",
        "What a sale brings in. By sale, not by basket: the source has no basket number.",
        "revenue",
        "transactions",
        "money",
        _BY_SALE,
        _SALES,
        "Sales",
        "2,498.00 from 2 sales: 1,249.00.",
    ),
    Kpi(
        "active_customers",
        "Active customers",
        "Customers who bought in the month. By category they do not add up: a customer may buy of several.",
        "active_customers",
        "1",
        "count",
        _BY_SALE,
        _SALES,
        "Marketing",
        "Three customers with five sales: 3.",
    ),
    Kpi(
        "first_time_buyers",
        "First-time buyers",
        "Active customers whose first purchase is in the month. With the returning and the reactivated ones, these are"
        " all active customers.",
        "first_time_buyers",
        "1",
        "count",
        BY_CUSTOMER,
        _SALES,
        "Marketing",
        "Bought for the first time in May, twice: 1 in May.",
    ),
    Kpi(
        "returning_customers",
        "Returning customers",
        "Active customers who were active in the month before, too.",
        "returning_customers",
        "1",
        "count",
        BY_CUSTOMER,
        _SALES,
        "Marketing",
        "Bought in April and in May: returning in May.",
    ),
    Kpi(
        "reactivated_customers",
        "Reactivated customers",
        "Active customers who had bought before, but not in the month before.",
        "reactivated_customers",
        "1",
        "count",
        BY_CUSTOMER,
        _SALES,
        "Marketing",
        "Bought in March and in May: reactivated in May.",
    ),
    Kpi(
        "retention_rate",
        "Retention rate",
        "Share of the customers active in the month before who are active again. Who comes back after a longer break"
        " does not count.",
        "returning_customers",
        "active_before",
        "share",
        BY_CUSTOMER,
        f"{_SALES}; active at the start ∩ active at the end / active at the start",
        "Marketing",
        "Four bought in April; of these, one buys in May: 0.25.",
        needs_whole_month=True,
    ),
    Kpi(
        "churn_rate",
        "Churn rate (logo)",
        "Share of the customers active in the month before who are not active: 1 − retention rate.",
        "active_before - returning_customers",
        "active_before",
        "share",
        BY_CUSTOMER,
        _SALES,
        "Marketing",
        "Four bought in April; of these, one buys in May: 0.75.",
        needs_whole_month=True,
    ),
    Kpi(
        "revenue_churn_rate",
        "Revenue churn rate (gross)",
        "Share of the revenue of the month before that the same customers did not bring in again. Who buys more makes"
        " up for nobody.",
        "revenue_lost",
        "revenue_before",
        "share",
        BY_CUSTOMER,
        _SALES,
        "Finance",
        "A: 100 and then 40; B: 100 and then 150. (60 + 0) / 200 = 0.3.",
        needs_whole_month=True,
    ),
    Kpi(
        "arpu",
        "Average revenue per user (ARPU)",
        "Revenue by active user: a customer who bought, or did something in an event linked to them.",
        "revenue",
        "active_users",
        "money",
        BY_CUSTOMER,
        f"{_SALES}, {_ACTIVITIES}",
        "Finance",
        "2,498.00 from one buyer, and four more customers on the web: 499.60.",
    ),
    Kpi(
        "arppu",
        "Average revenue per paying user (ARPPU)",
        "Revenue by customer who bought.",
        "revenue",
        "active_customers",
        "money",
        BY_CUSTOMER,
        _SALES,
        "Finance",
        "2,498.00 from one buyer, and four more customers on the web: 2,498.00.",
    ),
    Kpi(
        "repeat_purchase_rate",
        "Repeat purchase rate",
        "Share of the buyers so far who have bought on more than one day.",
        "repeat_buyers_to_date",
        "buyers_to_date",
        "share",
        BY_CUSTOMER,
        _SALES,
        "Marketing",
        "Ten have bought, three of them again on another day: 0.3.",
    ),
)

_OF_ACQUISITION_AND_VALUE = (
    Kpi(
        "new_customers",
        "New customers",
        "Customers acquired in the month: the earlier of registration and first purchase is in it.",
        "new_customers",
        "1",
        "count",
        BY_CUSTOMER,
        _CUSTOMERS,
        "Marketing",
        "Registered on 3 May, first bought in April: new in April.",
    ),
    Kpi(
        "customers",
        "Customers",
        "Customers acquired up to the end of the month.",
        "customers_to_date",
        "1",
        "count",
        BY_CUSTOMER,
        _CUSTOMERS,
        "Marketing",
        "10 new in April and 5 in May: 15 in May.",
    ),
    Kpi(
        "marketing_spend",
        "Marketing spend",
        "Money spent on marketing in the month, at the month's exchange rate, or the latest before. Null where a"
        " currency has none: a sum without it would be too small.",
        "spend",
        "1",
        "money",
        _BY_CHANNEL,
        _SPEND,
        "Marketing",
        "1,000.00 AED at 0.2723: 272.30.",
    ),
    Kpi(
        "cac",
        "Customer acquisition cost (CAC)",
        "Marketing spend by new customer. Of all channels it is the blended CAC, for which customers count who cost"
        " nothing; by channel, that of the channel's own spend and customers.",
        "spend",
        "new_customers",
        "money",
        _BY_CHANNEL,
        f"{_SPEND}, {_CUSTOMERS}, `customer_links_silver`, `crm_contacts_silver`",
        "Marketing",
        "500.00 spent in May, 10 new customers: 50.00.",
        needs_whole_month=True,
    ),
    Kpi(
        "cac_paid",
        "Paid CAC",
        "Spend on paid channels (`paid_…`) by new customer whom one of them brought.",
        "paid_spend",
        "paid_new_customers",
        "money",
        _ALL,
        f"{_SPEND}, {_CUSTOMERS}, `customer_links_silver`, `crm_contacts_silver`",
        "Marketing",
        "400.00 of the 500.00 went into paid search, which brought 4 of the 10: 100.00.",
        needs_whole_month=True,
    ),
    Kpi(
        "clv_historic",
        "Historic customer lifetime value",
        "Margin that a customer has brought in so far, on average; who never bought counts.",
        "revenue_to_date * gross_margin",
        "customers_to_date",
        "money",
        BY_CUSTOMER,
        f"{_SALES}, {_CUSTOMERS}",
        "Finance",
        "10,000.00 at a margin of 0.4 from 20 customers: 200.00.",
    ),
    Kpi(
        "clv_predictive",
        "Predictive customer lifetime value",
        "Margin to expect from a customer within the CLV horizon, discounted, on average over those with a prediction.",
        "predicted_clv",
        "predicted_customers",
        "money",
        BY_CUSTOMER,
        "`customer_value_gold`",
        "Finance",
        "Three customers with 10.00, 30.00 and 80.00: 40.00.",
        is_of_latest_month=True,
    ),
    Kpi(
        "clv_to_cac",
        "CLV : CAC",
        "What a customer has brought in and is expected to, who never bought included, for each unit of money that"
        " acquiring one has cost. Null where one of them is not known.",
        "(revenue_to_date * gross_margin + predicted_clv) / nullif(customers_to_date, 0)",
        "spend_to_date / nullif(new_customers_with_spend, 0)",
        "ratio",
        _BY_CHANNEL,
        f"`customer_value_gold`, {_SPEND}, {_CUSTOMERS}",
        "Finance",
        "20 customers, 4,000.00 of margin so far, 800.00 expected, each cost 60.00: 4,800 / 20 / 60 = 4.0.",
        is_of_latest_month=True,
    ),
    Kpi(
        "payback_months",
        "Payback",
        "Months until the margin of an average active user has paid back the month's CAC, if they stay as active.",
        "spend / nullif(new_customers, 0)",
        "revenue * gross_margin / nullif(active_users, 0)",
        "months",
        _BY_CHANNEL,
        "as for `cac` and `arpu`",
        "Finance",
        "50.00 / (25.00 × 0.4): 5.0.",
        needs_whole_month=True,
    ),
)

_OF_ENGAGEMENT = (
    Kpi(
        "dau",
        "Daily active users (DAU)",
        "People active on a day, on average over the 30 days up to the end of the month, or `as_of`.",
        "person_days",
        "30",
        "count",
        _ALL,
        _ACTIVITIES,
        "Digital",
        "In 30 days, one person comes every day and another on 15 days: 45 / 30 = 1.5.",
    ),
    Kpi(
        "wau",
        "Weekly active users (WAU)",
        "People active within the 7 days up to the end of the month, or `as_of`.",
        "week_people",
        "1",
        "count",
        _ALL,
        _ACTIVITIES,
        "Digital",
        "One person every day, another once: 2.",
    ),
    Kpi(
        "mau",
        "Monthly active users (MAU)",
        "People active within the 30 days up to the end of the month, or `as_of`.",
        "month_people",
        "1",
        "count",
        _ALL,
        _ACTIVITIES,
        "Digital",
        "One person every day, another once: 2.",
    ),
    Kpi(
        "stickiness",
        "Stickiness",
        "Share of its month's people whom a day sees: DAU / MAU.",
        "person_days / 30",
        "month_people",
        "share",
        _ALL,
        _ACTIVITIES,
        "Digital",
        "1.5 people a day of 2 in 30 days: 0.75.",
    ),
    Kpi(
        "sessions_per_user",
        "Sessions per user",
        "Sessions of a person in the month, of those who had any.",
        "sessions",
        "session_people",
        "ratio",
        _ALL,
        _ACTIVITIES,
        "Digital",
        "30 sessions of 20 people: 1.5.",
    ),
    Kpi(
        "email_open_rate",
        "E-mail open rate",
        "Share of the month's mailings – an address and a campaign – that were opened in it. Opens that a mail program"
        " makes by itself count, too.",
        "mailings_opened",
        "mailings_sent",
        "share",
        _ALL,
        "`events_silver`",
        "CRM",
        "10 addresses got a newsletter, 4 opened it, one of them twice: 0.4.",
    ),
    Kpi(
        "email_click_rate",
        "E-mail click rate",
        "Share of the month's mailings in which a link was clicked in it.",
        "mailings_clicked",
        "mailings_sent",
        "share",
        _ALL,
        "`events_silver`",
        "CRM",
        "10 addresses got a newsletter, 1 clicked: 0.1.",
    ),
    Kpi(
        "engagement_score",
        "Engagement score",
        "Points of an active person in the month: product view 2, click in an e-mail 3, something put into the cart 3,"
        " checkout 5, any other activity 1.",
        "points",
        "people",
        "points",
        _ALL,
        f"{_ACTIVITIES}; the points are this platform's own",
        "Digital",
        "A views a product and checks out, B opens an e-mail: (2 + 5 + 1) / 2 = 4.",
    ),
    Kpi(
        "consent_rate",
        "Consent rate",
        "Share of the CRM's contacts who agree to marketing by a way; who was never asked has not agreed.",
        "contacts_agreeing",
        "contacts",
        "share",
        ("consent_channel",),
        "`crm_contacts_silver`",
        "CRM",
        "60 contacts, of whom 45 agree to e-mail: 0.75.",
        is_of_latest_month=True,
    ),
)

KPIS = (*_OF_SALES, *_OF_ACQUISITION_AND_VALUE, *_OF_ENGAGEMENT)

NOT_AN_ACTIVITY = ("email_sent", "email_delivered", "email_bounced", "unsubscribe")
"""Types of events that are done to a person, or end a relation: they make nobody active."""

ENGAGEMENT_POINTS = {"product_view": 2, "email_click": 3, "add_to_cart": 3, "checkout": 5}
"""Points of an activity in the engagement score; any other has 1."""

PAID_CHANNELS = "paid_"
"""How the names of paid marketing channels begin."""

TRAILING_DAYS = 30
"""Days of the window of DAU and MAU."""
