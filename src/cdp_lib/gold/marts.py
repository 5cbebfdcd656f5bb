"""The marts of sales as definitions, and the two ways to make one: from all sales, and from what has changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import price_segment, revenue, season
from cdp_lib.contracts.gold import (
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    CATEGORY_MONTHLY_SALES_GOLD,
    COUNTRY_DETAILED_ANALYSIS_GOLD,
    CUSTOMER_PRODUCT_AFFINITY_GOLD,
    MONTHLY_SALES_GOLD,
    PRICE_SEGMENT_ANALYSIS_GOLD,
    PRODUCT_PERFORMANCE_GOLD,
    SALES_BY_COUNTRY_GOLD,
    SEASONAL_ANALYSIS_GOLD,
    STORE_CUSTOMER_ANALYSIS_GOLD,
    STORE_PRODUCT_PERFORMANCE_GOLD,
)
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import of_types, union, without_comments, worked_out_few

Summand = Literal["sales", "quantity", "revenue"]

_NAMES = {
    "customer_id": ("full_name",),
    "product_id": ("product_name", "category"),
    "store_id": ("store_name", "location"),
}
"""What is the same in all sales of a customer, product or store."""

_OF_MONTH: Mapping[str, Callable[[Column], Column]] = {
    "season": season,
    "transaction_year": sf.year,
    "transaction_quarter": sf.quarter,
    "transaction_month": sf.month,
}
"""Keys that follow from the month of a sale, each as a function of its first day."""


@dataclass(frozen=True)
class Mart:
    """A table of sums over sales: one row per key, with its attributes – names and the like – and its measures.

    All of it can be moved by what has changed: sums by adding and subtracting, numbers of different values by looking
    for the pairs that have come or gone, attributes by taking the latest.

    Attributes:
        contract: Contract of the table.
        sums: What is summed of the sales of a group, by column. One of them counts sales or pieces: where that is 0,
            nothing is left of the group.
        distinct: Column of sales whose different values in a group are counted, by column of the mart.
        averages: Numerator and denominator, by column.
        is_by_month: Whether a group's sales are all of one month: of other months none is looked at.
        is_large: Whether the table grows with customers: changed rows are merged; a small one is written anew.
        pairs: Mart with a row for each pair of key and `distinct` value, where there is one: its task writes it before
            this one, and what is different is counted in it.
    """

    contract: TableContract
    sums: Mapping[str, Summand]
    distinct: Mapping[str, str] = field(default_factory=dict)
    averages: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    is_by_month: bool = False
    is_large: bool = False
    pairs: Mart | None = None

    @property
    def key(self) -> list[str]:
        """Columns that sales are grouped by."""
        return list(self.contract.key)

    @property
    def attributes(self) -> list[str]:
        """Columns that have one value for all sales of a key."""
        others = {*self.key, *self.sums, *self.distinct, *self.averages}
        return [name for name in self.contract.column_names if name not in others]

    @property
    def presence(self) -> str:
        """Measure that is 0 where nothing is left of a group."""
        return next(name for name, summand in self.sums.items() if summand != "revenue")

    @property
    def number_of_sales(self) -> str:
        """Measure that counts sales."""
        return next(name for name, summand in self.sums.items() if summand == "sales")


SALES_BY_COUNTRY = Mart(SALES_BY_COUNTRY_GOLD, {"total_sales": "sales"})

CATEGORY_COUNTRY_PERFORMANCE = Mart(
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    {"revenue": "revenue", "quantity_sold": "quantity"},
    {"unique_products": "product_id"},
)

COUNTRY_DETAILED_ANALYSIS = Mart(
    COUNTRY_DETAILED_ANALYSIS_GOLD,
    {"total_transactions": "sales", "total_quantity_sold": "quantity", "total_revenue": "revenue"},
    {"unique_customers": "customer_id", "unique_stores": "store_id", "unique_products": "product_id"},
    {"avg_transaction_value": ("total_revenue", "total_transactions")},
)

CUSTOMER_PRODUCT_AFFINITY = Mart(
    CUSTOMER_PRODUCT_AFFINITY_GOLD,
    {"total_quantity_purchased": "quantity", "purchase_frequency": "sales"},
    is_large=True,
)

PRODUCT_PERFORMANCE = Mart(
    PRODUCT_PERFORMANCE_GOLD,
    {"total_quantity_sold": "quantity", "total_revenue": "revenue", "unique_transactions": "sales"},
    {"unique_customers": "customer_id"},
    pairs=CUSTOMER_PRODUCT_AFFINITY,
)

PRICE_SEGMENT_ANALYSIS = Mart(
    PRICE_SEGMENT_ANALYSIS_GOLD,
    {"transaction_count": "sales", "total_quantity": "quantity", "total_revenue": "revenue"},
)

STORE_PRODUCT_PERFORMANCE = Mart(
    STORE_PRODUCT_PERFORMANCE_GOLD, {"quantity_sold": "quantity", "revenue_generated": "revenue"}
)

STORE_CUSTOMER_ANALYSIS = Mart(
    STORE_CUSTOMER_ANALYSIS_GOLD,
    {"total_transactions": "sales"},
    {"unique_customers": "customer_id"},
    {"avg_transactions_per_customer": ("total_transactions", "unique_customers")},
)

SEASONAL_ANALYSIS = Mart(SEASONAL_ANALYSIS_GOLD, {"seasonal_revenue": "revenue", "seasonal_quantity": "quantity"})

MONTHLY_SALES = Mart(
    MONTHLY_SALES_GOLD,
    {"monthly_revenue": "revenue", "monthly_quantity": "quantity", "monthly_transactions": "sales"},
    {"monthly_customers": "customer_id"},
    is_by_month=True,
)

CATEGORY_MONTHLY_SALES = Mart(
    CATEGORY_MONTHLY_SALES_GOLD,
    {"revenue": "revenue", "quantity": "quantity", "transactions": "sales"},
    {"customers": "customer_id"},
    is_by_month=True,
)

MARTS_OF_TASK: dict[str, tuple[Mart, ...]] = {
    "country_gold": (SALES_BY_COUNTRY, CATEGORY_COUNTRY_PERFORMANCE, COUNTRY_DETAILED_ANALYSIS),
    "product_gold": (CUSTOMER_PRODUCT_AFFINITY, PRODUCT_PERFORMANCE, PRICE_SEGMENT_ANALYSIS),
    "store_gold": (STORE_PRODUCT_PERFORMANCE, STORE_CUSTOMER_ANALYSIS),
    "calendar_gold": (SEASONAL_ANALYSIS, MONTHLY_SALES),
    "category_monthly_sales_gold": (CATEGORY_MONTHLY_SALES,),
}
"""The marts that each task of the job writes, in this order."""


def build_mart(mart: Mart, sales: DataFrame, pairs: DataFrame | None = None) -> DataFrame:
    """A mart from all sales.

    Args:
        mart: The mart.
        sales: Rows of `retails_silver`.
        pairs: Rows of the mart `mart.pairs`, made from the same sales; without them pairs are looked for in sales.

    Returns:
        Columns of the mart's contract, one row per key.
    """
    prepared = _prepared(mart, sales)
    if pairs is not None:
        [number] = mart.distinct
        different = pairs.groupBy(*mart.key).agg(sf.count("*").alias(number))
        groups = different.join(prepared.groupBy(*mart.key).agg(*_sums(mart)), mart.key)
    elif len(mart.distinct) == 1 or _OF_MONTH.keys() & mart.key:
        # By month first, as what follows from it is worked out of months then, and not of sales; by pairs first, as a
        # set for each key of its different values takes several times as long.
        month_or_key = ["sale_month" if name in _OF_MONTH else name for name in mart.key]
        first = prepared.groupBy(*dict.fromkeys([*month_or_key, *mart.distinct.values()])).agg(*_sums(mart))
        sums = [sf.sum(name).alias(name) for name in mart.sums]
        numbers = [sf.count("*").alias(number) for number in mart.distinct]
        groups = _with_keys_of_month(mart, first).groupBy(*mart.key).agg(*sums, *numbers)
    else:
        numbers = [sf.countDistinct(column).alias(name) for name, column in mart.distinct.items()]
        groups = prepared.groupBy(*mart.key).agg(*_sums(mart), *numbers)
    for column, names in _NAMES.items():
        wanted = [name for name in names if name in mart.attributes]
        if wanted:
            # Beside the groups, of which there may be millions for each of these: texts are most of what they hold.
            # One of each first: to find the greatest of texts, Spark sorts the rows. As their number plays a part, it
            # does not leave that step out.
            different = sales.groupBy(column, *wanted).agg(sf.count("*").alias("_sales")).where("_sales > 0")
            named = different.groupBy(column).agg(*(sf.max(name).alias(name) for name in wanted))
            groups = named.join(groups, column)
    return _finished(mart, groups)


def move_mart(
    mart: Mart,
    there: DataFrame,
    changes: DataFrame,
    months: Sequence[date],
    sales: DataFrame,
    pairs: DataFrame | None = None,
) -> DataFrame:
    """The rows of a mart after a change of sales.

    Args:
        mart: The mart.
        there: Its rows before the change; those of touched keys at least.
        changes: Rows of `retails_changes_silver`, few enough to be read several times.
        months: First days of the months that these sales are of.
        sales: Rows of `retails_silver` after the change.
        pairs: Rows of the mart `mart.pairs` after the change; without them pairs are looked up in sales.

    Returns:
        Columns of the mart's contract, and `_is_gone`: whether nothing is left of the key.
    """
    is_insert = sf.col("_change_type") == "insert"
    signed = _prepared(mart, changes, is_insert).withColumn("_sign", sf.when(is_insert, 1).otherwise(-1))
    # Whatever renames something has changed all of its sales: the latest sale that came in knows the name of today.
    since = sf.when(is_insert, sf.col("_change_id"))
    attributes = [sf.max_by(name, since).alias(name) for name in mart.attributes]
    moved = [
        _with_measures(mart, there.withColumn("_since", sf.lit("")), {*mart.sums, *mart.distinct}, mart.attributes),
        _with_measures(
            mart,
            signed.groupBy(*mart.key).agg(*_sums(mart), *attributes, sf.max(since).alias("_since")),
            mart.sums,
            mart.attributes,
        ),
        *(
            _with_measures(mart, _moved_distinct(mart, name, signed, months, sales, pairs), [name])
            for name in mart.distinct
        ),
    ]
    keys = union(moved).groupBy(*mart.key)
    measures = [sf.sum(name).alias(name) for name in (*mart.sums, *mart.distinct)]
    latest = [sf.max_by(name, "_since").alias(name) for name in mart.attributes]
    groups = keys.agg(*measures, *latest)
    return _finished(mart, groups.withColumn("_is_gone", sf.col(mart.presence) <= 0), "_is_gone")


def touched_keys(mart: Mart, changes: DataFrame) -> DataFrame:
    """The keys that changed sales are of, once each.

    Args:
        mart: The mart.
        changes: Rows of `retails_changes_silver`.
    """
    return _prepared(mart, changes).select(*mart.key).distinct()


def _prepared(mart: Mart, sales: DataFrame, is_added: Column | None = None) -> DataFrame:
    """Sales with the columns that a mart groups by and sums; negative, where they are to be taken away."""
    segment = [price_segment(sf.col("price")).alias("price_segment")] if "price_segment" in mart.key else []
    summands = {
        "sales": sf.lit(1).cast("bigint"),
        "quantity": sf.col("quantity").cast("bigint"),
        "revenue": revenue(sf.col("quantity"), sf.col("price")),
    }
    return _with_keys_of_month(mart, sales).select(
        "*",
        *segment,
        *(
            (summand if is_added is None else sf.when(is_added, summand).otherwise(-summand)).alias(f"_{name}")
            for name, summand in summands.items()
            if name in mart.sums.values()
        ),
    )


def _with_keys_of_month(mart: Mart, rows: DataFrame) -> DataFrame:
    """Rows that have a `sale_month`, with those of the mart's keys that follow from it."""
    of_month = {name: _OF_MONTH[name](sf.col("sale_month")) for name in mart.key if name in _OF_MONTH}
    return rows.select("*", *(value.alias(name) for name, value in of_month.items()))


def _sums(mart: Mart) -> list[Column]:
    return [sf.sum(f"_{summand}").alias(name) for name, summand in mart.sums.items()]


def _moved_distinct(
    mart: Mart, name: str, signed: DataFrame, months: Sequence[date], sales: DataFrame, in_pairs: DataFrame | None
) -> DataFrame:
    """By how much a number of different values moves: by the pairs of key and value that have come or gone.

    How many sales a pair has now is looked up; how many it had, follows from what has changed. A pair that has other
    sales in the months that have changed was there before and is there now: most pairs need no look at other months.
    """
    pair = [*mart.key, mart.distinct[name]]
    touched = signed.groupBy(*pair).agg(sf.sum("_sign").alias("more")).where("more <> 0")
    if in_pairs is not None and mart.pairs:
        counted = in_pairs.select(*pair, sf.col(mart.pairs.number_of_sales).alias("sales"))
        pairs = touched.join(counted, pair, how="left").withColumn("now", sf.coalesce("sales", sf.lit(0)))
        return _come_or_gone(mart, name, pairs)
    is_in_months = sf.col("sale_month").isin(*months)
    pairs = _with_sales(mart, touched.withColumn("now", sf.lit(0).cast("bigint")), pair, sales.where(is_in_months))
    if not mart.is_by_month:
        types = RETAILS_SILVER.types | mart.contract.types
        of_pairs = {name: types[name] for name in pair} | {"now": "BIGINT", "more": "BIGINT"}
        undecided, count = worked_out_few(of_types(pairs.where("now <= greatest(more, 0)"), of_pairs))
        if count == 0:
            return undecided.select(*mart.key, sf.col("now").alias(name))
        pairs = _with_sales(mart, undecided, pair, sales.where(~is_in_months))
    return _come_or_gone(mart, name, pairs)


def _come_or_gone(mart: Mart, name: str, pairs: DataFrame) -> DataFrame:
    """How many pairs of a key have sales and had none, less those that had some and have none."""
    comes_or_goes = (sf.col("now") > 0).cast("bigint") - (sf.col("now") > sf.col("more")).cast("bigint")
    return pairs.groupBy(*mart.key).agg(sf.sum(comes_or_goes).alias(name))


def _with_sales(mart: Mart, pairs: DataFrame, pair: Sequence[str], sales: DataFrame) -> DataFrame:
    """Pairs, with the number of their sales among these added to `now`."""
    # By numbers alone: to compare texts takes longer than to count some sales more.
    types = RETAILS_SILVER.types | mart.contract.types
    numbers = [name for name in pair if types[name] == "INT"]
    looked_up = _prepared(mart, sales).join(pairs.select(*numbers).distinct(), numbers, how="left_semi")
    found = looked_up.groupBy(*pair).agg(sf.count("*").alias("now"), sf.lit(0).cast("bigint").alias("more"))
    both = union(
        [
            without_comments(rows.withColumn("is_asked", sf.lit(of)), [*pair, "now", "more", "is_asked"])
            for rows, of in ((pairs, 1), (found, 0))
        ]
    )
    counts = both.groupBy(*pair).agg(
        sf.sum("now").alias("now"), sf.sum("more").alias("more"), sf.max("is_asked").alias("is_asked")
    )
    return counts.where("is_asked = 1").drop("is_asked")


def _with_measures(mart: Mart, rows: DataFrame, given: Collection[str], attributes: Sequence[str] = ()) -> DataFrame:
    """Rows in the one shape that can be united: measures that are not given are 0, attributes are null and older."""
    types = mart.contract.types
    measures = [
        (sf.col(name) if name in given else sf.lit(0)).cast(types[name]).alias(name)
        for name in (*mart.sums, *mart.distinct)
    ]
    others = [
        (sf.col(name) if attributes else sf.lit(None)).cast(types.get(name, "string")).alias(name)
        for name in (*mart.attributes, "_since")
    ]
    return without_comments(
        rows.select(*mart.key, *measures, *others), [*mart.key, *mart.sums, *mart.distinct, *mart.attributes, "_since"]
    )


def _finished(mart: Mart, groups: DataFrame, *others: str) -> DataFrame:
    averages = {
        name: sf.col(numerator).cast("double") / sf.nullif(sf.col(denominator), sf.lit(0))
        for name, (numerator, denominator) in mart.averages.items()
    }
    return groups.select("*", *(average.alias(name) for name, average in averages.items())).selectExpr(
        *mart.contract.select_list, *others
    )
