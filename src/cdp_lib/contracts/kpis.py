"""The KPIs: definitions of the figures in `kpi_monthly_gold` and `kpi_weekly_gold`.

The definitions speak of months. In `kpi_weekly_gold`, read “week” for “month”; `Kpi.in_weeks` has the exceptions.

These are the only definitions. Code, documentation and dashboards are generated from them or tested against them.
"""

import re
from dataclasses import dataclass
from typing import Literal

Unit = Literal["money", "count", "share", "months", "ratio", "points"]
_NAME = re.compile(r"[a-z_]+")
PeriodName = Literal["month", "week"]
Dimension = Literal["all", "country", "channel", "segment", "category", "consent_channel"]

DIMENSIONS: dict[Dimension, str] = {
    "all": "no grouping; its only value is `all`",
    "country": "country the customer lives in, as in `customers_silver`; `unknown` if the source does not say",
    "channel": "marketing channel that acquired the customer, from the CRM; `unknown` without a linked contact",
    "segment": "segment of the customer at `as_of`; the same in every month",
    "category": "category of the product sold; `unknown` if the source does not say",
    "consent_channel": "marketing channel that a person can agree to: email, sms or phone",
}

_ALL: tuple[Dimension, ...] = ("all",)
_CHANNEL_DIMENSIONS: tuple[Dimension, ...] = ("all", "channel")
CUSTOMER_DIMENSIONS: tuple[Dimension, ...] = ("all", "country", "channel", "segment")
"""Dimensions with one value per customer. Measures of customers are additive over the values of each dimension."""
_LINE_DIMENSIONS: tuple[Dimension, ...] = ("all", "country", "category")
_ORDER_DIMENSIONS: tuple[Dimension, ...] = ("all", "country")
_SALE_DIMENSIONS: tuple[Dimension, ...] = (*CUSTOMER_DIMENSIONS, "category")

MEASURES: dict[str, str] = {
    "revenue": "Σ revenue over the lines of the month: sales less returns, with and without a customer",
    "customer_revenue": "part of `revenue` from known customers",
    "anonymous_revenue": "part of `revenue` without a customer",
    "orders": "distinct orders with a sale in the month; null before the first order number",
    "order_revenue": "part of `revenue` with an order number",
    "order_items": "pieces sold with an order number, without returns",
    "sold_revenue": "Σ revenue over the sales of the month, without returns",
    "returned_revenue": "−Σ revenue over the returns of the month; null before the first return",
    "discount": "Σ discount over the lines of the month",
    "list_revenue": "Σ (revenue + discount) over the lines of the month with a discount, also of 0",
    "cost": "Σ cost over the lines of the month whose cost is known",
    "costed_revenue": "Σ revenue over the lines of the month whose cost is known",
    "transactions": "sales of the month",
    "active_customers": "customers with a sale in the month",
    "first_time_buyers": "active customers whose first sale is in the month",
    "returning_customers": "active customers who also have a sale in the previous month",
    "reactivated_customers": "active customers with an earlier sale, but none in the previous month",
    "active_before": "customers with a sale in the previous month",
    "revenue_before": "Σ over customers of max(0, revenue in the previous month)",
    "revenue_lost": "Σ over customers of max(0, x − y), where x is the revenue of the previous month and y is that of"
    " the month; x or y is 0 if returns exceed sales",
    "active_users": "customers with a sale in the month, or with an activity in an event that is linked to them",
    "new_customers": "customers whose acquisition date is in the month; customers without one are not included",
    "repeat_buyers": "customers whose second day with a sale is in the month",
    "customers_to_date": "customers acquired up to the end of the month",
    "buyers_to_date": "customers with a sale up to the end of the month",
    "repeat_buyers_to_date": "customers with sales on two or more days up to the end of the month",
    "revenue_to_date": "`customer_revenue` up to the end of the month",
    "gross_margin": "share of revenue left after the cost of goods sold; a job parameter",
    "predicted_customers": "customers with a prediction in `customer_value_gold`",
    "predicted_clv": "Σ `predictive_clv` over the customers with a prediction; null if there are none",
    "spend": "Σ amount × exchange rate over the marketing spend of the month; 0 for a channel without spend; null for"
    " an unknown channel, in a month without any spend, or if a currency has no rate for the month or an earlier month",
    "spend_to_date": "spend of all months up to this one",
    "new_customers_with_spend": "customers acquired up to the end of the month, in months with spend",
    "paid_spend": "part of `spend` on channels whose name begins with `paid_`",
    "paid_new_customers": "part of `new_customers` acquired by channels whose name begins with `paid_`",
    "person_days": "distinct (person, day) pairs with activity in the 30 days up to the end of the month; in the latest"
    " month, up to `as_of`",
    "week_people": "distinct people with an activity in the 7 days up to the end of the month; in the latest month, up"
    " to `as_of`",
    "month_people": "distinct people with an activity in the 30 days up to the end of the month; in the latest month,"
    " up to `as_of`",
    "sessions": "distinct sessions in the month",
    "session_people": "distinct people with a session in the month",
    "people": "distinct people with an activity in the month",
    "points": "Σ points of the activities in the month",
    "mailings_sent": "distinct (address, campaign) pairs with an e-mail sent in the month",
    "mailings_opened": "mailings sent in the month with an e-mail opened in the month; null before the first one",
    "mailings_clicked": "mailings sent in the month with a link clicked in the month; null before the first one",
    "known_persons": "persons with a customer, a contact or a decision on marketing; null if nobody has a decision on"
    " the channel",
    "agreeing_persons": "persons who agree to marketing by the channel; null if nobody has a decision on it",
}
"""Definitions of the measures, by name. A person is a customer, or an e-mail address or a device that is not
linked to a customer.
"""

ADDS_OVER_MONTHS = (
    "revenue",
    "customer_revenue",
    "anonymous_revenue",
    "transactions",
    "orders",
    "order_revenue",
    "order_items",
    "sold_revenue",
    "returned_revenue",
    "discount",
    "list_revenue",
    "cost",
    "costed_revenue",
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
"""Measures that are additive over months, because each customer, sale or mailing is counted in one month only."""

ADDS_OVER_CATEGORIES = (
    "revenue",
    "transactions",
    "sold_revenue",
    "returned_revenue",
    "discount",
    "list_revenue",
    "cost",
    "costed_revenue",
)
"""Measures that are additive over categories, because a sale has one category. Counts of customers are not additive,
because one customer may buy in several categories.
"""


COUNTS_OF_PEOPLE = (
    "active_customers",
    "first_time_buyers",
    "returning_customers",
    "reactivated_customers",
    "active_before",
    "active_users",
    "new_customers",
    "repeat_buyers",
    "customers_to_date",
    "buyers_to_date",
    "repeat_buyers_to_date",
    "predicted_customers",
    "new_customers_with_spend",
    "paid_new_customers",
    "week_people",
    "month_people",
    "session_people",
    "people",
    "mailings_sent",
    "mailings_opened",
    "mailings_clicked",
    "known_persons",
    "agreeing_persons",
)
"""Measures that count people. Mailings are included, because they reach at most as many people."""

KNOWN_FROM: dict[str, tuple[str, ...]] = {
    "people <> 0": ("people", "points", "person_days", "week_people", "month_people"),
    "sessions <> 0": ("sessions", "session_people"),
    "mailings_sent <> 0": ("mailings_sent",),
    "mailings_opened <> 0": ("mailings_opened",),
    "mailings_clicked <> 0": ("mailings_clicked",),
    "orders <> 0 OR order_revenue <> 0": ("orders", "order_revenue", "order_items"),
    "returned_revenue <> 0": ("returned_revenue",),
    "list_revenue <> 0 OR discount <> 0": ("discount", "list_revenue"),
    "costed_revenue <> 0 OR cost <> 0": ("cost", "costed_revenue"),
}
"""Measures that a source may lack, by the condition that shows that the source has them.

A measure is known from the first period in which the condition is true for all sales or people. In earlier periods, and
if there is no such period, the measure is null, not 0: nobody can tell whether nothing happened, or whether the source
did not report it. A figure that is known never becomes unknown, and a later fact never turns an unknown figure into 0.
"""

_DIMENSIONS_OF_PEOPLE: tuple[Dimension, ...] = ("channel", "segment")
"""Dimensions whose values are groups of people, so that the sales of a value describe these people."""


@dataclass(frozen=True)
class Kpi:
    """A key performance indicator: numerator / denominator.

    Attributes:
        name: Name in `kpi_monthly_gold` and `kpi_weekly_gold`.
        title: Display name.
        definition: Definition in one or two sentences, as readers of dashboards see it.
        numerator: SQL expression over `MEASURES`.
        denominator: SQL expression over `MEASURES`; `1` if the KPI is not a quotient. The KPI is null if the
            denominator is 0.
        unit: money (reporting currency), count, share (0 to 1), months, ratio, or points.
        dimensions: Dimensions that the KPI is computed for.
        source: Tables that the KPI is computed from. Some KPIs add a note that explains the definition.
        owner: Department that is responsible for the definition.
        example: Example calculated by hand.
        is_of_latest_month: Whether the KPI describes the state at `as_of`. Such a KPI exists for the latest month only.
        needs_whole_period: Whether the KPI is null for a month or week that is not over at `as_of`.
        describes: SQL expression over `MEASURES`: a further count of people whom the KPI describes.
        in_weeks: What the KPI of a week is, if it is more than “week” for “month” in the definition. For a KPI without
            weeks, the reason.
        has_weeks: Whether `kpi_weekly_gold` has the KPI.
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
    needs_whole_period: bool = False
    describes: str = ""
    in_weeks: str = ""
    has_weeks: bool = True

    @property
    def is_additive(self) -> bool:
        """Return whether the KPI is additive over countries, over channels and over segments.

        For example, the values of all countries add up to the value of `all`.
        """
        return self.denominator == "1" and set(CUSTOMER_DIMENSIONS) <= set(self.dimensions)

    @property
    def adds_over_months(self) -> bool:
        """Return whether numerator and denominator are additive over months.

        If true, the KPI of several months is Σ numerator / Σ denominator over these months, or Σ numerator if the
        denominator is `1`. If false, the KPI of several months is the value of the latest month. For example, a sum of
        active customers would count one person in several months.
        """
        return self._measures <= set(ADDS_OVER_MONTHS)

    def adds_over(self, dimension: Dimension) -> bool:
        """Return whether numerator and denominator are additive over the values of a dimension.

        They are not additive if the numerator or the denominator is itself a quotient, or if one customer may belong to
        several values of the dimension.
        """
        if dimension == "all":
            return True
        if "/" in self.numerator + self.denominator:
            return False
        return dimension in CUSTOMER_DIMENSIONS or (
            dimension == "category" and self._measures <= set(ADDS_OVER_CATEGORIES)
        )

    def counts_of_people(self, dimension: Dimension) -> tuple[str, ...]:
        """Return the counts of the people whom the KPI describes, as SQL expressions over `MEASURES`.

        The result is empty for sales by country or category, and for marketing spend: they describe no people.
        """
        counts = (*(name for name in COUNTS_OF_PEOPLE if name in self._measures), *filter(None, [self.describes]))
        are_sales = "revenue" in self._measures or "transactions" in self._measures
        return counts or (("active_customers",) if are_sales and dimension in _DIMENSIONS_OF_PEOPLE else ())

    @property
    def _measures(self) -> set[str]:
        return set(_NAME.findall(f"{self.numerator} {self.denominator}")) & set(MEASURES)


_SALES = "`retails_silver`"
_CUSTOMERS = "`customer_acquisitions_silver`"
_ACTIVITIES = "`events_silver`, `activities_silver`, `person_links_silver`"
_SPEND = "`marketing_spend_silver`, `exchange_rates_silver`"

_WEEK_ON_WEEK = "Compares the week with the week before. Most customers buy less often than weekly: expect low figures."
_SPREAD_SPEND = (
    "The spend of a month is spread evenly over its days. A week has the parts of its days up to `as_of`, so that weeks"
    " add up to months. Null if a month of the week has no spend."
)
_SAME_WINDOWS = "The same windows of 30 and 7 days, up to the end of the week."
_SAME_WEEK = "A mailing counts in the week of sending. An open or click in a later week is not included."
_STATE = "None: the KPI describes the state at `as_of`, which `kpi_monthly_gold` has."

_SALES_KPIS = (
    Kpi(
        "revenue",
        "Revenue",
        "Amount paid for the lines of the month, less returns. Without amounts in the source: quantity × price.",
        "revenue",
        "1",
        "money",
        _SALE_DIMENSIONS,
        _SALES,
        "Sales",
        "2 yoga mats at 499.00 and 1 pair of headphones at 1,500.00: 2,498.00.",
    ),
    Kpi(
        "transactions",
        "Transactions",
        "Number of lines sold in the month. Two products bought together are two transactions and one order.",
        "transactions",
        "1",
        "count",
        _SALE_DIMENSIONS,
        _SALES,
        "Sales",
        "Yoga mats and headphones, bought together: 2.",
    ),
    Kpi(
        "average_transaction_value",
        "Average transaction value",
        "Average revenue of a transaction, which is one product. For a whole basket, see `average_order_value`.",
        "revenue",
        "transactions",
        "money",
        _SALE_DIMENSIONS,
        _SALES,
        "Sales",
        "2,498.00 from 2 sales: 1,249.00.",
    ),
    Kpi(
        "active_customers",
        "Active customers",
        "Customers who bought in the month. Not additive over categories: a customer may buy from several.",
        "active_customers",
        "1",
        "count",
        _SALE_DIMENSIONS,
        _SALES,
        "Marketing",
        "Three customers with five sales: 3.",
    ),
    Kpi(
        "first_time_buyers",
        "First-time buyers",
        "Active customers whose first purchase is in the month. Every active customer is a first-time buyer, a"
        " returning customer or a reactivated customer.",
        "first_time_buyers",
        "1",
        "count",
        CUSTOMER_DIMENSIONS,
        _SALES,
        "Marketing",
        "A customer buys in May for the first time, and again in May: 1 in May.",
    ),
    Kpi(
        "returning_customers",
        "Returning customers",
        "Active customers who were also active in the previous month.",
        "returning_customers",
        "1",
        "count",
        CUSTOMER_DIMENSIONS,
        _SALES,
        "Marketing",
        "A customer buys in April and in May: a returning customer in May.",
        in_weeks=_WEEK_ON_WEEK,
    ),
    Kpi(
        "reactivated_customers",
        "Reactivated customers",
        "Active customers who bought in an earlier month, but not in the previous month.",
        "reactivated_customers",
        "1",
        "count",
        CUSTOMER_DIMENSIONS,
        _SALES,
        "Marketing",
        "A customer buys in March and in May, but not in April: a reactivated customer in May.",
        in_weeks=_WEEK_ON_WEEK,
    ),
    Kpi(
        "retention_rate",
        "Retention rate",
        "Share of the customers active in the previous month who are active again. Customers who return after a longer"
        " break are not included.",
        "returning_customers",
        "active_before",
        "share",
        CUSTOMER_DIMENSIONS,
        f"{_SALES}; active at the start ∩ active at the end / active at the start",
        "Marketing",
        "Four customers buy in April, one of them again in May: 0.25.",
        needs_whole_period=True,
        describes="active_before - returning_customers",
        in_weeks=_WEEK_ON_WEEK,
    ),
    Kpi(
        "churn_rate",
        "Churn rate (logo)",
        "Share of the customers active in the previous month who are not active in the month: 1 − retention rate.",
        "active_before - returning_customers",
        "active_before",
        "share",
        CUSTOMER_DIMENSIONS,
        _SALES,
        "Marketing",
        "Four customers buy in April, one of them again in May: 0.75.",
        needs_whole_period=True,
        describes="active_before - returning_customers",
        in_weeks=_WEEK_ON_WEEK,
    ),
    Kpi(
        "revenue_churn_rate",
        "Revenue churn rate (gross)",
        "Share of the revenue of the previous month that the same customers did not repeat. Customers who spend more do"
        " not offset customers who spend less.",
        "revenue_lost",
        "revenue_before",
        "share",
        CUSTOMER_DIMENSIONS,
        _SALES,
        "Finance",
        "A spends 100, then 40; B spends 100, then 150: (60 + 0) / 200 = 0.3.",
        needs_whole_period=True,
        describes="active_before",
        in_weeks=_WEEK_ON_WEEK,
    ),
    Kpi(
        "arpu",
        "Average revenue per user (ARPU)",
        "Revenue per active user. A user is active who has bought, or who has an activity in an event.",
        "customer_revenue",
        "active_users",
        "money",
        CUSTOMER_DIMENSIONS,
        f"{_SALES}, {_ACTIVITIES}",
        "Finance",
        "2,498.00 from one buyer, and four more customers on the web: 499.60.",
        describes="active_customers",
    ),
    Kpi(
        "arppu",
        "Average revenue per paying user (ARPPU)",
        "Revenue per customer who bought.",
        "customer_revenue",
        "active_customers",
        "money",
        CUSTOMER_DIMENSIONS,
        _SALES,
        "Finance",
        "2,498.00 from one buyer, and four more customers on the web: 2,498.00.",
    ),
    Kpi(
        "repeat_purchase_rate",
        "Repeat purchase rate",
        "Share of all buyers up to the end of the month who have bought on more than one day.",
        "repeat_buyers_to_date",
        "buyers_to_date",
        "share",
        CUSTOMER_DIMENSIONS,
        _SALES,
        "Marketing",
        "Ten customers have bought, three of them again on another day: 0.3.",
    ),
)

_ORDER_KPIS = (
    Kpi(
        "orders",
        "Orders",
        "Number of orders or receipts with a sale in the month. Null before the first order number.",
        "orders",
        "1",
        "count",
        _ORDER_DIMENSIONS,
        _SALES,
        "Sales",
        "Yoga mats and headphones on one receipt: 1.",
    ),
    Kpi(
        "average_order_value",
        "Average order value (AOV)",
        "Average revenue of an order, less returns.",
        "order_revenue",
        "orders",
        "money",
        _ORDER_DIMENSIONS,
        _SALES,
        "Sales",
        "2,498.00 on one receipt and 502.00 on another: 1,500.00.",
    ),
    Kpi(
        "items_per_order",
        "Items per order",
        "Average number of pieces sold per order. Returns do not count. A weighed good counts with its weight.",
        "order_items",
        "orders",
        "ratio",
        _ORDER_DIMENSIONS,
        _SALES,
        "Sales",
        "A receipt with 2 yoga mats and 1 pair of headphones, and one with 1 yoga mat: 2.0.",
    ),
    Kpi(
        "return_rate",
        "Return rate",
        "Revenue of the month's returns as a share of the revenue of its sales. Null before the first return.",
        "returned_revenue",
        "sold_revenue",
        "share",
        _LINE_DIMENSIONS,
        _SALES,
        "Sales",
        "1,000.00 sold and 80.00 returned: 0.08.",
    ),
    Kpi(
        "discount_rate",
        "Discount rate",
        "Discounts as a share of the revenue before discounts. Lines without a known discount are left out.",
        "discount",
        "list_revenue",
        "share",
        _LINE_DIMENSIONS,
        _SALES,
        "Sales",
        "90.00 paid after a discount of 10.00: 0.1.",
    ),
    Kpi(
        "gross_margin_rate",
        "Gross margin rate",
        "Share of revenue left after the cost of the goods sold. Lines without a known cost are left out.",
        "costed_revenue - cost",
        "costed_revenue",
        "share",
        _LINE_DIMENSIONS,
        _SALES,
        "Finance",
        "Goods that cost 60.00 sold for 100.00: 0.4.",
    ),
    Kpi(
        "anonymous_revenue_share",
        "Anonymous share of revenue",
        "Share of revenue from sales without a customer.",
        "anonymous_revenue",
        "revenue",
        "share",
        _ALL,
        _SALES,
        "Marketing",
        "100.00 of revenue, 30.00 of it without a card: 0.3.",
    ),
)

_ACQUISITION_AND_VALUE_KPIS = (
    Kpi(
        "new_customers",
        "New customers",
        "Customers acquired in the month: the earlier of registration and first purchase is in the month. A customer"
        " without both is not included.",
        "new_customers",
        "1",
        "count",
        CUSTOMER_DIMENSIONS,
        _CUSTOMERS,
        "Marketing",
        "A customer first buys in April and registers on 3 May: a new customer in April.",
    ),
    Kpi(
        "customers",
        "Customers",
        "Customers acquired up to the end of the month. A customer with neither a registration nor a"
        " purchase is not included: the day of acquisition is unknown.",
        "customers_to_date",
        "1",
        "count",
        CUSTOMER_DIMENSIONS,
        _CUSTOMERS,
        "Marketing",
        "10 new in April and 5 in May: 15 in May.",
    ),
    Kpi(
        "marketing_spend",
        "Marketing spend",
        "Money spent on marketing in the month, at the exchange rate of the month or the latest earlier one. Null if a"
        " currency has no rate: a sum without that currency would be too small.",
        "spend",
        "1",
        "money",
        _CHANNEL_DIMENSIONS,
        _SPEND,
        "Marketing",
        "1,000.00 AED at 0.2723: 272.30.",
        in_weeks=_SPREAD_SPEND,
    ),
    Kpi(
        "cac",
        "Customer acquisition cost (CAC)",
        "Marketing spend per new customer. For all channels it is the blended CAC, which includes customers acquired"
        " without any spend. By channel it is the spend of the channel per new customer of the channel.",
        "spend",
        "new_customers",
        "money",
        _CHANNEL_DIMENSIONS,
        f"{_SPEND}, {_CUSTOMERS}, `persons_silver`",
        "Marketing",
        "500.00 spent in May, 10 new customers: 50.00.",
        needs_whole_period=True,
        in_weeks=_SPREAD_SPEND,
    ),
    Kpi(
        "cac_paid",
        "Paid CAC",
        "Spend on paid channels (`paid_…`) per new customer acquired by a paid channel.",
        "paid_spend",
        "paid_new_customers",
        "money",
        _ALL,
        f"{_SPEND}, {_CUSTOMERS}, `persons_silver`",
        "Marketing",
        "400.00 spent on paid search, which acquired 4 customers: 100.00.",
        needs_whole_period=True,
        in_weeks=_SPREAD_SPEND,
    ),
    Kpi(
        "clv_historic",
        "Historic customer lifetime value",
        "Average margin earned from a customer so far. Customers without a purchase are included.",
        "revenue_to_date * gross_margin",
        "customers_to_date",
        "money",
        CUSTOMER_DIMENSIONS,
        f"{_SALES}, {_CUSTOMERS}",
        "Finance",
        "Revenue of 10,000.00 at a margin of 0.4 from 20 customers: 200.00.",
        describes="buyers_to_date",
    ),
    Kpi(
        "clv_predictive",
        "Predictive customer lifetime value",
        "Average expected margin within the CLV horizon, discounted, over the customers with a prediction.",
        "predicted_clv",
        "predicted_customers",
        "money",
        CUSTOMER_DIMENSIONS,
        "`customer_value_gold`",
        "Finance",
        "Three customers with expected margins of 10.00, 30.00 and 80.00: 40.00.",
        is_of_latest_month=True,
        in_weeks=_STATE,
        has_weeks=False,
    ),
    Kpi(
        "clv_to_cac",
        "CLV : CAC",
        "Average margin of a customer, earned and expected, divided by the average cost of acquiring a customer."
        " Customers without a purchase are included. Null if the margin or the cost is unknown.",
        "(revenue_to_date * gross_margin + predicted_clv) / nullif(customers_to_date, 0)",
        "spend_to_date / nullif(new_customers_with_spend, 0)",
        "ratio",
        _CHANNEL_DIMENSIONS,
        f"`customer_value_gold`, {_SPEND}, {_CUSTOMERS}",
        "Finance",
        "20 customers, 4,000.00 of margin earned, 800.00 expected, 60.00 cost per customer: 4,800 / 20 / 60 = 4.0.",
        is_of_latest_month=True,
        describes="buyers_to_date",
        in_weeks=_STATE,
        has_weeks=False,
    ),
    Kpi(
        "payback_months",
        "Payback",
        "Months until the margin of an average active user equals the CAC of the month, if activity stays the same.",
        "spend / nullif(new_customers, 0)",
        "customer_revenue * gross_margin / nullif(active_users, 0)",
        "months",
        _CHANNEL_DIMENSIONS,
        "as for `cac` and `arpu`",
        "Finance",
        "50.00 / (25.00 × 0.4): 5.0.",
        needs_whole_period=True,
        describes="active_customers",
        in_weeks="None: it is a number of months, and one week of spend or sales does not predict it.",
        has_weeks=False,
    ),
)

_ENGAGEMENT_KPIS = (
    Kpi(
        "dau",
        "Daily active users (DAU)",
        "Average number of people active on a day, over the 30 days up to the end of the month; in the latest"
        " month, up to `as_of`.",
        "person_days",
        "30",
        "count",
        _ALL,
        _ACTIVITIES,
        "Digital",
        "In 30 days, one person is active every day and another on 15 days: 45 / 30 = 1.5.",
        describes="month_people",
        in_weeks=_SAME_WINDOWS,
    ),
    Kpi(
        "wau",
        "Weekly active users (WAU)",
        "People active in the 7 days up to the end of the month; in the latest month, up to `as_of`.",
        "week_people",
        "1",
        "count",
        _ALL,
        _ACTIVITIES,
        "Digital",
        "One person is active every day, another once: 2.",
        in_weeks=_SAME_WINDOWS,
    ),
    Kpi(
        "mau",
        "Monthly active users (MAU)",
        "People active in the 30 days up to the end of the month; in the latest month, up to `as_of`.",
        "month_people",
        "1",
        "count",
        _ALL,
        _ACTIVITIES,
        "Digital",
        "One person is active every day, another once: 2.",
        in_weeks=_SAME_WINDOWS,
    ),
    Kpi(
        "stickiness",
        "Stickiness",
        "Share of the monthly active users who are active on an average day: DAU / MAU.",
        "person_days / 30",
        "month_people",
        "share",
        _ALL,
        _ACTIVITIES,
        "Digital",
        "DAU 1.5, MAU 2: 0.75.",
        in_weeks=_SAME_WINDOWS,
    ),
    Kpi(
        "sessions_per_user",
        "Sessions per user",
        "Average number of sessions in the month per person with a session.",
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
        "Share of the mailings of the month that were opened in the same month. A mailing is one campaign sent to one"
        " address."
        " Automatic opens by mail clients are included. Null before the first opening: the source does not"
        " report openings.",
        "mailings_opened",
        "mailings_sent",
        "share",
        _ALL,
        "`events_silver`",
        "CRM",
        "10 addresses got a newsletter, 4 opened it, one of them twice: 0.4.",
        in_weeks=_SAME_WEEK,
    ),
    Kpi(
        "email_click_rate",
        "E-mail click rate",
        "Share of the mailings sent in the month in which a link was clicked in the month. Null before the first"
        " click: the source does not report clicks.",
        "mailings_clicked",
        "mailings_sent",
        "share",
        _ALL,
        "`events_silver`",
        "CRM",
        "10 addresses got a newsletter, 1 clicked: 0.1.",
        in_weeks=_SAME_WEEK,
    ),
    Kpi(
        "engagement_score",
        "Engagement score",
        "Average points of an active person in the month: product view 2, click in an e-mail 3, add to cart 3,"
        " checkout 5, any other activity 1.",
        "points",
        "people",
        "points",
        _ALL,
        f"{_ACTIVITIES}; the points are a convention of this platform",
        "Digital",
        "A views a product and checks out, B opens an e-mail: (2 + 5 + 1) / 2 = 4.",
    ),
    Kpi(
        "consent_rate",
        "Consent rate",
        "Share of the persons with a customer, a contact or a decision who agree to marketing by a channel. Persons who"
        " were never asked have not agreed. Null if nobody has a decision on the channel.",
        "agreeing_persons",
        "known_persons",
        "share",
        ("consent_channel",),
        "`consent_current_silver`, `person_links_silver`",
        "CRM",
        "45 of 60 persons agree to e-mail: 0.75.",
        is_of_latest_month=True,
        in_weeks=_STATE,
        has_weeks=False,
    ),
)

KPIS = (*_SALES_KPIS, *_ORDER_KPIS, *_ACQUISITION_AND_VALUE_KPIS, *_ENGAGEMENT_KPIS)

NOT_AN_ACTIVITY = ("email_sent", "email_delivered", "email_bounced", "unsubscribe")
"""Event types that do not make a person active: the sending of e-mails, and the end of a subscription."""

ENGAGEMENT_POINTS = {"product_view": 2, "email_click": 3, "add_to_cart": 3, "checkout": 5}
"""Points per event type in the engagement score; any other activity has 1 point."""

PAID_CHANNEL_PREFIX = "paid_"
"""Prefix of the names of paid marketing channels."""

TRAILING_DAYS = 30
"""Length of the DAU and MAU window, in days."""
