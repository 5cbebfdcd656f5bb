"""Materialization of a table that people write."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import functions as sf

from cdp_lib.columns import hash_of
from cdp_lib.pipeline.table import Materialization
from cdp_lib.pipeline.work import Outcome, Work
from cdp_lib.quality import hashable


@dataclass(frozen=True)
class Decisions(Materialization):
    """Create the table, and notice the rows that people add, change or delete. The platform changes no row.

    The token of a version is a hash of the rows, so that downstream tables are due whenever a row has changed.

    Cost: one query over the table, which has few rows, in each run.

    A run may be killed at any point: nothing is written except for the empty table.
    """

    def refresh(self, work: Work) -> Outcome:
        """Create the table if it is missing, and take the hash of its rows as the token of the version."""
        work.store.create(work.contract)
        rows, token = _rows_and_token(work)
        if token == work.state.token and not work.must_rewrite:
            return work.unchanged()
        return work.rewritten(rows, token=token)

    def describe_new_input(self, work: Work) -> str:
        """Return whether the rows differ from the rows of the latest refresh."""
        if not work.store.exists(work.contract) or _rows_and_token(work)[1] == work.state.token:
            return ""
        return "people have decided"


def _rows_and_token(work: Work) -> tuple[int, str]:
    """Return the number of rows, and a hash of all rows that does not depend on their order."""
    of_row = hash_of([hashable(column) for column in work.contract.columns]).cast("decimal(38,0)")
    [(rows, total)] = work.store.read(work.contract).agg(sf.count("*"), sf.sum(of_row)).collect()
    return rows, f"{rows}-{total or 0}"
