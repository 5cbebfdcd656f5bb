"""Column expressions that several modules share.

Every function gives the same result on Databricks and on the local engines. The doctests run on both local engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from string import ascii_lowercase, ascii_uppercase

from pyspark.sql import Column
from pyspark.sql import functions as sf

_BLANKS = "[\\s\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
"""All Unicode white space, listed explicitly: on some engines `\\s` matches ASCII only."""

_ISO_DATE = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?$"


_NOT_IN_DELTA_NAMES = re.compile(r"[ ,;{}()\n\t=`]")


def delta_name(received: str) -> str:
    """Return the name under which a bronze table stores a column of a source.

    Names are lower case, for two reasons: column names must not differ only in case, and some engines can't write upper
    case. Characters that Delta does not allow become underscores.

    >>> delta_name("Basket ID")
    'basket_id'
    """
    return _NOT_IN_DELTA_NAMES.sub("_", received).lower() or "_"


def clean_text(column: Column) -> Column:
    """Return text without leading, trailing and repeated blanks; null if no text is left.

    >>> people = spark.createDataFrame([("  Nour   Haddad ",), ("   ",)], "full_name string")
    >>> [row.name for row in people.select(clean_text(people.full_name).alias("name")).collect()]
    ['Nour Haddad', None]
    """
    # Skip nulls: some engines spend as much time on a null as on a string.
    return sf.when(column.isNotNull(), sf.nullif(sf.trim(sf.regexp_replace(column, _BLANKS, " ")), sf.lit("")))


def without_comment(column: Column) -> Column:
    """Return a column without its comment: some engines cannot union columns with different comments.

    >>> spark.range(2).select(without_comment(sf.col("id")).alias("id")).union(spark.range(1)).count()
    3
    """
    return sf.least(column, column)


def to_integer(column: Column) -> Column:
    """Return a 64-bit integer; null if the text is not an integer of this size.

    >>> ids = spark.createDataFrame([("101",), ("1.5",), ("n/a",), ("9223372036854775808",)], "customer_id string")
    >>> [row.id for row in ids.select(to_integer(ids.customer_id).alias("id")).collect()]
    [101, None, None, None]
    """
    return column.try_cast("bigint")


def to_date(column: Column) -> Column:
    """Return the day of an ISO 8601 date or timestamp; null if the text is neither, or the day does not exist.

    The function checks the format first: some engines also cast other strings to a date, for example a year.

    >>> days = spark.createDataFrame([("2025-10-16",), ("2025-10-16T08:00Z",), ("2025-02-30",), ("2025",)], "d string")
    >>> [str(row.day) for row in days.select(to_date(days.d).alias("day")).collect()]
    ['2025-10-16', '2025-10-16', 'None', 'None']
    """
    text = clean_text(column)
    return sf.when(text.rlike(_ISO_DATE), sf.substring(text, 1, 10).try_cast("date"))


def clean_email(column: Column) -> Column:
    """Return an e-mail address without outer blanks and in lower case, so that equal addresses have equal values.

    Only the letters A to Z become lower case. In Unicode, other characters have the same lower case as them: the sign
    for kelvin would become a k, and the address would belong to somebody else.

    >>> people = spark.createDataFrame([(" Nour@Example.Com ",), ("",)], "email string")
    >>> [row.email for row in people.select(clean_email(people.email).alias("email")).collect()]
    ['nour@example.com', None]
    """
    return sf.translate(clean_text(column), ascii_uppercase, ascii_lowercase)


def to_instant(column: Column) -> Column:
    """Return the instant of an ISO 8601 timestamp or date; null for any other text. Without a zone, the text is UTC.

    >>> times = spark.createDataFrame([("2025-10-16T08:00:00+02:00",), ("2025-10-16",), ("08:00",)], "t string")
    >>> [str(row.t) for row in times.select(to_instant(times.t).cast("string").alias("t")).collect()]
    ['2025-10-16 06:00:00', '2025-10-16 00:00:00', 'None']
    """
    text = clean_text(column)
    return sf.when(text.rlike(_ISO_DATE), text.try_cast("timestamp"))


def local_time(instant: Column, time_zone: str) -> Column:
    """Return an instant as the time that clocks in a time zone show.

    Args:
        instant: Instant, UTC.
        time_zone: IANA name of the time zone.

    >>> times = spark.sql("SELECT TIMESTAMP'2025-10-16 22:30:00' AS t")
    >>> times.select(local_time(times.t, "Europe/Berlin").cast("string").alias("t")).first().t
    '2025-10-17 00:30:00'
    """
    return instant if time_zone == "UTC" else sf.from_utc_timestamp(instant, sf.lit(time_zone))


def to_month(column: Column) -> Column:
    """Return the first day of a month written as 2026-01; null for any other text.

    >>> months = spark.createDataFrame([("2026-01",), ("2026-13",), ("January",)], "m string")
    >>> [str(row.m) for row in months.select(to_month(months.m).alias("m")).collect()]
    ['2026-01-01', 'None', 'None']
    """
    text = clean_text(column)
    return sf.when(text.rlike("^[0-9]{4}-[0-9]{2}$"), to_date(sf.concat(text, sf.lit("-01"))))


def week_of(day: str) -> Column:
    """Return the Monday of the ISO week that contains a day. 1 January may be in a week that began in December.

    >>> days = spark.sql("SELECT explode(array(DATE'2025-12-28', DATE'2026-01-01', DATE'2027-01-03')) AS day")
    >>> [str(row.week) for row in days.select(week_of("day").alias("week")).collect()]
    ['2025-12-22', '2025-12-29', '2026-12-28']
    """
    return sf.trunc(sf.col(day), "week")


def to_amount(column: Column) -> Column:
    """Return an amount of money as a decimal with two places; null if the text is not a number.

    >>> amounts = spark.createDataFrame([("530.00",), ("12,5",)], "a string")
    >>> [row.a for row in amounts.select(to_amount(amounts.a).alias("a")).collect()]
    [Decimal('530.00'), None]
    """
    return clean_text(column).try_cast("decimal(18,2)")


def to_money(column: Column) -> Column:
    """Return an amount of money as a decimal with four places; null if the text is not a number, or does not fit.

    >>> amounts = spark.createDataFrame([("0.00125",), ("1e3",), ("123456789012345",)], "a string")
    >>> [row.a for row in amounts.select(to_money(amounts.a).alias("a")).collect()]
    [Decimal('0.0013'), Decimal('1000.0000'), None]
    """
    text = clean_text(column)
    # Not every engine reads an exponent in a decimal.
    with_exponent = sf.when(text.rlike("[eE]"), text.try_cast("double")).try_cast("decimal(18,4)")
    return sf.coalesce(text.try_cast("decimal(18,4)"), with_exponent)


def to_currency(column: Column) -> Column:
    """Return the code of a currency in upper case; null if no text is left.

    >>> codes = spark.createDataFrame([(" eur ",), ("",)], "currency string")
    >>> [row.c for row in codes.select(to_currency(codes.currency).alias("c")).collect()]
    ['EUR', None]
    """
    return sf.upper(clean_text(column))


def to_flag(column: Column) -> Column:
    """Return true or false for the text "true" or "false" in upper or lower case; null for any other text.

    >>> answers = spark.createDataFrame([("true",), ("False",), ("maybe",)], "a string")
    >>> [row.a for row in answers.select(to_flag(answers.a).alias("a")).collect()]
    [True, False, None]
    """
    text = sf.lower(clean_text(column))
    return sf.when(text == "true", True).when(text == "false", False)


def hash_of(columns: Sequence[Column]) -> Column:
    """Return the xxHash64 of columns and their null flags.

    Without the flags, (null, a) and (a, null) have the same hash.

    >>> rows = spark.createDataFrame([("a", None), (None, "a"), ("a", None)], "one string, other string")
    >>> len({row.h for row in rows.select(hash_of([rows.one, rows.other]).alias("h")).collect()})
    2
    """
    return sf.xxhash64(*columns, *(column.isNull() for column in columns))


def identity_of(kind: str, value: Column) -> Column:
    """Return an identity in the format of `record_key` in `person_links_silver`; null if the value is null.

    >>> rows = spark.createDataFrame([(101,), (None,)], "customer_id int")
    >>> [row.i for row in rows.select(identity_of("customer", rows.customer_id).alias("i")).collect()]
    ['customer:101', None]
    """
    return sf.concat(sf.lit(f"{kind}:"), value.cast("string"))


def to_type(column: Column, type_name: str) -> Column:
    """Return a value cast to a Spark SQL type; null if the value does not fit the type.

    Args:
        column: Received value: text, or a value that already has the type or a related type.
        type_name: Spark SQL type, as in DDL.

    >>> prices = spark.createDataFrame([("499",), ("12,5",)], "price string")
    >>> [row.price for row in prices.select(to_type(prices.price, "DECIMAL(18,2)").alias("price")).collect()]
    [Decimal('499.00'), None]
    """
    return to_date(column.cast("string")) if type_name == "DATE" else column.try_cast(type_name)


def rescued_data(received_and_typed: Iterable[tuple[str, Column, Column]]) -> Column:
    """Return a JSON object of the received values that do not fit their type; null if all values fit.

    Args:
        received_and_typed: (column name, received value, typed value) of each column.

    >>> rows = spark.createDataFrame([("5",), ("five",), (None,)], "quantity string")
    >>> typed = to_integer(rows.quantity)
    >>> [row.r for row in rows.select(rescued_data([("quantity", rows.quantity, typed)]).alias("r")).collect()]
    [None, '{"quantity":"five"}', None]
    """
    misfits = [
        (name, sf.when(received.isNotNull() & typed.isNull(), received.cast("string")))
        for name, received, typed in received_and_typed
    ]
    as_json = sf.to_json(sf.struct(*(value.alias(name) for name, value in misfits)))
    return sf.when(sf.coalesce(*(value for _, value in misfits)).isNotNull(), as_json)


def is_on_or_before(day: str, as_of: date | None) -> Column:
    """Return whether a day is on or before `as_of`; true for every row if `as_of` is None.

    Args:
        day: Name of a date column.
        as_of: Last day to include.

    >>> days = spark.sql("SELECT DATE'2025-05-01' AS d UNION ALL SELECT DATE'2025-05-02'")
    >>> days.where(is_on_or_before("d", date(2025, 5, 1))).count(), days.where(is_on_or_before("d", None)).count()
    (1, 2)
    """
    return sf.lit(True) if as_of is None else sf.col(day) <= sf.lit(as_of)


def price_segment(price: Column, bands: tuple[Decimal, Decimal]) -> Column:
    """Return the segment of a price: Budget below the first price of `bands`, Premium from the second price.

    >>> prices = spark.createDataFrame([(499,), (500,), (1499,), (1500,)], "price int")
    >>> segments = prices.select(price_segment(prices.price, (Decimal(500), Decimal(1500))).alias("segment"))
    >>> [row.segment for row in segments.collect()]
    ['Budget', 'Mid-Range', 'Mid-Range', 'Premium']
    """
    low, high = (sf.lit(band).cast("decimal(18,4)") for band in bands)
    return sf.when(price < low, "Budget").when(price < high, "Mid-Range").when(price >= high, "Premium")


def season(day: Column) -> Column:
    """Return the meteorological season of the northern hemisphere: Winter is December to February, and so on.

    >>> days = spark.createDataFrame([(date(2025, month, 1),) for month in (12, 3, 8, 11)], "d date")
    >>> [row.season for row in days.select(season(days.d).alias("season")).collect()]
    ['Winter', 'Spring', 'Summer', 'Fall']
    """
    month = sf.month(day)
    return (
        sf.when(month.isin(12, 1, 2), "Winter")
        .when(month.isin(3, 4, 5), "Spring")
        .when(month.isin(6, 7, 8), "Summer")
        .when(month.isin(9, 10, 11), "Fall")
    )


def times(quantity: Column, amount: Column) -> Column:
    """Return quantity × amount, rounded half up to four decimals; null if the product does not fit DECIMAL(18,4).

    >>> lines = spark.sql("SELECT explode(array(0.5, -0.5, 99999999.999)) AS quantity, 10000000.0003 AS price")
    >>> [row.r for row in lines.select(times(lines.quantity, lines.price).alias("r")).collect()]
    [Decimal('5000000.0002'), Decimal('-5000000.0002'), None]
    """
    return (quantity.cast("decimal(18,3)") * amount.cast("decimal(18,4)")).try_cast("decimal(18,4)")


def is_sale() -> Column:
    """Return whether a line is a sale: its quantity is above 0. A line with a negative quantity is a return."""
    return sf.col("quantity") > 0


def number_of_sales() -> Column:
    """Return the number of lines that are sales. Returns are not counted.

    >>> lines = spark.sql("SELECT explode(array(2, -1, 5)) AS quantity")
    >>> lines.agg(number_of_sales().alias("n")).first().n
    2
    """
    return sf.sum(is_sale().cast("bigint"))
