from datetime import date

from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.gold.customer_registration_trends import build_customer_registration_trends_gold


def test_build_customer_registration_trends_gold_counts_registrations_by_month_and_country(frame_of, rows_of) -> None:
    registered = [
        (date(2025, 10, 1), "Egypt"),
        (date(2025, 10, 31), "Egypt"),
        (date(2024, 10, 31), "Egypt"),
        (date(2025, 10, 5), "Kuwait"),
        (date(2025, 11, 1), "Egypt"),
        (None, "Egypt"),
    ]
    customers = frame_of(
        CUSTOMERS_SILVER.columns,
        *(
            {"customer_id": number, "registration_date": day, "country": country}
            for number, (day, country) in enumerate(registered)
        ),
    )
    assert rows_of(build_customer_registration_trends_gold(customers, None)) == [
        (2024, 10, "Egypt", 1),
        (2025, 10, "Egypt", 2),
        (2025, 10, "Kuwait", 1),
        (2025, 11, "Egypt", 1),
    ]
