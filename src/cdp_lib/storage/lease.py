"""Lease of the tables. Several jobs may run at the same time, but only the run that holds the lease may write."""

from __future__ import annotations

from pyspark.sql import functions as sf

from cdp_lib.contracts.ops import PIPELINE_LEASE_OPS
from cdp_lib.errors import CdpError
from cdp_lib.storage.delta import DeltaStore

_RESOURCE = "tables"


def take_lease(store: DeltaStore, job: str, run_id: str) -> None:
    """Take the lease for a run. Do nothing if the store has only one writer.

    A run takes over the lease of an earlier run of the same job. A job has only one run at a time, so the earlier run
    has ended. The lease has no timeout, because a slow run must keep the lease.

    The lease does not cover one case: the last query of a cancelled run may still be running when another run takes the
    lease. This query can then commit.

    Args:
        store: Tables of the platform.
        job: Name of the run's job.
        run_id: Id of the run.

    Raises:
        CdpError: A run of another job holds the lease, or the table of the lease is damaged.
    """
    if not store.needs_lease:
        return
    store.create(PIPELINE_LEASE_OPS)
    wanted = store.frame(PIPELINE_LEASE_OPS, [{"resource": _RESOURCE, "job": job, "run_id": run_id}])
    store.session.sql(
        f"MERGE INTO {store.name_of(PIPELINE_LEASE_OPS.name)} AS t USING {{wanted}} AS s ON t.resource = s.resource"
        " WHEN MATCHED AND (t.run_id IS NULL OR t.job = s.job) THEN UPDATE SET job = s.job, run_id = s.run_id"
        " WHEN NOT MATCHED THEN INSERT (resource, job, run_id) VALUES (s.resource, s.job, s.run_id)",
        wanted=wanted,
    ).collect()
    # If two runs take the lease at the same time, the first commit wins. Read the lease to see which run holds it.
    rows = store.read(PIPELINE_LEASE_OPS).where(sf.col("resource") == _RESOURCE).select("job", "run_id").collect()
    if len(rows) != 1:
        raise CdpError(
            f"{store.name_of(PIPELINE_LEASE_OPS.name)} has {len(rows)} rows for the resource '{_RESOURCE}' instead of"
            " one: pause all jobs, then drop the table. The next run creates it again."
        )
    [(holder, holder_run)] = rows
    if (holder, holder_run) != (job, run_id):
        raise CdpError(
            f"Run {holder_run} of {holder} is writing the tables: wait until the run has ended. If the run was"
            f" killed, start {holder} again: a new run of the same job takes over."
        )


def release_lease(store: DeltaStore, job: str, run_id: str) -> None:
    """Release the lease if the run holds it.

    Args:
        store: Tables of the platform.
        job: Name of the run's job.
        run_id: Id of the run.
    """
    if store.needs_lease and store.exists(PIPELINE_LEASE_OPS):
        store.session.sql(
            f"MERGE INTO {store.name_of(PIPELINE_LEASE_OPS.name)} AS t USING {{held}} AS s"
            " ON t.resource = s.resource AND t.job = s.job AND t.run_id = s.run_id"
            " WHEN MATCHED THEN UPDATE SET run_id = NULL",
            held=store.frame(PIPELINE_LEASE_OPS, [{"resource": _RESOURCE, "job": job, "run_id": run_id}]),
        ).collect()
