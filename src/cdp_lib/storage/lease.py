"""One run at a time writes the tables: the lease of jobs that may meet."""

from __future__ import annotations

from cdp_lib.contracts.ops import PIPELINE_LEASE_OPS
from cdp_lib.errors import CdpError
from cdp_lib.storage.delta import DeltaStore

_RESOURCE = "tables"


def take_lease(store: DeltaStore, job: str, run_id: str) -> None:
    """Take the lease, where no run of another job holds it.

    A run takes over from an earlier one of its own job, which is dead: a job runs once at a time. Time alone decides
    nothing, since a slow run is no dead one. Does nothing where the store has no other writer.

    Not covered: a cancelled run whose last query still commits after another one has taken over.

    Args:
        store: Tables of the platform.
        job: Name of the job that the run is of.
        run_id: The run.

    Raises:
        CdpError: A run of another job holds it.
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
    # Of two that take it at once, one commits first: what stands there now decides.
    [(holder, holder_run)] = store.read(PIPELINE_LEASE_OPS).select("job", "run_id").collect()
    if (holder, holder_run) != (job, run_id):
        raise CdpError(
            f"Run {holder_run} of {holder} is writing the tables: wait until it has ended. If it was killed, run"
            f" {holder} again: a run of the same job takes over."
        )


def release_lease(store: DeltaStore, job: str, run_id: str) -> None:
    """Give the lease back, if the run holds it.

    Args:
        store: Tables of the platform.
        job: Name of the job that the run is of.
        run_id: The run.
    """
    if store.needs_lease and store.exists(PIPELINE_LEASE_OPS):
        store.session.sql(
            f"MERGE INTO {store.name_of(PIPELINE_LEASE_OPS.name)} AS t USING {{held}} AS s"
            " ON t.resource = s.resource AND t.job = s.job AND t.run_id = s.run_id"
            " WHEN MATCHED THEN UPDATE SET run_id = NULL",
            held=store.frame(PIPELINE_LEASE_OPS, [{"resource": _RESOURCE, "job": job, "run_id": run_id}]),
        ).collect()
