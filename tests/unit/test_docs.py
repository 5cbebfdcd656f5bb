"""Generated pages are fresh."""

from cdp_local.catalogue import PAGE, table_catalogue


def test_the_table_catalogue_is_what_the_contracts_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == table_catalogue(), "run `make docs`"
