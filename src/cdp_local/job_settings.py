"""Values of a job's parameters and settings for one run, without an engine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from cdp_lib.errors import CdpError
from cdp_lib.settings import Settings
from cdp_local.bundle import Job, resolve_dynamic_values


def require_known(kind: str, names: Iterable[str], known: Collection[str], job: Job) -> None:
    """Raise an error if a job does not have one of the given names, such as names of tasks."""
    for name in names:
        if name not in known:
            raise CdpError(f"Unknown {kind} '{name}': job {job.key} has {', '.join(known)}.")


def parameter_values(job: Job, parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the values of all parameters of a job for one run, by name.

    Args:
        job: The job.
        parameters: Values of job parameters, by name. They override the defaults of the job.

    Raises:
        CdpError: The job does not have one of the given parameters.
    """
    for name in parameters:
        if name not in job.parameters and any(name in task.base_parameters for task in job.tasks.values()):
            raise CdpError(
                f"'{name}' is not a parameter of a run: the bundle sets it for all runs. If it is a variable of the"
                f" bundle, use --var {name}=…."
            )
    require_known("parameter", parameters, job.parameters, job)
    return job.parameters | dict(parameters)


def job_reference_values(job: Job, started_at: datetime) -> dict[str, str]:
    """Return the values of the `{{job.…}}` references, by the text between the braces. Example: `job.run_id`.

    Args:
        job: The job.
        started_at: Start of the run, UTC.
    """
    return {
        "job.run_id": str(int(started_at.timestamp() * 1000)),
        "job.start_time.iso_datetime": started_at.isoformat(timespec="seconds"),
        "job.name": job.key,
    }


def setting_values(job: Job, parameters: Mapping[str, str], started_at: datetime) -> dict[str, str]:
    """Return the settings for the stages of a job: each field of `Settings` as a string, by name.

    Args:
        job: The job.
        parameters: Values of job parameters, by name. They override the defaults of the job.
        started_at: Start of the run, UTC.

    Raises:
        CdpError: The job does not have one of the given parameters.
    """
    job_values = job_reference_values(job, started_at)
    *_, task = (task for task in job.tasks.values() if task.notebook)
    task_parameters = {
        name: resolve_dynamic_values(text, lambda reference: job_values.get(reference, ""))
        for name, text in task.base_parameters.items()
    }
    values = task_parameters | parameter_values(job, parameters)
    return {name: values.get(name, "") for name in Settings.parameter_names()}


def new_run_start() -> datetime:
    """Return the current time in UTC as the start of a run.

    The id of the run is this time in milliseconds since 1970.
    """
    return datetime.now(UTC)
