"""Materialization of the table that numbers identifiers that are text."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from pyspark.sql import Window
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.frames import union
from cdp_lib.mapped_rows import received_ids
from cdp_lib.pipeline.table import Materialization
from cdp_lib.pipeline.work import IDS_SINCE, LOADED_IN_VERSION, Outcome, RowCounts, Work


@dataclass(frozen=True)
class NumberIds(Materialization):
    """Append a number for each new text identifier in the bronze inputs. A number is never changed.

    Cost: the identifiers of the new bronze rows are read, and compared with all known identifiers.

    If a run is killed, the next run appends the missing numbers: the append is one commit.
    """

    needs_bronze_rows = False
    is_for_text_ids = True

    def refresh(self, work: Work) -> Outcome:
        """Number the new identifiers."""
        store, contract = work.store, work.contract
        is_new = store.create(contract)
        since = secrets.token_hex(8) if is_new else work.state.details.get(IDS_SINCE) or secrets.token_hex(8)
        state = replace(work.next_state(work.state.token), details={IDS_SINCE: since})
        found = []
        for bronze in work.table.reads:
            mapping = work.mapping_of(bronze)
            if isinstance(bronze, BronzeContract) and mapping.text_ids and store.exists(bronze):
                rows = work.rows_of(bronze)
                if not (is_new or work.must_rewrite):
                    rows = rows.where(sf.col(LOADED_IN_VERSION) > work.state.inputs[bronze.name][0])
                found.append(received_ids(rows, bronze, mapping))
        if not found:
            return Outcome(state)
        known = store.read(contract)
        last = known.groupBy("entity").agg(sf.max("id").alias("last"))
        new = union(found).distinct().join(known, ["entity", "source_id"], how="left_anti")
        by_entity = Window.partitionBy("entity").orderBy("source_id")
        number = sf.coalesce("last", sf.lit(0)) + sf.row_number().over(by_entity)
        rows = new.join(last, "entity", how="left").select("entity", "source_id", number.alias("id"))
        before = 0 if is_new else store.count([contract])[contract.name]
        store.append(contract, rows.selectExpr(*contract.select_list))
        now = store.count([contract])[contract.name]
        return Outcome(replace(state, rows=now), RowCounts(now - before))
