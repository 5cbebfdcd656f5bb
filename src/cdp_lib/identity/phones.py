"""Phone numbers in E.164, by the numbering plans in `phone_plans.csv`.

The steps are those of Google's libphonenumber. A test compares the results with the package `phonenumbers`.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

_FOREIGN_DIGITS = "".join(chr(zero + digit) for zero in (0xFF10, 0x660, 0x6F0) for digit in range(10)) + "＋"
"""Full-width and Arabic digits."""

_EXTENSION = r"(?i)[\s,;./-]*(?:;?ext=|extension|ext|durchwahl|dw|x|#)[\s.:]*[0-9]{1,7}\s*#?$"

_NOT_IN_NUMBERS = r"[\p{L}@]"
"""Pattern of texts that are no phone numbers, such as vanity numbers."""

_ONE_OR_TWO_DIGITS = "^(?:(?:[17])|(?:2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]))"
"""Pattern of calling codes of one or two digits. All other calling codes have three digits (ITU-T E.164)."""

_PLAN = ("national_prefix", "transform", "captured", "lengths", "pattern")


def with_e164(rows: DataFrame, phone_plans: DataFrame) -> DataFrame:
    """Return rows with the phone number in E.164, such as `+436641234567`, instead of the number as typed.

    The number is null if it is not a possible number: it has letters, or its length does not exist in the country. A
    number without the calling code of a country is a number in the country of the row.

    Args:
        rows: Rows with `phone`, and with `phone_country`: the ISO 3166-1 alpha-2 code of a country, or null.
        phone_plans: One row per country, all columns as text, as in `phone_plans.csv`.

    Returns:
        The rows without `phone_country`. `phone` is in E.164.

    >>> from importlib.resources import files
    >>> from cdp_lib.frames import read_csv
    >>> plans = read_csv(spark, files("cdp_lib.reference") / "phone_plans.csv")
    >>> typed = [("(0664) 123 45 67", "AT"), ("0043 664/1234567", "AT"), ("+1 212-555-0123 ext. 5", None), ("1", "AT")]
    >>> rows = spark.createDataFrame(typed, "phone string, phone_country string")
    >>> sorted(str(row.phone) for row in with_e164(rows, plans).collect())
    ['+12125550123', '+436641234567', '+436641234567', 'None']
    """
    columns = [name for name in rows.columns if name not in ("phone", "phone_country")]
    typed = rows.select(*columns, "phone_country", _digits(sf.col("phone")).alias("_typed"))
    own = phone_plans.select(
        sf.col("country_code").alias("phone_country"),
        sf.col("calling_code").alias("_own_code"),
        "international_prefix",
        *(sf.col(name).alias(f"_own_{name}") for name in _PLAN),
    )
    main = phone_plans.where("is_main = 'true'").select(
        "calling_code", *(sf.col(name).alias(f"_main_{name}") for name in _PLAN)
    )
    plans = typed.join(sf.broadcast(own), "phone_country", how="left").select(
        *columns, "_own_code", *(f"_own_{name}" for name in _PLAN), _international(sf.col("_typed")).alias("_full"),
        sf.regexp_replace("_typed", r"\+", "").alias("_national"),
    )  # fmt: skip
    coded = plans.withColumn("calling_code", _calling_code(sf.col("_full")))
    joined = coded.join(sf.broadcast(main), "calling_code", how="left")
    is_full = sf.col("_full").isNotNull()
    numbers = joined.select(
        *columns,
        sf.when(is_full, sf.col("calling_code")).otherwise(sf.col("_own_code")).alias("_code"),
        sf.when(is_full, sf.expr("substr(_full, length(calling_code) + 1)"))
        .otherwise(sf.col("_national"))
        .alias("_rest"),
        *(sf.when(is_full, sf.col(f"_main_{name}")).otherwise(sf.col(f"_own_{name}")).alias(name) for name in _PLAN),
    )
    stripped = numbers.select(*columns, "_code", "_rest", "lengths", _without_prefix().alias("_short"))
    significant = sf.when(_has_length(sf.col("_short")), sf.col("_short")).when(
        _has_length(sf.col("_rest")), sf.col("_rest")
    )
    return stripped.select(*columns, sf.concat(sf.lit("+"), sf.col("_code"), significant).alias("phone"))


def _digits(phone: Column) -> Column:
    """Return the digits of a number as typed, after a + if it has one; null if it has none, or has letters."""
    ascii_digits = sf.translate(phone, _FOREIGN_DIGITS, "0123456789" * 3 + "+")
    number = sf.regexp_replace(sf.regexp_replace(ascii_digits, r"(?i)^\s*tel:", ""), _EXTENSION, "")
    kept = sf.regexp_replace(sf.regexp_replace(number, r"[^0-9+]", ""), r"(.)\+.*$", "$1")
    return sf.when(~number.rlike(_NOT_IN_NUMBERS), sf.nullif(kept, sf.lit("")))


def _international(typed: Column) -> Column:
    """Return a number that begins with a calling code; null for a national number.

    The calling code follows a + or the international prefix of the country. Some people also type the calling code
    without both.
    """
    prefix = sf.coalesce("international_prefix", sf.lit("^(?:00)"))
    without_prefix = sf.regexp_replace(typed, prefix, "")
    national = sf.expr("substr(_typed, length(_own_code) + 1)")
    shorter = sf.regexp_replace(national, sf.coalesce("_own_national_prefix", sf.lit("^$")), "")
    has_own_code = typed.startswith(sf.col("_own_code")) & (
        (~sf.rlike(typed, sf.col("_own_pattern")) & sf.rlike(shorter, sf.col("_own_pattern")))
        | (sf.length(typed) > _longest(sf.col("_own_lengths")))
    )
    return (
        sf.when(typed.startswith("+"), sf.substring(typed, 2, 40))
        .when((without_prefix != typed) & ~without_prefix.startswith("0"), without_prefix)
        .when(has_own_code, typed)
    )


def _longest(lengths: Column) -> Column:
    """Return the last number of a list such as `,8,10,`."""
    return sf.regexp_replace(lengths, r"^.*,([0-9]+),$", "$1").cast("int")


def _calling_code(full: Column) -> Column:
    """Return the calling code at the beginning of a number."""
    first = sf.substring(full, 1, 1)
    return (
        sf.when(first.isin("1", "7"), first)
        .when(full.rlike(_ONE_OR_TWO_DIGITS), sf.substring(full, 1, 2))
        .otherwise(sf.substring(full, 1, 3))
    )


def _without_prefix() -> Column:
    """Return a number without the national prefix, such as the 0 of 0664."""
    rest, prefix, pattern = sf.col("_rest"), sf.coalesce("national_prefix", sf.lit("^$")), sf.col("pattern")
    captured = sf.regexp_replace(rest, prefix, sf.coalesce("captured", sf.lit("<>")))
    is_plain = captured.startswith("<>")
    changed = sf.when(is_plain, sf.regexp_replace(rest, prefix, sf.lit(""))).otherwise(
        sf.regexp_replace(rest, prefix, sf.coalesce("transform", sf.lit("")))
    )
    return sf.when(sf.rlike(rest, pattern) & ~sf.rlike(changed, pattern), rest).otherwise(changed)


def _has_length(number: Column) -> Column:
    """Return whether a number has one of the lengths of its country."""
    return sf.col("lengths").contains(sf.concat(sf.lit(","), sf.length(number).cast("string"), sf.lit(",")))
