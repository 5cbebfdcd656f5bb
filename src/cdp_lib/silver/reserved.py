"""Names of totals, which no value of a source may have.

Dashboards filter by these names: the row `All countries` of a view holds the total of all countries. A customer whose
country has the same name would be mixed up with the total.
"""

from pyspark.sql import Column
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text

NAMES_OF_TOTALS = ("All countries", "All channels", "All segments")


def unless_total(name: Column) -> Column:
    """Return a name; if it is the name of a total in any case, add ` (value)` to it.

    Args:
        name: Name without outer and repeated blanks, as `clean_text` returns it.
    """
    is_total = sf.lower(name).isin(*(total.lower() for total in NAMES_OF_TOTALS))
    return sf.when(is_total, sf.concat(name, sf.lit(" (value)"))).otherwise(name)


def to_channel(received: Column) -> Column:
    """Return a channel as text; null if no text is left.

    KPIs join spend and customers by channel, so both get it from this function.
    """
    return unless_total(clean_text(received))
