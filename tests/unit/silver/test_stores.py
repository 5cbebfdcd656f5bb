from cdp_lib.contracts.bronze import STORE_BRONZE
from cdp_lib.silver.stores import build_stores_silver

PLAZA = {"store_id": 5, "store_name": "Mega Plaza", "location": "Kuwait"}


def test_build_stores_silver_cleans_names_and_locations(bronze_rows) -> None:
    rows = build_stores_silver(bronze_rows(STORE_BRONZE, PLAZA | {"store_name": "Mega\tPlaza", "location": " Kuwait "}))
    [row] = rows.collect()
    assert [row[name] for name in PLAZA] == [5, "Mega Plaza", "Kuwait"]


def test_build_stores_silver_parses_updated_at(bronze_rows) -> None:
    rows = build_stores_silver(bronze_rows(STORE_BRONZE, PLAZA | {"updated_at": "2026-01-30 06:00:00"}, PLAZA))
    assert {row[0] for row in rows.selectExpr("unix_seconds(updated_at)").collect()} == {1769752800, None}
