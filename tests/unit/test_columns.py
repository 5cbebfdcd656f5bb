from datetime import date
from decimal import Decimal

from pyspark.sql import SparkSession
from pyspark.sql import functions as sf

from cdp_lib.columns import (
    clean_email,
    clean_text,
    identity_of,
    is_on_or_before,
    price_segment,
    rescued_data,
    season,
    times,
    to_amount,
    to_date,
    to_flag,
    to_instant,
    to_integer,
    to_month,
    to_type,
)


def converted(spark: SparkSession, texts: list[str | None], convert) -> list[object]:
    numbered = spark.createDataFrame(list(enumerate(texts)), "n int, text string")
    return [row.value for row in numbered.orderBy("n").select(convert(sf.col("text")).alias("value")).collect()]


def test_clean_text_removes_all_unicode_white_space(spark: SparkSession) -> None:
    blanks = "\t\n\x0b\f\r \u0085\u00a0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"
    texts = [f"{blank}Nour{blank}{blank}Haddad{blank}" for blank in blanks]
    assert converted(spark, texts, clean_text) == ["Nour Haddad"] * len(blanks)
    assert converted(spark, [blanks, "", None], clean_text) == [None, None, None]


def test_clean_text_keeps_other_characters(spark: SparkSession) -> None:
    texts = ["\u200bx", "\x1fz", "Zoë ﷺ 😀", 'O\'Hara \\ "Jr."']
    assert converted(spark, texts, clean_text) == texts


def test_to_integer_accepts_only_plain_integers(spark: SparkSession) -> None:
    expected = {
        " 101 ": 101,
        "\t7\n": 7,
        "+5": 5,
        "-9223372036854775808": -9223372036854775808,
        "007": 7,
        "": None,
        "9223372036854775808": None,
        "1e3": None,
        "1.0": None,
        "0x1F": None,
        "1_000": None,
        "1L": None,
        "٣": None,
        "- 5": None,
    }
    assert dict(zip(expected, converted(spark, list(expected), to_integer), strict=True)) == expected


def test_to_date_accepts_only_iso_dates(spark: SparkSession) -> None:
    expected = {
        "2025-10-16": date(2025, 10, 16),
        " 2025-10-16 ": date(2025, 10, 16),
        "\t2025-10-16\n": date(2025, 10, 16),
        "\u00a02025-10-16": date(2025, 10, 16),
        "2025-10-16T23:59:59-08:00": date(2025, 10, 16),
        "2025-10-16 23:59": date(2025, 10, 16),
        "2024-02-29": date(2024, 2, 29),
        "0001-01-01": date(1, 1, 1),
        "9999-12-31": date(9999, 12, 31),
        "2023-02-29": None,
        "2025-13-01": None,
        "0000-00-00": None,
        "2025-1-6": None,
        "20251016": None,
        "16.10.2025": None,
        "2025-10-16x": None,
        "-2025-10-16": None,
        "٢٠٢٥-١٠-١٦": None,
        "1760572800": None,
        "": None,
    }
    assert dict(zip(expected, converted(spark, list(expected), to_date), strict=True)) == expected


def test_to_instant_accepts_only_iso_times_and_defaults_to_utc(spark: SparkSession) -> None:
    expected = {
        "2025-10-16T08:00:00Z": "2025-10-16 08:00:00",
        " 2025-10-16T08:00:00Z\n": "2025-10-16 08:00:00",
        "2025-10-16T08:00:00+02:00": "2025-10-16 06:00:00",
        "2025-10-16T23:59:59-08:00": "2025-10-17 07:59:59",
        "2025-10-16 08:00:00": "2025-10-16 08:00:00",
        "2025-10-16T08:00:00.123456Z": "2025-10-16 08:00:00.123456",
        "2025-10-16": "2025-10-16 00:00:00",
        "2024-02-29T00:00:00Z": "2024-02-29 00:00:00",
        "2025-02-30T00:00:00Z": None,
        "2025-10-16T25:00:00Z": None,
        "2025-10-16 8 o'clock": None,
        "08:00:00": None,
        "16.10.2025": None,
        "1760572800": None,
        "now": None,
        "": None,
    }
    texts = converted(spark, list(expected), lambda column: to_instant(column).cast("string"))
    assert dict(zip(expected, texts, strict=True)) == expected


def test_to_month_accepts_only_iso_months(spark: SparkSession) -> None:
    expected = {
        "2026-01": date(2026, 1, 1),
        " 2025-12 ": date(2025, 12, 1),
        "2026-13": None,
        "2026-00": None,
        "2026-1": None,
        "2026-01-15": None,
        "202601": None,
        "01/2026": None,
        "January 2026": None,
        "": None,
    }
    assert dict(zip(expected, converted(spark, list(expected), to_month), strict=True)) == expected


def test_to_amount_accepts_only_decimals_and_keeps_cents(spark: SparkSession) -> None:
    expected = {
        "530.00": "530.00",
        "\u00a0530.5 ": "530.50",
        "-0.01": "-0.01",
        "9999999999999999.99": "9999999999999999.99",
        "10000000000000000": None,
        "12,5": None,
        "1 000": None,
        "EUR 5": None,
        "NaN": None,
        "": None,
    }
    amounts = converted(spark, list(expected), to_amount)
    assert dict(zip(expected, (amount and str(amount) for amount in amounts), strict=True)) == expected


def test_to_flag_accepts_only_true_and_false(spark: SparkSession) -> None:
    expected = {
        "true": True,
        " TRUE\n": True,
        "False": False,
        "false": False,
        "1": None,
        "0": None,
        "yes": None,
        "t": None,
        "": None,
        None: None,
    }
    assert dict(zip(expected, converted(spark, list(expected), to_flag), strict=True)) == expected


def test_clean_email_trims_and_lowercases(spark: SparkSession) -> None:
    expected = {
        " Nour@Example.COM\t": "nour@example.com",
        "nour@example.com": "nour@example.com",
        "ÉLAN@Example.com": "Élan@example.com",
        "no address": "no address",
        "\u00a0": None,
        None: None,
    }
    assert dict(zip(expected, converted(spark, list(expected), clean_email), strict=True)) == expected


def test_identity_of_prefixes_the_kind_and_is_null_for_null(spark: SparkSession) -> None:
    identities = converted(spark, ["a@example.com", "", None], lambda column: identity_of("email", column))
    assert identities == ["email:a@example.com", "email:", None]


def test_to_type_parses_decimals_exactly_or_returns_null(spark: SparkSession) -> None:
    expected = {
        "499": "499.00",
        " 12.5 ": "12.50",
        ".5": "0.50",
        "-0.01": "-0.01",
        "9999999999999999.99": "9999999999999999.99",
        "10000000000000000": None,
        "NaN": None,
        "Infinity": None,
        "12,5": None,
        "EUR 5": None,
        "": None,
    }
    prices = converted(spark, list(expected), lambda column: to_type(column, "DECIMAL(18,2)"))
    assert dict(zip(expected, (price and str(price) for price in prices), strict=True)) == expected


def test_to_type_accepts_values_that_have_a_type(spark: SparkSession) -> None:
    row = spark.sql("SELECT 7 AS id, CAST(1.5 AS DOUBLE) AS price, TIMESTAMP'2025-04-01 23:59:59' AS sold_at").select(
        to_type(sf.col("id"), "INT").alias("id"),
        to_type(sf.col("price"), "DECIMAL(18,2)").alias("price"),
        to_type(sf.col("sold_at"), "DATE").alias("day"),
        to_type(sf.col("id"), "STRING").alias("text"),
    )
    assert tuple(row.collect()[0]) == (7, Decimal("1.50"), date(2025, 4, 1), "7")


def test_rescued_data_contains_only_values_that_did_not_fit(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("x", '"y"', "3"), (None, "2", "3")], "a string, b string, c string")
    misfits = rescued_data([(name, rows[name], to_integer(rows[name])) for name in "abc"])
    assert [row.r for row in rows.select(misfits.alias("r")).collect()] == ['{"a":"x","b":"\\"y\\""}', None]


BANDS = (Decimal(500), Decimal(1500))


def test_price_segment_at_its_borders(spark: SparkSession) -> None:
    expected = {
        "-1.00": "Budget",
        "0.00": "Budget",
        "499.99": "Budget",
        "500.00": "Mid-Range",
        "1499.99": "Mid-Range",
        "1500.00": "Premium",
        "9999999999999999.99": "Premium",
        None: None,
    }
    segments = converted(spark, list(expected), lambda column: price_segment(column.cast("decimal(18,2)"), BANDS))
    assert dict(zip(expected, segments, strict=True)) == expected


def test_season_of_every_month(spark: SparkSession) -> None:
    days = spark.createDataFrame([(date(2024, month, 1),) for month in range(1, 13)], "day date")
    seasons = [row.season for row in days.orderBy("day").select(season(days.day).alias("season")).collect()]
    assert seasons == [*["Winter"] * 2, *["Spring"] * 3, *["Summer"] * 3, *["Fall"] * 3, "Winter"]


def test_season_at_the_borders_of_months_and_for_null(spark: SparkSession) -> None:
    days = [(1, date(2024, 2, 29)), (2, date(2025, 2, 28)), (3, date(2024, 12, 31)), (4, date(2024, 11, 30)), (5, None)]
    frame = spark.createDataFrame(days, "n int, day date")
    seasons = [row.season for row in frame.orderBy("n").select(season(frame.day).alias("season")).collect()]
    assert seasons == ["Winter", "Winter", "Winter", "Fall", None]


def test_quantity_times_price_is_exact_where_floats_round(spark: SparkSession) -> None:
    sales = spark.createDataFrame(
        [
            (1, Decimal("999999.999"), Decimal("9999999.9999")),
            (2, Decimal(3), Decimal("0.10")),
            (3, Decimal(-1), Decimal("5.00")),
            (4, Decimal("0.500"), Decimal("0.0003")),
            (5, Decimal("-0.500"), Decimal("0.0003")),
            (6, Decimal("999999999"), Decimal("99999999")),
        ],
        "n int, quantity decimal(18,3), price decimal(18,4)",
    )
    amounts = [
        row.amount for row in sales.orderBy("n").select(times(sales.quantity, sales.price).alias("amount")).collect()
    ]
    assert amounts == [
        Decimal("9999999989900.0000"),
        Decimal("0.3000"),
        Decimal("-5.0000"),
        Decimal("0.0002"),
        Decimal("-0.0002"),
        None,
    ]


def test_is_on_or_before_excludes_later_days_and_nulls(spark: SparkSession) -> None:
    days = spark.createDataFrame([(date(2025, 5, 1),), (date(2025, 5, 2),), (None,)], "day date")
    assert days.where(is_on_or_before("day", date(2025, 5, 1))).count() == 1
    assert days.where(is_on_or_before("day", None)).count() == 3
