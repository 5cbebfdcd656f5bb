"""The changes of the shop's first day."""

from .sources import Change

FIRST_DAY = "2025-09-30"
"""First day of the shop. No run has an earlier `as_of`."""

OPENING = (
    Change(
        "customers",
        tuple(
            {
                "customer_id": number,
                "full_name": f"Customer {number}",
                "email": f"c{number}@example.com",
                "country": ("Egypt", "UAE", "Atlantis")[number % 3],
                "registration_date": ("2024-01-31", "2025-10-15", "2026-01-10")[number % 3],
                "updated_at": None,
            }
            for number in range(1, 7)
        ),
        is_all_sent=True,
    ),
    Change(
        "products",
        tuple(
            {
                "product_id": number,
                "product_name": f"P{number}",
                "category": ("Food", "Toys")[number % 2],
                "price": price,
                "updated_at": None,
            }
            for number, price in enumerate(("10.00", "499.99", "1500.00"), start=1)
        ),
        is_all_sent=True,
    ),
    Change(
        "stores",
        tuple(
            {"store_id": number, "store_name": f"S{number}", "location": location, "updated_at": None}
            for number, location in enumerate(("Egypt", "United Arab Emirates"), start=1)
        ),
        is_all_sent=True,
    ),
    Change(
        "sales",
        tuple(
            {
                "transaction_id": number,
                "customer_id": number % 5 + 1,
                "product_id": number % 3 + 1,
                "store_id": number % 2 + 1,
                "quantity": number % 4 + 1,
                "transaction_date": day,
                "updated_at": None,
            }
            for number, day in enumerate(
                # Repeat the sales, so that customers buy several times, some of them on one day.
                2
                * (
                    *("2025-09-30", "2025-10-01", "2025-10-31", "2025-11-15", "2025-12-31"),
                    *("2026-01-01", "2026-01-08", "2026-01-08"),
                ),
                start=1,
            )
        ),
        is_all_sent=True,
    ),
    Change(
        "contacts",
        (
            {
                "contactid": "a1",
                "emailaddress1": "c1@example.com",
                "birthdate": "1995-01-15",
                "gendercode": "1",
                "address1_city": "Cairo",
                "address1_country": "EGY",
                "cdp_customerid": None,
                "cdp_acquisitionchannel": "paid_search",
                "cdp_acquisitiondate": "2025-01-01",
                "cdp_emailconsent": "true",
                "cdp_smsconsent": None,
                "cdp_phoneconsent": "false",
                "modifiedon": "2026-01-01T00:00:00Z",
            },
        ),
    ),
)
"""Changes that land before the first run of every sequence."""
