"""A workspace on your machine: engines, `dbutils`, the job runner, source simulators and the `cdp` command."""
