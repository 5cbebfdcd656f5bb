"""Counts, in the tables themselves, whether every row of every batch is accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.ops import RECONCILIATION_OPS
from cdp_lib.contracts.silver import RECEIVED_AS, RETAILS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.runs import Account, History, RunLog
from cdp_lib.tables import Tables

_MADE_FROM: dict[TableContract, TableContract] = {**RECEIVED_AS, RETAILS_SILVER: TRANSACTIONS_SILVER}
"""What each table that is reconciled gets its rows from."""


@dataclass(frozen=True)
class Reconciled:
    """One batch of one table.

    Attributes:
        table_name: The table.
        batch_id: The batch.
        account: Rows in, out and quarantined as counted now; superseded as the change that superseded them counted.
    """

    table_name: str
    batch_id: str
    account: Account

    @property
    def complaint(self) -> str:
        """What does not add up, in words."""
        a = self.account
        missing = a.rows_in - a.rows_out - a.rows_quarantined - a.rows_superseded
        return (
            f"{self.table_name}, batch {self.batch_id}: {a.rows_in} rows in, but {a.rows_out} out"
            f" + {a.rows_quarantined} quarantined + {a.rows_superseded} superseded:"
            f" {abs(missing)} {'missing' if missing > 0 else 'too many'}"
        )


def reconcile(tables: Tables, runs: RunLog) -> list[Reconciled]:
    """Compare what the tables hold with what their changes said they would.

    A table whose task has not ended is passed over: the run has failed without it, and the next one makes its change
    again. Bronze rows that retention has deleted are counted as they were.

    Args:
        tables: Tables of the platform.
        runs: Log of the run.

    Returns:
        Every batch of every table, in order.
    """
    histories = runs.histories(contract.name for contract in (*BRONZE_TABLES, *_MADE_FROM))
    contracts = {*_MADE_FROM, *_MADE_FROM.values(), *(contract.quarantine for contract in _MADE_FROM)}
    rows = tables.count_by_batch(sorted(contracts, key=lambda contract: contract.name))
    of_silver = [
        Reconciled(contract.name, batch_id, _account(contract, batch_id, histories[contract.name], rows))
        for contract in _MADE_FROM
        if histories[contract.name].done and not histories[contract.name].planned
        for batch_id in _batch_ids(contract, histories[contract.name], rows)
    ]
    of_bronze = [
        Reconciled(contract.name, batch_id, Account(account.rows_in, rows[contract.name, batch_id]))
        for contract in BRONZE_TABLES
        for batch_id, account in histories[contract.name].accounts.items()
        if (contract.name, batch_id) in rows
    ]
    return sorted([*of_bronze, *of_silver], key=lambda one: (one.table_name, one.batch_id))


def _batch_ids(contract: TableContract, history: History, rows: Mapping[tuple[str, str], int]) -> set[str]:
    """Batches with an account, and those that the table holds rows of and should not."""
    names = (contract.name, contract.quarantine.name)
    return {*history.accounts, *(batch_id for name, batch_id in rows if name in names)}


def _account(contract: TableContract, batch_id: str, history: History, rows: Mapping[tuple[str, str], int]) -> Account:
    expected = history.accounts.get(batch_id, Account())
    source = _MADE_FROM[contract]
    return Account(
        # Retention deletes whole batches of bronze.
        rows_in=rows.get((source.name, batch_id), expected.rows_in if source in BRONZE_TABLES else 0),
        rows_out=rows.get((contract.name, batch_id), 0),
        rows_quarantined=rows.get((contract.quarantine.name, batch_id), 0),
        rows_superseded=expected.rows_superseded,
    )


def record_reconciliation(tables: Tables, reconciled: list[Reconciled]) -> None:
    """Keep the accounts in `reconciliation_ops`, and refuse to go on from tables that do not add up.

    Args:
        tables: Tables of the platform.
        reconciled: What `reconcile` has found.

    Raises:
        CdpError: A batch of a table does not add up: which, and by how much.
    """
    rows = [
        {"table_name": one.table_name, "batch_id": one.batch_id, "is_balanced": one.account.is_balanced}
        | asdict(one.account)
        for one in reconciled
    ]
    tables.replace_rows(RECONCILIATION_OPS, rows)
    complaints = [one.complaint for one in reconciled if not one.account.is_balanced]
    if complaints:
        others = f" (and {len(complaints) - 1} more, in reconciliation_ops)" if len(complaints) > 1 else ""
        raise CdpError(
            f"{complaints[0]}{others}. Something besides this platform has changed the table:"
            " run again with full_refresh=true to make it anew from what has landed."
        )
