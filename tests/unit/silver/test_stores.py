from cdp_lib.contracts.bronze import STORE_BRONZE
from cdp_lib.contracts.silver import STORES_SILVER
from cdp_lib.quality import check_snapshot
from cdp_lib.silver.stores import build_stores_silver

PLAZA = {"store_id": 5, "store_name": "Mega Plaza", "location": "Kuwait"}


def test_build_stores_silver_cleans_names_and_locations(bronze_rows) -> None:
    rows = build_stores_silver(bronze_rows(STORE_BRONZE, PLAZA | {"store_name": "Mega\tPlaza", "location": " Kuwait "}))
    [row] = rows.collect()
    assert tuple(row[name] for name in STORES_SILVER.column_names) == (5, "Mega Plaza", "Kuwait")


def test_a_store_without_a_location_is_in_quarantine(bronze_rows) -> None:
    rows = build_stores_silver(bronze_rows(STORE_BRONZE, PLAZA, PLAZA | {"store_id": 6, "location": ""}))
    checked = check_snapshot(rows, STORES_SILVER)
    assert [row.store_id for row in checked.kept.collect()] == [5]
    assert checked.refused.collect()[0].broken_rules == ["location_is_present"]
